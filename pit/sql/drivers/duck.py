"""The DuckDB driver. Imported by the SQL process alone, which may crash without harm to a run.

Scripts that run at the same time share the open file, each on a connection of its own; it is
closed when the last of them ends, so that a Python task, a notebook or another run can have it.
What a script attaches is seen by every connection of the open file, so a script with ATTACH or
DETACH gets the file alone; the others wait.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import duckdb
import msgspec

from pit.model import Record
from pit.sql.connection.urls import Database
from pit.sql.driver import Busy, Failure, Result, Rows, SqlFailure, Statement, Tell
from pit.sql.drivers.duck_errors import TOLD_AS_JSON, busy, failure
from pit.sql.drivers.files import SIBLING, make_room
from pit.sql.text import table
from pit.sql.text.dialect import DUCKDB
from pit.sql.text.places import Stretch, align, cut, point

_BATCH = 10_000
"""How many rows of a result set are fetched at once, so that memory stays flat."""
_LONGEST_PLAN = 20_000

_Header = list[Any]
_Kind = duckdb.StatementType
_WITH_ROWS = frozenset((_Kind.SELECT, _Kind.CALL, _Kind.EXECUTE, _Kind.PRAGMA, _Kind.MULTI))
_RETURNING = re.compile(r"\breturning\b", re.IGNORECASE)
_ATTACHING = frozenset((_Kind.ATTACH, _Kind.DETACH))
_SETTING = frozenset((_Kind.ATTACH, _Kind.SET, _Kind.VARIABLE_SET, _Kind.LOAD))
_UNBOUND = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ParserException,
    duckdb.NotImplementedException,
)
"""What a statement raises that cannot be bound to tables and columns."""
_NUMBER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL\(.*\)|BIGNUM")


class _Parsed(Record, frozen=True):
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
        self._shares: dict[str, Mapping[str, str]] = {}
        self._parser = duckdb.connect()

    def parse(self, text: str, database: Database) -> list[Statement]:
        """The statements of a script; the whole is parsed before anything is executed."""
        if "\0" in text:
            # DuckDB would take it for the end and say nothing.
            line, snippet = point(text, text.index("\0"))
            raise SqlFailure(
                Failure(
                    message="the script contains a NUL character",
                    line=line,
                    kind="Parser Error",
                    retryable=False,
                    snippet=snippet,
                )
            )
        trees = self._trees(text)
        if not trees:
            return []
        places = _places(text)
        queries = [_query_of(tree) for tree in trees]
        # The parser leaves what stands behind the last semicolon, comments, at the last statement.
        queries[-1] = next((place.raw for place in _places(queries[-1])), queries[-1])
        aligned = align(places, queries)
        return [
            Statement(
                line=place.line,
                text=place.text,
                above=place.above,
                setting=tree.type in _SETTING,
                native=_Parsed(kind=tree.type, tree=tree, query=place.raw if verbatim else None),
            )
            for tree, (place, verbatim) in zip(trees, aligned, strict=True)
        ]

    def _trees(self, text: str) -> list[duckdb.Statement]:
        with self._lock:
            parser = self._parser.cursor()
        try:
            parser.execute(TOLD_AS_JSON)
            return parser.extract_statements(text)
        except duckdb.Error as error:
            failed = failure(error, text)
            if not failed.line:
                failed = msgspec.structs.replace(failed, line=_first_broken(parser, text))
            raise SqlFailure(failed) from None
        finally:
            parser.close()

    def connect(self, database: Database, script: Sequence[Statement], tell: Tell) -> DuckSession:
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

    def share(self, database: Database) -> None:
        """From now on its file takes no more than the options say, open or yet to be opened."""
        self._shares[database.key] = database.options
        # Whoever opens a file holds the lock, and that may last.
        threading.Thread(target=self._limit, args=(database.key,), daemon=True).start()

    def _limit(self, key: str) -> None:
        with self._lock:
            file = self._files.get(key)
            if file is not None:
                _limited(file.root, self._shares[key])

    def _file(self, database: Database, alone: bool) -> _File:
        file = self._files.get(database.key)
        if file is None:
            root = _limited(_open(database), self._shares.get(database.key, {}))
            self._files[database.key] = file = _File(root, alone)
        elif file.alone or alone:
            raise Busy(database.path, SIBLING)
        return file

    def _release(self, database: Database) -> None:
        with self._lock:
            file = self._files[database.key]
            file.users -= 1
            if not file.users:
                del self._files[database.key]
                file.root.close()


def _query_of(tree: duckdb.Statement) -> str:
    """What DuckDB says that a statement's text is; empty where it cannot say."""
    try:
        return str(tree.query)
    except IndexError:
        return ""  # before 1.5.4, of what stands in for a PIVOT that is not the first statement


def _places(text: str) -> list[Stretch]:
    comment = duckdb.token_type.comment
    return cut(text, [offset for offset, kind in duckdb.tokenize(text) if kind != comment])


