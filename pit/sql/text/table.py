"""A result set as a text table: bounded in rows and width, safe for any text, NULL kept apart."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

ROWS = 20
"""How many rows of a result set are shown."""
CELL = 60
"""The widest a cell is drawn, in terminal columns."""
WIDTH = 160
"""The widest a table is drawn where nobody says how much room there is, in terminal columns."""
LOG_WIDTH = 78
"""The widest a table is drawn in a log, where it is indented by two: 80 in all, as logs are read in
windows of any width."""
_NARROWEST = 20
"""What is left of a wide text before a column is left out."""
_UPRIGHT = 3
"""So many rows, if they are too wide, stand upright: a line for each column, and nothing hidden."""
_UPRIGHT_LINES = 48
"""More lines than that are not taken for rows that stand upright."""
_GAP = 2


def render(
    columns: Sequence[str],
    numeric: Sequence[bool],
    rows: Sequence[Sequence[str | None]],
    limit: int = WIDTH,
    remedy: str = "",
) -> str:
    """The table, without a newline at its end, at most `limit` terminal columns wide.

    If it does not fit, long texts are cut first. Then few rows are turned upright; of more rows
    the middle columns are left out, and named in a last line. `remedy` tells there how to see them.
    """
    numeric = [*numeric, *[False] * (len(columns) - len(numeric))]
    cells = [[_cell(column) for column in columns]]
    cells += [["NULL" if value is None else _cell(value) for value in row] for row in rows]
    widths = [max(width(row[i]) for row in cells) for i in range(len(columns))]
    _narrow(widths, numeric, limit)
    if _needed(widths) <= limit or len(columns) == 1:
        return _lines(cells, widths, numeric)
    if 0 < len(rows) <= _UPRIGHT and len(rows) * (len(columns) + 1) <= _UPRIGHT_LINES:
        return _upright(cells, limit)
    head, tail = _outer(widths, limit)
    at = len(columns) - tail
    kept = [[*row[:head], "…", *row[at:]] for row in cells]
    shown = _lines(kept, [*widths[:head], 1, *widths[at:]], [*numeric[:head], False, *numeric[at:]])
    return f"{shown}\n{_left_out(cells[0], head, at, limit, remedy)}"


def _narrow(widths: list[int], numeric: Sequence[bool], limit: int) -> None:
    """Take room from the widest texts until the row fits, or all are short; never from numbers."""
    texts = [at for at, size in enumerate(widths) if size > _NARROWEST and not numeric[at]]
    while texts and _needed(widths) > limit:
        widest = max(texts, key=lambda at: widths[at])
        if widths[widest] <= _NARROWEST:
            return
        widths[widest] -= 1


def _needed(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _outer(widths: Sequence[int], limit: int) -> tuple[int, int]:
    """How many of the first and of the last columns fit, in turns; at least the first one."""
    head, tail = 1, 0
    room = limit - widths[0] - _GAP - 1
    while head + tail < len(widths) - 1:
        size = widths[-tail - 1] if tail < head else widths[head]
        room -= size + _GAP
        if room < 0:
            break
        if tail < head:
            tail += 1
        else:
            head += 1
    return head, tail


def _left_out(names: Sequence[str], head: int, at: int, limit: int, remedy: str) -> str:
    count = at - head
    are = f"column{'s are' if count > 1 else ' is'} not shown{f' ({remedy})' if remedy else ''}"
    return clip(f"… {count} of {len(names)} {are}: {', '.join(names[head:at])}", limit)


def _upright(cells: Sequence[Sequence[str]], limit: int) -> str:
    """Each row as a block, a line for each column."""
    names, *rows = cells
    room = min(max(map(width, names)), limit // 2)
    indent = _GAP if len(rows) > 1 else 0
    lines = []
    for number, row in enumerate(rows, 1):
        if indent:
            lines.append(f"row {number}")
        for name, value in zip(names, row, strict=True):
            line = " " * indent + _pad(clip(name, room), room, False) + " " * _GAP + value
            lines.append(clip(line.rstrip(), limit))
    return "\n".join(lines)


def _lines(cells: Sequence[Sequence[str]], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    lines = [_line(row, widths, numeric) for row in cells]
    lines.insert(1, (" " * _GAP).join("─" * size for size in widths))
    return "\n".join(lines)


def _line(row: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    padded = (
        _pad(clip(text, size), size, right)
        for text, size, right in zip(row, widths, numeric, strict=True)
    )
    return (" " * _GAP).join(padded).rstrip()


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
