"""The DuckDB driver. Imported by the SQL process alone, which may crash without harm to a run.

Scripts that run at the same time share the open file, each on a connection of its own; it is
closed when the last of them ends, so that a Python task, a notebook or another run can have it.
What a script attaches is seen by every connection of the open file, so a script with ATTACH or
DETACH gets the file alone; the others wait.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb

from pit.model import Record
from pit.sql import table
from pit.sql.connect import Database
from pit.sql.driver import (
    CANCELLED,
    DISK_FULL,
    Busy,
    Failure,
    Result,
    SqlFailure,
    Statement,
)
from pit.sql.places import align, cut

_SIBLING = "another task of this run"
_BATCH = 50_000
"""How many values of a result set are fetched at once, so that memory stays flat."""

_Rows = duckdb.DuckDBPyRelation | duckdb.DuckDBPyConnection
_Kind = duckdb.StatementType
_WITH_ROWS = frozenset(
    (_Kind.SELECT, _Kind.EXPLAIN, _Kind.CALL, _Kind.EXECUTE, _Kind.PRAGMA, _Kind.RELATION)
)
_RETURNING = re.compile(r"\breturning\b", re.IGNORECASE)
_ATTACHING = frozenset((_Kind.ATTACH, _Kind.DETACH))
_NUMBER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL\(.*\)|BIGNUM")


class _Parsed(Record):
    """A statement as DuckDB knows it; `query` is what to send, None where only `tree` will do."""

    kind: Any
    tree: Any
    query: str | None

    @property
    def sendable(self) -> Any:
        """What the connection is given: text where possible, because then errors have a place."""
        return self.tree if self.query is None else self.query


class _File:
    """An open database file and how many sessions use it."""

    def __init__(self, root: duckdb.DuckDBPyConnection, alone: bool) -> None:
        self.root, self.alone, self.users = root, alone, 0


class DuckDB:
    """The driver: opens files when they are needed and closes them when nobody uses them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[str, _File] = {}
        self._parser = duckdb.connect()

    def parse(self, text: str) -> list[Statement]:
        """The statements of a script; the whole is parsed before anything is executed."""
        with self._lock:
            parser = self._parser.cursor()
        try:
            trees = parser.extract_statements(text)
        except duckdb.Error as error:
            raise SqlFailure(_failure(error, text)) from None
        finally:
            parser.close()
        if not trees:
            return []
        places = cut(text, [offset for offset, _ in duckdb.tokenize(text)])
        queries = [tree.query for tree in trees]
        aligned = align(places, queries)
        return [
            Statement(
                line=place.line,
                text=place.text,
                above=place.above,
                native=_Parsed(kind=tree.type, tree=tree, query=query if verbatim else None),
            )
            for tree, query, (place, verbatim) in zip(trees, queries, aligned, strict=True)
        ]

    def connect(self, database: Database, script: Sequence[Statement]) -> DuckSession:
        """A session on its own connection; raises Busy while the file's lock is held elsewhere."""
        if database.in_memory:
            root = _open(database)
            return DuckSession(root, lambda: None)
        alone = any(statement.native.kind in _ATTACHING for statement in script)
        with self._lock:
            file = self._file(database, alone)
            session = DuckSession(file.root.cursor(), lambda: self._release(database))
            file.users += 1
            return session

    def _file(self, database: Database, alone: bool) -> _File:
        file = self._files.get(database.key)
        if file is None:
            self._files[database.key] = file = _File(_open(database), alone)
        elif file.alone or alone:
            raise Busy(database.path, _SIBLING)
        return file

    def _release(self, database: Database) -> None:
        with self._lock:
            file = self._files[database.key]
            file.users -= 1
            if not file.users:
                del self._files[database.key]
                file.root.close()


