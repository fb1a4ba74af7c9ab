"""A picture of a DAG for other programs: what is drawn, in JSON, in Mermaid and in DOT."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from pit.model import Record


class Standing(StrEnum):
    """How a task stands: what a run would do with it, or that the last one failed in it."""

    FAILED = "failed"
    STALE = "stale"
    DEFERRED = "deferred"
    ALWAYS = "always"
    CURRENT = "current"


class Colours(NamedTuple):
    """Of a box: its ground and its line, on a light page and on a dark one."""

    fill: str
    line: str
    dark_fill: str
    dark_line: str


COLOURS: Mapping[Standing | None, Colours] = {
    Standing.FAILED: Colours("#fdeaea", "#d13b3b", "#3c1f22", "#f07178"),
    Standing.STALE: Colours("#fff3dc", "#d08a1d", "#3a2e18", "#e6b450"),
    Standing.DEFERRED: Colours("#fffbf2", "#d9b36c", "#2a2620", "#b8945a"),
    Standing.ALWAYS: Colours("#e8f0fe", "#3f78d8", "#1c2c47", "#79aef5"),
    Standing.CURRENT: Colours("#e6f5ea", "#2f9552", "#1b3325", "#6cc788"),
    None: Colours("#f4f5f7", "#8b95a3", "#23282f", "#8b95a3"),
}
"""The colours of each standing, the same in every format; None where it is not known."""


class Shape(Record):
    """One task: its name, what stands in its box, how it stands and why.

    `instances` is how many a matrix makes of it, 0 where that is not known.
    """

    name: str
    runner: str = ""
    standing: Standing | None = None
    word: str = ""
    why: str = ""
    matrix: bool = False
    instances: int = 0

    @property
    def label(self) -> str:
        """The name, and how many there are of it."""
        return f"{self.name} ×{self.instances or 'n'}" if self.matrix else self.name


class Picture(Record):
    """A DAG as it is drawn: shapes in the order of pit.toml, and what each depends on."""

    title: str
    shapes: tuple[Shape, ...]
    edges: dict[str, tuple[str, ...]]
    description: str = ""


# ---------------------------------------------------------------- JSON


class GraphTask(Record):
    """One task in `pit graph --json`; `standing` is null where it is not known, `instances` for
    what is no matrix, or one without values so far."""

    task: str
    depends_on: tuple[str, ...]
    runner: str
    standing: Standing | None
    why: str
    instances: int | None


class GraphView(Record):
    """The shape of `pit graph --json`."""

    dag: str
    description: str
    tasks: tuple[GraphTask, ...]


def graph_view(picture: Picture) -> GraphView:
    """The picture as a record."""
    tasks = [
        GraphTask(
            task=shape.name,
            depends_on=picture.edges[shape.name],
            runner=shape.runner,
            standing=shape.standing,
            why=shape.why,
            instances=shape.instances or None,
        )
        for shape in picture.shapes
    ]
    return GraphView(dag=picture.title, description=picture.description, tasks=tuple(tasks))


# ---------------------------------------------------------------- Mermaid


def mermaid(picture: Picture) -> str:
    """The picture as a Mermaid flowchart, which GitHub, GitLab and many wikis draw."""
    names = {shape.name: f"t{number}" for number, shape in enumerate(picture.shapes, 1)}
    lines = ["---", f"title: {_json(picture.title)}", "---", "flowchart LR"]
    lines += [f"    {names[shape.name]}{_mermaid_box(shape)}" for shape in picture.shapes]
    lines += [
        f"    {names[source]} --> {names[target]}"
        for target, sources in picture.edges.items()
        for source in sources
    ]
    for standing in Standing:
        members = [names[shape.name] for shape in picture.shapes if shape.standing is standing]
        if members:
            fill, line, *_ = COLOURS[standing]
            dashes = ",stroke-dasharray:5 3" if standing is Standing.DEFERRED else ""
            lines.append(f"    classDef {standing} fill:{fill},stroke:{line},color:#1f2328{dashes}")
            lines.append(f"    class {','.join(members)} {standing}")
    return "\n".join(lines) + "\n"


def _mermaid_box(shape: Shape) -> str:
    """A cylinder for SQL, a box with double sides for a matrix, else a rounded box."""
    left, right = ("(", ")")
    if shape.matrix:
        left, right = ("[[", "]]")
    elif shape.runner == "sql":
        left, right = ("[(", ")]")
    return f'{left}"{_mermaid_text(shape.label)}"{right}'


def _mermaid_text(text: str) -> str:
    return text.replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;")


# ---------------------------------------------------------------- DOT


def dot(picture: Picture) -> str:
    """The picture for Graphviz: `pit graph sales --format dot | dot -Tpdf -o sales.pdf`."""
    lines = [
        f"digraph {_json(picture.title)} {{",
        f"    label={_json(picture.title)}; labelloc=t; rankdir=LR;",
        '    node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11];',
        '    edge [color="#8b95a3", arrowsize=0.7];',
        *(f"    {_json(shape.name)} [{_dot_facts(shape)}];" for shape in picture.shapes),
        *(
            f"    {_json(source)} -> {_json(target)};"
            for target, sources in picture.edges.items()
            for source in sources
        ),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _dot_facts(shape: Shape) -> str:
    colours = COLOURS[shape.standing]
    facts = {
        "label": shape.label,
        "fillcolor": colours.fill,
        "color": colours.line,
        "tooltip": ": ".join(filter(None, (shape.word, shape.why))),
    }
    if shape.runner == "sql":
        facts |= {"shape": "cylinder", "style": "filled"}
    if shape.standing is Standing.DEFERRED:
        facts["style"] = "rounded,filled,dashed"
    return ", ".join(f"{key}={_json(value)}" for key, value in facts.items() if value)


def _json(text: str) -> str:
    """A text in quotes, as DOT and YAML read it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + " ".join(escaped.split()) + '"'
