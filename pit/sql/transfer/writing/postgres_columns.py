"""Columns of a Postgres query: what each is, what is asked of the server, what the file gets.

ADBC hands binary values over as Arrow, which has less than Postgres: no infinity, no dimensions of
an array, no time beyond the year 294247, 292 years of hours in an interval; it counts past the end
and begins anew without a word. Values of which that is true are therefore left out where they
stand, and come as text in one column more, which is NULL in almost every row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pit.model import Record
from pit.sql.text import table
from pit.sql.transfer.coerce import era, fit
from pit.sql.transfer.reading.files import refused
from pit.sql.transfer.types import Kind, kind, of_numeric
from pit.sql.transfer.writing.stored import Column, ended

ODD, ROW = "pit_odd", "pit_row"
"""The columns of texts that stand in for values, and of the row's number, from 1."""
_WITHOUT_DIGITS = "DECIMAL(38,18)"
"""What a numeric without a declared precision must fit into."""
_MONEY = "DECIMAL(19,2)"
_AS_TEXT = {"uuid": "UUID", "json": "JSON", "jsonb": "JSON"}
"""Types that come as text and are something else in a file."""
_PLAIN = {
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
    "bytea": "BLOB",
    "time": "TIME",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
    "interval": "INTERVAL",
}
"""Types that ADBC reads as they are; of all others it knows less than the server's text says."""
_RANGES = {
    "date": ("DATE '4714-11-24 BC'", "DATE '5874897-12-31'"),
    "timestamp": (
        "TIMESTAMP '4714-11-24 BC'",
        "TIMESTAMP '294247-01-10 04:00:54.775806'",
    ),
    "timestamptz": (
        "TIMESTAMPTZ '4714-11-24 00:00:00+00 BC'",
        "TIMESTAMPTZ '294247-01-10 04:00:54.775806+00'",
    ),
}
"""What Arrow's days and microseconds can say; infinity lies outside."""
_LONG = "(NOT isfinite({0}) OR abs(date_part('hour', {0})) > 2562046)"
"""An interval whose hours are more than 64 bits of nanoseconds."""


class QueryColumn(Record):
    """A column of a query: `type_name` is Postgres's own, of the elements if it is an `array`."""

    name: str
    type_name: str
    array: bool = False
    typmod: int = -1

    @property
    def plain(self) -> str:
        """The DuckDB type as which ADBC's values are read, empty where the server makes text."""
        return _PLAIN.get(self.type_name, "")


def described(connection: Any, result: Any) -> list[QueryColumn]:
    """The columns of a result of psycopg's, domains taken for what they are made of."""
    fields = range(result.nfields)
    names = [result.fname(number).decode(errors="replace") for number in fields]
    if not names:
        raise refused("the query returns no columns")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise refused(f'two columns are called "{table.visible(twice)}"; name one with AS')
    known = _types(connection, {result.ftype(number) for number in fields})
    return [
        QueryColumn(name, *known[result.ftype(number)], result.fmod(number))
        for name, number in zip(names, fields, strict=True)
    ]


def _types(connection: Any, oids: set[int]) -> dict[int, tuple[str, bool]]:
    """The name of each type, and whether it is one of arrays: then of the elements' type.

    Only an array may have a domain in it; the server tells columns of a domain by its base.
    """
    rows = connection.execute(
        "WITH RECURSIVE asked (of, is_array, oid) AS ("
        " SELECT oid, is_array, CASE WHEN is_array THEN typelem ELSE oid END FROM ("
        "  SELECT oid, typelem, typelem <> 0 AND typinput = 'pg_catalog.array_in'::regproc"
        "  AS is_array FROM pg_catalog.pg_type WHERE oid = ANY(%s::oid[])) AS t"
        " UNION ALL SELECT of, is_array, typbasetype FROM asked"
        " JOIN pg_catalog.pg_type USING (oid) WHERE typtype = 'd') "
        "SELECT of::int8, CASE WHEN typnamespace = 'pg_catalog'::regnamespace THEN typname::text "
        "ELSE '' END, is_array FROM asked JOIN pg_catalog.pg_type USING (oid) WHERE typtype <> 'd'",
        [sorted(oids)],
    ).fetchall()
    return {oid: (name, is_array) for oid, name, is_array in rows}


