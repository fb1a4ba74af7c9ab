"""Rows from drivers that hand over Python objects, on their way into a file.

They wait in a file of JSON, each line a piece of every column, so that memory stays flat however
many there are: values are encoded at the speed of C, and DuckDB reads them back a line at a time.
The type of a column is what the database declares, or else what all of its values have in common.
"""

from __future__ import annotations

import datetime
import decimal
import math
import os
import uuid
from array import array
from collections.abc import Sequence
from typing import Any, NoReturn

import duckdb
import msgspec

from pit.sql.text import dialect, table
from pit.sql.transfer.reading.files import refused
from pit.sql.transfer.reading.reader import shortened
from pit.sql.transfer.types import INTEGERS, Kind, a, kind
from pit.sql.transfer.writing.lossless import cast, lost, wider
from pit.sql.transfer.writing.stored import copied

_ROWS, _CELLS = 128, 1024
"""The most rows, and values, of one line: DuckDB has 2,048 lines in hand at once."""
_BATCH = 1_000
"""Rows that are looked at together."""
_LINE = 1024**2
"""Bytes of a line, unless one row has more."""
_MEMORY = 192 * 1024**2
"""Bytes that DuckDB may use to write the file, beside what the longest line takes."""
_LONGEST_LINES = 8
"""How many of the longest lines are in DuckDB's memory at once, at most."""
_GROUP_ROWS, _GROUP = 122_880, 32 * 1024**2
"""Rows and bytes of a row group of Parquet, which is written when it is whole."""
_LEAST_GROUP = 2048
_BYTES = (bytes, bytearray, memoryview)
_AS_THEY_ARE = frozenset(
    [bool, str, datetime.date, datetime.time, uuid.UUID, *_BYTES, type(None)],
)
_NUMBERS = frozenset([int, float, type(None)])
_BIGINTS = range(-(2**63), 2**63)
_encoder = msgspec.json.Encoder()


class Moment(str):
    """A timestamp that a driver would hand over with fewer digits than it has: nine of a second."""


class TimeOfDay(str):
    """A time of day, likewise with nine digits of a second."""


class Instant(str):
    """A timestamp with its offset from UTC, with seven digits of a second."""

    @property
    def fine(self) -> bool:
        """Whether the seventh digit is needed."""
        return self[: -len("+00:00")][-1:] != "0"


