"""Loads through ODBC: rows as tuples, in one transaction of one connection.

SQL Server gets them in a temporary table first, by `fast_executemany` where the driver is
Microsoft's, so that the table itself is locked for the last step alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from pit.sql.connection.urls import Database
from pit.sql.driver import CANCELLED, Busy, Failure, Session, SqlFailure
from pit.sql.drivers.odbc_cancel import UnderWay
from pit.sql.drivers.odbc_errors import OdbcSource, told
from pit.sql.text import dialect
from pit.sql.text.dialect import Table
from pit.sql.transfer.tables.catalog import (
    ANY,
    plain_new,
    postgres_columns,
    sqlite_columns,
    sqlserver_columns,
)
from pit.sql.transfer.tables.looking import Looking, PostgresLooking
from pit.sql.transfer.tables.sink import Plan, Poured, TargetColumn
from pit.sql.transfer.tables.transaction import Transaction, rolled_back
from pit.sql.transfer.tables.tuples import (
    EXACT_IN_FLOATS,
    as_text,
    for_odbc,
    for_sqlite,
    moment_limit,
    sqlite_limit,
    sqlserver_limit,
)
from pit.sql.transfer.turns import postgres, sqlserver
from pit.sql.transfer.turns.claim import Claim, Turn
from pit.sql.transfer.types import FLOATS, INTEGERS, Kind, NoType, declared, kind

if TYPE_CHECKING:
    import pyodbc

_BATCH = 5_000
_LATEST = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED"
"""A snapshot of the time before a load's turn would not show what others did until then."""
_POSTGRES_AS_THEY_ARE = ("BOOLEAN", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL")


class OdbcSink:
    """A database behind ODBC during one load."""

    def __init__(self, session: Any, database: Database) -> None:
        self.session: Session = session
        self.dialect: dialect.Dialect = session.product
        self.stages = self.dialect is dialect.SQLSERVER
        self._connection: pyodbc.Connection = session.native
        self._fast = _takes_arrays(self._connection)
        self._source = OdbcSource(driver=database.kind, place=database.display)
        self._path = database.options.get("database", "")
        self._stop = threading.Event()
        self._under_way = UnderWay()

    @property
    def looking(self) -> Any:
        """The connection, for looks that do not pass over what they have ended."""
        if self.dialect is dialect.POSTGRES:
            return PostgresLooking(self)
        return Looking(self._look, self._lives)

    def _look(self, query: str) -> tuple[list[str], list[tuple[object, ...]]]:
        with self._told(query), self._watched() as cursor:
            cursor.execute(query)
            names = [str(one[0]) for one in cursor.description or ()]
            return names, [tuple(row) for row in cursor.fetchall()] if names else []

    def begin(self) -> None:
        """Open the transaction: the connection no longer commits by itself.

        SQLite has to be asked for the right to write, or two loads that have looked at the file
        would each wait for the other to be done; Busy while another program has it.
        """
        if self.dialect is dialect.SQLITE:
            self._first_in_line()
            return
        if self.dialect is dialect.POSTGRES:
            self.execute(_LATEST)
        self._connection.autocommit = False
        if self.dialect is dialect.POSTGRES:
            self._transaction = Transaction(self.rows)

    def _lives(self) -> bool:
        """Whether the transaction goes on, as far as the product tells."""
        if self.dialect is not dialect.SQLSERVER:
            return True
        try:
            return int(str(self.rows("SELECT @@TRANCOUNT")[0][0])) > 0
        except SqlFailure:
            return False

    def _first_in_line(self) -> None:
        try:
            self.execute("BEGIN IMMEDIATE")
        except SqlFailure as error:
            if error.failure.retryable:
                raise Busy(self._path, "another program") from None
            raise

    def take_turn(self, claim: Claim) -> Turn:
        """By the server's locks, where the product is known."""
        if self.dialect is dialect.POSTGRES:
            return postgres.take(self, claim)
        if self.dialect is dialect.SQLSERVER:
            return sqlserver.take(self, claim)
        return Turn(table=claim.table, schema_missing=True)

    def commit(self) -> None:
        """Make everything stand, if it is all there yet."""
        if self.dialect is dialect.SQLITE:
            self.execute("COMMIT")
            return
        if self.dialect is dialect.POSTGRES:
            self._transaction.prove()
        elif not self._lives():
            raise rolled_back()
        with self._told(""):
            self._connection.commit()
        self._connection.autocommit = True

    def roll_back(self) -> None:
        """Undo everything."""
        import pyodbc

        with suppress(pyodbc.Error):
            if self.dialect is dialect.SQLITE:
                self._connection.execute("ROLLBACK")
                return
            self._connection.rollback()
            self._connection.autocommit = True

    def existing(self, table: Table) -> tuple[TargetColumn, ...] | None:
        """The table's columns, asked as the product is asked."""
        match self.dialect.name:
            case "sqlserver":
                found = sqlserver_columns(self.rows, table)
                return found and tuple(_with_nanoseconds(one) for one in found)
            case "postgres":
                found = postgres_columns(self.rows, table)
                return found and tuple(replace(one, staged=False) for one in found)
            case "sqlite":
                return sqlite_columns(self.rows, table)
        return self._by_asking(table)

    def _by_asking(self, table: Table) -> tuple[TargetColumn, ...]:
        """The columns of a product that is not known: of what a query for no rows returns."""
        query = f"SELECT * FROM {self.dialect.quoted(table)} WHERE 1 = 0"
        with self._told(query):
            header = self._connection.execute(query).description or ()
        return tuple(
            TargetColumn(name=str(column[0]), sent=kind(ANY), declared="") for column in header
        )

    def new(self, name: str, kind: Kind, key: bool) -> TargetColumn:
        """A column of the nearest type; raises NoType where the product's are not known."""
        text = declared(self.dialect.name, kind, key)
        if self.dialect is dialect.POSTGRES:
            if kind.base == "TIMESTAMP_NS":
                raise NoType('Postgres has no nanoseconds; load it with type = "timestamp"')
            # The driver would hand an array back as text in braces.
            text = "jsonb" if kind.base == "LIST" else text
            return TargetColumn(name=name, sent=kind, declared=text)
        column = plain_new(self.dialect.name, name, kind.text, key)
        moment = kind.base.startswith(("DATE", "TIME", "INTERVAL"))
        if self.dialect is dialect.SQLITE and moment:
            # The driver would make times of it by itself, and lose fractions.
            column = replace(column, declared="TEXT")
        return column

    def execute(self, statement: str) -> int:
        """Carry out a statement."""
        with self._told(statement), self._watched() as cursor:
            cursor.execute(statement)
            return max(int(cursor.rowcount), 0)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """The rows of a query."""
        with self._told(query), self._watched() as cursor:
            cursor.execute(query)
            while not cursor.description and cursor.nextset():
                pass  # what a statement before the query has to say
            return [tuple(row) for row in cursor.fetchall()]

    def pour(self, plan: Plan, into: str) -> Poured:
        """Insert the rows in batches."""
        names = ", ".join(self.dialect.quote(one.name) for one in plan.columns)
        marks = ", ".join(self._mark(one) for one in plan.columns)
        insert = f"INSERT INTO {into} ({names}) VALUES ({marks})"
        result = plan.reader.execute(plan.query)
        count = 0
        with self._told(insert), self._watched() as cursor:
            cursor.fast_executemany = self._fast
            if self.dialect is dialect.SQLSERVER:
                cursor.setinputsizes([_size(one, self._fast) for one in plan.columns])
            while rows := result.fetchmany(_BATCH):
                self._heed()
                cursor.executemany(insert, rows)
                count += len(rows)
        return Poured(read=count, loaded=count)

    def _mark(self, column: TargetColumn) -> str:
        """A parameter; Postgres must be told its type."""
        return f"CAST(? AS {column.declared})" if self.dialect is dialect.POSTGRES else "?"

    def expression(self, column: TargetColumn, value: str) -> str:
        """As the product stores it, in a Python type."""
        if self.dialect is dialect.SQLITE:
            return for_sqlite(column, value)
        if self.dialect is not dialect.POSTGRES:
            return for_odbc(column, value)
        base = column.sent.base
        if base == "BLOB":
            return value
        return value if base in _POSTGRES_AS_THEY_ARE else _postgres_text(column, value)

    def limit(self, column: TargetColumn, value: str) -> str:
        """What the product has no value for."""
        if self.dialect is dialect.SQLITE:
            if column.sent.base == "VARCHAR":
                return f"NOT contains({value}, chr(0))"
            return sqlite_limit(column, value) or moment_limit(column, value)
        if self.dialect is dialect.SQLSERVER:
            return sqlserver_limit(column, value)
        if column.sent.base == "VARCHAR":
            return f"NOT contains({value}, chr(0))"
        return moment_limit(column, value)

    def _heed(self) -> None:
        if self._stop.is_set():
            raise SqlFailure(Failure(message="interrupted", kind=CANCELLED))

    def _told(self, text: str) -> _Told:
        return _Told(self, text)

    @contextmanager
    def _watched(self) -> Iterator[pyodbc.Cursor]:
        """A cursor that can be cancelled while the block lasts."""
        import pyodbc

        self._heed()
        cursor = self._connection.cursor()
        try:
            with self._under_way.on(cursor):
                yield cursor
        finally:
            with suppress(pyodbc.Error):
                cursor.close()

    def interrupt(self) -> None:
        """Cancel the statement under way, and begin no other."""
        self._stop.set()
        self._under_way.cancel()

    def close(self) -> None:
        """Nothing is left to be given back."""


def _size(column: TargetColumn, microsoft: bool) -> tuple[int, int, int] | None:
    """Text goes as Unicode of any length, whatever the driver guesses of the server's column."""
    import pyodbc

    base = column.sent.base
    if base == "BLOB":
        return (pyodbc.SQL_VARBINARY if microsoft else pyodbc.SQL_LONGVARBINARY, 0, 0)
    as_it_is = base in INTEGERS or base in FLOATS or base in ("BOOLEAN", "DATE")
    short = base == "DECIMAL" and column.sent.precision <= EXACT_IN_FLOATS
    if as_it_is or short:
        return None
    return (pyodbc.SQL_WVARCHAR if microsoft else pyodbc.SQL_WLONGVARCHAR, 0, 0)


def _takes_arrays(connection: pyodbc.Connection) -> bool:
    """Whether the driver is Microsoft's, which takes many rows at once."""
    import pyodbc

    with suppress(pyodbc.Error):
        return "msodbcsql" in str(connection.getinfo(pyodbc.SQL_DRIVER_NAME)).lower()
    return False


def _postgres_text(column: TargetColumn, value: str) -> str:
    kind = column.sent
    if kind.base == "TIMESTAMPTZ":
        return f"strftime({value} AT TIME ZONE 'UTC', '%Y-%m-%d %H:%M:%S.%f') || '+00:00'"
    if kind.base == "LIST" and column.declared.endswith("[]"):
        return f"replace(replace(CAST(to_json({value}) AS VARCHAR), '[', '{{'), ']', '}}')"
    return as_text(kind, value)


def _with_nanoseconds(column: TargetColumn) -> TargetColumn:
    """A datetime2(7) has room for tenths of a microsecond."""
    wide = column.declared == "datetime2(7)"
    return replace(column, also=("TIMESTAMP_NS",)) if wide else column


class _Told:
    """Turns pyodbc's errors into Pit's."""

    def __init__(self, sink: OdbcSink, text: str) -> None:
        self._sink, self._text = sink, text

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        import pyodbc

        if isinstance(error, pyodbc.Error):
            self._sink._heed()
            source, product = self._sink._source, self._sink.dialect
            raise SqlFailure(told(error, source, product, self._text, None)) from None