def _first_broken(parser: duckdb.DuckDBPyConnection, text: str) -> int:
    """The line of the first statement that cannot be parsed; not every error says where it is."""
    for place in _places(text):
        try:
            parser.extract_statements(place.raw)
        except duckdb.Error:
            return place.line
    return 0


class DuckSession:
    """One script's connection."""

    at_once = False

    def __init__(self, connection: duckdb.DuckDBPyConnection, release: Callable[[], None]) -> None:
        self.native = self._connection = connection
        connection.execute(TOLD_AS_JSON)
        self._release = release

    def declare(self, variables: Mapping[str, str]) -> None:
        """SET VARIABLE for each, so that scripts can say getvariable('pit_run_id')."""
        for name, value in variables.items():
            quoted = name.replace('"', '""')
            self._connection.execute(f'SET VARIABLE "{quoted}" = ?', [value])

    def execute(self, statement: Statement) -> Iterator[Result]:
        """Carry out one statement to its end, whatever it returns: one result."""
        yield self._result(statement)

    def _result(self, statement: Statement) -> Result:
        parsed: _Parsed = statement.native
        ahead = ""
        try:
            if parsed.kind == _Kind.EXPLAIN:
                return self._plan(parsed)
            if shown := self._shape(parsed):
                ahead = shown.ahead
                self._connection.execute(f"{ahead}{parsed.query}{shown.behind}")
                return self._rows(shown.header, lists=True)
            return self._plain(parsed, _returns_rows(parsed, statement))
        except duckdb.Error as error:
            if in_use := busy(error):
                raise in_use from None
            query = ahead + (parsed.query or "")
            raise SqlFailure(failure(error, query, statement, len(ahead))) from None

    def _plan(self, parsed: _Parsed) -> Result:
        rows = self._connection.execute(parsed.sendable).fetchall()
        plans = "\n".join(str(row[-1]) for row in rows)
        return Result(text=plans[:_LONGEST_PLAN].rstrip())

    def _shape(self, parsed: _Parsed) -> _Shown | None:
        """How to have a SELECT's rows as text; None for any other statement, or a broken one."""
        if parsed.kind != _Kind.SELECT or parsed.query is None:
            return None
        try:
            return _Shown.of(_described(self._connection, parsed.query))
        except _UNBOUND:
            return None

    def _plain(self, parsed: _Parsed, with_rows: bool) -> Result:
        header = self._connection.execute(parsed.sendable).description
        if with_rows:
            return self._rows(header, lists=False)
        rows = self._connection.fetchall()
        if rows and header[0][0] == "Count":
            return Result(rows=rows[0][0], changed=True)
        return Result()

    def rows(self, statement: Statement) -> Rows:
        """All rows of a statement; those of a SELECT as the texts that DuckDB writes itself."""
        return self._wrapped(statement, _as_texts)

    def documents(self, statement: Statement) -> Rows:
        """All rows of a SELECT, each as one JSON text; those of another statement as `rows`."""
        return self._wrapped(statement, _as_json)

    def _wrapped(self, statement: Statement, wrapping: Callable[[int], tuple[str, str]]) -> Rows:
        parsed: _Parsed = statement.native
        ahead = ""
        query = parsed.query or statement.text
        try:
            if shape := self._shape(parsed):
                header = shape.header
                ahead, behind = wrapping(len(header))
                self._connection.execute(f"{ahead}{query}{behind}")
            else:
                header = self._connection.execute(parsed.sendable).description or []
            names = tuple(str(column[0]) for column in header)
            if not (shape or _returns_rows(parsed, statement)):
                counted = self._connection.fetchall()
                changed = counted[0][0] if counted and names == ("Count",) else None
                return Rows(columns=(), batches=iter(()), changed=changed)
            return Rows(
                columns=names,
                batches=self._batches(query, statement, len(ahead)),
                numeric=tuple(_NUMBER.fullmatch(str(column[1])) is not None for column in header),
            )
        except duckdb.Error as error:
            raise self._raised(error, f"{ahead}{query}", statement, len(ahead)) from None

    def _batches(
        self, query: str, statement: Statement, ahead: int
    ) -> Iterator[Sequence[Sequence[Any]]]:
        try:
            while batch := self._connection.fetchmany(_BATCH):
                yield batch
        except duckdb.Error as error:
            raise self._raised(error, " " * ahead + query, statement, ahead) from None

    def save(self, statement: Statement, path: str, named: Callable[[Sequence[str]], str]) -> None:
        """The whole result of a SELECT as a Parquet file, which DuckDB writes itself.

        `named` makes the list of names, quoted, of those that the query gives its columns.
        """
        parsed: _Parsed = statement.native
        if parsed.kind != _Kind.SELECT:
            message = "only a query can be saved, and this is not one"
            raise SqlFailure(Failure(message=message, line=statement.line, kind="query"))
        query = (parsed.query or statement.text).rstrip("; \t\r\n")
        ahead = ""
        try:
            if (shape := self._shape(parsed)) is None:
                self._connection.execute(parsed.sendable)  # whose error has a place
                raise duckdb.BinderException("this query cannot be saved")
            names = named([str(column[0]) for column in shape.header])
            ahead = "COPY (SELECT * FROM ("
            where = path.replace("'", "''")
            text = f"{ahead}{query}\n) AS pit({names})) TO '{where}' (FORMAT parquet)"
            self._connection.execute(text)
        except duckdb.Error as error:
            raise self._raised(error, f"{ahead}{query}", statement, len(ahead)) from None

    @staticmethod
    def _raised(
        error: duckdb.Error, query: str, statement: Statement, ahead: int
    ) -> Busy | SqlFailure:
        return busy(error) or SqlFailure(failure(error, query, statement, ahead))

    def _rows(self, header: _Header, lists: bool) -> Result:
        """What the running statement returns, read to its end, for an error may hide there."""
        try:
            first = self._connection.fetchmany(table.ROWS)
            count = len(first)
            while batch := len(self._connection.fetchmany(_BATCH)):
                count += batch
        except duckdb.InvalidInputException as error:
            if "Required module" not in str(error):
                raise
            return Result(text="the rows are not shown: Python lacks pytz for their time zone")
        if not count and [column[0] for column in header] == ["Success"]:
            return Result()
        values = [row[0] for row in first] if lists else first
        return Result(
            rows=count,
            columns=tuple(column[0] for column in header),
            numeric=tuple(_NUMBER.fullmatch(str(column[1])) is not None for column in header),
            first=tuple(tuple(_text(value) for value in row) for row in values),
        )

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


