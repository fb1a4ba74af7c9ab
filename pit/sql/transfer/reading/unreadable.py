"""Files that cannot be read: which, on what line, and what to do, in place of DuckDB's advice."""

from __future__ import annotations

import gzip
import re
import zlib
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterator, Sequence

import duckdb
import msgspec
from msgspec.structs import replace

from pit.sql.driver import SqlFailure
from pit.sql.drivers.duck_errors import failure, whole
from pit.sql.text import table
from pit.sql.transfer.reading.files import refused
from pit.sql.transfer.reading.records import opened

_SHOWN = 80
_CHUNK = 1 << 20
_MARK = b"\xef\xbb\xbf"
_CSV = re.compile(r"CSV Error on Line: (\d+)\n(?:Original Line: ([^\n]*)\n)?(.*)", re.DOTALL)
_TORN = "The Parallel CSV Reader currently does not support a full read"
"""How DuckDB says that its threads do not agree on where the lines of a file begin."""
_OF_CSV = re.compile(rf"CSV Error on Line: |reached an invalid state|{_TORN}|\bCSV Parser\b")
_FILE = re.compile(r"^  file ?= ?(.*)$", re.MULTILINE)
_JSON = re.compile(r'(?:Malformed JSON|JSON transform error) in file "(?P<file>[^"]*)"')
_NO_OBJECTS = "expected records, but got non-record JSON"
_TOO_LARGE = re.compile(r"maximum_object_size\W* of (\d+) bytes exceeded")
_EMPTY = re.compile(rb"\[\s*\]\s*")
_ADVICE = re.compile(r"\n+(Try |LINE 1:|Possible (fixes|Solution)).*", re.DOTALL)
_NO_PARQUET = re.compile(
    r"too small to be a Parquet file|No magic bytes found|Footer length error", re.IGNORECASE
)
_NO_ENCODING = re.compile(r"does not support the encoding: (\S+)")

Shown = Callable[[str], str]
Finds = Callable[[Sequence[str]], str]


class Lost(SqlFailure):
    """DuckDB's threads have lost their way in a file in which nothing is wrong."""


def told(error: duckdb.Error, files: Sequence[str], shown: Shown, mistake: Finds) -> SqlFailure:
    """An error that came up while files were read, in words about the files.

    `mistake` reads CSV files again for the first mistake in them.
    """
    # The reason stands behind the line that is at fault, which may have megabytes.
    message = whole(error)
    if _OF_CSV.search(message):
        return _of_csv(message, files, shown, mistake)
    if found := _JSON.search(message):
        return refused(_of_json(found["file"], message, shown))
    if _NO_OBJECTS in message:
        return refused(_no_objects(files, shown))
    if found := _TOO_LARGE.search(message):
        return refused(_too_large(int(found[1]), files, shown))
    if found := _NO_ENCODING.search(message):
        return refused(f"the encoding {found[1]} is not read; utf-8, utf-16 and latin-1 are")
    if _NO_PARQUET.search(message):
        guilty = next((path for path in files if path in message), files[0])
        return refused(f"{shown(guilty)} is not a Parquet file, or has been cut off")
    failed = failure(error)
    message = _ADVICE.sub("", failed.message)
    for path in files:
        message = message.replace(path, shown(path))
    return SqlFailure(replace(failed, message=message, line=0, snippet=""))


def _of_csv(message: str, files: Sequence[str], shown: Shown, mistake: Finds) -> SqlFailure:
    """What Pit finds itself is right however DuckDB puts it; what it does not find is DuckDB's."""
    found = _CSV.search(message)
    named = _FILE.search(message)
    file = named[1].strip() if named else ""
    if said := mistake([file] if file in files else files):
        return refused(said)
    if found is None:
        where = shown(file) if file in files else ", ".join(shown(path) for path in files[:3])
        failed = refused(f"{where} cannot be read: {_short(message)}")
        return Lost(failed.failure) if _TORN in message else failed
    line, text, rest = found.groups()
    where = f"{shown(file)}, line {line}" if file else f"line {line}"
    what = next(filter(None, rest.splitlines()), "it cannot be read").strip()
    return refused(f"{where}: {what}{f': {_short(text)}' if text else ''}")


def _of_json(path: str, message: str, shown: Shown) -> str:
    """DuckDB's line is that of the byte at which it gave up; the file itself says it better.

    Unless it is an array, whose lines say nothing by themselves.
    """
    lines = () if first_sign(path) == b"[" else _lines(path)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if number == 1 and (line.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) or b"\0" in line[:4]):
            return f"{shown(path)} is UTF-16, and JSON is read as UTF-8 alone"
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
    return _cut((said.partition(": ")[2] or said).strip())


def _no_objects(files: Sequence[str], shown: Shown) -> str:
    for path in files:
        if first_sign(path) == b"[" and len(files) == 1:
            return f"{shown(path)} is an array, and not all in it are JSON objects"
        for number, line in enumerate(_lines(path), 1):
            if line.strip() and not line.lstrip().startswith(b"{"):
                return f"{shown(path)}, line {number} is not a JSON object: {_short(_text(line))}"
    return f"{shown(files[0])} holds no JSON objects with names of columns"


def _too_large(most: int, files: Sequence[str], shown: Shown) -> str:
    """The first line that is longer than an object may be; in an array, no line says that."""
    for path in files:
        for number, line in enumerate(_lines(path) if first_sign(path) != b"[" else (), 1):
            if len(line) > most:
                return f"{shown(path)}, line {number} has more than the {most:,} bytes of an object"
    names = ", ".join(shown(path) for path in files[:3])
    return f"{names}: a JSON object has more than the {most:,} bytes that it may have"


def _cut(said: str) -> str:
    """A sentence that quotes what may be long: how it begins and ends."""
    return said if len(said) <= 4 * _SHOWN else f"{said[: 2 * _SHOWN]} … {said[-2 * _SHOWN :]}"


def _lines(path: str) -> Iterator[bytes]:
    """The lines of a file, without a byte order mark before the first."""
    with opened(path) as file:
        yield file.readline().removeprefix(_MARK)
        yield from file


def begins_with_mark(path: str) -> bool:
    """Whether a byte order mark stands before all else in a file."""
    with opened(path) as file:
        return bool(file.read(len(_MARK)) == _MARK)


def first_sign(path: str) -> bytes:
    """The first byte of a file that is no white space; none of an empty file or array."""
    with opened(path) as file:
        while chunk := file.read(_CHUNK):
            if bare := chunk.removeprefix(_MARK).lstrip():
                return b"" if _EMPTY.fullmatch(bare) and not file.read(1) else bytes(bare[:1])
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
