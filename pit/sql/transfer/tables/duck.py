"""Loads into DuckDB files: the file's own connection reads the data, nothing passes through Pit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb

from pit.sql.connection.urls import Database
from pit.sql.driver import Session, SqlFailure
from pit.sql.drivers.duck_errors import failure
from pit.sql.text import dialect
from pit.sql.text.dialect import Table
from pit.sql.transfer.reading.reader import prepared
from pit.sql.transfer.tables.looking import Looking
from pit.sql.transfer.tables.sink import Plan, Poured, TargetColumn
from pit.sql.transfer.turns.claim import Claim, Turn
from pit.sql.transfer.turns.within import Queues
from pit.sql.transfer.types import Kind, declared, kind

_QUEUES = Queues()
"""Of the tables and new schemas of all files: no other process has a file that is open here."""


class DuckSink:
    """A DuckDB file during one load."""

    dialect = dialect.DUCKDB
    stages = False

    def __init__(self, session: Session, database: Database) -> None:
        self.session = session
        self._connection = prepared(self.session.native)
        self._file = "" if database.in_memory else database.key
        self._turns: list[Callable[[], None]] = []

    @property
    def looking(self) -> Any:
        """The connection, for looks that do not pass over what they have ended."""
        return Looking(self._look, self._lives)

    def _look(self, query: str) -> tuple[list[str], list[tuple[object, ...]]]:
        try:
            found = self._connection.execute(query)
            return [str(one[0]) for one in found.description or ()], found.fetchall()
        except duckdb.Error as error:
            raise SqlFailure(failure(error)) from None

    def _lives(self) -> bool:
        """Whether the transaction goes on; most errors end it, whose COMMIT then says nothing."""
        try:
            self._prove()
        except duckdb.Error:
            return False
        return True

    def _prove(self) -> None:
        self._connection.execute("SELECT 1").fetchall()

    def begin(self) -> None:
        """Open the transaction."""
        self._connection.execute("BEGIN TRANSACTION")

    def take_turn(self, claim: Claim) -> Turn:
        """By a queue, ahead of the transaction: it sees the file as it is when it begins."""
        table = claim.table
        if self._file:
            self._connection.execute("ROLLBACK")
            shared = claim.shared and self.existing(table) is not None
            self._queue(claim, shared, table.schema.lower(), table.name.lower())
            if not self._has_schema(table):
                # Two transactions that make one schema collide.
                self._queue(claim, False, table.schema.lower())
            self._connection.execute("BEGIN TRANSACTION")
        return Turn(table=table, schema_missing=True)

    def _queue(self, claim: Claim, shared: bool, *name: str) -> None:
        place = (self._file, *name)
        self._turns.append(_QUEUES.take(place, shared, claim.waits, claim.heed))

    def _has_schema(self, table: Table) -> bool:
        schema = self.dialect.literal(table.schema)
        query = f"SELECT 1 FROM duckdb_schemas() WHERE lower(schema_name) = lower({schema})"
        return bool(self.rows(query))

    def commit(self) -> None:
        """Make everything stand, unless an error has ended the transaction."""
        self._prove()
        self._connection.execute("COMMIT")

    def roll_back(self) -> None:
        """Undo everything."""
        self.session.roll_back()

    def existing(self, table: Table) -> tuple[TargetColumn, ...] | None:
        """The table's columns; names are compared as DuckDB does, without regard to case."""
        literal = self.dialect.literal
        catalog = literal(table.catalog) if table.catalog else "current_database()"
        rows = self.rows(
            "SELECT column_name, data_type, column_default IS NOT NULL, NOT is_nullable "
            f"FROM duckdb_columns() WHERE database_name = {catalog} "
            f"AND lower(schema_name) = lower({literal(table.schema)}) "
            f"AND lower(table_name) = lower({literal(table.name)}) ORDER BY column_index"
        )
        found = tuple(
            TargetColumn(
                name=str(name),
                sent=kind(str(text)),
                declared=str(text),
                default=bool(default),
                required=bool(required),
            )
            for name, text, default, required in rows
        )
        return found or None

    def new(self, name: str, kind: Kind, key: bool) -> TargetColumn:
        """A column of the very type."""
        text = declared("duckdb", kind, key)
        return TargetColumn(name=name, sent=kind, declared=text)

    def execute(self, statement: str) -> int:
        """Carry out a statement."""
        rows = self._connection.execute(statement).fetchall()
        return int(rows[0][0]) if rows and isinstance(rows[0][0], int) else 0

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """The rows of a query."""
        return self._connection.execute(query).fetchall()

    def pour(self, plan: Plan, into: str) -> Poured:
        """INSERT … SELECT from the files."""
        names = ", ".join(self.dialect.quote(one.name) for one in plan.columns)
        count = self.execute(f"INSERT INTO {into} ({names}) {plan.query}")
        return Poured(read=count, loaded=count)

    def expression(self, column: TargetColumn, value: str) -> str:
        """As it is."""
        return value

    def limit(self, column: TargetColumn, value: str) -> str:
        """DuckDB takes what DuckDB reads."""
        return ""

    def interrupt(self) -> None:
        """End the running statement."""
        self.session.interrupt()

    def close(self) -> None:
        """The next load may have its turn."""
        while self._turns:
            self._turns.pop()()
