"""The records of a CSV file as Pit reads them itself: how many there are, and the first mistake.

DuckDB reads the rows. But its threads look for the beginning of a record in the midst of a file,
and where the last record is broken they may pass over it without a word; and of what is wrong it
says too little, or in other words with each version. So the records are counted, which is quick,
and where the number differs or DuckDB gives up, they are read one by one.
"""

from __future__ import annotations

import gzip
import io
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

from pit.model import Record
from pit.sql.text import table

LONGEST = 2_000_000
"""Bytes of a record if nothing else is asked for; the limit that DuckDB has by itself."""
_CHUNK = 1 << 20
_END = 1 << 16
_SHOWN = 80
_BLANKS = re.compile(rb"\n\n+")
_NO_TEXT = re.compile("[\udc80-\udcff]")
"""What Python makes of bytes that are no text in the file's encoding."""
_ENDS = {"\r\n": "CRLF", "\n": "LF", "\r": "CR"}

Heed = Callable[[], None]


class Shape(Record):
    """How the records of one CSV file look: what separates values, and how many each has."""

    delimiter: str
    columns: int
    header: bool
    encoding: str
    longest: int


class Mistake(Record):
    """The first thing that is wrong with a file: on what line, from 1, and how that line begins.

    Without a line, it is about the file as a whole.
    """

    line: int
    what: str
    text: str = ""

    def told(self, file: str) -> str:
        """A sentence about the file."""
        where = f"{file}, line {self.line}" if self.line else file
        text = table.clip(table.visible(self.text.rstrip("\r\n")), _SHOWN)
        return f"{where}{self.what}{f': {text}' if text else ''}"


def opened(path: str) -> Any:
    """A file's bytes, unpacked."""
    return gzip.open(path) if path.lower().endswith(".gz") else open(path, "rb")


# ---------------------------------------------------------------- how many


def rows(path: str, shape: Shape, heed: Heed) -> int:
    """How many rows a file has if it is as it should be; quotes within a text mislead it."""
    counter = _Counter()
    with opened(path) as file:
        for chunk in _chunks(file, shape.encoding):
            heed()
            counter.take(chunk)
    # A line with nothing in it is a NULL where there is one column, else it is none.
    found = counter.ends + counter.open - (0 if shape.columns == 1 else counter.blanks)
    return found - shape.header


def _chunks(file: Any, encoding: str) -> Iterator[bytes]:
    """Pieces of a file in an encoding that has commas, quotes and line ends as ASCII has them."""
    if not encoding.lower().replace("_", "-").startswith("utf-16"):
        yield from iter(lambda: file.read(_CHUNK), b"")
        return
    text = io.TextIOWrapper(file, encoding, errors="replace", newline="")
    for piece in iter(lambda: text.read(_CHUNK), ""):
        yield piece.encode(errors="replace")


_PLAIN = bytes(set(range(256)) - set(b'"\r\n'))


class _Counter:
    """Counts lines outside of quotes, chunk by chunk: `ends` of lines, `blanks` among them.

    `open` is 1 while a last line has no end.
    """

    def __init__(self) -> None:
        self.ends = self.blanks = self.open = 0
        self._quoted = self._returned = False

    def take(self, chunk: bytes) -> None:
        """One more chunk."""
        text = chunk if self.open else b"\n" + chunk
        blank = b"\n\n" in text or b"\n\r" in text or b"\r\r" in text
        # Without blank lines, nothing but quotes and line ends has to be looked at.
        short = chunk if blank else chunk.translate(None, _PLAIN).replace(b'""', b"")
        pieces = short.split(b'"')
        # What is quoted leaves a quote behind, for a line that holds one is not blank.
        bare = b'"'.join(pieces[self._quoted :: 2])
        self._quoted ^= len(pieces) % 2 == 0
        bare += b'"' if self._quoted or (len(pieces) > 1 and not bare) else b""
        if b"\r" in bare or self._returned:
            bare = self._alike(bare)
        self.ends += bare.count(b"\n")
        if blank:
            bare = bare if self.open else b"\n" + bare
            self.blanks += sum(len(found[0]) - 1 for found in _BLANKS.finditer(bare))
        self.open = int(self._quoted or chunk[-1:] not in b"\r\n")

    def _alike(self, bare: bytes) -> bytes:
        """Line ends as LF, a pair that two chunks share as well."""
        if self._returned and bare.startswith(b"\n"):
            bare = bare[1:]
        self._returned = bare.endswith(b"\r")
        return bare.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def quoted_near_end(path: str) -> bool:
    """Whether a plain file has a quote near its end; of a packed one, nobody knows so quickly."""
    if path.lower().endswith(".gz"):
        return True
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - _END))
        return b'"' in file.read()


