"""The only writer to the terminal: lines, errors, tables, problems with carets, human numbers.

Everything is plain text first. Colour is added on a terminal alone (never with NO_COLOR,
`--no-color` or TERM=dumb), and says nothing that the words do not say. Long cells are cut to
the window on a terminal; in a pipe every line is whole.

Nothing that others wrote (descriptions, file names, the output of tasks) can move the cursor, set
the window's title or clear the screen: lines lose every escape sequence but colours wherever they
go, and bytes lose them on a terminal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from pit.text import regex
from pit.text.control import CONTROL, printable
from pit.text.sizes import size as size

if TYPE_CHECKING:
    from pit.model import Problem

_CODES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
    "bold red": "1;31",
}

STATE_STYLES: Mapping[str, str] = {
    "success": "green",
    "failed": "bold red",
    "upstream_failed": "red",
    "cancelled": "yellow",
    "interrupted": "yellow",
    "running": "cyan",
    "skipped": "dim",
    "pending": "dim",
}
"""The colour of each state of a run or a task, the same on every screen."""

_MARGIN = 2
_SPARKS = "▁▂▃▄▅▆▇█"
_SPARKS_ASCII = "_.:-=+*#"
_COLOUR = r"\x1b\[[0-9;:]*m"
_COMMAND = regex.lazy(f"(?!{_COLOUR})(?:{CONTROL.pattern})")
"""What a line may not hold: all of `CONTROL` but colours."""
_COMMAND_BYTES = regex.lazy(
    rb"(?!\x1b\[[0-9;:]*m)(?:(?:\x1b\[|\xc2\x9b)[0-?]*[ -/]*[@-~]"
    rb"|(?:\x1b\]|\xc2\x9d)[^\x07\x1b\n]*(?:\x07|\x1b\\)?"
    rb"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f])"
)
"""The same in UTF-8 bytes, where a lone carriage return may stay: it moves within its line."""
_C1 = regex.lazy(r"[\x7f-\x9f]")
"""Control characters that JSON lets stand as they are."""


class Cell(NamedTuple):
    """A table cell with a colour; a plain string does where there is none."""

    text: str
    style: str = ""


_WIDEST = 100
"""Cells of a column where nothing is cut: one long text does not pad the lines of all others."""


class Column(NamedTuple):
    """A table column; of the flexible ones the widest is cut first when the window is narrow."""

    title: str
    right: bool = False
    flexible: bool = False


class Console:
    """Standard output, for results, and standard error, for the rest, as Pit writes them."""

    def __init__(
        self,
        out: TextIO | None = None,
        err: TextIO | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._out = _tolerant(sys.stdout if out is None else out)
        self._err = _tolerant(sys.stderr if err is None else err)
        env = os.environ if environ is None else environ
        self._colour = not env.get("NO_COLOR") and env.get("TERM") != "dumb"
        self._dumb = env.get("TERM") == "dumb"
        self.unicode = _encodes(self._out, _SPARKS)
        self._begun = b""

    # -------------------------------------------------------------- what the terminal can do

    @property
    def is_terminal(self) -> bool:
        """Whether standard output is a terminal that understands cursor movement."""
        return self._out.isatty() and not self._dumb

    @property
    def width(self) -> int | None:
        """Cells per line of the window; None in a pipe, where nothing is cut."""
        if not self._out.isatty():
            return None
        try:
            return os.get_terminal_size(self._out.fileno()).columns or 80
        except OSError:
            return 80

    @property
    def height(self) -> int:
        """Lines of the window, 24 where that is unknown."""
        try:
            return os.get_terminal_size(self._out.fileno()).lines or 24
        except (OSError, ValueError):
            return 24

    def without_colour(self) -> None:
        """Write no colours from here on (`--no-color`)."""
        self._colour = False

    def paint(self, text: str, style: str) -> str:
        """`text` in a colour, if standard output shows colours."""
        return _painted(text, style) if style and self._colours(self._out) else text

    def _colours(self, stream: TextIO) -> bool:
        return self._colour and stream.isatty()

    # -------------------------------------------------------------- writing

    def out(self, text: str = "") -> None:
        """Write one line (or several) to standard output, at once."""
        self.write(harmless(text) + "\n")

    def prose(self, text: str, hang: str = "") -> None:
        """Write one line, on a terminal broken between words; `hang` begins what follows."""
        self.out(self.broken(text, hang))

    def broken(self, text: str, hang: str = "") -> str:
        """A line as `prose` writes it: several where a terminal is narrower."""
        width = self.width
        if width is not None and cells(text) > width > len(hang) + 20:
            import textwrap  # only where something has to be broken

            indent = text[: len(text) - len(text.lstrip())]
            text = textwrap.fill(
                text.lstrip(),
                width,
                initial_indent=indent,
                subsequent_indent=hang,
                break_long_words=False,
                break_on_hyphens=False,
            )
        return text

    def write(self, text: str) -> None:
        """Write text to standard output as it is, at once."""
        self._out.write(text)
        self._out.flush()

    def raw(self, data: bytes | memoryview) -> None:
        """Write bytes to standard output, at once: as they are, on a terminal made harmless."""
        if self._out.isatty():
            data = self._harmless(bytes(data))
        binary = getattr(self._out, "buffer", None)
        if binary is None:
            self.write(bytes(data).decode("utf-8", "replace"))
            return
        self._out.flush()
        binary.write(data)
        binary.flush()

    def _harmless(self, data: bytes) -> bytes:
        """Bytes without what would command the terminal; a character begun waits for its end."""
        data = self._begun + data
        self._begun = b"\xc2" if data.endswith(b"\xc2") else b""
        return _COMMAND_BYTES.sub(b"", data.removesuffix(self._begun) if self._begun else data)

    def note(self, text: str = "") -> None:
        """Write one line to standard error, at once: what goes beside the result."""
        self._err.write(harmless(text) + "\n")
        self._err.flush()

    def ask(self, question: str) -> bool | None:
        """Ask a question that only a yes answers; None where nobody is there to answer."""
        if not (sys.stdin.isatty() and self._err.isatty()):
            return None
        self._err.write(f"{harmless(question)} [y/N] ")
        self._err.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    @property
    def is_attended(self) -> bool:
        """Whether somebody is at a terminal, though standard input may come from elsewhere."""
        if not self._err.isatty():
            return False
        try:
            os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        except OSError:
            return False
        return True

    def hidden(self, question: str) -> str:
        """Ask for something that is not shown while it is typed; EOFError if nobody answers."""
        import getpass

        return getpass.getpass(f"{question}: ", stream=self._err)

    def error(self, sentence: str, hint: str = "") -> None:
        """Say what went wrong, and below it what to do next."""
        self._labelled("error", "bold red", sentence, hint)

    def warning(self, sentence: str, hint: str = "") -> None:
        """Say what the user should know and what stops nothing."""
        self._labelled("warning", "yellow", sentence, hint)

    def _labelled(self, label: str, style: str, sentence: str, hint: str) -> None:
        margin = " " * (len(label) + 2)
        first, *rest = [*sentence.splitlines(), *hint.splitlines()] or [""]
        head = _painted(f"{label}:", style) if self._colours(self._err) else f"{label}:"
        self.note("\n".join([f"{head} {printable(first)}", *(margin + printable(x) for x in rest)]))

    def problem(self, problem: Problem) -> None:
        """One problem of a file: where and what, the source line, a caret, a hint."""
        place = problem.path
        if problem.line:
            place += f":{problem.line}:{max(problem.column, 1)}"
        lit = self._colours(self._err)
        lines = [f"{_painted(place, 'bold') if lit else place}: {printable(problem.sentence)}"]
        if problem.line and problem.source.strip():
            source, caret = _excerpt(problem.source, problem.column)
            lines.append(f"    {source}")
            if problem.column:
                lines.append(f"    {_painted(caret, 'bold red') if lit else caret}")
        lines += [f"    {printable(line)}" for line in problem.hint.splitlines()]
        self.note("\n".join(lines))

    def json(self, value: Any) -> None:
        """Write a value as indented JSON on standard output."""
        import msgspec

        text = msgspec.json.format(msgspec.json.encode(value)).decode()
        self.write(_C1.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str | Cell]]) -> None:
        """Write aligned columns, under a line of titles if any column has one."""
        grid = [[_cell(value) for value in row] for row in rows]
        widths = [
            max([cells(column.title), *(cells(row[at].text) for row in grid)])
            for at, column in enumerate(columns)
        ]
        if self.width is not None:
            _narrow(widths, columns, self.width)
        else:
            widths = [min(width, _WIDEST) for width in widths]
        titles = [Cell(column.title, "dim") for column in columns]
        head = [titles] if any(column.title for column in columns) else []
        self.out("\n".join(self._row(columns, widths, row) for row in [*head, *grid]))

    def _row(self, columns: Sequence[Column], widths: Sequence[int], row: Sequence[Cell]) -> str:
        parts = []
        for column, width, cell in zip(columns, widths, row, strict=True):
            text = cell.text if self.width is None else fit(cell.text, width)
            space = " " * (width - cells(text))
            painted = self.paint(text, cell.style)
            parts.append(space + painted if column.right else painted + space)
        return (" " * _MARGIN).join(parts).rstrip()

    def sparkline(self, values: Sequence[float]) -> str:
        """Durations as a row of bars, the longest full height."""
        bars = _SPARKS if self.unicode else _SPARKS_ASCII
        top = max(values, default=0.0)
        if top <= 0:
            return bars[0] * len(values)
        return "".join(bars[min(int(value / top * 8), 7)] for value in values)


# ---------------------------------------------------------------- human numbers


def duration(seconds: float) -> str:
    """A duration at a glance: `350ms`, `12.3s`, `3m05s`, `2h14m`, `3d04h`."""
    seconds = max(seconds, 0.0)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def together(seconds: Sequence[float]) -> str:
    """What one or several tasks took; of several the sum, which is not how long one waited."""
    return f"{duration(sum(seconds))}{' in all' if len(seconds) > 1 else ''}"


def count(number: int, noun: str) -> str:
    """A number with its noun: `1 task`, `12,000 tasks`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


