"""A DAG on the terminal with one line for each task, beside rails that lead to what reads it.

A rail begins at a task and ends at the last one that depends on it:

    ● extract
    ├─● clean
    │ ├─● report
    ╰─┴─● load

Where a rail crosses a line that leads to another one, the line is broken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pit.cli.graph.strokes import ALONG, DOWN, EAST, NORTH, WEST, glyph
from pit.config.dag.graph import Edges
from pit.views.graph.layout import ordered


def rails(
    edges: Edges, marks: Mapping[str, str], width: int, unicode: bool = True
) -> list[tuple[str, str]] | None:
    """Each task in order, as its name and what stands before it, of `width` cells at most.

    `marks` are the tasks' signs. None if more rails run side by side than there is room for.
    """
    track = _Track(edges)
    lines = []
    for name in ordered(edges):
        lines.append((name, track.line(name, marks[name], unicode)))
        if len(lines[-1][1]) > width:
            return None
    return lines


class _Track:
    """The rails between two lines: in each lane the task whose rail runs there, or nothing."""

    def __init__(self, edges: Edges) -> None:
        self._edges = edges
        self._lanes: list[str | None] = []
        self._left = dict.fromkeys(edges, 0)
        for sources in edges.values():
            for source in sources:
                self._left[source] += 1

    def line(self, name: str, mark: str, unicode: bool) -> str:
        """What stands before a task, and the rails after it."""
        joining = [self._lanes.index(source) for source in self._edges[name]]
        ending = {lane for lane in joining if self._used_up(self._lanes[lane])}
        place = min(ending) if ending else self._free(max(joining, default=-1))
        low, high = min([place, *joining]), max([place, *joining])
        text = ""
        for lane, owner in enumerate(self._lanes):
            strokes = 0 if owner is None else NORTH if lane in ending else DOWN
            if low <= lane <= high and (lane in joining or owner is None):
                strokes |= (EAST if lane < high else 0) | (WEST if lane > low else 0)
            text += mark if lane == place else glyph(strokes, unicode)
            text += glyph(ALONG, unicode) if low <= lane < high else " "
        self._move_on(name, place, ending)
        return text.rstrip()

    def _used_up(self, source: str | None) -> bool:
        """Count off one that depends on it; whether that was the last."""
        assert source is not None, "only a task that has been placed has a rail"
        self._left[source] -= 1
        return not self._left[source]

    def _free(self, beyond: int) -> int:
        """The first lane without a rail to the right of those that join."""
        for lane, owner in enumerate(self._lanes):
            if lane > beyond and owner is None:
                return lane
        self._lanes.append(None)
        return len(self._lanes) - 1

    def _move_on(self, name: str, place: int, ending: Iterable[int]) -> None:
        for lane in ending:
            self._lanes[lane] = None
        if self._left[name]:
            self._lanes[place] = name
        while self._lanes and self._lanes[-1] is None:
            self._lanes.pop()
