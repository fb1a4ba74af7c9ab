"""A DAG on the terminal as boxes in layers, with lines from what is read to what reads it.

Every line between two layers has its own way: it goes down from the middle of a box, along a
track that belongs to no other line there, and down again into a place of its own in the next
box. Where two cross, the one that goes down is drawn through and the other is broken.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from pit.cli.graph.strokes import DOWN, EAST, NORTH, SOUTH, WEST, crossing, glyph
from pit.cli.terminal.block import Pieces
from pit.cli.terminal.console import cells
from pit.config.dag.graph import Edges
from pit.views.graph.layout import Bend, Layered, Node, layered

_GAP = 3
_PORTS_APART = 2


class Label(NamedTuple):
    """What stands in a box, and its colour."""

    text: str
    style: str = ""


def boxes(
    edges: Edges, labels: Mapping[str, Label], width: int, unicode: bool = True
) -> list[Pieces] | None:
    """The lines of the drawing; None if it is wider than `width`, or cannot be drawn clearly."""
    sizes = {name: _size(labels[name].text, len(tuple(edges[name]))) for name in edges}
    drawn = layered(edges, lambda node: 1 if isinstance(node, Bend) else sizes[node], _GAP)
    right = max((drawn.centres[name] + sizes[name] // 2 for name in edges), default=0)
    if right >= width:
        return None
    page = _Page(unicode)
    row = 0
    above: Sequence[Node] = ()
    for layer in drawn.layers:
        entries = _entries(layer, above, drawn, sizes)
        if above:
            wires = _wires(above, drawn, entries)
            tracks = _tracks(wires)
            if tracks is None:
                return None
            row += page.channel(row, wires, tracks)
        for node in layer:
            if isinstance(node, Bend):
                page.post(row, drawn.centres[node])
            else:
                leaves = bool(drawn.lines[node])
                span = (drawn.centres[node], sizes[node])
                page.box(row, span, labels[node], entries[node].values(), leaves)
        row += 3
        above = layer
    return page.lines()


def _size(text: str, entries: int) -> int:
    """The width of a box, always odd: its text with borders, or room for its lines to arrive."""
    return max(cells(text) + 4, _PORTS_APART * entries + 1) | 1


# ---------------------------------------------------------------- where lines arrive

Entries = Mapping[Node, Mapping[Node, int]]
"""The column in which each line arrives, by the node below and the node above."""


def _entries(
    layer: Sequence[Node], upper: Sequence[Node], drawn: Layered, sizes: Mapping[str, int]
) -> Entries:
    """Straight from above where it can be, else near the middle, and apart from each other."""
    above: dict[Node, list[Node]] = {node: [] for node in layer}
    for source in upper:
        for target in drawn.lines[source]:
            above[target].append(source)
    return {
        node: {source: drawn.centres[node] for source in sources}
        if isinstance(node, Bend)
        else _ports(drawn.centres[node], sizes[node] // 2 - 1, sources, drawn.centres)
        for node, sources in above.items()
    }


def _ports(
    centre: int, reach: int, sources: Sequence[Node], centres: Mapping[Node, int]
) -> dict[Node, int]:
    """A column for each line: of two ways to give room, the one that leaves more lines straight."""
    ordered = sorted(sources, key=centres.__getitem__)
    columns = [centres[source] - centre for source in ordered]
    mirrored = _apart([-column for column in reversed(columns)], reach)
    ways = (_apart(columns, reach), [-column for column in reversed(mirrored)])
    best = max(ways, key=lambda way: sum(map(int.__eq__, way, columns)))
    return {source: centre + column for source, column in zip(ordered, best, strict=True)}


def _apart(columns: Sequence[int], reach: int) -> list[int]:
    """Columns at most `reach` from the middle, straight below where that is possible."""
    last = len(columns) - 1
    found: list[int] = []
    least = -reach
    for place, straight in enumerate(columns):
        wanted = straight if abs(straight) <= reach else _PORTS_APART * place - last
        found.append(min(max(wanted, least), reach - _PORTS_APART * (last - place)))
        least = found[-1] + _PORTS_APART
    return found


# ---------------------------------------------------------------- tracks


class Wire(NamedTuple):
    """The lines from one node to the next layer: the column it leaves, and those it arrives in."""

    start: int
    ends: tuple[int, ...]

    @property
    def low(self) -> int:
        """The leftmost column."""
        return min(self.start, *self.ends)

    @property
    def high(self) -> int:
        """The rightmost column."""
        return max(self.start, *self.ends)

    @property
    def straight(self) -> bool:
        """Whether it only goes down."""
        return self.low == self.high


def _wires(upper: Sequence[Node], drawn: Layered, entries: Entries) -> list[Wire]:
    return [
        Wire(drawn.centres[node], tuple(entries[target][node] for target in drawn.lines[node]))
        for node in upper
        if drawn.lines[node]
    ]


def _tracks(wires: Sequence[Wire]) -> dict[Wire, int] | None:
    """The track of every wire that is not straight, 0 the highest; None if that cannot be.

    Where one wire leaves above the column in which another arrives, it must turn off first.
    """
    leaving = {wire.start: wire for wire in wires}
    before = {
        wire: [leaving[end] for end in wire.ends if end in leaving and leaving[end] is not wire]
        for wire in wires
    }
    found: dict[Wire, int] = {}
    taken: list[list[Wire]] = []
    waiting = sorted((wire for wire in wires if not wire.straight), key=_turn)
    while waiting:
        ready = [w for w in waiting if all(o in found or o.straight for o in before[w])]
        if not ready:
            return None
        wire = ready[0]
        waiting.remove(wire)
        least = 1 + max((found[other] for other in before[wire] if other in found), default=-1)
        found[wire] = _free_track(wire, taken, least)
    return found


def _turn(wire: Wire) -> int:
    """Of wires that turn the same way, the one that is ahead turns first: so they do not cross."""
    return -wire.start if sum(wire.ends) > wire.start * len(wire.ends) else wire.start


def _free_track(wire: Wire, taken: list[list[Wire]], least: int) -> int:
    for track, others in enumerate(taken):
        if track >= least and all(o.high < wire.low or o.low > wire.high for o in others):
            others.append(wire)
            return track
    taken.append([wire])
    return len(taken) - 1


# ---------------------------------------------------------------- the page


class _Page:
    """Characters with colours by row and column, and the strokes that make lines of them."""

    def __init__(self, unicode: bool) -> None:
        self._unicode = unicode
        self._strokes: dict[tuple[int, int], list[int]] = {}
        self._written: dict[tuple[int, int], Label] = {}

    def channel(self, row: int, wires: Sequence[Wire], tracks: Mapping[Wire, int]) -> int:
        """Draw the wires below `row`; how many rows that took."""
        height = 1 + max(tracks.values(), default=0)
        for wire in wires:
            self._wire(row, height, wire, tracks.get(wire, 0))
        return height

    def _wire(self, row: int, height: int, wire: Wire, track: int) -> None:
        turn = row + track
        strokes: dict[tuple[int, int], int] = {}

        def add(at: int, column: int, stroke: int) -> None:
            strokes[at, column] = strokes.get((at, column), 0) | stroke

        for at in range(row, turn):
            add(at, wire.start, DOWN)
        add(turn, wire.start, NORTH)
        for column in range(wire.low, wire.high + 1):
            add(turn, column, EAST if column < wire.high else 0)
            add(turn, column, WEST if column > wire.low else 0)
        for end in wire.ends:
            add(turn, end, SOUTH)
            for at in range(turn + 1, row + height):
                add(at, end, DOWN)
        for place, stroke in strokes.items():
            self._strokes.setdefault(place, []).append(stroke)

    def post(self, row: int, column: int) -> None:
        """A line that passes a layer of boxes."""
        for at in range(row, row + 3):
            self._strokes.setdefault((at, column), []).append(DOWN)

    def box(
        self,
        row: int,
        span: tuple[int, int],
        label: Label,
        entries: Collection[int],
        leaves: bool,
    ) -> None:
        """A box around a label, with the places where lines arrive and where they leave."""
        centre, size = span
        left, right = centre - size // 2, centre + size // 2
        arriving = set(entries)
        for column in range(left, right + 1):
            sides = (EAST if column < right else 0) | (WEST if column > left else 0)
            corner = column in (left, right)
            top = sides | (SOUTH if corner else 0) | (NORTH if column in arriving else 0)
            bottom = sides | (NORTH if corner else 0)
            bottom |= SOUTH if leaves and column == centre else 0
            self._write(row, column, Label(self._glyph(top), label.style))
            self._write(row + 2, column, Label(self._glyph(bottom), label.style))
        self._write(row + 1, left, Label(self._glyph(DOWN), label.style))
        self._write(row + 1, right, Label(self._glyph(DOWN), label.style))
        self._write(row + 1, centre - cells(label.text) // 2, label)

    def _glyph(self, strokes: int) -> str:
        return glyph(strokes, self._unicode)

    def _write(self, row: int, column: int, label: Label) -> None:
        self._written[row, column] = label

    def lines(self) -> list[Pieces]:
        """All of it, row by row."""
        rows: dict[int, dict[int, Label]] = {}
        for (row, column), strokes in self._strokes.items():
            rows.setdefault(row, {})[column] = Label(self._glyph(crossing(strokes)), "dim")
        for (row, column), label in self._written.items():
            rows.setdefault(row, {})[column] = label
        return [_pieces(rows[row]) for row in sorted(rows)]


def _pieces(row: Mapping[int, Label]) -> Pieces:
    """A row of characters as pieces, neighbours of one colour in one."""
    pieces: list[tuple[str, str]] = []
    at = 0
    for column in sorted(row):
        text, style = row[column]
        if column > at:
            pieces.append((" " * (column - at), ""))
        elif pieces and pieces[-1][1] == style:
            text = pieces.pop()[0] + text
        pieces.append((text, style))
        at = column + cells(row[column].text)
    return pieces
