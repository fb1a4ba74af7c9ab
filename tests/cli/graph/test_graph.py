"""`pit graph`, by the real command."""

from __future__ import annotations

import re
from textwrap import dedent
from xml.etree import ElementTree

import pytest

from tests.builder import Pit
from tests.cli.terminal.test_terminal import typed

SALES = """
[dag]
description = "Sales of the day"
[[tasks]]
name = "extract"
script = "copy.sh"
inputs = ["data/orders.csv"]
targets = ["out/raw.csv"]
env = { MAKES = "out/raw.csv" }
[[tasks]]
name = "report"
script = "copy.sh"
inputs = ["out/raw.csv", "data/{region}.txt"]
targets = ["out/{region}.txt"]
env = { MAKES = "out/{region}.txt" }
[tasks.matrix]
region = ["north", "south"]
[[tasks]]
name = "mail"
script = "mail.sh"
depends_on = ["report", "extract"]
"""


@pytest.fixture
def shop(pit: Pit) -> Pit:
    """A DAG whose tracked tasks copy, and whose last one fails while there is no address."""
    pit.project("sales").toml(SALES)
    pit.file("copy.sh", 'mkdir -p out; cat data/* > "$MAKES"').file("mail.sh", "exit 3")
    for name in ("orders.csv", "north.txt", "south.txt"):
        pit.file(f"data/{name}", name)
    return pit


def standings(pit: Pit, *args: str) -> dict[str, str]:
    """How each task stands."""
    return {task["task"]: task["standing"] for task in pit.run(*args, "--json").ok().json["tasks"]}


def test_a_dag_that_never_ran(shop: Pit) -> None:
    assert shop.run("graph", "sales").ok().out == dedent("""\
        sales  Sales of the day

         ╭───────────╮
         │ ● extract │
         ╰─────┬─────╯
               │
        ╭──────┴──────╮
        │ ● report ×2 │
        ╰──────┬──────╯
               │
          ╭────┴────╮
          │ » mail  │
          ╰─────────╯

        ● 2 stale   » 1 always
    """)


def test_tasks_show_how_they_stand(shop: Pit) -> None:
    shop.run("run", "sales").fails(1)
    graph = ("graph", "sales")
    assert standings(shop, *graph) == {"extract": "current", "report": "current", "mail": "failed"}
    shop.file("data/north.txt", "other")
    lines = shop.run(*graph, "--compact").ok().out.splitlines()
    assert lines[2].startswith("✓  extract    current       since run ")
    assert lines[3].startswith("●  report ×2  1 of 2 stale  data/north.txt changed")
    assert lines[4].startswith("✗  mail       failed        exit code 3")
    shop.file("data/orders.csv", "other")
    each = standings(shop, *graph, "--instances")
    assert each == {
        "extract": "stale",
        "report:north": "stale",
        "report:south": "deferred",
        "mail": "failed",
    }


def test_json(shop: Pit) -> None:
    view = shop.run("graph", "sales", "--json", "--bare").ok().json
    assert (view["dag"], view["description"]) == ("sales", "Sales of the day")
    assert view["tasks"][1] == {
        "task": "report",
        "depends_on": ["extract"],
        "runner": "bash",
        "standing": None,
        "why": "",
        "instances": 2,
    }
    assert view["tasks"][2]["depends_on"] == ["report", "extract"]


def test_a_part_of_it(shop: Pit) -> None:
    shop.project("sales").toml(SALES + '[[tasks]]\nname = "other"\nscript = "mail.sh"\n')
    assert set(standings(shop, "graph", "sales/report")) == {"extract", "report", "mail"}
    assert set(standings(shop, "graph", "sales/+report")) == {"extract", "report"}
    assert set(standings(shop, "graph", "sales/report+")) == {"report", "mail"}
    shop.run("graph", "sales/nothing").fails(2, 'task "nothing" not found')
    shop.run("graph", "nothing").fails(2, 'DAG "nothing" not found')


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("sales.svg", "<svg "),
        ("sales.mmd", "---\ntitle:"),
        ("sales.gv", 'digraph "sales"'),
        ("sales.txt", "sales  Sales of the day"),
    ],
)
def test_a_file_is_written_in_the_format_of_its_name(shop: Pit, name: str, begins: str) -> None:
    done = shop.run("graph", "sales", "-o", str(shop.root / name)).ok()
    assert (done.out, name in done.err) == ("", True)
    text = (shop.root / name).read_text()
    assert text.startswith(begins)
    form = {"<svg ": "svg", "---\ntitle:": "mermaid", 'digraph "sales"': "dot"}.get(begins, "text")
    assert shop.run("graph", "sales", "--format", form).ok().out == text


