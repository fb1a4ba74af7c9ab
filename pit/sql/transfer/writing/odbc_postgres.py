"""Rows out of Postgres by ODBC: each value in the server's own words, with the type it has there.

psqlodbc makes other values of many: `infinity` becomes today's date, years before Christ lose their
sign, numbers and times are cut to what the driver believes of the column. So the server says what
the columns are, and gives their values as text; a cursor of the server's keeps memory flat, for the
driver would hold all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

from msgspec.structs import replace

from pit.model import Record
from pit.sql.driver import Rows, Session, SqlFailure, Statement
from pit.sql.transfer.writing.spool import Column

_CURSOR = "pit_save"
_MOST, _FIRST = 2_000, 50
_BYTES = 4 * 1024**2
"""Rows that are fetched at once: the first time, at most, and so that they have so many bytes."""


class _Way(Record, frozen=True):
    """How values of a type are asked for, `{}` being the column, and their type in a file."""

    value: str
    type: str = "VARCHAR"
    numeral: bool = False


_BC = "regexp_replace({}, '^(\\d+-\\d+-\\d+)(.*) BC$', '\\1 (BC)\\2')"
"""A date before Christ as DuckDB reads it."""
_INSTANT = (
    "CASE WHEN isfinite({0}) THEN "
    + _BC.format("({0} AT TIME ZONE 'UTC')::text")
    + " || '+00' ELSE {0}::text END"
)
_AS_TEXT = _Way("{}::text")
_WAYS = {
    "bool": _Way("{}::text", "BOOLEAN"),
    "int2": _Way("{}", "SMALLINT"),
    "int4": _Way("{}", "INTEGER"),
    "int8": _Way("{}", "BIGINT"),
    "oid": _Way("{}::bigint", "BIGINT"),
    "float4": _Way("{}::text", "FLOAT"),
    "float8": _Way("{}", "DOUBLE"),
    "numeric": _Way("{}::text", numeral=True),
    "money": _Way("({}::numeric)::text", "DECIMAL(19,2)", numeral=True),
    "inet": _Way("{}"),  # which a cast to text would give a mask
    "text": _Way("{}"),
    "varchar": _Way("{}"),
    "bpchar": _Way("{}"),
    "bytea": _Way("{}", "BLOB"),
    "date": _Way(_BC.format("{}::text"), "DATE"),
    "time": _Way("{}::text", "TIME"),
    "timestamp": _Way(_BC.format("{}::text"), "TIMESTAMP"),
    "timestamptz": _Way(_INSTANT, "TIMESTAMP WITH TIME ZONE"),
    "uuid": _Way("{}::text", "UUID"),
    "json": _Way("{}::text", "JSON"),
    "jsonb": _Way("{}::text", "JSON"),
}
"""The others come as text, and stay text."""


def described(
    session: Session, statement: Statement, declared: Callable[[Any], str]
) -> tuple[Rows, list[Column]] | None:
    """All rows of a query and their columns; None for what cannot be a part of another query.

    That is `INSERT … RETURNING`, say, or what fails: sent as it is, it says why, and where.
    `declared` is DuckDB's type for a column as pyodbc describes it.
    """
    source = f"(\n{statement.text}\n) AS pit"
    try:
        header = _asked(session, statement, f"SELECT * FROM {source} LIMIT 0").header
        names = [f"c{number}" for number in range(len(header))]
        source += f"({', '.join(names)})"
        types = _types(session, statement, source, names)
    except SqlFailure:
        return None
    if not names or len(types) != len(names):
        return None
    ways = [_WAYS.get(name, _AS_TEXT) for name in types]
    columns = [
        Column(str(one[0]), declared(one) if name == "numeric" else way.type, way.numeral)
        for one, name, way in zip(header, types, ways, strict=True)
    ]
    values = ", ".join(way.value.format(name) for way, name in zip(ways, names, strict=True))
    return _rows(session, statement, f"SELECT {values} FROM {source}", columns), columns


def _asked(session: Session, statement: Statement, text: str) -> _Answer:
    """What the server answers to a text of Pit's own; few rows."""
    with closing(session.rows(replace(statement, text=text))) as rows:
        found = [row for batch in rows.batches for row in batch]
        return _Answer(header=rows.header, rows=found)


class _Answer(Record):
    """A small result."""

    header: Sequence[Any]
    rows: Sequence[Sequence[Any]]


def _types(session: Session, statement: Statement, source: str, names: Sequence[str]) -> list[str]:
    """Postgres's names of the columns' types, domains as what they stand on; no row is read."""
    asked = ", ".join(f"pg_catalog.pg_typeof({name})::oid" for name in names)
    query = f"""
        WITH RECURSIVE pit_columns AS (
            SELECT ARRAY[{asked}] AS types
            FROM (SELECT 1) AS one LEFT JOIN (SELECT * FROM {source} LIMIT 0) AS pit ON true
        ), pit_types AS (
            SELECT place, type.typname, type.typtype, type.typbasetype
            FROM pit_columns, unnest(types) WITH ORDINALITY AS each(oid, place)
            JOIN pg_catalog.pg_type AS type ON type.oid = each.oid
            UNION ALL
            SELECT place, base.typname, base.typtype, base.typbasetype
            FROM pit_types JOIN pg_catalog.pg_type AS base ON base.oid = pit_types.typbasetype
            WHERE pit_types.typtype = 'd'
        )
        SELECT typname::text FROM pit_types WHERE typtype <> 'd' ORDER BY place"""
    return [str(row[0]) for row in _asked(session, statement, query).rows]


def _rows(session: Session, statement: Statement, query: str, columns: Sequence[Column]) -> Rows:
    _asked(session, statement, "BEGIN")
    _asked(session, statement, f"DECLARE {_CURSOR} NO SCROLL CURSOR FOR {query}")

    def batches() -> Iterator[Sequence[Sequence[Any]]]:
        count = _FIRST
        while rows := _asked(session, statement, f"FETCH {count} FROM {_CURSOR}").rows:
            yield rows
            count = max(1, min(_MOST, 2 * count, _BYTES * len(rows) // _size(rows)))
        _asked(session, statement, "COMMIT")  # what functions of the query have done

    return Rows(columns=tuple(column.name for column in columns), batches=batches())


def _size(rows: Sequence[Sequence[Any]]) -> int:
    """Bytes of the rows' long values, roughly; at least one."""
    sizes = (len(value) for row in rows for value in row if isinstance(value, str | bytearray))
    return max(1, sum(sizes))