def _described(connection: duckdb.DuckDBPyConnection, query: str) -> _Header:
    """The columns of a SELECT, which is not begun: from 2.0 on its relation would start it.

    A relation all the same, for an error of its binding leaves an open transaction as it is.
    """
    try:
        rows = connection.query(f"DESCRIBE {query}").fetchall()
    except duckdb.ParserException:
        # Before 2.0 there is no DESCRIBE of SHOW, SUMMARIZE and itself.
        return connection.query(query).description
    return [row[:2] for row in rows]


class _Shown(Record, frozen=True):
    """What is put around a SELECT so that its rows can be shown, and its own columns.

    Each row that is shown comes as one list, of its values as DuckDB writes them, cut to a cell:
    Python has no date 10000-01-01, and before 2.0 DuckDB needs pytz for TIMESTAMPTZ. The rows
    further down are computed but come as NULL, since making Python objects of them takes longer
    than all the rest.
    """

    ahead: str
    behind: str
    header: _Header

    @classmethod
    def of(cls, header: _Header) -> _Shown:
        """For a SELECT that has these columns, each a name and a type, as DB-API has them."""
        names = [f"c{i}" for i in range(len(header))]
        casts = ", ".join(f"left(CAST({name} AS VARCHAR), {2 * table.CELL})" for name in names)
        return cls(
            ahead=f"SELECT CASE WHEN row_number() OVER () <= {table.ROWS} "
            f"THEN [{casts}] END FROM (",
            behind=f"\n) AS pit({', '.join(names)})",
            header=header,
        )


def _as_texts(count: int) -> tuple[str, str]:
    """What is put around a SELECT so that all its values come as texts."""
    names = [f"c{index}" for index in range(count)]
    casts = ", ".join(f"CAST({name} AS VARCHAR)" for name in names)
    return f"SELECT {casts} FROM (", f"\n) AS pit({', '.join(names)})"


def _as_json(count: int) -> tuple[str, str]:
    """What is put around a SELECT so that each row comes as a JSON text."""
    return "SELECT CAST(to_json(pit) AS VARCHAR) FROM (", "\n) AS pit"


def _returns_rows(parsed: _Parsed, statement: Statement) -> bool:
    return parsed.kind in _WITH_ROWS or _RETURNING.search(statement.text) is not None


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)


# ---------------------------------------------------------------- opening


def _open(database: Database) -> duckdb.DuckDBPyConnection:
    if not database.in_memory:
        make_room(database.path)
    # Otherwise `FROM text` would find the Python variables of this process.
    config: dict[str, str | bool | int | float | list[str]] = {**database.options}
    config["python_enable_replacements"] = "false"
    try:
        return duckdb.connect(database.path, config=config)
    except duckdb.Error as error:
        if in_use := busy(error):
            raise in_use from None
        failed = failure(error)
        # An option that DuckDB does not know, or cannot read.
        if isinstance(error, duckdb.InvalidInputException):
            failed = _final(failed.message, failed.kind)
        raise SqlFailure(failed) from None


def _limited(
    root: duckdb.DuckDBPyConnection, options: Mapping[str, str]
) -> duckdb.DuckDBPyConnection:
    """The database with so much memory and so many threads, if it can do with that."""
    for name in ("memory_limit", "threads"):
        if value := options.get(name):
            with suppress(duckdb.Error):  # it holds more, and cannot put it on disk
                root.execute(f"SET GLOBAL {name} = {DUCKDB.literal(value)}")
    return root


def _final(message: str, kind: str) -> Failure:
    return Failure(message=message, kind=kind, retryable=False)
