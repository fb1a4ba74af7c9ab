"""Files that cannot be read: which, on what line, and what to do, in place of DuckDB's advice."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import duckdb
import msgspec
from msgspec.structs import replace

from pit.sql import table
from pit.sql.driver import SqlFailure
from pit.sql.drivers.duck_errors import failure
from pit.sql.transfer.files import refused

_SHOWN = 80
_CHUNK = 1 << 20
_MARK = b"\xef\xbb\xbf"
_CSV = re.compile(r"CSV Error on Line: (\d+)\n(?:Original Line: ([^\n]*)\n)?(.*)", re.DOTALL)
_COUNTED = re.compile(r"Expected Number of Columns: (\d+) Found: (\d+)")
_FILE = re.compile(r"^  file = (.*)$", re.MULTILINE)
_JSON = re.compile(r'(?:Malformed JSON|JSON transform error) in file "(?P<file>[^"]*)"')
_LOST = "reached an invalid state"
"""How DuckDB says that its CSV parser no longer knows where a line ends."""
_NO_OBJECTS = "expected records, but got non-record JSON"
_ADVICE = re.compile(r"\n+(Try |LINE 1:|Possible (fixes|Solution)).*", re.DOTALL)
_NO_PARQUET = re.compile(
    r"too small to be a Parquet file|No magic bytes found|Footer length error", re.IGNORECASE
)
_NO_ENCODING = re.compile(r"does not support the encoding: (\S+)")

Shown = Callable[[str], str]


def told(error: duckdb.Error, files: Sequence[str], shown: Shown) -> SqlFailure:
    """An error that came up while files were read, in words about the files."""
    failed = failure(error)
    message = failed.message
    if found := _CSV.search(message):
        return refused(_of_csv(found, shown))
    if _LOST in message and (said := _mixed_ends(files, shown)):
        return refused(said)
    if found := _JSON.search(message):
        return refused(_of_json(found["file"], message, shown))
    if _NO_OBJECTS in message:
        return refused(_no_objects(files, shown))
    if found := _NO_ENCODING.search(message):
        return refused(f"the encoding {found[1]} is not read; utf-8, utf-16 and latin-1 are")
    if _NO_PARQUET.search(message):
        guilty = next((path for path in files if path in message), files[0])
        return refused(f"{shown(guilty)} is not a Parquet file, or has been cut off")
    message = _ADVICE.sub("", message)
    for path in files:
        message = message.replace(path, shown(path))
    return SqlFailure(replace(failed, message=message, line=0, snippet=""))


def _of_csv(found: re.Match[str], shown: Shown) -> str:
    line, text, rest = found.groups()
    named = _FILE.search(rest)
    where = f"{shown(named[1].strip())}, line {line}" if named else f"line {line}"
    if "Invalid unicode" in rest:
        return f'{where} is not UTF-8; name its encoding: csv = {{ encoding = "latin-1" }}'
    if counted := _COUNTED.search(rest):
        values = f"{counted[2]} value{'' if counted[2] == '1' else 's'}"
        what = f"{values} where {counted[1]} are expected"
    elif "unterminated quote" in rest:
        what = "a quote is opened and not closed"
    else:
        what = next(filter(None, rest.splitlines()), "it cannot be read").strip()
    return f"{where}: {what}{f': {_short(text)}' if text else ''}"


def _mixed_ends(files: Sequence[str], shown: Shown) -> str:
    """The first file whose lines end in two ways, and the first line that differs; else empty."""
    for path in files:
        first = ""
        for number, line in enumerate(_lines(path), 1):
            if not line.endswith(b"\n"):
                continue
            end = "CRLF" if line.endswith(b"\r\n") else "LF"
            if end != (first := first or end):
                return (
                    f"{shown(path)}: its lines end in {first} and, from line {number}, in {end}; "
                    "make them alike, as with dos2unix"
                )
    return ""


def _of_json(path: str, message: str, shown: Shown) -> str:
    """DuckDB's line is that of the byte at which it gave up; the file itself says it better.

    Unless it is an array, whose lines say nothing by themselves.
    """
    lines = () if first_sign(path) == b"[" else _lines(path)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if line.startswith(_MARK):
            mark = "begins with a byte order mark, which only the first line may"
            return f"{shown(path)}, line {number} {mark}"
        try:
            value = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return f"{shown(path)}, line {number} is not JSON: {error}: {_short(_text(line))}"
        if not isinstance(value, dict):
            return f"{shown(path)}, line {number} is not a JSON object: {_short(_text(line))}"
    said = _ADVICE.sub("", message).replace(path, shown(path))
    return (said.partition(": ")[2] or said).strip()


def _no_objects(files: Sequence[str], shown: Shown) -> str:
    for path in files:
        if first_sign(path) == b"[" and len(files) == 1:
            return f"{shown(path)} is an array, and not all in it are JSON objects"
        for number, line in enumerate(_lines(path), 1):
            if line.strip() and not line.lstrip().startswith(b"{"):
                return f"{shown(path)}, line {number} is not a JSON object: {_short(_text(line))}"
    return f"{shown(files[0])} holds no JSON objects"


def _lines(path: str) -> Iterator[bytes]:
    """The lines of a file, without a byte order mark before the first."""
    with _opened(path) as file:
        yield file.readline().removeprefix(_MARK)
        yield from file


def _opened(path: str) -> Any:
    return gzip.open(path) if path.lower().endswith(".gz") else open(path, "rb")


def begins_with_mark(path: str) -> bool:
    """Whether a byte order mark stands before all else in a file."""
    with _opened(path) as file:
        return bool(file.read(len(_MARK)) == _MARK)


def first_sign(path: str) -> bytes:
    """The first byte of a file that is no white space; none of an empty file."""
    with _opened(path) as file:
        while chunk := file.read(_CHUNK):
            if bare := chunk.removeprefix(_MARK).lstrip():
                return bytes(bare[:1])
    return b""


def check_packed(path: str, shown: Shown, heed: Callable[[], None]) -> None:
    """SqlFailure if a .gz file is damaged or has been cut off, which DuckDB would not notice."""
    if not path.lower().endswith(".gz"):
        return
    try:
        with gzip.open(path) as file:
            while file.read(_CHUNK):
                heed()
    except gzip.BadGzipFile:
        raise refused(f"{shown(path)} is not a gzip file, or is damaged") from None
    except (EOFError, zlib.error):
        raise refused(f"{shown(path)} is damaged, or has been cut off") from None


def _text(line: bytes) -> str:
    return line.decode(errors="replace").strip()


def _short(text: str) -> str:
    return table.clip(table.visible(text), _SHOWN)
