"""What ODBC drivers' errors say: the sentence, the line, whether trying again helps.

A message comes as `[42S02] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]Invalid object
name 'x'. (208) (SQLExecDirectW)`: SQLSTATE, who speaks, the sentence, the product's own number. The
line within a batch is not among it (ODBC has it in a field that pyodbc does not read), so a name
that the sentence quotes is looked for in the script.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from pit.model import Record
from pit.sql.driver import CANCELLED, Failure, Statement
from pit.sql.drivers.transient import LOST, UNKNOWN_END, by_sqlserver, by_sqlstate, by_words
from pit.sql.text import dialect, split
from pit.sql.text.places import point

if TYPE_CHECKING:
    import pyodbc

_LONGEST = 4000
_RECORD = re.compile(
    r"\[(?P<state>[0-9A-Z]{5})\] (?P<text>.*?) ?\((?P<number>-?\d+)\)(?: \(SQL\w+\))?(?=; \[|\Z)",
    re.DOTALL,
)
_SPEAKERS = re.compile(r"\A(?:\[[^\]]*\])+")
_QUOTED = re.compile(r"'([^']{1,200})'|\"([^\"]{1,200})\"|no such \w+: (\S+)")
_CALLS = re.compile(r";?\s*Error while executing the query\s*\Z")
_GRAMMARS = {"sqlserver": split.TSQL, "postgres": split.POSTGRES, "sqlite": split.SQLITE}
_SQLITE_BUSY = (5, 6)


class OdbcSource(Record, frozen=True):
    """Whom an error is about: the ODBC driver by its name, and the database as people see it."""

    driver: str
    place: str


class _Read(Record, frozen=True):
    state: str
    number: int
    text: str
    by_server: bool


def _read(error: pyodbc.Error) -> _Read:
    """The first record of an error, or what there is."""
    text = str(error.args[-1]) if error.args else str(error)
    state = str(error.args[0]) if len(error.args) > 1 else ""
    match = _RECORD.search(text)
    if match is None:
        return _Read(state=state, number=0, text=clean(text), by_server=False)
    speakers = _SPEAKERS.match(match["text"])
    return _Read(
        state=match["state"],
        number=int(match["number"]),
        text=clean(match["text"]),
        by_server=speakers is not None and "[SQL Server]" in speakers[0],
    )


def clean(message: str) -> str:
    """A message without those who passed it on."""
    return _CALLS.sub("", _SPEAKERS.sub("", message)).strip()


def told(
    error: pyodbc.Error,
    source: OdbcSource,
    product: dialect.Dialect,
    text: str,
    statement: Statement | None,
) -> Failure:
    """An error as a Failure; `text` is what was sent for the statement."""
    read = _read(error)
    first = _first_line(product, text, statement)
    line, snippet = _place(read.text, product, text, first) if statement else (0, "")
    sentence = read.text
    if product is dialect.SQLSERVER and read.number > 0:
        sentence = f"Msg {read.number}: {sentence}"
    lost = _is_lost(read)
    return Failure(
        message=f"{sentence[:_LONGEST]}{'; ' + UNKNOWN_END if lost else ''} ({source.driver})",
        line=line or (statement.line if statement else 0),
        kind=_kind(read),
        retryable=lost or _is_transient(read, product),
        snippet=snippet,
    )


def _first_line(product: dialect.Dialect, text: str, statement: Statement | None) -> int:
    """The script's line on which the text that was sent begins."""
    if statement is None or text != statement.text:
        return statement.above if statement and isinstance(statement.native, split.Batch) else 1
    return statement.line


def _place(message: str, product: dialect.Dialect, text: str, first: int) -> tuple[int, str]:
    """Where the script holds, just once, something that the message quotes; line 0 for nowhere."""
    grammar = _GRAMMARS.get(product.name, split.ANY)
    for match in _QUOTED.finditer(message):
        words = next(filter(None, match.groups()), "")
        offset = split.find(text, words, grammar) if words else None
        if offset is not None:
            return point(text, offset, first)
    return 0, ""


def _kind(read: _Read) -> str:
    timed_out = read.state == "57014" and "statement timeout" in read.text
    if not timed_out and (read.state in ("HY008", "57014") or "Operation canceled" in read.text):
        return CANCELLED
    return str(read.number) if read.by_server else read.state


def _is_transient(read: _Read, product: dialect.Dialect) -> bool:
    if product is dialect.SQLSERVER and by_sqlserver(read.number):
        return True
    if product is dialect.SQLITE and read.number in _SQLITE_BUSY:
        return True
    if read.state[:2] == "08" and not read.by_server:
        return by_words(read.text) or read.state in ("08S01", "08003", "08007")
    return by_sqlstate(read.state, read.text)


def _is_lost(read: _Read) -> bool:
    """Whether the connection broke while a statement was under way."""
    return read.state in ("08S01", "08007", "08006") or bool(LOST.search(read.text))


_UNTRUSTED = re.compile(r"certificate verify failed|certificate chain|self.signed", re.IGNORECASE)
_TRUST = (
    ". If the server's certificate is one of its own: trustservercertificate=yes in the "
    "connection; it is then encrypted, but not known to be that server"
)


def unreached(error: pyodbc.Error, source: OdbcSource, hide: Callable[[str], str]) -> Failure:
    """A connection that could not be made."""
    read = _read(error)
    words = " ".join(read.text.split())
    transient = by_words(words) or by_sqlserver(read.number) or read.state in ("HYT00", "HYT01")
    hint = _TRUST if _UNTRUSTED.search(words) else ""
    told = f"cannot connect to {source.place} with {source.driver}: {words}"[:_LONGEST]
    return Failure(
        message=hide(told + hint),
        kind=read.state or "08001",
        retryable=transient,
    )
