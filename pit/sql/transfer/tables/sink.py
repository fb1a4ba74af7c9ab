"""What a load asks of a database: its table as it is, and the rows poured in, all or nothing.

One transaction holds everything from the first look at the table to the last row. Where rows cannot
go straight into the table (upsert, types that only the server can read) they go into a temporary
table first, which dies with the connection: nothing is left to be swept up after a kill.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import duckdb

from pit.model import LoadMode, Record
from pit.sql.text import table as tables
from pit.sql.text.dialect import Dialect, Table
from pit.sql.transfer.reading.files import refused
from pit.sql.transfer.tables.arrived import inserted
from pit.sql.transfer.turns.claim import Claim, Turn
from pit.sql.transfer.types import Kind

STAGING = "pit_load"
"""The name of the temporary table; its connection has no other."""
_SHOWN = 5


class TargetColumn(Record):
    """A column of a table: `sent` is the DuckDB type whose values it takes.

    `also` are bases of types that it takes as they are, `declared` is its type in the database's
    words, `base` what a domain is made of in the end. `staged` says that values come as text into
    the temporary table, and that the server makes of them what they are, as a `cast`: a type
    without a length, to which a value would be cut. `fixed` columns cannot be written; those with
    a `default` may be left out.
    """

    name: str
    sent: Kind
    declared: str
    also: tuple[str, ...] = ()
    base: str = ""
    cast: str = ""
    staged: bool = False
    fixed: bool = False
    default: bool = False
    required: bool = False


class Plan(Record):
    """A load, settled: the table, what becomes of it, and the query that gives its rows.

    `create` says that the table is to be made, `schema_missing` that its schema is as well.
    `query` selects `columns`, in order, on `reader`.
    """

    table: Table
    mode: LoadMode
    create: bool
    columns: tuple[TargetColumn, ...]
    key: tuple[str, ...]
    query: str
    reader: duckdb.DuckDBPyConnection
    schema_missing: bool = True

    @property
    def staged(self) -> bool:
        """Whether rows take the way through a temporary table."""
        return self.mode is LoadMode.UPSERT or any(one.staged for one in self.columns)


class Poured(Record):
    """How many rows were read, and how many of them the database says it has taken."""

    read: int
    loaded: int


class Counts(Record):
    """What a load did to the table: rows that were read, those that the database has taken.

    Of an upsert, also how many were there.
    """

    read: int
    loaded: int
    updated: int | None = None
    inserted: int | None = None


class Sink(Protocol):
    """One database as a load needs it, on a connection of its own until `close`.

    `stages` says that rows always go into the temporary table first, so that the table itself is
    only touched when they are all there.
    """

    dialect: Dialect
    stages: bool

    @property
    def looking(self) -> Any:
        """What takes queries within the transaction (`execute`), and knows types (`orders`)."""

    def begin(self) -> None:
        """Open the transaction."""

    def take_turn(self, claim: Claim) -> Turn:
        """Wait until no other load is in the way; first of all, and held to the end."""

    def commit(self) -> None:
        """Make everything stand."""

    def roll_back(self) -> None:
        """Undo everything; never raises."""

    def existing(self, table: Table) -> tuple[TargetColumn, ...] | None:
        """The table's columns, None if there is no such table."""

    def new(self, name: str, kind: Kind, key: bool) -> TargetColumn:
        """A column of a table that is to be made; raises NoType."""

    def execute(self, statement: str) -> int:
        """Carry out one statement of Pit's own; how many rows it changed."""

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """The rows of a small query."""

    def pour(self, plan: Plan, into: str) -> Poured:
        """Put all rows of the plan into a table, whose quoted name is `into`; how many."""

    def expression(self, column: TargetColumn, value: str) -> str:
        """A value of DuckDB's, of the type `sent`, in the form in which `pour` takes it."""

    def limit(self, column: TargetColumn, value: str) -> str:
        """A condition that a value has to meet, empty where every value of its type does."""

    def interrupt(self) -> None:
        """End what is being done, from another thread."""

    def close(self) -> None:
        """Give everything back."""


