"""What DuckDB's errors say: who is at fault, where in the script, and whether trying again helps.

Connections are set to tell errors as JSON, which has the position as a number: the picture that
DuckDB draws by default is of the wrong line when a script holds characters outside ASCII.
"""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import msgspec

from pit.model import Record
from pit.sql.driver import CANCELLED, DISK_FULL, Busy, Failure, Statement
from pit.sql.text.places import point

TOLD_AS_JSON = "SET errors_as_json = true"

_TRANSIENT = frozenset(("Connection Error", "OutOfMemory Error", "Out of Memory Error"))
"""Errors that another attempt may well not meet."""
_CONFLICT = re.compile(
    r"conflict|could not set lock|database is locked|timed? ?out|connection (?:refused|reset|lost)"
    r"|server closed the connection|could not establish connection|temporary failure"
    r"|HTTP (?:code )?(?:408|425|429|5\d\d)\b|HTTP GET error on .* \(HTTP (?:408|429|5\d\d)\)",
    re.IGNORECASE,
)
"""What transactions, the network and attached databases say of what passes."""
_MAY_PASS = frozenset(
    ("TransactionContext Error", "IO Error", "HTTP Error", "Invalid Error", "Catalog Error")
)
_NO_ROOM = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)
_LOCKED = re.compile(
    r'Could not set lock on file "(?P<path>.*?)": Conflicting lock is held'
    r"(?: in (?P<program>.+?))? \(?PID (?P<pid>\d+)"
)
_SEE_ALSO = re.compile(r"[\s.]*See also https?://\S+")
_NEWER = re.compile(
    r"(?P<said>version number \d+, but we can only read (?:storage )?versions between \d+ and \d+)"
    r"\..*",
    re.DOTALL,
)
"""How DuckDB says that a file is of a later release, with much advice behind it."""
_NEAR = re.compile(r'at or near "(.*)"\Z', re.DOTALL)
_LONGEST = 4000
"""How many characters of a message are kept; it may quote data."""


class _Told(Record, frozen=True):
    """The fields of DuckDB's JSON that are used; it writes numbers as strings."""

    exception_type: str
    exception_message: str
    position: str = ""


class _Read(Record, frozen=True):
    """An error taken apart; `position` is an offset in the text that was sent."""

    kind: str
    message: str
    position: int | None = None


def failure(
    error: duckdb.Error, query: str = "", statement: Statement | None = None, ahead: int = 0
) -> Failure:
    """The error as a Failure.

    `query` is the text that was sent, for a statement or for a whole script; its first `ahead`
    characters are none of the script's.
    """
    told = _read(error)
    line, snippet = statement.line if statement else 0, ""
    if told.position is not None and told.position <= len(query.encode()):
        offset = _characters(query, told, told.position) - ahead
        if offset >= 0:
            line, snippet = point(query[ahead:], offset, statement.above if statement else 1)
    return Failure(
        message=f"{told.kind}: {told.message}"[:_LONGEST],
        line=line,
        kind=_kind(told),
        retryable=_is_transient(told),
        snippet=snippet,
    )


def _is_transient(told: _Read) -> bool:
    """By kind; an error of input or output passes only if it says that it is about such a thing."""
    if told.kind in _MAY_PASS:
        return _CONFLICT.search(told.message) is not None
    return told.kind in _TRANSIENT


def whole(error: duckdb.Error) -> str:
    """All that the error says, however long the data that it quotes."""
    told = _read(error)
    return f"{told.kind}: {told.message}"


def busy(error: duckdb.Error) -> Busy | None:
    """Who holds the file's lock, if that is what the error is about."""
    match = _LOCKED.search(_read(error).message)
    if match is None:
        return None
    program = Path(match["program"] or "another process").name
    return Busy(match["path"], f"{program} (pid {match['pid']})")


def _read(error: duckdb.Error) -> _Read:
    """What the error says; what is found while rows are fetched comes wrapped in another error."""
    text = str(error)
    start = text.find('{"exception_type"')
    if start >= 0:
        try:
            told = msgspec.json.decode(text[start:], type=_Told)
        except msgspec.MsgspecError:
            pass
        else:
            position = int(told.position) if told.position.isdigit() else None
            return _read_as(f"{told.exception_type} Error", told.exception_message, position)
    # Errors of DuckDB's Python side are never JSON, nor are those of opening a database.
    kind, colon, message = text.partition(": ")
    return _read_as(kind, message) if colon else _read_as(type(error).__name__, text)


def _read_as(kind: str, message: str, position: int | None = None) -> _Read:
    message = _NEWER.sub(_newer, _SEE_ALSO.sub("", message.strip()))
    return _Read(kind=kind, message=message, position=position)


def _newer(found: re.Match[str]) -> str:
    """What to do about a file that a later release of DuckDB has made."""
    release = ".".join(duckdb.__version__.split(".")[:2])
    return (
        f"{found['said']}. A later release of DuckDB than {duckdb.__version__} has made this file: "
        "update the DuckDB that Pit uses (pip install -U duckdb), or have the file made with "
        f"the option storage_compatibility_version=v{release}.0"
    )


def _kind(told: _Read) -> str:
    if told.kind == "INTERRUPT Error":
        return CANCELLED
    return DISK_FULL if _NO_ROOM.search(told.message) else told.kind


def _characters(query: str, told: _Read, position: int) -> int:
    """The position in characters: the parser counts those, all others count bytes."""
    if told.kind == "Parser Error":
        near = _NEAR.search(told.message)
        if near is None or query.startswith(near[1], position):
            return min(position, len(query))
    return len(query.encode()[:position].decode(errors="ignore"))
