"""Loads into Postgres: Arrow batches by binary COPY (ADBC), in one transaction of one connection.

What binary COPY cannot be told as it is goes in the bytes that Postgres reads: a uuid as 16 bytes,
jsonb behind its version. Types that only the server can read come as text into a temporary table.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import duckdb

from pit.sql import dialect
from pit.sql.connect import Database
from pit.sql.dialect import Table
from pit.sql.driver import Failure, Session, SqlFailure, Unavailable
from pit.sql.drivers.postgres import conninfo
from pit.sql.drivers.transient import LOST, by_sqlstate, by_words
from pit.sql.transfer.catalog import postgres_columns, postgres_new
from pit.sql.transfer.sink import STAGING, Plan, TargetColumn
from pit.sql.transfer.types import MOMENTS, Kind, declared

_BATCH = 16_384
_LONGEST = 4000
_UUID = "unhex(replace(CAST({} AS VARCHAR), '-', ''))"
_JSONB = "('\\x01'::BLOB || encode(CAST({} AS VARCHAR)))"


def connect(database: Database) -> Any:
    """An ADBC connection, in a transaction from its first statement; raises SqlFailure."""
    try:
        import adbc_driver_postgresql.dbapi as adbc
        import pyarrow  # noqa: F401 - ADBC hands its batches over in it
    except ImportError:
        raise Unavailable(
            "loading into and saving from Postgres needs ADBC and pyarrow: "
            "pip install 'pit-orchestrator[postgres]'"
        ) from None
    try:
        return adbc.connect(conninfo(database))
    except adbc.Error as error:
        raise told(error) from None


def told(error: Any) -> SqlFailure:
    """An error of ADBC's."""
    details = {key: bytes(value).decode(errors="replace") for key, value in error.details or ()}
    state = error.sqlstate or ""
    primary = details.get("PG_DIAG_MESSAGE_PRIMARY")
    text = str(error)
    if primary:
        parts = [f"{details.get('PG_DIAG_SEVERITY_NONLOCALIZED', 'ERROR')}: {primary}"]
        parts += [
            f"{word}: {details[key]}"
            for word, key in (
                ("DETAIL", "PG_DIAG_MESSAGE_DETAIL"),
                ("HINT", "PG_DIAG_MESSAGE_HINT"),
                ("CONTEXT", "PG_DIAG_CONTEXT"),
            )
            if details.get(key)
        ]
        text = "\n".join(parts)
    transient = by_sqlstate(state) if state else by_words(text) or bool(LOST.search(text))
    return SqlFailure(Failure(message=text[:_LONGEST].strip(), kind=state, retryable=transient))