class Selection:
    """The query that ADBC is to send, and the columns of the file that its rows become."""

    def __init__(self, columns: Sequence[QueryColumn]) -> None:
        self._columns = columns
        self._odd = [n for n, column in enumerate(columns) if _condition(column, "x")]

    def query(self, text: str) -> str:
        """What is sent in place of the query `text`."""
        selected = [
            f"{_asked(column, _name(column))} AS c{number}"
            for number, column in enumerate(self._columns)
        ]
        if self._odd:
            selected.append(f"{self._stand_ins()} AS {ODD}")
        return f"SELECT {', '.join(selected)} FROM (\n{text}\n) AS pit"

    def _stand_ins(self) -> str:
        """The texts of a row's odd values, NULL where there is none."""
        odd = [(self._columns[n], _name(self._columns[n])) for n in self._odd]
        tests = [_condition(column, name) for column, name in odd]
        texts = [
            f"CASE WHEN {test} THEN {_odd_text(column, name)} END"
            for test, (column, name) in zip(tests, odd, strict=True)
        ]
        return f"CASE WHEN {' OR '.join(tests)} THEN ARRAY[{', '.join(texts)}] END"

    def columns(self) -> list[Column]:
        """What they are in the file. Raises SqlFailure for one that has no type there."""
        return [self._column(number, column) for number, column in enumerate(self._columns)]

    def _column(self, number: int, column: QueryColumn) -> Column:
        came = f"c{number}"
        if not column.plain or (column.array and column.type_name in _AS_TEXT):
            value, of = _from_text(column, came)
        else:
            of = kind(f"{column.plain}[]" if column.array else column.plain)
            value = came
        if number in self._odd:
            odd = f"{ODD}[{self._odd.index(number) + 1}]"
            value = f"CASE WHEN {odd} IS NULL THEN {came} ELSE {_odd_value(column, odd)} END"
        return column.name, value, of


def _name(column: QueryColumn) -> str:
    return '"' + column.name.replace('"', '""') + '"'


def _asked(column: QueryColumn, name: str) -> str:
    """A column's value as ADBC can read it: what it has no type for comes as text."""
    if not column.array and column.type_name == "money":
        return f"({name}::numeric)::text"
    if not column.plain:
        return f"{name}::text"
    if test := _condition(column, name):
        return f"CASE WHEN {test} THEN NULL ELSE {_bare(column, name)} END"
    return name


def _bare(column: QueryColumn, name: str) -> str:
    """An array of what a domain's elements are made of."""
    return f"{name}::pg_catalog.{column.type_name}[]" if column.array else name


def _condition(column: QueryColumn, name: str) -> str:
    """What is true, for the server, of a value that Arrow has no place for; empty if all have."""
    tests = []
    if column.array and column.plain:
        tests.append(f"array_ndims({name}) > 1")
    if column.type_name in _RANGES:
        low, high = _RANGES[column.type_name]
        value = f"ANY({_bare(column, name)})" if column.array else name
        tests += [f"{low} > {value}", f"{high} < {value}"]
    elif column.type_name == "interval" and column.array:
        tests.append(f"EXISTS (SELECT FROM unnest({name}) AS one WHERE {_LONG.format('one')})")
    elif column.type_name == "interval":
        tests.append(_LONG.format(name))
    return f"({' OR '.join(tests)})" if tests else ""


def _odd_text(column: QueryColumn, name: str) -> str:
    """An odd value as text: JSON of a flat array's elements, Postgres's own of all else."""
    if not column.array:
        return f"{name}::text"
    flat = f"to_json({name}::text[])::text"
    return f"CASE WHEN array_ndims({name}) > 1 THEN {name}::text ELSE {flat} END"


