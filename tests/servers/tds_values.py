"""Values on SQL Server's wire: how results are written, how parameters and rows are read."""

from __future__ import annotations

import datetime as dt
import decimal
import re
import struct
import uuid
from dataclasses import dataclass

from pysqlbridge.tds.result import (
    Bit,
    ColumnType,
    Float,
    Integer,
    NVarChar,
    VarBinary,
)

_EPOCH = dt.date(1, 1, 1)
_TICKS = 10_000_000

_EXACT = decimal.Context(prec=60)
"""By itself, `decimal` rounds to 28 digits."""


@dataclass(frozen=True)
class Decimal(ColumnType):
    """decimal(p, s)."""

    p: int = 18
    s: int = 0
    nullable = True

    def type_info(self) -> bytes:
        return bytes([0x6C, 17, self.p, self.s])

    def encode(self, value: object) -> bytes:
        if value is None:
            return b"\0"
        scaled = decimal.Decimal(str(value)).scaleb(self.s, _EXACT)
        number = int(scaled.to_integral_value(context=_EXACT))
        size = next(n for n, most in ((4, 9), (8, 19), (12, 28), (16, 38)) if self.p <= most)
        sign = 1 if number >= 0 else 0
        return bytes([size + 1, sign]) + abs(number).to_bytes(size, "little")


@dataclass(frozen=True)
class Date(ColumnType):
    """date: days since 0001-01-01."""

    nullable = True

    def type_info(self) -> bytes:
        return b"\x28"

    def encode(self, value: dt.date | None) -> bytes:
        return b"\0" if value is None else b"\x03" + _days(value)


@dataclass(frozen=True)
class Time(ColumnType):
    """time(7): ticks of 100 ns since midnight."""

    nullable = True

    def type_info(self) -> bytes:
        return b"\x29\x07"

    def encode(self, value: dt.time | None) -> bytes:
        return b"\0" if value is None else b"\x05" + _ticks(value)


@dataclass(frozen=True)
class DateTime2(ColumnType):
    """datetime2(7)."""

    nullable = True

    def type_info(self) -> bytes:
        return b"\x2a\x07"

    def encode(self, value: dt.datetime | None) -> bytes:
        return b"\0" if value is None else b"\x08" + _ticks(value.time()) + _days(value.date())


@dataclass(frozen=True)
class DateTimeOffset(ColumnType):
    """datetimeoffset(7), told in UTC."""

    nullable = True

    def type_info(self) -> bytes:
        return b"\x2b\x07"

    def encode(self, value: dt.datetime | None) -> bytes:
        if value is None:
            return b"\0"
        utc = value.astimezone(dt.UTC)
        return b"\x0a" + _ticks(utc.time()) + _days(utc.date()) + struct.pack("<h", 0)


def _days(value: dt.date) -> bytes:
    return (value - _EPOCH).days.to_bytes(3, "little")


def _ticks(value: dt.time) -> bytes:
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return (seconds * _TICKS + value.microsecond * 10).to_bytes(5, "little")


def column_type(duckdb_type: str) -> ColumnType:
    """The type on the wire for a type of DuckDB's."""
    if duckdb_type.startswith("DECIMAL"):
        precision, scale = re.findall(r"\d+", duckdb_type)
        return Decimal(int(precision), int(scale))
    if duckdb_type == "TIMESTAMP WITH TIME ZONE":
        return DateTimeOffset()
    if duckdb_type.startswith("TIMESTAMP"):
        return DateTime2()
    known = {
        "TINYINT": Integer(4),
        "SMALLINT": Integer(4),
        "USMALLINT": Integer(4),
        "INTEGER": Integer(4),
        "UINTEGER": Integer(8),
        "BIGINT": Integer(8),
        "UBIGINT": Decimal(20, 0),
        "HUGEINT": Decimal(38, 0),
        "BOOLEAN": Bit(),
        "FLOAT": Float(8),
        "DOUBLE": Float(8),
        "DATE": Date(),
        "TIME": Time(),
        "BLOB": VarBinary(8000),
        "UUID": NVarChar(36),
    }
    return known.get(duckdb_type, NVarChar(4000))


# ---------------------------------------------------------------- reading

_FIXED = {0x30: 1, 0x32: 1, 0x34: 2, 0x38: 4, 0x3B: 4, 0x3C: 8, 0x3D: 8, 0x3E: 8, 0x7F: 8}
_FIXED |= {0x3A: 4, 0x7A: 4, 0x1F: 0}
_BY_SIZE = (0x24, 0x26, 0x68, 0x6D, 0x6E, 0x6F)
_DECIMALS = (0x6A, 0x6C)
_CHARS, _BYTES = (0xA7, 0xAF, 0xE7, 0xEF), (0xA5, 0xAD)
_WIDE = (0xE7, 0xEF, 0x63)
_LONG = (0x23, 0x63, 0x22)
_NULL, _NULL_LONG = 0xFFFF, 0xFFFFFFFFFFFFFFFF