def test_a_format_that_it_does_not_draw_is_refused(shop: Pit) -> None:
    shop.run("graph", "sales", "-o", "sales.png").fails(2, 'cannot draw ".png"', "svg")
    assert not (shop.root / "sales.png").exists()


def test_svg_tells_standings_and_reasons(shop: Pit) -> None:
    shop.run("run", "sales").fails(1)
    root = ElementTree.fromstring(shop.run("graph", "sales", "--format", "svg").ok().out)
    groups = [group.attrib["class"] for group in root.iter("{http://www.w3.org/2000/svg}g")]
    assert groups == ["lines", "task current", "task current", "task failed"]


def test_without_a_required_parameter_the_tasks_are_drawn_alone(shop: Pit) -> None:
    params = '[dag.params]\nday = { type = "date" }\n'
    shop.project("sales").toml(SALES.replace("[[tasks]]", f"{params}[[tasks]]", 1))
    done = shop.run("graph", "sales").ok()
    assert 'parameter "day" is required' in done.err
    assert "│ report ×2 │" in done.out
    assert "stale" in shop.run("graph", "sales", "-p", "day=2026-01-31").ok().out
    shop.run("graph", "sales", "-p", "day=never").fails(2, "day")


def test_a_matrix_whose_values_are_not_there_yet(shop: Pit) -> None:
    text = SALES.replace('region = ["north", "south"]', 'region = { file = "regions.txt" }')
    shop.project("sales").toml(text)
    done = shop.run("graph", "sales").ok()
    assert "regions.txt" in done.err
    assert "report ×n" in done.out
    assert done.out.count("extract") == 1


def test_lines_that_follow_from_others_are_left_out_only_of_drawings(shop: Pit) -> None:
    assert '"extract" -> "mail"' in shop.run("graph", "sales", "--format", "dot").ok().out
    svg = shop.run("graph", "sales", "--format", "svg").ok().out
    assert svg.count('class="head"') == 2


def test_a_wide_dag_gets_a_line_for_each_task_and_a_huge_one_no_svg(pit: Pit) -> None:
    names = [f"t{number:04}" for number in range(2001)]
    tasks = [f'[[tasks]]\nname = "{name}"\nscript = "a.sh"\n' for name in names]
    last = f'[[tasks]]\nname = "all"\nscript = "a.sh"\ndepends_on = {names[:90]}\n'
    pit.project("wide").toml("".join([*tasks, last]).replace("'", '"')).file("a.sh", "")
    out = pit.run("graph", "wide", "--bare").ok().out
    assert len(out.splitlines()) == 2004
    assert "after t0000, t0001, " in out
    pit.run("graph", "wide", "--format", "svg", "--bare").fails(2, "2,002 tasks are too many")
    part = pit.run("graph", "wide/all", "--format", "svg", "--bare").ok().out
    assert part.count("<title>") == 92


def test_on_a_terminal_it_is_coloured_and_fits(shop: Pit) -> None:
    code, text = typed(shop, "graph", "sales", columns=80)
    assert code == 0
    assert "\x1b[33m│\x1b[0m \x1b[33m● extract\x1b[0m \x1b[33m│\x1b[0m" in text
    narrow = typed(shop, "graph", "sales", columns=14)[1]
    plain = re.sub(r"\x1b\[[0-9;]*m", "", narrow)
    assert "╭" not in plain
    assert "extract" in plain
