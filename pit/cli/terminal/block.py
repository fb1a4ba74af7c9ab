"""A block of lines at the foot of the terminal, drawn anew ten times a second.

A reader that goes away makes it silent and never disturbs the work that it shows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from pit.cli.terminal.console import Console, cells, erased, fit, rows

_FRAME_SECONDS = 0.1

Pieces = Sequence[tuple[str, str]]
"""A line as (text, style) pieces, so that it can be cut before it is painted."""


class Block:
    """Shows what `lines` answers while its `with` lasts; in the end nothing of it is left."""

    def __init__(self, console: Console, lines: Callable[[], Sequence[Pieces]]) -> None:
        self._console = console
        self._lines = lines
        self._drawn: list[int] = []
        self._gone = False
        self._ended = threading.Event()
        self._painter = threading.Thread(target=self._paint, name="block", daemon=True)

    def __enter__(self) -> Block:
        self._painter.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._painter.join()
        self._draw([])

    def _paint(self) -> None:
        while not self._ended.wait(_FRAME_SECONDS):
            self._draw(self._lines())

    def _draw(self, lines: Sequence[Pieces]) -> None:
        """Replace the block in one write: erase, the lines."""
        window = self._console.width or 80
        width = window - 1
        text = erased(rows(self._drawn, window)) if self._drawn else ""
        text += "".join(f"{self._painted(line, width)}\n" for line in lines)
        self._drawn = [min(sum(cells(text) for text, _ in line), width) for line in lines]
        if not text or self._gone:
            return
        try:
            self._console.write(text)
        except (OSError, ValueError):  # EPIPE, EIO; ValueError: the stream was closed
            self._gone = True

    def _painted(self, line: Pieces, width: int) -> str:
        kept = []
        for text, style in line:
            piece = fit(text, width) if width > 0 else ""
            width -= cells(piece)
            kept.append(self._console.paint(piece, style))
        return "".join(kept)
