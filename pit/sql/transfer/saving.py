"""A save from beginning to end: one query, its rows into a file that appears when it is whole."""

from __future__ import annotations

import os
import re
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

import duckdb
from msgspec.structs import replace

from pit.fs import atomic
from pit.sql import protocol
from pit.sql.driver import Driver, Failure, Rows, Session, SqlFailure, Statement
from pit.sql.drivers.duck_errors import busy, failure
from pit.sql.script import Execution
from pit.sql.text import dialect
from pit.sql.transfer.patience import of_system
from pit.sql.transfer.reading.files import refused
from pit.sql.transfer.reading.reader import prepared, private
from pit.sql.transfer.types import kind, of_sqlite
from pit.sql.transfer.writing.postgres_columns import QueryColumn, described
from pit.sql.transfer.writing.spool import Clock, Column, Instant, Moment, Spool, of_odbc
from pit.sql.transfer.writing.stored import copied, form_of, said

_TIMESTAMP, _TIME, _DATETIMEOFFSET = 93, -154, -155


class Saving(Execution):
    """One save: a query that is carried out as a script would be, its rows written to a file."""

    def __init__(self, driver: Driver, order: protocol.Save, log: Callable[[str], None]) -> None:
        super().__init__(
            driver,
            order.database,
            order.script,
            order.text,
            order.variables,
            log,
            template=order.template,
        )
        self._path = order.path
        self._running: list[Any] = []

    def interrupt(self) -> None:
        """End it soon; no file appears."""
        super().interrupt()
        for running in list(self._running):
            with suppress(duckdb.Error):
                running.interrupt()

    def _meet(self, statements: Sequence[Statement]) -> None:
        form_of(self._path)
        one_query("a save", statements, self._database.kind)

    def _each(self, session: Session, statements: Sequence[Statement]) -> None:
        begun = time.monotonic()
        rows, size = self._write(session, statements[0])
        self._rows, self._statements = rows, 1
        seconds = time.monotonic() - begun
        self._tell(
            f"{rows:,} row{'' if rows == 1 else 's'} saved to {self._shown()} "
            f"({size:,} bytes); {seconds:.2f} s, {rows / max(seconds, 0.001):,.0f} rows/s"
        )

    def _shown(self) -> str:
        """The file's name for messages."""
        return os.path.basename(self._path)

    def _write(self, session: Session, statement: Statement) -> tuple[int, int]:
        """Write the file, which appears when it is whole; its rows and bytes."""
        folder, name = os.path.split(self._path)
        temporary = os.path.join(folder, f"{atomic.name()}-{name}")
        try:
            os.makedirs(folder, exist_ok=True)
            rows = self._saved(session, statement, temporary)
            self._heed()
            size = os.path.getsize(temporary)
            os.replace(temporary, self._path)
        except duckdb.Error as error:
            failed = failure(error)
            told = replace(failed, message=said(failed.message))
            raise busy(error) or SqlFailure(told) from None
        except OSError as error:
            raise SqlFailure(of_system(error)) from None
        finally:
            self._running.clear()
            with suppress(FileNotFoundError):
                os.unlink(temporary)
        session.roll_back()
        return rows, size

    def _saved(self, session: Session, statement: Statement, path: str) -> int:
        form = form_of(self._path)
        match self._database.kind:
            case "duckdb":
                return _from_duckdb(session, statement, path, form)
            case "postgres":
                from pit.sql.transfer.tables.postgres import PostgresSink
                from pit.sql.transfer.writing.export import from_postgres

                columns = _tried_on_postgres(session, statement)
                opened = self._stop.opened(
                    lambda: PostgresSink(session, self._database), lambda late: late.close()
                )
                with from_postgres(opened, self._variables) as source:
                    self._running.append(source)
                    self._heed()
                    return source.save(statement.text, columns, path, form)
        return self._spooled(session, statement, path, form)

    def _spooled(self, session: Session, statement: Statement, path: str, form: str) -> int:
        """By way of a spool, from drivers that hand over Python objects."""
        sqlite = self._database.kind == "sqlite"
        declared = _declared_in_sqlite(session, statement) if sqlite else []
        with _all_digits(session):
            if exact := self._in_words_of_postgres(session, statement):
                rows, columns = exact
                return self._through(rows, columns, statement, path, form)
            with closing(session.rows(statement)) as rows:
                if not rows.columns:
                    raise refused("the query returns no columns")
                columns = columns_of(rows, rows.columns, declared)
                return self._through(rows, columns, statement, path, form)

    def _in_words_of_postgres(
        self, session: Session, statement: Statement
    ) -> tuple[Rows, list[Column]] | None:
        """The rows of a query to Postgres behind ODBC, None for any other."""
        if getattr(session, "product", None) is not dialect.POSTGRES:
            return None
        from pit.sql.transfer.writing.odbc_postgres import described

        return described(session, statement, _said)

    def _through(
        self, rows: Rows, columns: Sequence[Column], statement: Statement, path: str, form: str
    ) -> int:
        """By way of a spool; how many rows."""
        with closing(Spool(f"{path}.spool", columns)) as spool:
            for batch in rows.batches:
                self._heed()
                spool.add(batch)
            rows.end(statement)
            with closing(private(spill=f"{path}.tmp")) as writer:
                self._running.append(writer)
                self._heed()
                return spool.save(writer, path, form)


