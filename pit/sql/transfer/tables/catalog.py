"""The columns of a table that is there, asked of Postgres, SQL Server and SQLite in their words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pit.sql.text import dialect
from pit.sql.text.dialect import Table
from pit.sql.transfer.tables.sink import TargetColumn
from pit.sql.transfer.types import declared, kind, of_numeric, of_sqlite

Rows = Callable[[str], list[tuple[object, ...]]]

ANY = "ANY"
"""The base of a column that takes a value of any type as it is."""

# ---------------------------------------------------------------- Postgres

_POSTGRES = {
    "bool": "BOOLEAN",
    "int2": "SMALLINT",
    "int4": "INTEGER",
    "int8": "BIGINT",
    "float4": "FLOAT",
    "float8": "DOUBLE",
    "text": "VARCHAR",
    "varchar": "VARCHAR",
    "bpchar": "VARCHAR",
    "name": "VARCHAR",
    "citext": "VARCHAR",
    "bytea": "BLOB",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
    "interval": "INTERVAL",
    "uuid": "UUID",
    "jsonb": "JSON",
    "json": "JSON",
}
_LISTS = ("bool", "int2", "int4", "int8", "float4", "float8", "text")
"""Elements of arrays that binary COPY is given as they are; other arrays go as text."""
_NUMERIC = re.compile(r"numeric\((\d+),(-?\d+)\)")


def postgres_columns(rows: Rows, table: Table) -> tuple[TargetColumn, ...] | None:
    """The columns of a table or view; without a schema, of the first that is found by its name."""
    name = dialect.POSTGRES.literal(dialect.POSTGRES.quoted(table))
    found = rows(
        "WITH RECURSIVE part (attnum, oid, typmod, whole) AS ("
        " SELECT attnum, atttypid, atttypmod, 0::oid FROM pg_catalog.pg_attribute"
        f" WHERE attrelid = to_regclass({name}) AND attnum > 0 AND NOT attisdropped"
        " UNION ALL SELECT p.attnum, CASE typtype WHEN 'd' THEN typbasetype ELSE typelem END,"
        " CASE WHEN typtype = 'd' AND whole = 0 THEN typtypmod ELSE typmod END,"
        " CASE WHEN typtype = 'd' OR whole <> 0 THEN whole ELSE p.oid END"
        " FROM part p JOIN pg_catalog.pg_type t ON t.oid = p.oid"
        f" WHERE {_PART}) "
        "SELECT a.attname, t.typname, format_type(a.atttypid, a.atttypmod), "
        "format_type(CASE p.whole WHEN 0 THEN p.oid ELSE p.whole END, p.typmod), "
        "format_type(CASE p.whole WHEN 0 THEN p.oid ELSE p.whole END, -1), (p.whole <> 0)::int, "
        "(a.attgenerated <> '')::int, (a.atthasdef OR a.attidentity <> '')::int, "
        "a.attnotnull::int, (t.typtype = 'e')::int, (a.attidentity = 'a')::int "
        "FROM pg_attribute a JOIN part p USING (attnum) JOIN pg_type t ON t.oid = p.oid "
        f"WHERE a.attrelid = to_regclass({name}) AND NOT ({_PART}) "
        "ORDER BY a.attnum"
    )
    return tuple(_postgres_column(*row) for row in found) or None


_PART = (
    "(typtype = 'd' OR (whole = 0 AND typelem <> 0 AND typinput = 'pg_catalog.array_in'::regproc))"
)
"""That a type is made of another one: a domain of its base, an array of its elements."""


def _postgres_column(
    name: object,
    type_name: object,
    text: object,
    base: object,
    cast: object,
    array: object,
    generated: object,
    default: object,
    required: object,
    enum: object,
    identity: object,
) -> TargetColumn:
    sent, staged = _sent(str(type_name), str(base), bool(_whole(enum)), bool(_whole(array)))
    return TargetColumn(
        name=str(name),
        sent=kind(sent),
        also=("VARCHAR", "ENUM") if staged and sent != ANY else (),
        declared=str(text),
        base=str(base),
        cast=str(cast),
        staged=staged,
        fixed=bool(_whole(generated)) or bool(_whole(identity)),
        default=bool(_whole(default)),
        required=bool(_whole(required)),
    )


def _whole(value: object) -> int:
    return int(str(value))


def _sent(type_name: str, text: str, enum: bool, array: bool = False) -> tuple[str, bool]:
    """As which DuckDB type values go to a column, and whether as text that the server reads.

    `type_name` is that of the elements of an `array`.
    """
    known = "VARCHAR" if enum else _POSTGRES.get(type_name, "")
    if type_name == "numeric":
        digits = _NUMERIC.match(text)
        known = of_numeric(int(digits[1]), int(digits[2])) if digits else ""
    if not known:
        return ANY, True
    return (f"{known}[]", type_name not in _LISTS) if array else (known, False)


def postgres_new(name: str, text: str, sent: str) -> TargetColumn:
    """A column of a table that is to be made."""
    short, array = text.removesuffix("[]"), text.endswith("[]")
    type_name = {
        "boolean": "bool",
        "smallint": "int2",
        "integer": "int4",
        "bigint": "int8",
        "real": "float4",
        "double precision": "float8",
    }.get(short, short.partition("(")[0])
    wanted, staged = _sent(type_name, text, False, array)
    return TargetColumn(name=name, sent=kind(wanted), declared=text, base=text, staged=staged)


# ---------------------------------------------------------------- SQL Server

_SQLSERVER = {
    "bit": "BOOLEAN",
    "tinyint": "UTINYINT",
    "smallint": "SMALLINT",
    "int": "INTEGER",
    "bigint": "BIGINT",
    "real": "FLOAT",
    "float": "DOUBLE",
    "money": "DECIMAL(19,4)",
    "smallmoney": "DECIMAL(10,4)",
    "date": "DATE",
    "time": "TIME",
    "datetime": "TIMESTAMP_MS",
    "smalldatetime": "TIMESTAMP_S",
    "datetime2": "TIMESTAMP",
    "datetimeoffset": "TIMESTAMP WITH TIME ZONE",
    "uniqueidentifier": "UUID",
    "binary": "BLOB",
    "varbinary": "BLOB",
    "image": "BLOB",
}
_TEXTS = ("char", "varchar", "nchar", "nvarchar", "text", "ntext", "xml", "sysname")


def sqlserver_columns(rows: Rows, table: Table) -> tuple[TargetColumn, ...] | None:
    """The columns of a table; what cannot be written, the server says."""
    literal, quote = dialect.SQLSERVER.literal, dialect.SQLSERVER.quote
    catalog = f"{quote(table.catalog)}." if table.catalog else ""
    found = rows(
        "SELECT COLUMN_NAME, DATA_TYPE, NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION, "
        f"CHARACTER_MAXIMUM_LENGTH FROM {catalog}INFORMATION_SCHEMA.COLUMNS "
        f"WHERE TABLE_SCHEMA = {literal(table.schema)} AND TABLE_NAME = {literal(table.name)} "
        "ORDER BY ORDINAL_POSITION"
    )
    return tuple(_sqlserver_column(*row) for row in found) or None


def _sqlserver_column(
    name: object,
    type_name: object,
    precision: object,
    scale: object,
    fraction: object,
    length: object,
) -> TargetColumn:
    word = str(type_name).lower()
    if word.startswith(("decimal", "numeric")):
        digits = f"({precision},{scale})"
        return TargetColumn(
            name=str(name), sent=kind(f"DECIMAL{digits}"), declared=f"decimal{digits}"
        )
    text = word
    if word in ("datetime2", "datetimeoffset", "time") and fraction is not None:
        text = f"{word}({fraction})"
    elif word in ("char", "varchar", "nchar", "nvarchar", "binary", "varbinary") and length:
        text = f"{word}({'max' if _whole(length) < 0 else length})"
    sent = "VARCHAR" if word in _TEXTS else _SQLSERVER.get(word, "")
    if not sent:
        return plain_new("sqlserver", str(name), str(type_name), key=False)
    return TargetColumn(name=str(name), sent=kind(sent), declared=text)


# ---------------------------------------------------------------- SQLite


def sqlite_columns(rows: Rows, table: Table) -> tuple[TargetColumn, ...] | None:
    """The columns of a table; one that declares no type takes what comes."""
    quote, literal = dialect.SQLITE.quote, dialect.SQLITE.literal
    schema = f"{quote(table.schema)}." if table.schema else ""
    found = rows(f"PRAGMA {schema}table_xinfo({literal(table.name)})")
    return tuple(_sqlite_each(found)) or None


def _sqlite_each(found: list[tuple[object, ...]]) -> Iterator[TargetColumn]:
    for _, name, text, required, default, key, hidden in found:
        rowid = bool(key) and str(text).upper() == "INTEGER"
        yield TargetColumn(
            name=str(name),
            sent=kind(of_sqlite(str(text)) or ANY),
            declared=str(text),
            fixed=bool(_whole(hidden)),
            default=default is not None or rowid,
            required=bool(_whole(required)),
        )


def plain_new(dialect_name: str, name: str, sent: str, key: bool) -> TargetColumn:
    """A column of a new table whose values go as they are."""
    column = kind(sent)
    return TargetColumn(name=name, sent=column, declared=declared(dialect_name, column, key))
