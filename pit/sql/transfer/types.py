"""Types of columns both ways: DuckDB's, in which files are read and written, and each database's.

DuckDB's names are the common tongue. `declared` says what a new table's column is called, and
`sent` as what a value has to arrive there. What a database has no type for is kept as text or JSON
where that can be read back, and refused where it cannot.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pit.model import Record


class NoType(ValueError):
    """A column cannot be had in a database; its text is a sentence about the type."""


class Kind(Record):
    """A DuckDB type taken apart: its name without arguments, and a decimal's digits."""

    text: str
    base: str
    precision: int = 0
    scale: int = 0

    @property
    def nested(self) -> bool:
        """Whether values of it are made of several values."""
        return self.base in NESTED

    @property
    def exact(self) -> bool:
        """Whether it is a number without rounding."""
        return self.base in INTEGERS or self.base == "DECIMAL"


INTEGERS: Mapping[str, int] = {
    "TINYINT": 3,
    "SMALLINT": 5,
    "INTEGER": 10,
    "BIGINT": 19,
    "HUGEINT": 39,
    "UTINYINT": 3,
    "USMALLINT": 5,
    "UINTEGER": 10,
    "UBIGINT": 20,
    "UHUGEINT": 39,
}
"""Whole numbers, with the digits that they may have."""

FLOATS = ("FLOAT", "DOUBLE")
NESTED = ("LIST", "ARRAY", "STRUCT", "MAP", "UNION")
MOMENTS = ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS")
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)", re.IGNORECASE)
_SAME = {"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ", "TIME WITH TIME ZONE": "TIMETZ"}


def kind(text: str) -> Kind:
    """The type that DuckDB calls `text`."""
    if text.endswith("]"):
        return Kind(text=text, base="LIST" if text.endswith("[]") else "ARRAY")
    found = _DECIMAL.fullmatch(text)
    if found:
        return Kind(text=text, base="DECIMAL", precision=int(found[1]), scale=int(found[2]))
    return Kind(text=text, base=_SAME.get(text, text.partition("(")[0]))


def element(column: Kind) -> Kind:
    """The type of the elements of a list or an array."""
    return kind(column.text[: column.text.rindex("[")])


# ---------------------------------------------------------------- new tables

_POSTGRES = {
    "BOOLEAN": "boolean",
    "TINYINT": "smallint",
    "SMALLINT": "smallint",
    "INTEGER": "integer",
    "BIGINT": "bigint",
    "HUGEINT": "numeric(39,0)",
    "UTINYINT": "smallint",
    "USMALLINT": "integer",
    "UINTEGER": "bigint",
    "UBIGINT": "numeric(20,0)",
    "UHUGEINT": "numeric(39,0)",
    "FLOAT": "real",
    "DOUBLE": "double precision",
    "VARCHAR": "text",
    "BLOB": "bytea",
    "DATE": "date",
    "TIME": "time",
    "TIMETZ": "timetz",
    "TIMESTAMP": "timestamp",
    "TIMESTAMP_S": "timestamp",
    "TIMESTAMP_MS": "timestamp",
    "TIMESTAMP_NS": "timestamp",
    "TIMESTAMPTZ": "timestamptz",
    "INTERVAL": "interval",
    "UUID": "uuid",
    "JSON": "jsonb",
    "ENUM": "text",
    "BIT": "varbit",
    '"NULL"': "text",
}
_SQLSERVER = {
    "BOOLEAN": "bit",
    "TINYINT": "smallint",
    "SMALLINT": "smallint",
    "INTEGER": "int",
    "BIGINT": "bigint",
    "HUGEINT": "decimal(38,0)",
    "UTINYINT": "tinyint",
    "USMALLINT": "int",
    "UINTEGER": "bigint",
    "UBIGINT": "decimal(20,0)",
    "UHUGEINT": "decimal(38,0)",
    "FLOAT": "real",
    "DOUBLE": "float",
    "VARCHAR": "nvarchar(max)",
    "BLOB": "varbinary(max)",
    "DATE": "date",
    "TIME": "time(6)",
    "TIMETZ": "nvarchar(40)",
    "TIMESTAMP": "datetime2(6)",
    "TIMESTAMP_S": "datetime2(0)",
    "TIMESTAMP_MS": "datetime2(3)",
    "TIMESTAMP_NS": "datetime2(7)",
    "TIMESTAMPTZ": "datetimeoffset(6)",
    "INTERVAL": "nvarchar(100)",
    "UUID": "uniqueidentifier",
    "JSON": "nvarchar(max)",
    "ENUM": "nvarchar(400)",
    "BIT": "nvarchar(max)",
    '"NULL"': "nvarchar(max)",
}
# SQLite goes by the words in a type's name: what must stay text as it is has TEXT in it.
_SQLITE = {
    "BOOLEAN": "BOOLEAN",
    "TINYINT": "TINYINT",
    "SMALLINT": "SMALLINT",
    "INTEGER": "INTEGER",
    "BIGINT": "BIGINT",
    "HUGEINT": "HUGE_TEXT",
    "UTINYINT": "UTINYINT",
    "USMALLINT": "USMALLINT",
    "UINTEGER": "UINTEGER",
    "UBIGINT": "DECIMAL_TEXT(20,0)",
    "UHUGEINT": "UHUGE_TEXT",
    "FLOAT": "FLOAT",
    "DOUBLE": "DOUBLE",
    "VARCHAR": "TEXT",
    "BLOB": "BLOB",
    "DATE": "DATE_TEXT",
    "TIME": "TIME_TEXT",
    "TIMETZ": "TIMETZ_TEXT",
    "TIMESTAMP": "TIMESTAMP_TEXT",
    "TIMESTAMP_S": "TIMESTAMP_TEXT",
    "TIMESTAMP_MS": "TIMESTAMP_TEXT",
    "TIMESTAMP_NS": "TIMESTAMP_NS_TEXT",
    "TIMESTAMPTZ": "TIMESTAMPTZ_TEXT",
    "INTERVAL": "DURATION_TEXT",
    "UUID": "UUID_TEXT",
    "JSON": "JSON_TEXT",
    "ENUM": "TEXT",
    "BIT": "BIT_TEXT",
    '"NULL"': "TEXT",
}
_DECLARED = {"postgres": _POSTGRES, "sqlserver": _SQLSERVER, "sqlite": _SQLITE}
_LISTS = {
    "BOOLEAN": "boolean",
    "SMALLINT": "smallint",
    "INTEGER": "integer",
    "BIGINT": "bigint",
    "FLOAT": "real",
    "DOUBLE": "double precision",
    "VARCHAR": "text",
    "BLOB": "bytea",
    "DATE": "date",
    "TIME": "time",
    "TIMESTAMP": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
    "INTERVAL": "interval",
}
"""What Postgres has arrays of that come back as such; other lists become JSON."""
_FLOATING_DIGITS = 15
"""SQLite calculates with floats: more decimal digits than these must be kept as text."""


