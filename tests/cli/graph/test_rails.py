"""One line a task beside rails: what is drawn, followed with the finger, is the graph."""

from __future__ import annotations

from textwrap import dedent

from hypothesis import given

from pit.cli.graph.rails import rails
from pit.views.graph.layout import reduced
from tests.config.graphs import Edges, acyclic


def drawn(edges: Edges, width: int = 500, unicode: bool = True) -> list[tuple[str, str]] | None:
    """Each task with what stands before it."""
    return rails(edges, dict.fromkeys(edges, "●"), width, unicode)


def readers(lines: list[tuple[str, str]], start: int) -> set[str]:
    """The tasks that one meets on the rail that begins at a line."""
    lane = lines[start][1].index("●")
    found: set[str] = set()
    for name, text in lines[start + 1 :]:
        here = text[lane] if lane < len(text) else " "
        if here not in "│├┤┼┴╰╯●":
            break
        if here == "●":
            # Its own line begins here, unless the rail ends in it.
            return found | {name}
        if here != "│":
            between = text[min(lane, text.index("●")) : max(lane, text.index("●"))]
            assert " " not in between
            found.add(name)
        if here in "┴╰╯":
            break
    return found


@given(acyclic(12))
def test_following_the_rails_gives_the_graph(edges: Edges) -> None:
    edges = reduced(edges)
    lines = drawn(edges)
    assert lines is not None
    for at, (name, _) in enumerate(lines):
        wanted = {to for to, sources in edges.items() if name in sources}
        if wanted:
            assert readers(lines, at) == wanted


def test_rails_end_at_the_last_task_that_reads_them() -> None:
    edges = {
        "extract": (),
        "clean": ("extract",),
        "rates": (),
        "load": ("clean", "rates"),
        "archive": ("extract",),
    }
    lines = drawn(edges)
    assert lines is not None
    assert "\n".join(f"{text:<5} {name}" for name, text in lines) + "\n" == dedent("""\
        ●     extract
        ├─●   clean
        │ │ ● rates
        │ ●─╯ load
        ●     archive
    """)


def test_a_line_that_crosses_a_rail_is_broken() -> None:
    edges = {"a": (), "b": (), "c": ("a",), "d": ("c", "b"), "e": ("a", "b")}
    lines = drawn(edges)
    assert lines is not None
    assert dict(lines)["c"] == "├─│─●"
    ascii_lines = drawn(edges, unicode=False)
    assert ascii_lines is not None
    assert dict(ascii_lines)["c"] == "+-|-●"


def test_too_many_rails_are_not_drawn() -> None:
    edges: Edges = {f"n{i}": () for i in range(30)}
    edges["all"] = tuple(edges)
    assert drawn(edges, 59) is not None
    assert drawn(edges, 58) is None