# ---------------------------------------------------------------- text and its width


def harmless(text: str) -> str:
    """Text with its line ends and colours, without all else that would command the terminal."""
    return text if text.isascii() and text.isprintable() else _COMMAND.sub("", text)


def cells(text: str) -> int:
    """How many cells of a terminal line a text takes."""
    if text.isascii():
        return len(text)
    return sum(_cell_width(char) for char in text)


def _cell_width(char: str) -> int:
    import unicodedata

    if unicodedata.combining(char) or unicodedata.category(char) in ("Cf", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def fit(text: str, width: int) -> str:
    """Text cut to a number of cells; what was cut ends in `…`."""
    if cells(text) <= width:
        return text
    kept, used = [], 0
    for char in text:
        used += _cell_width(char)
        if used > width - 1:
            break
        kept.append(char)
    return "".join(kept) + "…"


def erased(lines: int) -> str:
    """What takes the last `lines` lines off the terminal; the cursor is at the first of them then.

    Line by line, since tmux keeps in its history what "clear to the end" takes off a whole screen.
    """
    return "\r\x1b[2K" + "\x1b[A\x1b[2K" * lines


def rows(drawn: Iterable[int], window: int) -> int:
    """How many lines of the window these lines take, by their cells: a window that became narrower
    has broken those that no longer fit.
    """
    return sum(max(-(-width // max(window, 1)), 1) for width in drawn)


def _painted(text: str, style: str) -> str:
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m"


def _cell(value: str | Cell) -> Cell:
    cell = value if isinstance(value, Cell) else Cell(value)
    return Cell(printable(cell.text).replace("\n", " ").replace("\t", " "), cell.style)


def _narrow(widths: list[int], columns: Sequence[Column], window: int) -> None:
    """Take cells from the widest flexible columns until the row fits the window."""
    flexible = [at for at, column in enumerate(columns) if column.flexible]
    excess = sum(widths) + _MARGIN * (len(widths) - 1) - window
    while excess > 0 and flexible:
        widest = max(flexible, key=lambda at: widths[at])
        if widths[widest] <= 8:
            return
        widths[widest] -= 1
        excess -= 1


def _excerpt(source: str, column: int, room: int = 96) -> tuple[str, str]:
    """A source line, cut around the column where it is long, and the line with the caret."""
    at = max(column - 1, 0)
    start = 0 if len(source) <= room or at < room * 3 // 4 else at - room // 2
    piece = source[start : start + room]
    before = ("…" if start else "") + piece[: at - start]
    after = piece[at - start :] + ("…" if start + room < len(source) else "")
    blank = "".join("\t" if char == "\t" else " " * _cell_width(char) for char in before)
    return printable(before + after), blank + "^"


def _encodes(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "utf-8")
    except (LookupError, UnicodeEncodeError):
        return False
    return True


def _tolerant(stream: TextIO) -> TextIO:
    """The stream, made to write `\\xe9` rather than fail on what its encoding lacks."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    return stream
