"""What a column becomes in a file: most as they are, some as text, what has no form is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pit.sql.text import dialect, table
from pit.sql.transfer.reading.files import refused
from pit.sql.transfer.types import Kind, element

FORMS = {".parquet": "parquet", ".csv": "csv", ".jsonl": "json", ".ndjson": "json"}
_OPTIONS = {"parquet": "FORMAT parquet", "csv": "FORMAT csv, HEADER", "json": "FORMAT json"}
_AS_TEXT = ("TIMETZ", "BIT", "BIGNUM", '"NULL"')
_SHOWN = 80
"""How many characters of a value an error shows."""
_quote, _text = dialect.DUCKDB.quote, dialect.DUCKDB.literal

Column = tuple[str, str, Kind]
"""A column of a file: its name, the expression of its value, and that value's type."""


def form_of(path: str) -> str:
    """parquet, csv or json, by a file's suffix; raises SqlFailure for any other."""
    for suffix, form in FORMS.items():
        if path.endswith(suffix):
            return form
    raise refused(f"{path} must end in {', '.join(FORMS)}")


def copied(
    columns: Sequence[Column],
    source: str,
    path: str,
    form: str,
    row: str = "",
    option: str = "",
) -> str:
    """The COPY that writes a relation: `columns` are names, values and types; `row` is its column
    with the rows' numbers, if it has one, `option` one more option of the COPY.


    Raises SqlFailure for names and types that the form cannot have.
    """
    _check_names([name for name, _, _ in columns])
    parts = [
        f"{stored(name, value, kind, form, row)} AS {_quote(name)}" for name, value, kind in columns
    ]
    selected = f"SELECT {', '.join(parts)} FROM {source}"
    options = ", ".join(filter(None, (_OPTIONS[form], option)))
    return f"COPY ({selected}) TO {_text(path)} ({options})"


def _check_names(names: Sequence[str]) -> None:
    taken: dict[str, str] = {}
    for number, name in enumerate(names, 1):
        if "\0" in name:
            raise refused(f"the name of column {number} has a NUL character; name it with AS")
        if not name:
            raise refused(f"column {number} of the query has no name; name it with AS")
        if name.lower() in taken:
            raise refused(
                f'two columns are called "{table.visible(name)}" (case aside); name one with AS'
            )
        taken[name.lower()] = name


def stored(name: str, value: str, kind: Kind, form: str, row: str = "") -> str:
    """A value in the type that a file has for it."""
    shown = table.visible(name)
    if kind.base in ("HUGEINT", "UHUGEINT") and form == "parquet":
        # DuckDB would write a float.
        fits = f"TRY_CAST({value} AS DECIMAL(38,0))"
        says = "has more than 38 digits; cast it to text in the query"
        return _unless(f"{fits} IS NOT NULL", fits, ended(name, says, value, row), value)
    if kind.base == "INTERVAL" and form == "parquet":
        return _interval(name, value, row)
    if kind.base in _AS_TEXT:
        return f"CAST({value} AS VARCHAR)"
    if form != "parquet" and _BINARY.search(kind.text):
        raise refused(
            f'column "{shown}" is binary, which {form.upper()} cannot hold; '
            "encode it in the query, or save Parquet"
        )
    if kind.base == "LIST":
        value = _list(name, value, kind, form, row)
    if kind.base == "UNION" or (kind.nested and form == "csv"):
        return f"CAST(to_json({value}) AS VARCHAR)"
    if kind.base in ("FLOAT", "DOUBLE") and form == "json":
        says = "is no number of JSON, which has neither NaN nor infinity; cast it to text"
        return _unless(f"isfinite({value})", value, ended(name, says, value, row), value)
    if kind.base == "TIMESTAMPTZ" and form != "parquet":
        # From there on, DuckDB miscounts the milliseconds where it writes them as text.
        good = f"{value} < TIMESTAMPTZ '287396-01-01 00:00:00+00' OR NOT isfinite({value})"
        says = f"is too far off for {form.upper()}; cast it to timestamp or text in the query"
        return _unless(
            good, value, ended(name, says, f"make_timestamp(epoch_us({value}))", row), value
        )
    return value


def _list(name: str, value: str, kind: Kind, form: str, row: str) -> str:
    """A list whose elements have each the type that a file has for it."""
    item = f"pit_{kind.text.count('[]')}"
    stands = stored(name, item, element(kind), form, row)
    if stands == item or (form == "csv" and element(kind).nested):
        return value
    return f"list_transform({value}, lambda {item}: {stands})"


_BINARY = re.compile(r"\bBLOB(?=$|[\[\],)])")
"""A type of bytes, or with bytes somewhere in it."""
_MONTHS = "datepart('year', {0}) * 12 + datepart('month', {0})"
_MICROSECONDS = (
    "datepart('hour', {0}) * 3600000000 + datepart('minute', {0}) * 60000000 "
    "+ datepart('microsecond', {0})"
)
_MOST = 2**32 - 1


def _interval(name: str, value: str, row: str) -> str:
    """An interval as Parquet has it: months, days and milliseconds, each a number of 32 bits.

    DuckDB leaves out what is more, and what is less than a millisecond.
    """
    months, micros = _MONTHS.format(value), _MICROSECONDS.format(value)
    days = f"datepart('day', {value})"
    whole = f"({micros}) % 1000 = 0 AND ({micros}) BETWEEN 0 AND {_MOST * 1000}"
    good = f"{whole} AND {months} >= 0 AND {days} >= 0"
    says = (
        "is no interval of Parquet, which has no negative ones, whole milliseconds only, and at "
        "most 1193 hours besides days and months; cast it to text in the query"
    )
    return _unless(good, value, ended(name, says, value, row), value)


def ended(name: str, says: str, value: str, row: str = "") -> str:
    """An expression that ends the query because of a value, with its column, and row if known."""
    where = f'column "{table.visible(name)}": "'
    text = f"regexp_replace(left(CAST({value} AS VARCHAR), {_SHOWN}), '[[:cntrl:]]', ' ', 'g')"
    before = f"'row ' || {row} || {_text(', ' + where)}" if row else _text(where)
    after = _text(f'" {says}')
    return f"error({before} || {text} || {after})"


def said(message: str) -> str:
    """What `ended` says, without DuckDB's word for the error."""
    return _ENDED.sub("", message)


_ENDED = re.compile(r'^Invalid Input Error: (?=(row \d+, )?column ")')


def _unless(good: str, value: str, ends: str, of: str) -> str:
    return f"CASE WHEN {of} IS NULL OR ({good}) THEN {value} ELSE {ends} END"