class Reader:
    """Reads little-endian things from bytes, one after another."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    def number(self, size: int) -> int:
        return int.from_bytes(self.raw(size), "little")

    def raw(self, size: int) -> bytes:
        self.at += size
        return self.data[self.at - size : self.at]

    def text(self, characters: int) -> str:
        return self.raw(2 * characters).decode("utf-16-le")

    @property
    def over(self) -> bool:
        return self.at >= len(self.data)


@dataclass(frozen=True)
class Type:
    """A type as a client declares it: its byte, its size or scale."""

    kind: int
    size: int = 0
    scale: int = 0

    @property
    def is_long(self) -> bool:
        return self.kind in _LONG


def read_type(reader: Reader) -> Type:
    """A declared type."""
    kind = reader.number(1)
    if kind in _FIXED or kind == 0x28:
        return Type(kind)
    if kind in _BY_SIZE:
        return Type(kind, reader.number(1))
    if kind in _DECIMALS:
        size, _, scale = reader.number(1), reader.number(1), reader.number(1)
        return Type(kind, size, scale)
    if kind in _CHARS:
        size = reader.number(2)
        reader.raw(5)  # the collation
        return Type(kind, size)
    if kind in _BYTES:
        return Type(kind, reader.number(2))
    if kind in (0x29, 0x2A, 0x2B):
        return Type(kind, scale=reader.number(1))
    if kind in _LONG:
        reader.raw(4)
        if kind != 0x22:
            reader.raw(5)
        return Type(kind)
    raise ValueError(f"the test server does not know the type 0x{kind:02x}")


def read_value(reader: Reader, of: Type, bulk: bool = False) -> object:
    """A value of a declared type, as Python has it."""
    if of.kind in _FIXED:
        return _number(of.kind, reader.raw(_FIXED[of.kind]))
    if of.kind in _CHARS or of.kind in _BYTES:
        return _text(of.kind, _sized(reader, of))
    if of.is_long:
        return _text(of.kind, _long(reader, bulk))
    size = reader.number(1)
    if not size:
        return None
    data = reader.raw(size)
    if of.kind in _DECIMALS:
        value = decimal.Decimal(int.from_bytes(data[1:], "little")).scaleb(-of.scale, _EXACT)
        return value if data[0] else -value
    if of.kind == 0x24:
        return str(uuid.UUID(bytes_le=data))
    if of.kind in (0x28, 0x29, 0x2A, 0x2B):
        return _moment(of, data)
    return _number(of.kind, data)


def _sized(reader: Reader, of: Type) -> bytes | None:
    if of.size != _NULL:
        size = reader.number(2)
        return None if size == _NULL else reader.raw(size)
    if reader.number(8) == _NULL_LONG:
        return None
    parts = []
    while size := reader.number(4):
        parts.append(reader.raw(size))
    return b"".join(parts)


def _long(reader: Reader, bulk: bool) -> bytes | None:
    if bulk:
        pointer = reader.number(1)
        if not pointer:
            return None
        reader.raw(pointer + 8)
    size = reader.number(4)
    return None if size == 0xFFFFFFFF else reader.raw(size)


def _text(kind: int, data: bytes | None) -> object:
    if data is None or kind in _BYTES or kind == 0x22:
        return data
    return data.decode("utf-16-le" if kind in _WIDE else "cp1252")


def _moment(of: Type, data: bytes) -> object:
    if of.kind == 0x28:
        return _date(data)
    if of.kind == 0x29:
        return _time(data, of.scale)
    if of.kind == 0x2A:
        return dt.datetime.combine(_date(data[-3:]), _time(data[:-3], of.scale))
    moment = dt.datetime.combine(_date(data[-5:-2]), _time(data[:-5], of.scale))
    return moment.replace(tzinfo=dt.UTC)


def _date(data: bytes) -> dt.date:
    return _EPOCH + dt.timedelta(days=int.from_bytes(data, "little"))


def _time(data: bytes, scale: int) -> dt.time:
    ticks = int.from_bytes(data, "little") * 10 ** (7 - scale)
    return (dt.datetime.min + dt.timedelta(microseconds=ticks // 10)).time()


def _number(kind: int, data: bytes) -> object:
    if not data:
        return None
    if kind in (0x3B, 0x3E, 0x6D):
        return struct.unpack("<f" if len(data) == 4 else "<d", data)[0]
    if kind in (0x32, 0x68):
        return bool(data[0])
    if kind in (0x3D, 0x6F) and len(data) == 8:
        days, ticks = struct.unpack("<iI", data)
        return dt.datetime(1900, 1, 1) + dt.timedelta(days=days, seconds=ticks / 300)
    if kind in (0x3C, 0x6E) and len(data) == 8:
        high, low = struct.unpack("<iI", data)
        return decimal.Decimal((high << 32) + low).scaleb(-4)
    return int.from_bytes(data, "little", signed=kind != 0x30 and len(data) > 1)
