"""The SQLite driver: the standard library's, one connection per script, by SQLite's own rules.

Statements go one by one, as in SQLite's own shell: each stands for itself unless the script says
BEGIN. Variables are SQLite's named parameters, `:pit_param_date`.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any
from urllib.parse import quote

from pit.sql.connection.urls import Database
from pit.sql.driver import (
    CANCELLED,
    DISK_FULL,
    Busy,
    Failure,
    Result,
    Rows,
    SqlFailure,
    Statement,
    Tell,
)
from pit.sql.drivers.files import holder, make_room
from pit.sql.text import split, table
from pit.sql.text.places import point

_BATCH = 1_000
_BUSY, _LOCKED, _INTERRUPT, _FULL, _PROTOCOL = 5, 6, 9, 13, 15
_BUSY_SNAPSHOT = 517
"""The transaction has read what another one has changed since: waiting does not help."""
_MODES = ("ro", "rw", "rwc")
_QUOTES = re.compile(
    r'near "(?P<near>[^"]+)"|no such (?:table|column|view|index|function|module): (?P<name>\S+)'
    r'|unrecognized token: "(?P<token>[^"]+)|table (?P<table>\S+) (?:already|has)'
)


class SQLite:
    """The driver: opens the file for each script, which costs next to nothing."""

    def parse(self, text: str, database: Database) -> list[Statement]:
        """The statements of a script; whether they are right SQLite says when they come up."""
        return split.statements(text, split.SQLITE)

    def connect(self, database: Database, script: Sequence[Statement], tell: Tell) -> SqliteSession:
        """A session on a connection of its own."""
        return SqliteSession(connect(database), database.path)


def connect(database: Database) -> sqlite3.Connection:
    """A new connection that commits each statement; raises SqlFailure or Busy."""
    options = dict(database.options)
    mode = options.pop("mode", "rwc")
    if mode not in _MODES:
        raise SqlFailure(_final(f"the option mode is {', '.join(_MODES)}, not {mode}"))
    if not database.in_memory and mode == "rwc":
        make_room(database.path)
    where = ":memory:" if database.in_memory else f"file:{quote(database.path)}?mode={mode}"
    try:
        connection = sqlite3.connect(
            where, timeout=0, isolation_level=None, check_same_thread=False, uri=True
        )
    except sqlite3.Error as error:
        raise SqlFailure(_final(f"cannot open {database.path}: {error}")) from None
    connection.text_factory = _decoded
    try:
        for name, value in options.items():
            _pragma(connection, name, value)
    except sqlite3.Error as error:
        connection.close()
        raise raised(error, database.path) from None
    except SqlFailure:
        connection.close()
        raise
    return connection


def _decoded(data: bytes) -> str:
    return data.decode(errors="replace")


def _pragma(connection: sqlite3.Connection, name: str, value: str) -> None:
    """An option of the URL is a PRAGMA, such as foreign_keys=on."""
    if not re.fullmatch(r"[a-z_]+", name) or not re.fullmatch(r"[\w.-]+", value):
        raise SqlFailure(_final(f'the option "{name}" is not a PRAGMA with a plain value'))
    connection.execute(f"PRAGMA {name} = {value}").fetchall()


class SqliteSession:
    """One script's connection."""

    at_once = False

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self.native = connection
        self._path = path
        self._variables: dict[str, str] = {}

    def declare(self, variables: Mapping[str, str]) -> None:
        """Keep them as named parameters."""
        self._variables = dict(variables)

    def execute(self, statement: Statement) -> Iterator[Result]:
        """Carry out one statement to its end: one result."""
        yield self._result(statement)

    def _result(self, statement: Statement) -> Result:
        try:
            cursor = self.native.execute(statement.text, self._variables)
            try:
                return _read(cursor)
            finally:
                cursor.close()
        except sqlite3.Error as error:
            raise raised(error, self._path, statement) from None

    def rows(self, statement: Statement) -> Rows:
        """All rows of a query, as values."""
        with self._told(statement):
            cursor = self.native.execute(statement.text, self._variables)
        if cursor.description is None:
            changed = cursor.rowcount if cursor.rowcount >= 0 else None
            return Rows(columns=(), batches=iter(()), changed=changed)

        def batches() -> Iterator[Sequence[Sequence[Any]]]:
            with closing(cursor), self._told(statement):
                while batch := cursor.fetchmany(_BATCH):
                    yield batch

        names = tuple(str(column[0]) for column in cursor.description)
        return Rows(columns=names, batches=batches())

    @contextmanager
    def _told(self, statement: Statement) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise raised(error, self._path, statement) from None

    def interrupt(self) -> None:
        """End the running statement; harmless when there is none."""
        with suppress(sqlite3.Error):
            self.native.interrupt()

    def roll_back(self) -> bool:
        """Undo the open transaction, if there is one."""
        if not self.native.in_transaction:
            return False
        with suppress(sqlite3.Error):
            self.native.execute("ROLLBACK")
        return True

    def close(self) -> None:
        """Close the connection, and the file with it."""
        self.native.close()


def _read(cursor: sqlite3.Cursor) -> Result:
    """What the statement returns, read to its end, for an error may hide there."""
    header = cursor.description
    if header is None:
        changed = cursor.rowcount >= 0
        return Result(rows=cursor.rowcount if changed else None, changed=changed)
    first = cursor.fetchmany(table.ROWS)
    count = len(first)
    while batch := len(cursor.fetchmany(_BATCH)):
        count += batch
    columns = range(len(header))
    return Result(
        rows=count,
        changed=cursor.rowcount >= 0,
        columns=tuple(str(column[0]) for column in header),
        numeric=tuple(_is_number([row[i] for row in first]) for i in columns),
        first=tuple(tuple(_text(value) for value in row) for row in first),
    )


def _is_number(values: Sequence[object]) -> bool:
    """SQLite's columns have no type of their own, so the values that are shown tell."""
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, int | float) for value in known)


def _text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bytes):
        return f"x'{value[: table.CELL].hex()}'"
    return str(value)[: 16 * table.CELL]


# ---------------------------------------------------------------- errors


def raised(
    error: sqlite3.Error, path: str, statement: Statement | None = None
) -> Busy | SqlFailure:
    """What an error of SQLite's is: a file in somebody's use, or a failure."""
    code = getattr(error, "sqlite_errorcode", 0)
    if code & 0xFF == _BUSY and code != _BUSY_SNAPSHOT:
        return Busy(path, holder((path, f"{path}-shm", f"{path}-wal")))
    message = str(error)
    line, snippet = _place(message, statement) if statement else (0, "")
    return SqlFailure(
        Failure(
            message=message,
            line=line,
            kind=_kind(code, getattr(error, "sqlite_errorname", "")),
            retryable=code & 0xFF in (_BUSY, _LOCKED, _PROTOCOL),
            snippet=snippet,
        )
    )


def _kind(code: int, name: str) -> str:
    return {_INTERRUPT: CANCELLED, _FULL: DISK_FULL}.get(code & 0xFF, name)


def _place(message: str, statement: Statement) -> tuple[int, str]:
    """The line of what the message quotes, if the statement holds it once; else its own."""
    match = _QUOTES.search(message)
    word = next(filter(None, match.groups()), "") if match else ""
    offset = split.find(statement.text, word.removeprefix("main."), split.SQLITE) if word else None
    if offset is None:
        return statement.line, ""
    return point(statement.text, offset, statement.line)


def _final(message: str) -> Failure:
    return Failure(message=message, kind="connection", retryable=False)
