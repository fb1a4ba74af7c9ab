"""Pictures for other programs: Mermaid, DOT and SVG."""

from __future__ import annotations

import re
from textwrap import dedent
from xml.etree import ElementTree

import pytest
from hypothesis import given

from pit.views.graph.layout import reduced
from pit.views.graph.picture import COLOURS, Picture, Shape, Standing, dot, mermaid
from pit.views.graph.svg import svg
from tests.config.graphs import Edges, acyclic

_SVG = "{http://www.w3.org/2000/svg}"

SALES = Picture(
    title='sales "daily"',
    description="Orders & <refunds>",
    shapes=(
        Shape(name="extract", runner="python", standing=Standing.CURRENT, word="current"),
        Shape(
            name="load",
            runner="sql",
            standing=Standing.STALE,
            word="stale",
            why='load.sql changed: "<"',
        ),
        Shape(name="report", matrix=True, instances=12, standing=Standing.DEFERRED),
        Shape(name="mail"),
    ),
    edges={"extract": (), "load": ("extract",), "report": ("load", "extract"), "mail": ()},
)


def test_mermaid() -> None:
    assert mermaid(SALES) == dedent("""\
        ---
        title: "sales \\"daily\\""
        ---
        flowchart LR
            t1("extract")
            t2[("load")]
            t3[["report ×12"]]
            t4("mail")
            t1 --> t2
            t2 --> t3
            t1 --> t3
            classDef stale fill:#fff3dc,stroke:#d08a1d,color:#1f2328
            class t2 stale
            classDef deferred fill:#fffbf2,stroke:#d9b36c,color:#1f2328,stroke-dasharray:5 3
            class t3 deferred
            classDef current fill:#e6f5ea,stroke:#2f9552,color:#1f2328
            class t1 current
    """)


def test_dot() -> None:
    lines = dot(SALES).splitlines()
    assert lines[0] == 'digraph "sales \\"daily\\"" {'
    assert lines[-1] == "}"
    (load,) = [line for line in lines if line.startswith('    "load" [')]
    assert 'tooltip="stale: load.sql changed: \\"<\\""' in load
    assert 'shape="cylinder"' in load
    arrows = [line.strip() for line in lines if "->" in line]
    assert arrows == ['"extract" -> "load";', '"load" -> "report";', '"extract" -> "report";']


def parsed(picture: Picture) -> ElementTree.Element:
    """The SVG as a tree."""
    return ElementTree.fromstring(svg(picture))


def boxes(root: ElementTree.Element) -> dict[str, tuple[float, float, float, float]]:
    """Left, top, right and bottom of each task's box."""
    found = {}
    for group in root.findall(f"{_SVG}g"):
        if "task" in group.attrib["class"].split():
            title, rect = group.find(f"{_SVG}title"), group.findall(f"{_SVG}rect")[-1]
            assert title is not None
            x, y, width, height = (float(rect.attrib[k]) for k in ("x", "y", "width", "height"))
            found[str(title.text).split("\n")[0]] = (x, y, x + width, y + height)
    return found


def test_svg_says_each_task_how_it_stands_and_why() -> None:
    root = parsed(SALES)
    tasks = {group.attrib["class"]: group for group in root.findall(f"{_SVG}g")}
    load = tasks["task stale"]
    assert [text.text for text in load.findall(f"{_SVG}text")] == ["load", "sql · stale"]
    title = load.find(f"{_SVG}title")
    assert title is not None
    assert title.text == 'load\nstale: load.sql changed: "<"'
    assert len(tasks["task deferred"].findall(f"{_SVG}rect")) == 2
    assert "task unknown" in tasks
    assert "".join(root.find(f"{_SVG}text").itertext()).endswith("Orders & <refunds>")  # type: ignore[union-attr]


def test_svg_is_one_file_without_scripts_for_light_and_dark_pages() -> None:
    text = svg(SALES)
    assert not re.search(r"<script|href=|url\(", text)
    assert "@media (prefers-color-scheme:dark)" in text
    for colours in COLOURS.values():
        assert all(colour in text for colour in colours)


@given(acyclic())
def test_boxes_of_an_svg_lie_on_the_page_and_not_on_each_other(edges: Edges) -> None:
    shapes = tuple(Shape(name=name, runner="bash") for name in edges)
    root = parsed(Picture(title="t", shapes=shapes, edges=edges))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    found = boxes(root)
    assert set(found) == set(edges)
    for name, (left, top, right, bottom) in found.items():
        assert 0 < left < right < width
        assert 0 < top < bottom < height
        for other, (x, y, to_x, to_y) in found.items():
            assert other == name or x >= right or to_x <= left or y >= bottom or to_y <= top
        for source in edges[name]:
            assert found[source][2] < left
    heads = root.findall(f".//{_SVG}path[@class='head']")
    assert len(heads) == sum(map(len, reduced(edges).values()))


@pytest.mark.parametrize("write", [mermaid, dot, svg])
def test_a_dag_without_tasks_is_still_a_picture(write: object) -> None:
    assert callable(write)
    assert "empty" in write(Picture(title="empty", shapes=(), edges={}))