def carry_out(sink: Sink, plan: Plan, watched: Callable[[], None]) -> Counts:
    """Do the load in the sink's open transaction; `watched` is called before the first write."""
    write = Writing(sink.dialect, plan)
    staged = sink.stages or plan.staged
    loaded = 0
    if staged:
        sink.execute(write.staging_made())
        loaded = sink.pour(plan, write.staging).read
        if plan.key:
            _check_key(sink, plan, write)
    watched()
    if plan.create:
        for statement in write.made():
            sink.execute(statement)
    elif plan.mode is LoadMode.TRUNCATE_AND_LOAD:
        sink.execute(write.cleared())
    if not staged:
        return _straight(sink, plan, write)
    counts = _moved(sink, plan, write, loaded)
    sink.execute(f"DROP TABLE {write.staging}")
    return counts


def _straight(sink: Sink, plan: Plan, write: Writing) -> Counts:
    """Into the table itself."""
    asks = sink.dialect.name == "postgres" and not plan.create
    before = inserted(sink.rows, write.target) if asks else None
    poured = sink.pour(plan, write.target)
    after = None if before is None else inserted(sink.rows, write.target)
    if before is None or after is None:
        return Counts(read=poured.read, loaded=poured.loaded)
    return Counts(read=poured.read, loaded=min(poured.loaded, after - before))


def _moved(sink: Sink, plan: Plan, write: Writing, loaded: int) -> Counts:
    """From the temporary table into the table."""
    if plan.mode is not LoadMode.UPSERT:
        moved = sink.execute(write.moved())
        return Counts(read=loaded, loaded=_stands(sink, loaded, moved))
    updated = sink.execute(write.updated()) if write.others else _already(sink, write)
    new = sink.execute(write.moved(only_new=True))
    stands = _stands(sink, loaded, updated + new)
    return Counts(read=loaded, loaded=stands, updated=updated, inserted=new)


def _stands(sink: Sink, sent: int, changed: int) -> int:
    """How many rows are in the table, of those that were sent: a trigger may keep some away.

    Only Postgres counts what a statement has done in the same way whatever triggers do.
    """
    return min(sent, changed) if sink.dialect.name == "postgres" else sent


def _already(sink: Sink, write: Writing) -> int:
    found = sink.rows(f"SELECT count(*) FROM {write.staging} s WHERE {write.there}")
    return int(str(found[0][0]))


def _check_key(sink: Sink, plan: Plan, write: Writing) -> None:
    names = ", ".join(plan.key)
    nulls = int(str(sink.rows(write.nulls())[0][0]))
    if nulls:
        raise refused(f"the key ({names}) is NULL in {nulls:,} row{'s' if nulls > 1 else ''}")
    twice = sink.rows(write.repeated())
    if twice:
        shown = "; ".join(_key_shown(row) for row in twice[:_SHOWN])
        more = " …" if len(twice) > _SHOWN else ""
        raise refused(f"the key ({names}) is not unique in what is loaded: {shown}{more}")


def _key_shown(row: Sequence[object]) -> str:
    values = ", ".join(tables.clip(tables.visible(str(value)), 40) for value in row[:-1])
    return f"{values} ({row[-1]} times)"


