"""Values as Python objects, for databases that take rows one by one: SQLite and ODBC.

DuckDB hands over a value in the Python type that a driver takes without loss; what has none, such
as dates outside the years 1 to 9999 or nanoseconds, goes as text.
"""

from __future__ import annotations

from pit.sql.transfer.tables.sink import TargetColumn
from pit.sql.transfer.types import FLOATS, INTEGERS, MOMENTS, Kind

_BIG = ("HUGEINT", "UHUGEINT", "UBIGINT")
_AS_THEY_ARE = ("BOOLEAN", "VARCHAR", "BLOB", *FLOATS)
EXACT_IN_FLOATS = 15
"""Decimals of so many digits survive a float."""
_FIRST, _LAST = "'0001-01-01'", "'9999-12-31'"


def for_sqlite(column: TargetColumn, value: str) -> str:
    """What SQLite stores: whole numbers of 64 bits, floats, text, bytes."""
    kind = column.sent
    if kind.base in _AS_THEY_ARE or (kind.base in INTEGERS and kind.base not in _BIG):
        return value
    short = kind.base == "DECIMAL" and kind.precision <= EXACT_IN_FLOATS
    if short and "TEXT" not in column.declared.upper():
        return f"CAST({value} AS {'DOUBLE' if kind.scale else 'BIGINT'})"
    return as_text(kind, value)


def sqlite_limit(column: TargetColumn, value: str) -> str:
    """SQLite would make a NULL of a NaN."""
    return f"NOT isnan({value})" if column.sent.base in FLOATS else ""


def for_odbc(column: TargetColumn, value: str) -> str:
    """What pyodbc takes."""
    kind = column.sent
    if kind.base == "DATE":
        return value  # of times, drivers lose the fraction where they cannot ask for the column
    if kind.base == "DECIMAL" and kind.precision <= EXACT_IN_FLOATS:
        return value  # drivers take longer ones for less than they are
    if kind.base in _AS_THEY_ARE or (kind.base in INTEGERS and kind.base not in _BIG):
        return value
    if kind.base == "TIMESTAMPTZ":
        # With the offset as SQL Server and Postgres both read it.
        return f"strftime({value} AT TIME ZONE 'UTC', '%Y-%m-%d %H:%M:%S.%f') || '+00:00'"
    return as_text(kind, value)


def sqlserver_limit(column: TargetColumn, value: str) -> str:
    """What SQL Server has no value for."""
    if column.sent.base in FLOATS:
        return f"isfinite({value})"
    return moment_limit(column, value)


def moment_limit(column: TargetColumn, value: str) -> str:
    """The years that ODBC's dates have, and the tenths of a microsecond."""
    kind = column.sent
    if kind.base in ("DATE", *MOMENTS, "TIMESTAMPTZ"):
        whole = f"CAST({value} AS DATE) BETWEEN DATE {_FIRST} AND DATE {_LAST}"
        if kind.base == "TIMESTAMP_NS":
            return f"{whole} AND epoch_ns({value}) % 100 = 0"
        return whole
    return ""


def as_text(kind: Kind, value: str) -> str:
    """As DuckDB writes it; nested values as JSON."""
    return f"CAST({'to_json(' + value + ')' if kind.nested else value} AS VARCHAR)"
