"""Values on their way into Postgres, as DuckDB's SQL: in the bytes of binary COPY, or as text.

Bytes are those that Postgres's own functions read: a uuid is 16 of them, jsonb stands behind its
version, dates and times are the days and microseconds since 2000, with the two ends of their range
for infinity, which Arrow has no value for. What goes as text has Postgres's own form of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from pit.sql.transfer.coerce import fit, flat, texts
from pit.sql.transfer.tables.sink import TargetColumn
from pit.sql.transfer.types import MOMENTS, Kind, element

_UUID = "unhex(replace(CAST({} AS VARCHAR), '-', ''))"
_JSONB = "('\\x01'::BLOB || encode(CAST({} AS VARCHAR)))"
_DAYS = "CAST({} - DATE '2000-01-01' AS INTEGER)"
_MICROSECONDS = "(epoch_us({}) - 946684800000000)"
_ENDS = {"DATE": (-(2**31), 2**31 - 1), "": (-(2**63), 2**63 - 1)}
_TIMES = (*MOMENTS, "TIMESTAMPTZ")
_FIRST = {
    "DATE": "DATE '4714-11-24 (BC)'",
    "TIMESTAMPTZ": "TIMESTAMPTZ '4714-11-24 (BC) 00:00:00+00'",
    "": "TIMESTAMP '4714-11-24 (BC)'",
}
_LAST = "DATE '5874897-12-31'"
_NUMERIC = re.compile(r"numeric\((\d+),(-?\d+)\)")
_FRACTION = re.compile(r"(?:time|timestamp|interval)\((\d)\)")


def sent(column: TargetColumn, value: str) -> str:
    """A value of the type `column.sent`, in the form in which it goes."""
    kind = column.sent
    if column.staged:
        return _array(kind, value, _base(column)) if _is_array(column) else text(kind, value)
    if kind.base == "UUID":
        return _UUID.format(value)
    if kind.base == "JSON" and _base(column) == "jsonb":
        return _JSONB.format(value)
    if kind.base == "DATE" or kind.base in _TIMES:
        return _time(kind, value)
    return f"CAST({value} AS VARCHAR)" if kind.base == "JSON" else value


def _time(kind: Kind, value: str) -> str:
    """A date or time as a number: ADBC would count past the end of one for infinity."""
    number = _DAYS if kind.base == "DATE" else _MICROSECONDS
    low, high = _ENDS.get(kind.base, _ENDS[""])
    first = _FIRST.get(kind.base, _FIRST[""])
    ends = f"CASE WHEN {value} < {first} THEN {low} ELSE {high} END"
    of = "INTEGER" if kind.base == "DATE" else "BIGINT"
    return (
        f"CASE WHEN {value} IS NULL THEN NULL WHEN isfinite({value}) "
        f"THEN {number.format(value)} ELSE CAST({ends} AS {of}) END"
    )


def text(kind: Kind, value: str) -> str:
    """A value as Postgres reads it; nested values as JSON."""
    if kind.base == "BLOB":
        return f"'\\x' || hex({value})"
    if kind.nested:
        return f"CAST(to_json({value}) AS VARCHAR)"
    written = f"CAST({value} AS VARCHAR)"
    if kind.base == "DATE" or kind.base in _TIMES:
        after = f"replace({written}, ' (BC)', '') || ' BC'"
        return f"CASE WHEN contains({written}, '(BC)') THEN {after} ELSE {written} END"
    return written


def _base(column: TargetColumn) -> str:
    return column.base or column.declared


def _is_array(column: TargetColumn) -> bool:
    return _base(column).endswith("]")


def _array(kind: Kind, value: str, base: str) -> str:
    """A list in the form of Postgres's arrays; a text has that form, or that of JSON."""
    if kind.base in ("LIST", "ARRAY"):
        return array(kind, value)
    if kind.base not in ("VARCHAR", "JSON"):
        return text(kind, value)
    items, item = texts(value), "pit"
    if base.startswith("json"):
        items, item = f"TRY_CAST(TRY_CAST({value} AS JSON) AS JSON[])", "CAST(pit AS VARCHAR)"
    return f"coalesce({_braced(items, 'pit', _quoted(item))}, CAST({value} AS VARCHAR))"


def array(kind: Kind, value: str) -> str:
    """A list, or a list of lists, in the form of Postgres's arrays."""
    of, item = element(kind), f"pit_{kind.text.count(']')}"
    one = array(of, item) if of.base in ("LIST", "ARRAY") else _quoted(text(of, item))
    if kind.base == "ARRAY":
        value = f"CAST({value} AS {of.text}[])"
    return _braced(value, item, one)


def _braced(items: str, item: str, one: str) -> str:
    each = f"list_transform({items}, lambda {item}: coalesce({one}, 'NULL'))"
    return f"'{{' || array_to_string({each}, ',') || '}}'"