class DuckSession:
    """One script's connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, release: Callable[[], None]) -> None:
        self._connection = connection
        self._release = release

    def declare(self, variables: Mapping[str, str]) -> None:
        """SET VARIABLE for each, so that scripts can say getvariable('pit_run_id')."""
        for name, value in variables.items():
            quoted = name.replace('"', '""')
            self._connection.execute(f'SET VARIABLE "{quoted}" = ?', [value])

    def execute(self, statement: Statement) -> Result:
        """Carry out one statement to its end, whatever it returns."""
        parsed: _Parsed = statement.native
        try:
            if parsed.kind in _WITH_ROWS or _RETURNING.search(statement.text):
                return self._query(parsed)
            return self._command(parsed)
        except duckdb.Error as error:
            _raise_if_busy(error)
            raise SqlFailure(_failure(error, parsed.query or "", statement)) from None

    def _command(self, parsed: _Parsed) -> Result:
        done = self._connection.execute(parsed.sendable)
        header = done.description
        rows = done.fetchall()
        if rows and header and header[0][0] == "Count":
            return Result(rows=rows[0][0], changed=True)
        return Result()

    def _query(self, parsed: _Parsed) -> Result:
        relation = self._relation(parsed)
        if relation is None:
            return Result()
        header = relation.description
        columns = tuple(column[0] for column in header)
        numeric = tuple(_NUMBER.fullmatch(str(column[1])) is not None for column in header)
        rows = _as_text(relation, len(columns))
        first = rows.fetchmany(table.ROWS)
        count = len(first) + _drain(rows, max(1, _BATCH // len(columns)))
        return Result(
            rows=count,
            columns=columns,
            numeric=numeric,
            first=tuple(tuple(_text(value) for value in row) for row in first),
        )

    def _relation(self, parsed: _Parsed) -> _Rows | None:
        try:
            return self._connection.query(parsed.sendable)
        except duckdb.ProgrammingError:
            if parsed.kind != _Kind.SELECT or parsed.query is None:
                raise
            # A SELECT that cannot be bound has executed nothing; only `execute` says where.
            return self._connection.execute(parsed.query)

    def interrupt(self) -> None:
        """End the running statement; harmless when there is none."""
        with suppress(duckdb.Error):
            self._connection.interrupt()

    def roll_back(self) -> bool:
        """Undo the open transaction, if there is one."""
        try:
            self._connection.execute("ROLLBACK")
        except duckdb.Error:
            return False
        return True

    def close(self) -> None:
        """Close the connection, and the file with it when this was the last."""
        try:
            self._connection.close()
        finally:
            self._release()


def _as_text(relation: _Rows, columns: int) -> _Rows:
    """The same rows with every value as DuckDB writes it, cut to what a cell shows.

    Python has no date 10000-01-01, and TIMESTAMPTZ would need pytz.
    """
    if not isinstance(relation, duckdb.DuckDBPyRelation):
        return relation
    limit = 2 * table.CELL
    casts = (f"left(CAST(#{i} AS VARCHAR), {limit})" for i in range(1, columns + 1))
    try:
        return relation.project(", ".join(casts))
    except duckdb.Error:
        return relation


def _drain(rows: _Rows, size: int) -> int:
    """Fetch what is left, because an error may hide in the last row; how many rows it was."""
    count = 0
    while batch := len(rows.fetchmany(size)):
        count += batch
    return count


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)


# ---------------------------------------------------------------- opening


def _open(database: Database) -> duckdb.DuckDBPyConnection:
    if not database.in_memory:
        _make_room(database.path)
    # Otherwise `FROM text` would find the Python variables of this process.
    config: dict[str, str | bool | int | float | list[str]] = {**database.options}
    config["python_enable_replacements"] = "false"
    try:
        return duckdb.connect(database.path, config=config)
    except duckdb.Error as error:
        _raise_if_busy(error)
        failure = _failure(error, "")
        if isinstance(error, duckdb.InvalidInputException):
            failure = _final(failure.message, failure.kind)
        raise SqlFailure(failure) from None


def _make_room(path: str) -> None:
    """The database's folder exists, and nothing but a file stands in its place."""
    try:
        os.makedirs(Path(path).parent, exist_ok=True)
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise SqlFailure(_final(f"cannot open {path}: {error.strerror}", "IO Error")) from None
    if not stat.S_ISREG(mode):
        raise SqlFailure(_final(f"cannot open {path}: it is not a file", "IO Error"))


# ---------------------------------------------------------------- what DuckDB's errors say

_FINAL = (
    duckdb.ParserException,
    duckdb.SyntaxException,
    duckdb.CatalogException,
    duckdb.BinderException,
    duckdb.ConversionException,
    duckdb.OutOfRangeException,
    duckdb.TypeMismatchException,
    duckdb.InvalidTypeException,
    duckdb.NotImplementedException,
    duckdb.PermissionException,
)
"""Errors that come again however often the script is sent."""
_HOPELESS = re.compile(
    r"not a valid DuckDB database|version number|Permission denied|Read-only file system"
    r"|in read-only mode|attached in read-only|Is a directory",
    re.IGNORECASE,
)
_NO_ROOM = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)
_LOCKED = re.compile(
    r'Could not set lock on file "(?P<path>.*?)": Conflicting lock is held'
    r"(?: in (?P<program>.+?))? \(?PID (?P<pid>\d+)"
)
_SEE_ALSO = re.compile(r"[\s.]*See also https?://\S+")
_PLACE = re.compile(r"\n+LINE (?P<line>\d+): (?P<text>.*)\n(?P<caret> *\^)\s*\Z")
_LONGEST = 4000
"""How many characters of a message are kept; internal errors come with a stack trace."""


def _raise_if_busy(error: duckdb.Error) -> None:
    match = _LOCKED.search(str(error))
    if match:
        program = Path(match["program"] or "another process").name
        raise Busy(match["path"], f"{program} (pid {match['pid']})") from None


def _final(message: str, kind: str) -> Failure:
    return Failure(message=message, kind=kind, retryable=False)


def _failure(error: duckdb.Error, query: str, statement: Statement | None = None) -> Failure:
    """What the error says, with its place counted in the script's lines."""
    message = str(error)
    place = _PLACE.search(message)
    if place:
        message = message[: place.start()]
    line, snippet = _place(place, query, statement)
    return Failure(
        message=_SEE_ALSO.sub("", message.strip())[:_LONGEST],
        line=line,
        kind=_kind(error, message),
        retryable=not isinstance(error, _FINAL) and not _HOPELESS.search(message),
        snippet=snippet,
    )


def _kind(error: duckdb.Error, message: str) -> str:
    if isinstance(error, duckdb.InterruptException):
        return CANCELLED
    if _NO_ROOM.search(message):
        return DISK_FULL
    return message.partition(":")[0] if ":" in message else type(error).__name__


def _place(place: re.Match[str] | None, query: str, statement: Statement | None) -> tuple[int, str]:
    """The line that the error points at and its picture; the statement's line without one."""
    if place is None or not _stands(place["text"], query.splitlines()):
        return (statement.line if statement else 0), ""
    line = int(place["line"]) + (statement.above - 1 if statement else 0)
    head = f"LINE {line}: "
    shift = len(head) - len(f"LINE {place['line']}: ")
    return line, f"{head}{place['text']}\n{' ' * shift}{place['caret']}"


def _stands(shown: str, lines: Iterable[str]) -> bool:
    """Whether the line that DuckDB shows is of the script; it may be of a query that it made."""
    core = shown.removesuffix("...").removeprefix("...").strip()
    return any(core in line for line in lines)