class Writing:
    """The statements of one load in one dialect."""

    def __init__(self, dialect: Dialect, plan: Plan) -> None:
        self._dialect, self._plan = dialect, plan
        quote = dialect.quote
        self.target = dialect.quoted(plan.table)
        self.staging = quote(f"#{STAGING}" if dialect.name == "sqlserver" else STAGING)
        self.names = [quote(one.name) for one in plan.columns]
        self.key = [quote(name) for name in plan.key]
        self.others = [name for name in self.names if name not in self.key]

    def made(self) -> list[str]:
        """The table anew, and its schema if need be.

        Only a load that is to replace the table drops one: any other has found none, and where one
        has come since, it is somebody else's.
        """
        plan = self._plan
        found = []
        if plan.schema_missing and plan.table.schema and not plan.table.server:
            found += self._schema_made(plan.table)
        if plan.mode is LoadMode.CREATE_OR_REPLACE:
            found.append(f"DROP TABLE IF EXISTS {self.target}")
        own = {name: " NOT NULL" for name in self.key}
        if len(own) == 1:
            own = dict.fromkeys(own, " NOT NULL PRIMARY KEY")
        parts = [
            f"{name} {one.declared}{own.get(name, '')}"
            for name, one in zip(self.names, plan.columns, strict=True)
        ]
        if len(own) > 1:
            parts.append(f"PRIMARY KEY ({', '.join(self.key)})")
        found.append(f"CREATE TABLE {self.target} ({', '.join(parts)})")
        return found

    def _schema_made(self, table: Table) -> list[str]:
        dialect = self._dialect
        if dialect.name == "sqlite":
            return []
        schema = dialect.quote(table.schema)
        if dialect.name == "sqlserver":
            if table.catalog or table.schema.lower() == "dbo":
                return []
            name = dialect.literal(table.schema)
            creates = dialect.literal(f"CREATE SCHEMA {schema}")
            return [f"IF SCHEMA_ID({name}) IS NULL EXEC({creates})"]
        catalog = f"{dialect.quote(table.catalog)}." if table.catalog else ""
        return [f"CREATE SCHEMA IF NOT EXISTS {catalog}{schema}"]

    def cleared(self) -> str:
        """All rows gone, within the transaction."""
        truncates = self._dialect.name in ("postgres", "sqlserver")
        return f"{'TRUNCATE TABLE' if truncates else 'DELETE FROM'} {self.target}"

    def staging_made(self) -> str:
        """The temporary table."""
        parts = []
        for name, one in zip(self.names, self._plan.columns, strict=True):
            parts.append(f"{name} {'text' if one.staged else one.declared}")
        word = "TABLE" if self._dialect.name == "sqlserver" else "TEMP TABLE"
        return f"CREATE {word} {self.staging} ({', '.join(parts)})"

    def moved(self, only_new: bool = False) -> str:
        """From the temporary table into the table; rows whose key is not there, if asked so."""
        names = ", ".join(self.names)
        values = ", ".join(self._value(one) for one in self._plan.columns)
        where = f" WHERE NOT {self.there}" if only_new else ""
        return f"INSERT INTO {self.target} ({names}) SELECT {values} FROM {self.staging} s{where}"

    @property
    def there(self) -> str:
        """That the table has a row with the key of the temporary table's row `s`."""
        return f"EXISTS (SELECT 1 FROM {self.target} t WHERE {self._same()})"

    def updated(self) -> str:
        """Rows whose key is there get the new values."""
        by_name = {one.name: one for one in self._plan.columns}
        others = [one for name, one in by_name.items() if name not in self._plan.key]
        sets = ", ".join(f"{self._dialect.quote(one.name)} = {self._value(one)}" for one in others)
        if self._dialect.name == "sqlserver":
            return (
                f"MERGE INTO {self.target} AS t USING {self.staging} AS s ON {self._same()} "
                f"WHEN MATCHED THEN UPDATE SET {sets};"
            )
        return f"UPDATE {self.target} AS t SET {sets} FROM {self.staging} AS s WHERE {self._same()}"

    def nulls(self) -> str:
        """How many rows have no key."""
        tests = " OR ".join(f"{name} IS NULL" for name in self.key)
        return f"SELECT count(*) FROM {self.staging} WHERE {tests}"

    def repeated(self) -> str:
        """Keys that come more than once, as the database compares them."""
        names = ", ".join(self.key)
        query = (
            f"{names}, count(*) AS pit_times FROM {self.staging} "
            f"GROUP BY {names} HAVING count(*) > 1"
        )
        if self._dialect.name == "sqlserver":
            return f"SELECT TOP {_SHOWN + 1} {query}"
        return f"SELECT {query} LIMIT {_SHOWN + 1}"

    def _same(self) -> str:
        pairs = (one for one in self._plan.columns if one.name in self._plan.key)
        return " AND ".join(
            f"t.{self._dialect.quote(one.name)} = {self._value(one)}" for one in pairs
        )

    def _value(self, column: TargetColumn) -> str:
        name = f"s.{self._dialect.quote(column.name)}"
        return f"CAST({name} AS {column.cast or column.declared})" if column.staged else name
