"""A result set as a text table: bounded in rows and width, safe for any text, NULL kept apart."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

ROWS = 20
"""How many rows of a result set are shown."""
CELL = 60
"""The widest a cell is drawn, in terminal columns."""
WIDTH = 160
"""The widest a table is drawn, in terminal columns; columns that do not fit are counted."""


def render(
    columns: Sequence[str], numeric: Sequence[bool], rows: Sequence[Sequence[str | None]]
) -> str:
    """The table, without a newline at its end."""
    cells = [[_cell(column) for column in columns]]
    cells += [["NULL" if value is None else _cell(value) for value in row] for row in rows]
    widths = [max(width(row[i]) for row in cells) for i in range(len(columns))]
    shown = _fitting(widths)
    lines = [_line(row, widths[:shown], numeric) for row in cells]
    lines.insert(1, "  ".join("─" * size for size in widths[:shown]))
    if shown < len(columns):
        lines.append(_left_out(columns, shown))
    return "\n".join(lines)


def _left_out(columns: Sequence[str], shown: int) -> str:
    names = ", ".join(_cell(name) for name in columns[shown:])
    count = len(columns) - shown
    return clip(f"… and {count} more column{'s' if count > 1 else ''}: {names}", WIDTH)


def _fitting(widths: Sequence[int]) -> int:
    """How many columns fit; at least one."""
    used = 0
    for count, size in enumerate(widths):
        used += size + 2
        if used - 2 > WIDTH and count:
            return count
    return len(widths)


def _line(row: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    padded = (_pad(*cell) for cell in zip(row, widths, numeric, strict=False))
    return "  ".join(padded).rstrip()


def _pad(text: str, size: int, right: bool) -> str:
    space = " " * (size - width(text))
    return space + text if right else text + space


def _cell(text: str) -> str:
    return clip(visible(text), CELL)


def visible(text: str) -> str:
    """`text` in one line, with everything that would move the cursor written as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if _prints(c) else _escape(c) for c in text)


def _prints(char: str) -> bool:
    # Format characters include those that turn the direction of a line around; joiners are
    # harmless and needed to write some languages and emoji.
    return char.isprintable() or char in "\u200c\u200d"


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def width(text: str) -> int:
    """How many terminal columns `text` takes."""
    if text.isascii():
        return len(text)
    return sum(_char_width(char) for char in text)


def _char_width(char: str) -> int:
    if unicodedata.combining(char) or char in "\u200c\u200d\ufe0e\ufe0f":
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def clip(text: str, limit: int) -> str:
    """`text`, cut to at most `limit` terminal columns, the cut marked."""
    if len(text) <= limit // 2 or width(text) <= limit:
        return text
    used = 0
    for count, char in enumerate(text):
        used += _char_width(char)
        if used > limit - 1:
            return text[:count] + "…"
    return text