def _odd_value(column: QueryColumn, odd: str) -> str:
    """What the file gets for an odd value, which is infinity if it is anything."""
    shown = f"CAST({odd} AS VARCHAR)"
    if not column.array:
        says = f"{_not_there(column)}; cast it to text in the query"
        ends = ended(column.name, says, shown, ROW)
        if column.type_name == "interval":
            return f"coalesce(TRY_CAST({odd} AS INTERVAL), {ends})"
        whole = f"CASE WHEN {odd} IN ('infinity', '-infinity') THEN {odd} END"
        return f"coalesce(TRY_CAST({whole} AS {column.plain}), {ends})"
    says = "has more than one dimension, which a column of a file cannot hold; cast it to text"
    several = ended(column.name, f"{says} or jsonb in the query", shown, ROW)
    if column.type_name not in _RANGES and column.type_name != "interval":
        return several
    ends = ended(column.name, f"{_not_there(column)}; cast it to text in the query", shown, ROW)
    items = f"CAST(CAST({odd} AS JSON) AS VARCHAR[])"
    item = f"TRY_CAST({era('one')} AS {column.plain})"
    lost = f"len(list_filter({items}, lambda one: one IS NOT NULL AND {item} IS NULL)) > 0"
    values = f"list_transform({items}, lambda one: {item})"
    flat = f"starts_with({odd}, '[\"') OR starts_with({odd}, '[null')"
    return f"CASE WHEN NOT ({flat}) THEN {several} WHEN {lost} THEN {ends} ELSE {values} END"


def _not_there(column: QueryColumn) -> str:
    name = {"timestamptz": "timestamp"}.get(column.type_name, column.type_name)
    what = f"{'has' if column.array else 'is'} {'an' if name == 'interval' else 'a'} {name}"
    return f"{what} beyond what a file can hold"


def _from_text(column: QueryColumn, came: str) -> tuple[str, Kind]:
    """The value that a text becomes, and its type; what cannot be it ends the query."""
    if column.array or column.type_name not in ("numeric", "money", *_AS_TEXT):
        return came, kind("VARCHAR")
    if column.type_name in _AS_TEXT:
        of = kind(_AS_TEXT[column.type_name])
        says = f"is not valid {of.text} to DuckDB; cast it to text in the query"
    else:
        of = kind(_MONEY if column.type_name == "money" else _digits(column.typmod))
        return _number(column.name, came, of), of
    ends = ended(column.name, says, came, ROW)
    value = fit(came, kind("VARCHAR"), of).value
    return f"coalesce({value}, CASE WHEN {came} IS NOT NULL THEN {ends} END)", of


def _digits(typmod: int) -> str:
    """The decimal that holds every number of a numeric's type."""
    return (typmod >= 4 and of_numeric(*_declared(typmod))) or _WITHOUT_DIGITS


def _declared(typmod: int) -> tuple[int, int]:
    """Precision and scale of a numeric; the scale has eleven bits and may be negative."""
    packed = typmod - 4
    return packed >> 16 & 0xFFFF, ((packed & 0x7FF) ^ 1024) - 1024


def _number(name: str, column: str, of: Kind) -> str:
    """A numeric's digits as a decimal; what is none, or would lose some, ends the query."""
    value, form = f"TRY_CAST({column} AS {of.text})", of.text.lower()
    remedy = "cast it in the query, such as to numeric(38,0), double precision or text"
    wide = ended(name, f"does not fit {form}; {remedy}", column, ROW)
    remedy = "in the query, nullif(…, 'NaN') makes it NULL, a cast to double precision or text"
    none = ended(name, f"is not a {form}; {remedy} keeps it", column, ROW)
    ends = f"CASE WHEN regexp_matches({column}, '[a-z]') THEN {none} ELSE {wide} END"
    if of.text not in (_WITHOUT_DIGITS, _MONEY):
        return f"coalesce({value}, CASE WHEN {column} IS NOT NULL THEN {ends} END)"
    # Only these may have more digits behind the point; no numeric is told with an exponent.
    fraction = f"rtrim(split_part({column}, '.', 2), '0')"
    good = f"{column} IS NULL OR ({value} IS NOT NULL AND length({fraction}) <= {of.scale})"
    return f"CASE WHEN {good} THEN {value} ELSE {ends} END"