# ---------------------------------------------------------------- one by one


class Reading:
    """A file's records, read one by one up to the first mistake; `rows` are those before it.

    `doubt` is what is wrong with a blank line, which DuckDB may pass over as any other.
    """

    def __init__(self, path: str, shape: Shape, heed: Heed) -> None:
        self._path, self._shape, self._heed = path, shape, heed
        self.rows = 0
        self.doubt: Mistake | None = None
        self._line = 0
        self._end = ""
        self._whole: re.Pattern[str] | None = None

    def mistake(self) -> Mistake | None:
        """The first one; None where the file is as it should be."""
        shape = self._shape
        with opened(self._path) as file:
            self._text = decoded(file, shape.encoding)
            header = shape.header
            while line := self._next():
                if self._plain(line):
                    continue
                if found := self._record(line, header):
                    return found
                header = False
        return None

    def _next(self) -> str:
        """A physical line, or as much of it as a record may have, and a little more."""
        if self._line % 100_000 == 0:
            self._heed()
        self._line += 1
        return self._text.readline(self._shape.longest + 3)

    def _plain(self, line: str) -> bool:
        """Whether a line is a record by itself in which nothing is wrong, as most are."""
        if self._whole is None or len(line) * 4 > self._shape.longest:
            return False
        if not self._whole.fullmatch(line) or (not line.isascii() and _NO_TEXT.search(line)):
            return False
        self.rows += 1
        return True

    def _record(self, start: str, header: bool) -> Mistake | None:
        """One record, which begins with this line."""
        line, first, size = start, self._line, 0
        cells = _Cells(self._shape.delimiter)
        while True:
            if found := no_text(line, self._line, self._shape.encoding):
                return found
            quoted = cells.take(line, self._line)
            if cells.followed:
                return self._followed(first, start)
            size += _bytes(line)
            if size > self._shape.longest:
                return too_long(first, start, self._shape.longest, quoted and self._line > first)
            if not quoted:
                return self._ended(first, start, line, cells.count, header)
            line = self._next()
            if not line:
                text = start if cells.opened == first else ""
                return Mistake(line=cells.opened, what=_OPEN, text=text)

    def _ended(self, first: int, start: str, last: str, cells: int, header: bool) -> Mistake | None:
        bare = last.rstrip("\r\n")
        columns = self._shape.columns
        blank = columns > 1 and not start.rstrip("\r\n")
        found = self._other_end(last[len(bare) :])
        if blank:
            self.doubt = self.doubt or found
            return None
        if found:
            return found
        self.rows += not header
        if header or columns in (cells, cells - self._spare(bare, cells - columns)):
            return None
        values = f"{cells:,} value{'' if cells == 1 else 's'}"
        return Mistake(line=first, what=f": {values} where {columns:,} are expected", text=start)

    def _spare(self, bare: str, over: int) -> int:
        """How many values too many are empty ones at the end of a line: DuckDB minds none."""
        found = 0
        while found < over and bare.endswith(self._shape.delimiter):
            bare = bare.removesuffix(self._shape.delimiter)
            found += 1
        return found

    def _other_end(self, end: str) -> Mistake | None:
        """A line that does not end as the first one does; the last may lack its end, or half."""
        if not self._end and end:
            self._end = end
            self._whole = _whole(self._shape, end)
        if end in ("", self._end):
            return None
        if end == "\r" and self._end == "\r\n" and not self._text.read(1):
            return None
        lone = "\r" in (end, self._end)
        advice = "or put texts that have line ends in quotes" if lone else "as with dos2unix"
        one, other = _ENDS[self._end], _ENDS[end]
        what = f": its lines end in {one} and, from line {self._line}, in {other}"
        return Mistake(line=0, what=f"{what}; make them alike, {advice}")

    def _followed(self, first: int, start: str) -> Mistake:
        if self._line == first:
            what = ": a text stands behind a closing quote; a quote within quotes is written twice"
        else:
            what = f"{_OPEN}, or one on line {self._line} is not written twice"
        return Mistake(line=first, what=what, text=start)