_NONE = re.compile(
    r"(insert|update|delete|merge|replace|create|drop|alter|truncate|grant|revoke|vacuum)\b",
    re.IGNORECASE,
)
_BATCHES = ("sqlserver", "odbc")
"""Where a query may be the last statement of a batch."""


def one_query(what: str, statements: Sequence[Statement], kind: str) -> None:
    """SqlFailure, before anything is done, if a script is not one query."""
    message, line = "", 0
    if not statements:
        message = f"{what} must be one query, and there is none"
    elif len(statements) > 1:
        message, line = (
            f"{what} must be one query; another statement begins here",
            statements[1].line,
        )
    elif kind not in _BATCHES and _NONE.match(statements[0].text):
        message, line = f"{what} must be one query, and this is not one", statements[0].line
    if message:
        raise SqlFailure(Failure(message=message, line=line, kind="query"))


def _from_duckdb(session: Session, statement: Statement, path: str, form: str) -> int:
    """DuckDB writes the file itself."""
    connection: duckdb.DuckDBPyConnection = session.native
    query = (statement.native.query or statement.text).rstrip("; \t\r\n")
    prepared(connection)
    sent = f"DESCRIBE {query}"
    try:
        header = connection.execute(sent).fetchall()
        names = [f"c{number}" for number in range(len(header))]
        source = f"(\n{query}\n) AS pit({', '.join(names)})"
        columns = [
            (str(row[0]), name, kind(str(row[1]))) for row, name in zip(header, names, strict=True)
        ]
        sent = copied(columns, source, path, form)
        return _count(connection.execute(sent))
    except duckdb.Error as error:
        if in_use := busy(error):
            raise in_use from None
        ahead = sent.index(query)
        raise SqlFailure(failure(error, sent[: ahead + len(query)], statement, ahead)) from None


def _tried_on_postgres(session: Session, statement: Statement) -> list[QueryColumn]:
    """A query's columns; what is wrong with it, with its line, which no other road can tell."""
    import psycopg

    from pit.sql.drivers.postgres_errors import told

    ahead = "SELECT * FROM (\n"
    try:
        tried = session.native.execute(f"{ahead}{statement.text}\n) AS pit LIMIT 0")
        return described(session.native, tried.pgresult)
    except psycopg.Error as error:
        failed = told(error, statement.text, len(ahead), statement.line)
        raise SqlFailure(failed if failed.line else replace(failed, line=statement.line)) from None


def _count(result: duckdb.DuckDBPyConnection) -> int:
    row = result.fetchone()
    return int(row[0]) if row else 0


def _declared_in_sqlite(session: Session, statement: Statement) -> list[str]:
    """The types that tables declare for the columns of a query; a view of it knows them."""
    import sqlite3

    connection: sqlite3.Connection = session.native
    connection.text_factory = str
    try:
        connection.execute(f"CREATE TEMP VIEW pit_save AS {statement.text}")
    except sqlite3.Error:
        return []  # it has parameters, or is no query; what comes will tell
    try:
        found = connection.execute("PRAGMA temp.table_xinfo(pit_save)").fetchall()
        return [of_sqlite(str(row[2])) for row in found]
    except sqlite3.Error:
        return []  # it names what is not there; what comes will tell, and where
    finally:
        connection.execute("DROP VIEW temp.pit_save")


def columns_of(rows: Rows, names: Sequence[str], declared: Sequence[str] = ()) -> list[Column]:
    """The columns of a result: of the declared types, else of those that the library says."""
    types = declared or [_said(one) for one in rows.header] or [""] * len(names)
    return [Column(*pair) for pair in zip(names, types, strict=True)]


def _said(column: Any) -> str:
    """DuckDB's type for a column as pyodbc describes it, empty where the values must tell."""
    return of_odbc(column[1], int(column[3] or 0), int(column[4] or 0), int(column[5] or 0))


@contextmanager
def _all_digits(session: Session) -> Iterator[None]:
    """SQL Server's times come with all their digits, of which Python's would lose one."""
    if getattr(session, "product", None) is not dialect.SQLSERVER:
        yield
        return
    from pit.sql.drivers.sqlserver import datetimeoffset

    session.native.add_output_converter(_TIMESTAMP, _moment)
    session.native.add_output_converter(_TIME, _clock)
    session.native.add_output_converter(_DATETIMEOFFSET, _instant)
    try:
        yield
    finally:
        session.native.add_output_converter(_DATETIMEOFFSET, datetimeoffset)
        session.native.remove_output_converter(_TIMESTAMP)
        session.native.remove_output_converter(_TIME)


def _instant(data: bytes | None) -> Instant | None:
    """A datetimeoffset."""
    from pit.sql.drivers.sqlserver import datetimeoffset

    return (
        None
        if data is None
        else Instant(datetimeoffset(data).replace(" +", "+").replace(" -", "-"))
    )


def _moment(data: bytes | None) -> Moment | None:
    """A datetime2."""
    if data is None:
        return None
    year, month, day, hour, minute, second, nanos = struct.unpack("<6hI", data)
    text = f"{year:04d}-{month:02d}-{day:02d} {hour:02d}:{minute:02d}:{second:02d}.{nanos:09d}"
    return Moment(text)


def _clock(data: bytes | None) -> Clock | None:
    """A time; the driver aligns the nanoseconds."""
    if data is None:
        return None
    hour, minute, second, nanos = struct.unpack("<3h2xI", data)
    return Clock(f"{hour:02d}:{minute:02d}:{second:02d}.{nanos:09d}")
