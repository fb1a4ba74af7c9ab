"""Rows of the database as frozen records: a field of a record is a column by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from pit.model import Record

Row = TypeVar("Row", bound=Record)

_DECODED: dict[str, Callable[[Any], Any]] = {
    "params": msgspec.json.decode,
    "extra": msgspec.json.decode,
    "stub": bool,
    "whole": bool,
}


def columns(kind: type[Record], table: str = "") -> str:
    """What to select for records of a kind."""
    prefix = f"{table}." if table else ""
    return ", ".join(f'{prefix}"{name}"' for name in kind.__struct_fields__)


def rows(kind: type[Row], found: Iterable[Sequence[Any]]) -> tuple[Row, ...]:
    """What was found of the `columns` of a kind, as its records."""
    names = kind.__struct_fields__
    decoded = [(name, _DECODED[name]) for name in names if name in _DECODED]
    dicts = [dict(zip(names, row, strict=True)) for row in found]
    for values in dicts:
        for name, decode in decoded:
            values[name] = decode(values[name])
    return tuple(msgspec.convert(dicts, list[kind]))  # type: ignore[valid-type]
