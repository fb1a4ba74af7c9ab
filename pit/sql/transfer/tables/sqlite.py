"""Loads into SQLite: rows as tuples, in one transaction of one connection."""

from __future__ import annotations

import sqlite3
import threading
from typing import Any

from pit.sql.changes import is_view
from pit.sql.connection.urls import Database
from pit.sql.driver import CANCELLED, Failure, Session, SqlFailure
from pit.sql.drivers.sqlite import raised
from pit.sql.text import dialect
from pit.sql.text.dialect import Table
from pit.sql.transfer.tables.catalog import plain_new, sqlite_columns
from pit.sql.transfer.tables.looking import Looking
from pit.sql.transfer.tables.sink import Plan, Poured, TargetColumn
from pit.sql.transfer.tables.tuples import for_sqlite, sqlite_limit
from pit.sql.transfer.turns.claim import Claim, Turn
from pit.sql.transfer.types import Kind

_BATCH = 10_000


class SqliteSink:
    """A SQLite file during one load."""

    dialect = dialect.SQLITE
    stages = False

    def __init__(self, session: Session, database: Database) -> None:
        self.session = session
        self._connection: sqlite3.Connection = self.session.native
        self._path = database.path
        self._stop = threading.Event()

    @property
    def looking(self) -> Any:
        """The connection, for looks that do not pass over what they have ended."""
        return Looking(self._look, lambda: self._connection.in_transaction)

    def _look(self, query: str) -> tuple[list[str], list[tuple[object, ...]]]:
        try:
            found = self._connection.execute(query)
            return [str(one[0]) for one in found.description or ()], found.fetchall()
        except sqlite3.Error as error:
            raise raised(error, self._path) from None

    def begin(self) -> None:
        """Open the transaction, with the right to write; Busy while another program has it."""
        self._do("BEGIN IMMEDIATE")

    def take_turn(self, claim: Claim) -> Turn:
        """The right to write is the turn, for all tables of the file."""
        return Turn(table=claim.table, schema_missing=True)

    def commit(self) -> None:
        """Make everything stand."""
        self._do("COMMIT")

    def roll_back(self) -> None:
        """Undo everything."""
        self.session.roll_back()

    def existing(self, table: Table) -> tuple[TargetColumn, ...] | None:
        """The table's columns."""
        return sqlite_columns(self.rows, table)

    def new(self, name: str, kind: Kind, key: bool) -> TargetColumn:
        """A column whose declared type says how to read it back."""
        return plain_new("sqlite", name, kind.text, key)

    def execute(self, statement: str) -> int:
        """Carry out a statement."""
        return max(self._do(statement).rowcount, 0)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """The rows of a query."""
        return self._do(query).fetchall()

    def _do(self, statement: str) -> sqlite3.Cursor:
        try:
            return self._connection.execute(statement)
        except sqlite3.Error as error:
            raise raised(error, self._path) from None

    def pour(self, plan: Plan, into: str) -> Poured:
        """Insert the rows in batches."""
        names = ", ".join(self.dialect.quote(one.name) for one in plan.columns)
        marks = ", ".join("?" for _ in plan.columns)
        insert = f"INSERT INTO {into} ({names}) VALUES ({marks})"
        view = is_view(self.looking, self.dialect, plan.table)
        result = plan.reader.execute(plan.query)
        read = loaded = 0
        while rows := result.fetchmany(_BATCH):
            if self._stop.is_set():
                raise SqlFailure(Failure(message="interrupted", kind=CANCELLED))
            try:
                done = self._connection.executemany(insert, rows)
            except sqlite3.Error as error:
                raise raised(error, self._path) from None
            # A table may say ON CONFLICT IGNORE; what a view's trigger does is not counted.
            loaded += len(rows) if view else done.rowcount
            read += len(rows)
        return Poured(read=read, loaded=loaded)

    def expression(self, column: TargetColumn, value: str) -> str:
        """As SQLite stores it."""
        return for_sqlite(column, value)

    def limit(self, column: TargetColumn, value: str) -> str:
        """What would become something else."""
        return sqlite_limit(column, value)

    def interrupt(self) -> None:
        """End it after this batch at the latest."""
        self._stop.set()
        self.session.interrupt()

    def close(self) -> None:
        """Nothing is left to be given back."""
