"""Loads into Postgres: Arrow batches by binary COPY (ADBC), in one transaction of one connection.

What binary COPY cannot be told as it is goes in the bytes that Postgres reads: a uuid as 16 bytes,
jsonb behind its version. Types that only the server can read come as text into a temporary table.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from pit.sql.connection.urls import Database
from pit.sql.driver import Session, SqlFailure, Unavailable
from pit.sql.drivers.postgres import conninfo
from pit.sql.text import dialect
from pit.sql.text.dialect import Table
from pit.sql.transfer.tables.adbc_errors import told, unreached
from pit.sql.transfer.tables.catalog import postgres_columns, postgres_new
from pit.sql.transfer.tables.looking import PostgresLooking
from pit.sql.transfer.tables.postgres_values import limit, sent
from pit.sql.transfer.tables.sink import STAGING, Plan, Poured, TargetColumn
from pit.sql.transfer.tables.streamed import Batches
from pit.sql.transfer.tables.transaction import Transaction
from pit.sql.transfer.turns import postgres as turns
from pit.sql.transfer.turns.claim import Claim, Turn
from pit.sql.transfer.types import Kind, declared

_BATCH = 16_384


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
        raise unreached(error, database.display) from None


class PostgresSink:
    """A Postgres server during one load; `session` is a second connection, to cancel the first."""

    dialect = dialect.POSTGRES
    stages = False

    def __init__(self, session: Session, database: Database) -> None:
        self.session = session
        self.connection = connect(database)
        self._spoilt: SqlFailure | None = None
        self._pid = int(str(self.rows("SELECT pg_backend_pid()")[0][0]))

    @property
    def looking(self) -> Any:
        """The connection, for looks that leave the transaction as it is."""
        return PostgresLooking(self)

    def begin(self) -> None:
        """The transaction is open already; its values are the same wherever the server is."""
        with self._telling():
            self.connection.rollback()
        self._spoilt = None
        # A snapshot of the time before the turn would not show what others did until then.
        self.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        self.execute("SET LOCAL datestyle = 'ISO, YMD'")
        self.execute("SET LOCAL timezone = 'UTC'")
        self.execute("SET LOCAL intervalstyle = 'postgres'")
        self._transaction = Transaction(self.rows)

    def take_turn(self, claim: Claim) -> Turn:
        """By the server's locks."""
        return turns.take(self, claim)

    def commit(self) -> None:
        """Make everything stand; raises what has spoilt it, if anything has."""
        if self._spoilt is not None:
            raise self._spoilt
        self._transaction.prove()
        with self._telling():
            self.connection.commit()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Turns ADBC's errors into Pit's; the first is kept, as it has ended the transaction."""
        try:
            yield
        except self.connection.Error as error:
            failed = told(error)
            self._spoilt = self._spoilt or failed
            raise failed from None

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
        with self._telling(), self.connection.cursor() as cursor:
            cursor.execute(statement)
            return max(int(cursor.rowcount), 0)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """The rows of a query."""
        with self._telling(), self.connection.cursor() as cursor:
            cursor.execute(query)
            found: list[tuple[object, ...]] = cursor.fetchall()
            return found

    def pour(self, plan: Plan, into: str) -> Poured:
        """COPY the batches, as they are read."""
        staged = into == self.dialect.quote(STAGING)
        name = STAGING if staged else plan.table.name
        schema = None if staged else plan.table.schema or self._schema(into)
        with closing(Batches(plan.reader, plan.query, _BATCH)) as batches:
            try:
                with self._telling(), self.connection.cursor() as cursor:
                    cursor.adbc_ingest(
                        name,
                        batches.reader(),
                        mode="append",
                        db_schema_name=schema,
                        temporary=staged,
                    )
            except SqlFailure as failed:
                raise batches.failure or failed from None
        return Poured(read=batches.rows, loaded=batches.rows)

    def _schema(self, into: str) -> str | None:
        found = self.rows(
            "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            f"WHERE c.oid = to_regclass({self.dialect.literal(into)})"
        )
        return str(found[0][0]) if found else None

    def expression(self, column: TargetColumn, value: str) -> str:
        """In the bytes of binary COPY, or as text for the server to read."""
        return sent(column, value)

    def limit(self, column: TargetColumn, value: str) -> str:
        """Postgres has no text with NUL in it, no such early years, and digits as declared."""
        return limit(column, value)

    def interrupt(self) -> None:
        """Have the server cancel what it does."""
        import psycopg

        with suppress(psycopg.Error):
            self.session.native.execute("SELECT pg_cancel_backend(%s)", [self._pid])

    def close(self) -> None:
        """Close the connection; the temporary table dies with it."""
        with suppress(self.connection.Error):
            self.connection.close()