class Column:
    """What is known of a column after the rows that were seen.

    A `numeral` column has texts that are numbers, with all of their digits.
    """

    def __init__(self, name: str, declared: str = "", numeral: bool = False) -> None:
        self.name, self._declared, self._numeral = name, declared, numeral
        self._seen: dict[type, int] = {}
        self._scale = self._whole = 0
        self._most = (0, "")
        self._fine = self._zoned = self._big = False
        self._narrow: Kind | None = None
        self._wider: Kind | None = None

    @property
    def kinds(self) -> set[type]:
        """The types of the values, NULL aside."""
        return self._seen.keys() - {type(None)}

    # ------------------------------------------------------------ values

    def taken(self, values: Sequence[Any], before: int) -> Sequence[Any]:
        """Values as JSON has them; there were `before` rows ahead of them."""
        kinds = set(map(type, values))
        for new in kinds - self._seen.keys():
            place = next(n for n, value in enumerate(values, 1) if type(value) is new)
            self._seen[new] = before + place
        plain = kinds <= _AS_THEY_ARE and not self._numeral
        if plain or (kinds <= _NUMBERS and _plain(values, kinds)):
            return values
        return [self._each(value, before + n) for n, value in enumerate(values, 1)]

    def _each(self, value: Any, row: int) -> Any:
        match value:
            case None | bool():
                return value
            case Instant():
                self._fine = self._fine or value.fine
                return str(value)
            case Moment() | TimeOfDay():
                self._fine = self._fine or not value.endswith("000")
                return str(value)
            case decimal.Decimal():
                return self._digits_of(format(value, "f"), row)
            case str() if self._numeral:
                return self._digits_of(value, row)
            case float():
                return value if math.isfinite(value) else str(value)
            case int() if value not in _BIGINTS:
                self._big = True
                return str(value)
            case datetime.datetime():
                self._zoned = self._zoned or value.tzinfo is not None
                return value.isoformat(sep=" ")
        return value if type(value) in _AS_THEY_ARE or type(value) is int else str(value)

    def _digits_of(self, text: str, row: int) -> str:
        """A number as text; the digits that are needed for all of them are counted."""
        whole, _, fraction = text.lstrip("-").partition(".")
        if not (whole + fraction).isdecimal():
            self.refuse(row, text, "is not a decimal number")
        before = self._whole + self._scale
        self._whole = max(self._whole, len(whole.lstrip("0")))
        self._scale = max(self._scale, len(fraction.rstrip("0")))
        if self._whole + self._scale > before:
            self._most = (row, text)
        return text

    # ------------------------------------------------------------ types

    def wanted(self) -> Kind:
        """The column's type in the file; raises SqlFailure where its values have none in common."""
        found = self._wider or kind(self._common() or "VARCHAR")
        raw = self.kinds & set(_BYTES)
        if raw and (self.kinds - set(_BYTES) or found.base != "BLOB"):
            self._refuse_mixture()
        if found.base == "BLOB" and self.kinds - set(_BYTES):
            self._refuse_mixture()
        return found

    def _common(self) -> str:
        kinds = self.kinds
        if kinds == {Moment}:
            return "TIMESTAMP_NS" if self._fine else "TIMESTAMP"
        if kinds == {TimeOfDay}:
            return "VARCHAR" if self._fine else "TIME"  # no file has nanoseconds of a day
        if kinds == {Instant}:
            return "VARCHAR" if self._fine else "TIMESTAMP WITH TIME ZONE"
        if decimal.Decimal in kinds or (kinds and self._numeral):
            return self._numeric()
        # SQLite calls BLOB what is declared without a type: there the values tell.
        if self._declared and (self._declared != "BLOB" or not kinds or kinds & set(_BYTES)):
            return self._declared
        if kinds == {int}:
            return "DECIMAL(38,0)" if self._big else "BIGINT"
        if kinds == {datetime.datetime}:
            return "TIMESTAMP WITH TIME ZONE" if self._zoned else "TIMESTAMP"
        if kinds == {int, float}:
            return "DOUBLE"
        if len(kinds) > 1:
            self._refuse_mixture()
        return _TYPES.get(next(iter(kinds)), "VARCHAR") if kinds else ""

    def _numeric(self) -> str:
        """What is declared, if all digits have room in it, else the digits that were seen."""
        if self.kinds - {decimal.Decimal, int} and not self._numeral:
            self._refuse_mixture()
        declared = kind(self._declared or "VARCHAR")
        if declared.base != "DECIMAL" and self._declared and declared.base not in INTEGERS:
            return self._declared
        whole = max(self._whole, 19 if int in self.kinds else 0)
        room = declared.precision - declared.scale
        if declared.base == "DECIMAL" and whole <= room and self._scale <= declared.scale:
            return self._declared
        precision = max(1, whole + self._scale)
        if precision > 38:
            row, text = self._most
            self.refuse(
                row,
                text,
                f"needs {self._whole} digits before the point or {self._scale} behind it, "
                "and a decimal has 38 in all; cast it in the query, such as to numeric(20,4)",
            )
        return f"DECIMAL({precision},{self._scale})"

    def read_as(self) -> str:
        """The type as which DuckDB reads the values from JSON."""
        wanted, kinds = self.wanted(), self.kinds
        if kinds == {int} and not self._big and (wanted.exact or wanted.base == "DOUBLE"):
            return "BIGINT" if wanted.base != "DOUBLE" else "VARCHAR"
        if kinds == {float} and wanted.base in ("FLOAT", "DOUBLE"):
            return "DOUBLE"
        return "BOOLEAN" if kinds == {bool} and wanted.base == "BOOLEAN" else "VARCHAR"

    def cast(self, value: str) -> str:
        """A value that was read, in the wanted type."""
        return cast(value, self.read_as(), self.wanted())

    def lost(self, value: str) -> str:
        """That a value is not the same in the wanted type; empty where all are."""
        return lost(value, self.read_as(), self.wanted(), float in self.kinds)

    def widen(self) -> bool:
        """Take a wider type; False if there is none."""
        found = wider(self.wanted(), self.kinds <= {int, float})
        if found is not None:
            self._narrow, self._wider = self._narrow or self.wanted(), found
        return found is not None

    def refuse_type(self, row: int, value: object) -> NoReturn:
        """Raises SqlFailure for a value that is not of the column's type."""
        self.refuse(row, value, f"is not {a((self._narrow or self.wanted()).text)}")

    # ------------------------------------------------------------ refusals

    def refuse(self, row: int, value: object, reason: str) -> NoReturn:
        """Raises SqlFailure for a value."""
        raise refused(
            f'column "{table.visible(self.name)}", row {row:,}: {shortened(value)} {reason}'
        )

    def _refuse_mixture(self) -> NoReturn:
        found = sorted((self._seen[of], _WORDS.get(of, of.__name__)) for of in self.kinds)
        shown = ", ".join(f"{word} in row {row:,}" for row, word in found)
        told = self._declared and self._declared != "BLOB"
        declared = f" is declared as {self._declared.lower()} and" if told else ""
        several = "values of several types, " if len(found) > 1 else ""
        raise refused(
            f'column "{table.visible(self.name)}"{declared} has {several}{shown}; '
            "cast it in the query"
        )