def _quoted(written: str) -> str:
    return f"""'"' || replace(replace({written}, '\\', '\\\\'), '"', '\\"') || '"'"""


# ---------------------------------------------------------------- what Postgres has no value for


_FROM_TEXT = {
    "date[]": "DATE[]",
    "time without time zone[]": "TIME[]",
    "timestamp without time zone[]": "TIMESTAMP[]",
    "timestamp with time zone[]": "TIMESTAMP WITH TIME ZONE[]",
}
"""Arrays of which the server would read an element that says more, and leave that out."""


def limit(column: TargetColumn, value: str) -> str:
    """A condition that a value has to meet, empty where every value of its type does."""
    kind, item, items = column.sent, value, value
    tests = []
    if (wanted := _FROM_TEXT.get(column.cast)) and kind.base == "VARCHAR":
        cut = "[ T][0-9:.]*[1-9]" if wanted == "DATE[]" else "[.][0-9]{6}[0-9]*[1-9]"
        array = f"starts_with(ltrim({value}), '{{') AND NOT regexp_matches({value}, '{cut}')"
        fits = fit(value, kind, Kind(text=wanted, base="LIST")).good
        tests.append(f"(({array}) OR {fits})")
    if column.staged and _is_array(column) and kind.base in ("VARCHAR", "JSON"):
        tests += [] if column.base.startswith("json") else [flat(value)]
    while kind.base == "LIST":
        items = items if item == value else f"flatten({items})"
        kind, item = element(kind), "pit_item"
    base = column.base if item != value or not _is_array(column) else ""
    own = [test for test in (_limit(kind, item, base), *_digits(kind, item, column)) if test]
    if own and item != value:
        test = " AND ".join(own)
        bad = f"list_filter({items}, lambda {item}: NOT coalesce({test}, true))"
        own = [f"len({bad}) = 0"]
    return " AND ".join((*tests, *own))


def _limit(kind: Kind, value: str, base: str) -> str:
    if kind.base in ("VARCHAR", "ENUM"):
        return f"NOT contains({value}, chr(0)){_length(value, base)}"
    if kind.base == "JSON":
        return f"NOT contains(CAST({value} AS VARCHAR), '\\u0000')"
    if kind.base == "DATE":
        return f"(NOT isfinite({value}) OR {value} BETWEEN {_FIRST['DATE']} AND {_LAST})"
    if kind.base in _TIMES:
        return f"(NOT isfinite({value}) OR {value} >= {_FIRST.get(kind.base, _FIRST[''])})"
    return ""


def _length(value: str, base: str) -> str:
    """Of what is too long for them, two types take the beginning without a word."""
    if base == '"char"':
        octal = f"regexp_full_match({value}, '\\\\[0-7]{{3}}')"
        return f" AND (strlen(CAST({value} AS VARCHAR)) <= 1 OR {octal})"
    return f" AND strlen(CAST({value} AS VARCHAR)) < 64" if base in ("name", "name[]") else ""


def _digits(kind: Kind, value: str, column: TargetColumn) -> Iterator[str]:
    """That the server has nothing to round, where a column's digits are none of the type `sent`."""
    written, text = f"CAST({value} AS VARCHAR)", kind.base in ("VARCHAR", "ENUM", "TIMETZ")
    if fraction := _FRACTION.match(column.base):
        digits = int(fraction[1])
        if kind.base == "INTERVAL":
            yield f"datepart('microsecond', {value}) % {10 ** (6 - digits)} = 0"
        elif kind.base == "TIME" or kind.base in _TIMES:
            yield f"coalesce(epoch_us({value}) % {10 ** (6 - digits)}, 0) = 0"
        elif text:
            yield f"NOT regexp_matches({written}, '[.][0-9]{{{digits}}}[0-9]*[1-9]')"
    number = _NUMERIC.match(column.base.replace("money", "numeric(19,2)"))
    if not number or not (kind.exact or text):
        return
    precision, scale = int(number[1]), int(number[2])
    if kind.base == "DECIMAL" and scale > precision:
        yield f"abs({value}) < {Decimal(1).scaleb(precision - scale):f}"
    if scale < 0:
        # A digit other than zero among the last ones of the whole number, or behind the point.
        last = f"[1-9][0-9]{{0,{-scale - 1}}}([^0-9eE]|$)|[.][0-9]*[1-9]0*([^0-9eE]|$)"
        yield f"NOT regexp_matches({written}, '{last}')"
    elif text or kind.scale > scale:
        rest = f"[.][0-9]{{{scale}}}[0-9]*[1-9]0*([^0-9eE]|$)"
        yield f"NOT regexp_matches({written}, '{rest}')"