def declared(dialect: str, column: Kind, key: bool = False) -> str:
    """The type that a new table's column gets; raises NoType."""
    if dialect == "duckdb":
        return "VARCHAR" if column.base == '"NULL"' else column.text
    known = _DECLARED.get(dialect)
    if known is None:
        raise NoType("Pit does not know this database's types; create the table first")
    if column.base == "DECIMAL":
        digits = f"({column.precision},{column.scale})"
        if dialect == "sqlite":
            return f"DECIMAL{'_TEXT' if column.precision > _FLOATING_DIGITS else ''}{digits}"
        return f"{'numeric' if dialect == 'postgres' else 'decimal'}{digits}"
    if dialect == "postgres" and (of := list_of(column)):
        return f"{_LISTS[of]}[]"
    if dialect == "sqlserver" and key and column.base in ("VARCHAR", "ENUM", "BLOB"):
        # The longest that an index of SQL Server takes.
        return "varbinary(900)" if column.base == "BLOB" else "nvarchar(450)"
    found = known["JSON"] if column.nested else known.get(column.base)
    if found is None:
        raise NoType(f"the type {column.text} has no counterpart there")
    return found


def list_of(column: Kind) -> str:
    """The element's type of a list that Postgres has as an array, empty for any other type."""
    element = column.text.removesuffix("[]")
    return element if column.base == "LIST" and element in _LISTS else ""


# ---------------------------------------------------------------- tables that are there


def of_numeric(precision: int, scale: int) -> str:
    """The decimal that holds every number of such a numeric of Postgres's; empty if none does.

    Its scale may be negative, for numbers that end in zeros, and larger than the precision.
    """
    digits, fraction = max(precision, scale, precision - scale), max(scale, 0)
    return f"DECIMAL({digits},{fraction})" if digits <= 38 else ""


_FROM_SQLITE = {
    "BOOLEAN": "BOOLEAN",
    "BOOL": "BOOLEAN",
    "TINYINT": "TINYINT",
    "SMALLINT": "SMALLINT",
    "INTEGER": "BIGINT",
    "INT": "BIGINT",
    "BIGINT": "BIGINT",
    "UTINYINT": "UTINYINT",
    "USMALLINT": "USMALLINT",
    "UINTEGER": "UINTEGER",
    "FLOAT": "FLOAT",
    "DOUBLE": "DOUBLE",
    "REAL": "DOUBLE",
    "DOUBLE PRECISION": "DOUBLE",
    "TEXT": "VARCHAR",
    "BLOB": "BLOB",
    "DATE": "DATE",
    "DATE_TEXT": "DATE",
    "TIME": "TIME",
    "TIME_TEXT": "TIME",
    "TIMETZ_TEXT": "TIMETZ",
    "TIMESTAMP": "TIMESTAMP",
    "DATETIME": "TIMESTAMP",
    "TIMESTAMP_TEXT": "TIMESTAMP",
    "TIMESTAMP_NS_TEXT": "TIMESTAMP_NS",
    "TIMESTAMPTZ_TEXT": "TIMESTAMPTZ",
    "DURATION_TEXT": "INTERVAL",
    "UUID": "UUID",
    "UUID_TEXT": "UUID",
    "JSON": "JSON",
    "JSON_TEXT": "JSON",
    "BIT_TEXT": "BIT",
    "HUGE_TEXT": "HUGEINT",
    "UHUGE_TEXT": "UHUGEINT",
}
_DIGITS = re.compile(r"(?:DECIMAL|NUMERIC|DECIMAL_TEXT)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)")


def of_sqlite(declared_as: str) -> str:
    """DuckDB's type for a column that SQLite's table declares so; empty where nothing follows."""
    text = declared_as.strip().upper()
    digits = _DIGITS.fullmatch(text)
    if digits and int(digits[1]) <= 38:
        return f"DECIMAL({digits[1]},{digits[2] or 0})"
    if text in _FROM_SQLITE:
        return _FROM_SQLITE[text]
    if "CHAR" in text or "CLOB" in text:
        return "VARCHAR"
    return "BIGINT" if "INT" in text and "POINT" not in text else ""


def a(text: str) -> str:
    """The name of a type behind its article: `a decimal(10,2)`, `an integer of Postgres`."""
    return f"{'an' if text[:1].lower() in tuple('aeio') else 'a'} {text}"
