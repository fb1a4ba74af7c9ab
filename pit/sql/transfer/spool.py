"""Rows from drivers that hand over Python objects, on their way into a file.

They wait as text in a DuckDB file of their own, so that memory stays flat; the type of a column is
what the database declares, or else what all of its values have in common.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Sequence
from typing import Any

import duckdb

from pit.sql import table
from pit.sql.transfer.files import refused
from pit.sql.transfer.types import INTEGERS, Kind, a, kind

_BYTES = (bytes, bytearray, memoryview)


class Moment(str):
    """A time that a driver would hand over with fewer digits than it has: nine of a second."""


class Column:
    """What is known of a column after the rows that were seen."""

    def __init__(self, name: str, declared: str = "") -> None:
        self.name, self.declared = name, declared
        self._kinds: set[type] = set()
        self._scale = self._whole = 0
        self._fine = self._zoned = False

    def text(self, value: Any) -> str | None:
        """A value as text that DuckDB reads, or None."""
        if value is None:
            return None
        self._kinds.add(type(value))
        match value:
            case str():
                self._look_at(value)
                return value
            case bool():
                return "true" if value else "false"
            case decimal.Decimal():
                return self._decimal(value)
            case datetime.datetime():
                self._zoned = self._zoned or value.tzinfo is not None
                return value.isoformat(sep=" ")
            case _ if isinstance(value, _BYTES):
                return bytes(value).hex()
        return str(value)

    def _look_at(self, text: str) -> None:
        """A moment with nine digits of a second, as SQL Server's come: whether they are needed."""
        if isinstance(text, Moment) and not text.endswith("000"):
            self._fine = True

    def _decimal(self, value: decimal.Decimal) -> str:
        if not value.is_finite():
            raise refused(f'column "{table.visible(self.name)}": {value} is not a decimal number')
        text = format(value, "f")
        whole, _, fraction = text.lstrip("-").partition(".")
        self._whole = max(self._whole, len(whole.lstrip("0")))
        self._scale = max(self._scale, len(fraction))
        return text

    def wanted(self) -> str:
        """The column's type in the file; empty where its values have none in common."""
        if self._kinds == {Moment}:
            return "TIMESTAMP_NS" if self._fine else "TIMESTAMP"
        if self.declared:
            return self.declared
        kinds = self._kinds
        if not kinds:
            return "VARCHAR"
        if kinds <= {decimal.Decimal, int}:
            return self._digits() if decimal.Decimal in kinds else "BIGINT"
        if datetime.datetime in kinds and len(kinds) == 1:
            return "TIMESTAMP WITH TIME ZONE" if self._zoned else "TIMESTAMP"
        if kinds == {int, float}:
            return "DOUBLE"
        if len(kinds) == 1:
            return _TYPES.get(next(iter(kinds)), "VARCHAR")
        return ""

    def _digits(self) -> str:
        precision = max(1, self._whole + self._scale)
        return f"DECIMAL({precision},{self._scale})" if precision <= 38 else ""


_TYPES: dict[type, str] = {
    bool: "BOOLEAN",
    float: "DOUBLE",
    str: "VARCHAR",
    datetime.date: "DATE",
    datetime.time: "TIME",
    uuid.UUID: "UUID",
    bytes: "BLOB",
    bytearray: "BLOB",
    memoryview: "BLOB",
}


class Spool:
    """The rows of one query, waiting; `connection` is a DuckDB file that nobody else uses."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, columns: Sequence[Column]) -> None:
        self._connection, self._columns = connection, columns
        parts = ", ".join(f"c{number} VARCHAR" for number in range(len(columns)))
        connection.execute(f"CREATE TABLE spool ({parts})")
        lists = ", ".join("unnest(?::VARCHAR[])" for _ in columns)
        self._insert = f"INSERT INTO spool SELECT {lists}"

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Some more rows."""
        values = zip(*rows, strict=True)
        texts = [
            [column.text(value) for value in each]
            for column, each in zip(self._columns, values, strict=True)
        ]
        self._connection.execute(self._insert, texts)

    def typed(self) -> list[tuple[str, str, Kind]]:
        """Names, values and types; raises SqlFailure for a column whose values do not agree."""
        found = []
        for number, column in enumerate(self._columns):
            wanted = column.wanted()
            if not wanted:
                raise refused(
                    f'column "{table.visible(column.name)}" has values of several types; '
                    "cast it in the query"
                )
            found.append((column.name, self._value(f"c{number}", wanted), kind(wanted)))
        self._check(found)
        return found

    def _value(self, name: str, wanted: str) -> str:
        if wanted == "VARCHAR":
            return name
        if wanted == "BLOB":
            return f"unhex({name})"
        if wanted == "TIMESTAMP_NS":
            return f"TRY(CAST({name} AS TIMESTAMP_NS))"
        return f"TRY_CAST({name} AS {wanted})"

    def _check(self, found: Sequence[tuple[str, str, Kind]]) -> None:
        """No value may be lost on its way into the column's type."""
        tests = []
        for number, (_, value, of) in enumerate(found):
            lost = f"{value} IS NULL"
            if of.base in INTEGERS:
                lost += f" OR contains(c{number}, '.')"
            tests.append(f"min(c{number}) FILTER (WHERE c{number} IS NOT NULL AND ({lost}))")
        row = self._connection.execute(f"SELECT {', '.join(tests)} FROM spool").fetchone() or ()
        for (name, _, of), bad in zip(found, row, strict=True):
            if bad is not None:
                raise refused(
                    f'column "{table.visible(name)}": "{table.clip(table.visible(bad), 80)}" '
                    f"is not {a(of.text)}"
                )


# ---------------------------------------------------------------- what ODBC says of a column


def of_odbc(code: object, size: int, precision: int, scale: int) -> str:
    """DuckDB's type for a column as pyodbc describes it, empty where the values must tell."""
    if code is decimal.Decimal:
        return f"DECIMAL({precision},{scale})" if 0 < precision <= 38 else ""
    if code is int:
        return {3: "UTINYINT", 5: "SMALLINT", 10: "INTEGER", 19: "BIGINT"}.get(size, "BIGINT")
    if code is float:
        return "FLOAT" if size in (7, 24) else "DOUBLE"
    if code is datetime.datetime:
        return "TIMESTAMP"
    return _TYPES.get(code, "") if isinstance(code, type) else ""
