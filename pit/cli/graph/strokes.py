"""Lines made of characters: which one joins the strokes that meet in a cell of the terminal."""

from __future__ import annotations

from collections.abc import Iterable

NORTH, EAST, SOUTH, WEST = 1, 2, 4, 8
DOWN, ALONG = NORTH | SOUTH, EAST | WEST

_GLYPHS = " ╵╶╰╷│╭├╴╯─┴╮┤┬┼"
_GLYPHS_ASCII = " |-+||++-+-+++++"


def glyph(strokes: int, unicode: bool = True) -> str:
    """The character for a sum of directions."""
    return (_GLYPHS if unicode else _GLYPHS_ASCII)[strokes]


def crossing(strokes: Iterable[int]) -> int:
    """What is seen where several lines meet: one that goes down hides those below it."""
    union = 0
    for stroke in strokes:
        if stroke == DOWN:
            return DOWN
        union |= stroke
    return union