def _plain(values: Sequence[Any], kinds: set[type]) -> bool:
    """Whether all of these numbers are numbers of JSON, and whole ones have 64 bits at most."""
    if type(None) in kinds:
        values = list(filter(None, values))
    if float in kinds and not math.isfinite(sum(values)):
        return False  # or the sum is too large, and each is looked at
    if float in kinds and int in kinds:
        values = [value for value in values if type(value) is int]
    try:
        array("q", values if int in kinds else ())
    except OverflowError:
        return False
    return True


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
_WORDS: dict[type, str] = {
    bool: "a boolean",
    int: "a whole number",
    float: "a floating-point number",
    str: "a text",
    decimal.Decimal: "a decimal number",
    datetime.date: "a date",
    datetime.time: "a time",
    datetime.datetime: "a timestamp",
    Moment: "a timestamp",
    TimeOfDay: "a time",
    Instant: "a timestamp with its offset",
    bytes: "binary data",
    bytearray: "binary data",
    memoryview: "binary data",
}


class Spool:
    """The rows of one query, waiting in a file; `close` leaves nothing behind."""

    def __init__(self, path: str, columns: Sequence[Column]) -> None:
        self._path, self._columns = path, columns
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self._file = os.fdopen(os.open(path, flags, 0o600), "wb")
        self._keys = [f"c{number}" for number in range(len(columns))]
        self._piece = self._most = max(1, min(_ROWS, _CELLS // len(columns)))
        self._rows = self._size = self._longest = 0

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Some more rows."""
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            taken = [
                column.taken(values, self._rows)
                for column, values in zip(self._columns, zip(*batch, strict=True), strict=True)
            ]
            done = 0
            while done < len(batch):
                piece = [values[done : done + self._piece] for values in taken]
                done += self._piece
                self._write(piece, len(piece[0]))

    def _write(self, taken: Sequence[Sequence[Any]], rows: int) -> None:
        """One line; several where it would be too long."""
        try:
            line = _encoder.encode(dict(zip(self._keys, taken, strict=True)))
        except UnicodeEncodeError:
            self._refuse_text(taken)
        if len(line) > _LINE and rows > 1:
            self._piece = max(1, self._piece // 2)
            half = rows // 2
            self._write([values[:half] for values in taken], half)
            self._write([values[half:] for values in taken], rows - half)
            return
        if len(line) * 4 < _LINE:
            self._piece = min(self._most, self._piece * 2)
        self._file.write(line + b"\n")
        self._size += len(line)
        self._rows += rows
        self._longest = max(self._longest, len(line))

    def _refuse_text(self, taken: Sequence[Sequence[Any]]) -> NoReturn:
        """Half of a pair of UTF-16, which has no place in UTF-8."""
        for column, values in zip(self._columns, taken, strict=True):
            for row, value in enumerate(values, self._rows + 1):
                if isinstance(value, str) and not _encodes(value):
                    column.refuse(row, ascii(value), "is not Unicode")
        raise AssertionError

    # ------------------------------------------------------------ out of it

    def save(self, connection: duckdb.DuckDBPyConnection, path: str, form: str) -> int:
        """Write the file; how many rows. SqlFailure for a value that would not be the same."""
        self._file.flush()
        self._bound(connection)
        while True:
            try:
                done = connection.execute(self._copied(path, form)).fetchone()
                return int(done[0]) if done else 0
            except duckdb.InterruptException:
                raise
            except duckdb.Error:
                if not self._widened(connection):
                    raise

    def _bound(self, connection: duckdb.DuckDBPyConnection) -> None:
        memory = _MEMORY + _LONGEST_LINES * self._longest
        connection.execute(f"SET memory_limit = '{memory // 1024}KiB'; SET threads = 1")

    def _copied(self, path: str, form: str) -> str:
        columns = []
        for key, column in zip(self._keys, self._columns, strict=True):
            value = column.cast(key)
            if lost := column.lost(key):
                value = f"CASE WHEN {lost} THEN error('lost') ELSE {value} END"
            columns.append((column.name, value, column.wanted()))
        return copied(columns, self._source(), path, form, option=self._group(form))

    def _group(self, form: str) -> str:
        """The option that keeps a row group within bounds, however wide rows are."""
        rows = _GROUP * max(1, self._rows) // max(1, self._size)
        rows = max(_LEAST_GROUP, min(_GROUP_ROWS, rows))
        return f"ROW_GROUP_SIZE {rows}" if form == "parquet" else ""

    def _source(self, *more: str) -> str:
        """The rows, read back."""
        types = ", ".join(
            f"{key}: '{column.read_as()}[]'"
            for key, column in zip(self._keys, self._columns, strict=True)
        )
        parts = ", ".join((*(f"unnest({key}) AS {key}" for key in self._keys), *more))
        size = max(_LINE, self._longest) + 1024
        return (
            f"(SELECT {parts} FROM read_json({dialect.DUCKDB.literal(self._path)}, "
            f"format='newline_delimited', columns={{{types}}}, maximum_object_size={size}))"
        )

    def _widened(self, connection: duckdb.DuckDBPyConnection) -> bool:
        """Whether the first value that did not fit does so now; False if all fitted."""
        tests = {
            n: lost for n, key in enumerate(self._keys) if (lost := self._columns[n].lost(key))
        }
        if not tests:
            return False
        source = f"(SELECT *, row_number() OVER () AS row FROM {self._source()})"
        firsts = ", ".join(f"min(row) FILTER ({lost})" for lost in tests.values())
        rows = connection.execute(f"SELECT {firsts} FROM {source}").fetchone() or ()
        found = [(row, n) for row, n in zip(rows, tests, strict=True) if row is not None]
        if not found:
            return False
        row, number = min(found)
        column = self._columns[number]
        if not column.widen():
            value = f"SELECT {self._keys[number]} FROM {source} WHERE row = {row}"
            (bad,) = connection.execute(value).fetchone() or ("",)
            column.refuse_type(row, bad)
        return True

    def close(self) -> None:
        """The file is gone."""
        self._file.close()
        os.unlink(self._path)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# ---------------------------------------------------------------- what ODBC says of a column


def of_odbc(code: object, size: int, precision: int, scale: int) -> str:
    """DuckDB's type for a column as pyodbc describes it, empty where the values must tell."""
    if code is decimal.Decimal:
        # A negative scale, as in Postgres's numeric(3,-2), arrives as a large one.
        return f"DECIMAL({precision},{scale})" if 0 <= scale <= precision <= 38 else ""
    if code is int:
        return {3: "UTINYINT", 5: "SMALLINT", 10: "INTEGER", 19: "BIGINT"}.get(size, "BIGINT")
    if code is float:
        return "FLOAT" if size in (7, 24) else "DOUBLE"
    if code is datetime.datetime:
        return "TIMESTAMP"
    return _TYPES.get(code, "") if isinstance(code, type) else ""