class PostgresSink:
    """A Postgres server during one load; `session` is a second connection, to cancel the first."""

    dialect = dialect.POSTGRES
    stages = False

    def __init__(self, session: Session, database: Database) -> None:
        self.session = session
        self.connection = connect(database)
        self._pid = int(str(self.rows("SELECT pg_backend_pid()")[0][0]))

    @property
    def looking(self) -> Any:
        """The connection, as others take it to be."""
        return _Looking(self)

    def begin(self) -> None:
        """The transaction is open already; its values are the same wherever the server is."""
        self.connection.rollback()
        self.execute("SET LOCAL datestyle = 'ISO, YMD'")
        self.execute("SET LOCAL timezone = 'UTC'")
        self.execute("SET LOCAL intervalstyle = 'postgres'")

    def commit(self) -> None:
        """Make everything stand."""
        try:
            self.connection.commit()
        except self.connection.Error as error:
            raise told(error) from None

    def roll_back(self) -> None:
        """Undo everything."""
        with suppress(self.connection.Error):
            self.connection.rollback()

    def existing(self, table: Table) -> tuple[TargetColumn, ...] | None:
        """The table's columns."""
        return postgres_columns(self.rows, table)

    def new(self, name: str, kind: Kind, key: bool) -> TargetColumn:
        """A column of the nearest type."""
        return postgres_new(name, declared("postgres", kind, key), kind.text)

    def execute(self, statement: str) -> int:
        """Carry out a statement."""
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(statement)
                return max(int(cursor.rowcount), 0)
        except self.connection.Error as error:
            raise told(error) from None

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """The rows of a query."""
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(query)
                found: list[tuple[object, ...]] = cursor.fetchall()
                return found
        except self.connection.Error as error:
            raise told(error) from None

    def pour(self, plan: Plan, into: str) -> int:
        """COPY the batches, as they are read."""
        staged = into == self.dialect.quote(STAGING)
        name = STAGING if staged else plan.table.name
        schema = None if staged else plan.table.schema or self._schema(into)
        batches = plan.reader.execute(plan.query).to_arrow_reader(_BATCH)
        counted = _Counted(batches)
        try:
            with self.connection.cursor() as cursor:
                cursor.adbc_ingest(
                    name,
                    counted.reader(),
                    mode="append",
                    db_schema_name=schema,
                    temporary=staged,
                )
        except self.connection.Error as error:
            raise counted.failure or told(error) from None
        return counted.rows

    def _schema(self, into: str) -> str | None:
        found = self.rows(
            "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            f"WHERE c.oid = to_regclass({self.dialect.literal(into)})"
        )
        return str(found[0][0]) if found else None

    def expression(self, column: TargetColumn, value: str) -> str:
        """In the bytes of binary COPY, or as text for the server to read."""
        kind = column.sent
        if column.staged:
            return f"CAST({'to_json(' + value + ')' if kind.nested else value} AS VARCHAR)"
        if kind.base == "UUID":
            return _UUID.format(value)
        if kind.base == "JSON" and column.declared == "jsonb":
            return _JSONB.format(value)
        return f"CAST({value} AS VARCHAR)" if kind.base == "JSON" else value

    def limit(self, column: TargetColumn, value: str) -> str:
        """Postgres has no text with NUL in it, no such early years, and no `infinity` by COPY."""
        kind = column.sent
        if kind.base in ("VARCHAR", "ENUM"):
            return f"NOT contains({value}, chr(0))"
        if kind.base == "JSON":
            return f"NOT contains(CAST({value} AS VARCHAR), '\\u0000')"
        if kind.base in ("DATE", *MOMENTS, "TIMESTAMPTZ"):
            return f"(isfinite({value}) AND year({value}) >= -4711)"
        return ""

    def interrupt(self) -> None:
        """Have the server cancel what it does."""
        import psycopg

        with suppress(psycopg.Error):
            self.session.native.execute("SELECT pg_cancel_backend(%s)", [self._pid])

    def close(self) -> None:
        """Close the connection; the temporary table dies with it."""
        with suppress(self.connection.Error):
            self.connection.close()


class _Looking:
    """ADBC's connection with what DB-API libraries have beyond the standard."""

    def __init__(self, sink: PostgresSink) -> None:
        self._sink = sink

    def execute(self, query: str) -> Any:
        """A cursor with the rows of a query."""
        cursor = self._sink.connection.cursor()
        cursor.execute(query)
        return cursor

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A savepoint: what fails in the block spoils nothing."""
        self._sink.execute("SAVEPOINT pit_look")
        try:
            yield
        except BaseException:
            self._sink.execute("ROLLBACK TO SAVEPOINT pit_look")
            raise
        self._sink.execute("RELEASE SAVEPOINT pit_look")


class _Counted:
    """Batches on their way, counted; keeps the error that reading them may end with."""

    def __init__(self, batches: Any) -> None:
        self._batches = batches
        self.rows = 0
        self.failure: Exception | None = None

    def reader(self) -> Any:
        """The same batches again."""
        import pyarrow

        return pyarrow.RecordBatchReader.from_batches(self._batches.schema, self._each())

    def _each(self) -> Any:
        try:
            for batch in self._batches:
                self.rows += batch.num_rows
                yield batch
        # ADBC would tell of it in words of its own.
        except Exception as error:
            # Nor is what Arrow makes of DuckDB's errors any help; their text is whole.
            known = isinstance(error, duckdb.Error)
            self.failure = error if known else duckdb.Error(str(error))
            raise