_OPEN = ": a quote is opened and not closed"


def _whole(shape: Shape, end: str) -> re.Pattern[str]:
    """A record on a line of its own that has all of its values."""
    delimiter = re.escape(shape.delimiter)
    value = rf'(?:"[^"\r\n]*(?:""[^"\r\n]*)*"|[^"\r\n{delimiter}]*)'
    return re.compile(rf"{value}(?:{delimiter}{value}){{{shape.columns - 1}}}{re.escape(end)}")


def decoded(file: Any, encoding: str) -> io.TextIOWrapper:
    """A file's text with its line ends as they are; bytes that are no text can be pointed at."""
    plain = encoding.lower() in ("utf-8", "utf8")
    return io.TextIOWrapper(
        file,
        "utf-8-sig" if plain else encoding,
        errors="surrogateescape" if plain else "replace",
        newline="",
    )


def no_text(line: str, number: int, encoding: str) -> Mistake | None:
    """What is wrong with a line that has bytes which are no text."""
    wrong = None if line.isascii() else _NO_TEXT.search(line)
    if wrong is None:
        return None
    at = len(line[: wrong.start()].encode()) + 1
    what = (
        f" is not {encoding.upper()}: byte {at:,} of it is 0x{ord(wrong[0]) - 0xDC00:02X}; "
        'name its encoding: csv = { encoding = "latin-1" }'
    )
    return Mistake(line=number, what=what)


def too_long(number: int, start: str, longest: int, quoted: bool) -> Mistake:
    """What is wrong with a record that is longer than may be; a quote may have swallowed others."""
    if quoted:
        return Mistake(line=number, what=f"{_OPEN} within {longest:,} bytes", text=start)
    what = f" has more than {longest:,} bytes; csv = {{ max_line_size = … }} allows more"
    return Mistake(line=number, what=what, text=start)


def _bytes(line: str) -> int:
    """How many bytes a line has for DuckDB."""
    bare = line.rstrip("\r\n")
    return len(bare) if bare.isascii() else len(bare.encode(errors="surrogatepass"))


class _Cells:
    """The values of one record, counted line by line.

    `opened` is the line of the quote that was opened last; `followed` says that a text stands
    behind a closed one.
    """

    def __init__(self, delimiter: str) -> None:
        self._delimiter = delimiter
        self.count, self.opened, self.followed = 1, 0, False
        self._quoted = False

    def take(self, line: str, number: int) -> bool:
        """One more line; whether a quote is open at its end."""
        if '"' not in line and not self._quoted:
            self.count += line.count(self._delimiter)
            return False
        at, end = 0, len(line.rstrip("\r\n"))
        while True:
            if not self._quoted and self._opens(line, at, end):
                at = line.index('"', at) + 1
                self._quoted, self.opened = True, number
            if self._quoted:
                at = self._closed(line, at)
                if at < 0:
                    return True
                if not self._alone(line, at, end):
                    return False
            at = line.find(self._delimiter, at, end)
            if at < 0:
                return False
            self.count += 1
            at += len(self._delimiter)

    def _closed(self, line: str, at: int) -> int:
        """Where the open quote has been closed; less than 0 where it goes on to the next line."""
        while (at := line.find('"', at)) >= 0:
            if line[at + 1 : at + 2] != '"':
                self._quoted = False
                return at + 1
            at += 2
        return -1

    def _opens(self, line: str, at: int, end: int) -> bool:
        """Whether the value at this place is quoted."""
        if self._delimiter != " ":
            while at < end and line[at] == " ":
                at += 1
        return line[at : at + 1] == '"'

    def _alone(self, line: str, at: int, end: int) -> bool:
        """Whether nothing but spaces stands between a closed quote and what separates values."""
        stop = line.find(self._delimiter, at, end)
        rest = line[at : end if stop < 0 else stop]
        self.followed = bool(rest.strip(" "))
        return not self.followed
