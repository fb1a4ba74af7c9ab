"""Boxes and lines on the terminal: what is drawn, followed with the finger, is the graph."""

from __future__ import annotations

import re
from textwrap import dedent

from hypothesis import given

from pit.cli.graph.boxes import Label, boxes
from pit.views.graph.layout import reduced
from tests.config.graphs import Edges, acyclic

_DIRECTIONS = {
    "│": "NS", "─": "EW", "╭": "ES", "╮": "SW", "╰": "NE", "╯": "NW",
    "├": "NES", "┤": "NSW", "┬": "ESW", "┴": "NEW", "┼": "NESW",
}  # fmt: skip
_STEPS = {"N": (-1, 0), "E": (0, 1), "S": (1, 0), "W": (0, -1)}
_BACK = {"N": "S", "S": "N", "E": "W", "W": "E"}


def drawn(edges: Edges, width: int = 500, unicode: bool = True) -> list[str] | None:
    """The lines of a drawing as plain text."""
    lines = boxes(edges, {name: Label(name) for name in edges}, width, unicode)
    return None if lines is None else ["".join(text for text, _ in line) for line in lines]


def shown(edges: Edges, **options: bool) -> str:
    """The drawing as one text."""
    return "\n".join(drawn(edges, **options) or ())


class Sheet:
    """A drawing that can be followed."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.tops: dict[tuple[int, int], str] = {}
        self.bottoms: dict[tuple[int, int], str] = {}
        for row, line in enumerate(lines):
            for box in re.finditer(r"│ (n\d+) +(?=│)", line):
                for column in range(box.start(), box.end() + 1):
                    self.tops[row - 1, column] = box[1]
                    self.bottoms[row + 1, column] = box[1]

    def at(self, row: int, column: int) -> str:
        """The character at a place."""
        line = self.lines[row] if row < len(self.lines) else ""
        return line[column] if column < len(line) else " "

    def targets(self, name: str) -> set[str]:
        """Where one gets from the bottom of a box."""
        found: set[str] = set()
        seen: set[tuple[int, int, str]] = set()
        todo = [
            (*place, "S")
            for place, owner in self.bottoms.items()
            if owner == name and self.at(*place) == "┬"
        ]
        while todo:
            row, column, way = step = todo.pop()
            row, column = row + _STEPS[way][0], column + _STEPS[way][1]
            if step in seen:
                continue
            seen.add(step)
            if way == "S" and (row, column) in self.tops:
                assert self.at(row, column) == "┴"
                found.add(self.tops[row, column])
                continue
            if way == "N" and (row, column) in self.bottoms:
                assert self.bottoms[row, column] == name, "the line leads into another box"
                continue
            here = self.at(row, column)
            if here == "│" and way in "EW":  # another line goes down here
                todo.append((row, column, way))
                continue
            assert _BACK[way] in _DIRECTIONS[here], f"the line breaks off at {row}:{column}"
            todo += [(row, column, on) for on in _DIRECTIONS[here] if on != _BACK[way]]
        return found


@given(acyclic(12))
def test_following_the_lines_gives_the_graph(edges: Edges) -> None:
    edges = reduced(edges)
    lines = drawn(edges)
    if lines is None:  # it cannot be drawn clearly: the caller has another way
        return
    sheet = Sheet(lines)
    for name in edges:
        assert sheet.targets(name) == {to for to, sources in edges.items() if name in sources}


def test_most_graphs_can_be_drawn() -> None:
    grid = {f"n{i}": tuple(f"n{j}" for j in (i - 3, i - 4) if j >= 0) for i in range(12)}
    complete = {f"n{i}": ("n0", "n1", "n2") if i > 2 else () for i in range(6)}
    for edges in (grid, complete):
        assert drawn(edges) is not None


def test_a_chain() -> None:
    assert shown({"load": ("extract",), "extract": ()}) == dedent("""\
        ╭─────────╮
        │ extract │
        ╰────┬────╯
             │
         ╭───┴───╮
         │ load  │
         ╰───────╯""")


def test_a_diamond_in_ascii() -> None:
    edges = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
    assert shown(edges, unicode=False) == dedent("""\
            +---+
            | a |
            +-+-+
          +---+---+
        +-+-+   +-+-+
        | b |   | c |
        +-+-+   +-+-+
          +--+ +--+
            ++-++
            | d |
            +---+""")


def test_it_is_not_drawn_wider_than_the_window() -> None:
    edges: Edges = {f"task_{i}": () for i in range(4)}
    lines = drawn(edges)
    assert lines is not None
    width = max(map(len, lines))
    assert drawn(edges, width) == lines
    assert drawn(edges, width - 1) is None


def test_the_box_has_the_colour_of_its_label_and_lines_are_dim() -> None:
    edges = {"a": (), "b": ("a",)}
    lines = boxes(edges, {"a": Label("a", "green"), "b": Label("b", "red")}, 80)
    assert lines is not None
    assert {style for text, style in lines[1] if text.strip()} == {"green"}
    assert [style for text, style in lines[3] if text.strip()] == ["dim"]
    assert {style for text, style in lines[5] if text.strip()} == {"red"}


def test_labels_of_wide_characters_keep_the_box_in_shape() -> None:
    lines = boxes({"a": ()}, {"a": Label("売上")}, 80)
    assert lines is not None
    assert ["".join(text for text, _ in line) for line in lines] == [
        "╭───────╮",
        "│ 売上  │",
        "╰───────╯",
    ]
