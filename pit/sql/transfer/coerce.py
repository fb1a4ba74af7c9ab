"""One column's way into another type, as DuckDB's SQL: the value, and whether nothing was lost.

What a person asks for (`type = "decimal(18,2)"`) is a cast and may round. What only the table asks
for must not change a value: a fraction in a whole number's place, a time of day in a date's, a
number that is too large are rejects.
"""

from __future__ import annotations

from collections.abc import Callable

from pit.model import Record
from pit.sql.transfer.types import FLOATS, INTEGERS, MOMENTS, Kind, NoType, element, kind


class Way(Record):
    """`value` is an expression of the wanted type, NULL where there is none; `good` is one that
    says whether it may be used, empty where it always may."""

    value: str
    good: str = ""


def cast(column: str, source: Kind, wanted: Kind) -> Way:
    """As a person asks: rounding is allowed, failing is not. Raises NoType."""
    if source.text == wanted.text:
        return Way(value=column)
    _check(source, wanted)
    if wanted.base == "LIST" and source.base in (*_TEXTS[:2], "LIST"):
        return _list(column, source, wanted, cast)
    column = _dated(column, source, wanted)
    value = _tried(column, source, wanted)
    return Way(value=value, good=f"({column} IS NULL OR {value} IS NOT NULL)")


def fit(column: str, source: Kind, wanted: Kind) -> Way:
    """As a table asks: nothing may be lost. Raises NoType."""
    if source.text == wanted.text:
        return Way(value=column)
    _check(source, wanted)
    if wanted.base == "LIST" and source.base in (*_TEXTS[:2], "LIST"):
        return _list(column, source, wanted, fit)
    column = _dated(column, source, wanted)
    value = _tried(column, source, wanted)
    if _is_safe(source, wanted):
        return Way(value=value)
    kept = _kept(column, value, source, wanted)
    same = f" AND {kept}" if kept else ""
    return Way(value=value, good=f"({column} IS NULL OR ({value} IS NOT NULL{same}))")


def joined(first: Way, second: Way) -> Way:
    """Two steps as one, where the second was made of the first one's value."""
    good = " AND ".join(filter(None, (first.good, second.good)))
    return Way(value=second.value, good=f"({good})" if good else "")


def strict(way: Way, number: int) -> str:
    """The value, or an error that names the column by its number and ends the query."""
    if not way.good:
        return way.value
    return f"CASE WHEN {way.good} THEN {way.value} ELSE error('{MARK}{number}') END"


MARK = "pit-reject:"
"""What the error of a value that cannot be used begins with."""


def _check(source: Kind, wanted: Kind) -> None:
    """What DuckDB would do, and nobody wants."""
    if wanted.base == "VARCHAR" and source.base == "BLOB":
        raise NoType("binary data cannot become text; name its encoding in a query")
    if wanted.nested and source.base not in (*_TEXTS, wanted.base):
        raise NoType(f"{source.text} cannot become {wanted.text}")
    if source.nested and wanted.base not in ("JSON", "VARCHAR", source.base):
        raise NoType(f"{source.text} cannot become {wanted.text}")


_TEXTS = ("VARCHAR", "JSON", '"NULL"')


def _list(column: str, source: Kind, wanted: Kind, step: Callable[[str, Kind, Kind], Way]) -> Way:
    """Element by element: of a whole list, DuckDB makes NULLs of the elements that do not fit."""
    of, items, goods = element(wanted), column, []
    if source.base != "LIST":
        if of.base == "JSON" or (of.nested and of.base != "LIST"):
            value = f"TRY_CAST({column} AS {wanted.text})"
            return Way(value=value, good=f"({column} IS NULL OR {value} IS NOT NULL)")
        items = texts(column)
        goods.append(f"{items} IS NOT NULL")
        if of.base != "LIST":
            goods.append(flat(column))
        source = kind("VARCHAR[]")
    elif element(source).base == "LIST" != of.base and of.base != "JSON":
        raise NoType(f"{source.text} cannot become {wanted.text}")
    item = f"pit_{wanted.text.count('[]')}"
    way = step(item, element(source), of)
    if way.good:
        bad = f"list_filter({items}, lambda {item}: NOT coalesce({way.good}, false))"
        goods.append(f"len({bad}) = 0")
    value = f"list_transform({items}, lambda {item}: {way.value})"
    return Way(value=value, good=f"({column} IS NULL OR ({' AND '.join(goods)}))" if goods else "")


_JSON_ITEMS = "TRY_CAST(TRY_CAST({0} AS JSON) AS JSON[])"


def texts(column: str) -> str:
    """The elements of a list that is written as JSON, or as DuckDB writes one: each as text."""
    # DuckDB would take a backslash in JSON for one of its own, and lose it.
    items = _JSON_ITEMS.format(column)
    return (
        f"coalesce(list_transform({items}, lambda pit: pit ->> '$'), "
        f"TRY_CAST({column} AS VARCHAR[]))"
    )


def flat(column: str) -> str:
    """That a list which is written as JSON has no list in it."""
    items = _JSON_ITEMS.format(column)
    return f"coalesce(len(list_filter({items}, lambda pit: json_type(pit) = 'ARRAY')) = 0, true)"


def _dated(column: str, source: Kind, wanted: Kind) -> str:
    """A text that is to be a time, where it has a date before Christ as DuckDB writes one."""
    if source.base != "VARCHAR" or wanted.base not in ("DATE", "TIMESTAMPTZ", *MOMENTS):
        return column
    return f"CASE WHEN ends_with({column}, ' BC') THEN {era(column)} ELSE {column} END"


def era(value: str) -> str:
    """A date before Christ as DuckDB writes it; it takes Postgres's for one after, or for none."""
    return f"regexp_replace({value}, '^([0-9]+-[0-9]+-[0-9]+)(.*) BC$', '\\1 (BC)\\2')"


def _tried(column: str, source: Kind, wanted: Kind) -> str:
    if wanted.base in ("JSON", "VARCHAR") and source.nested:
        return f"CAST(to_json({column}) AS {wanted.text})"
    if wanted.base == "JSON" and source.base != "VARCHAR":
        return f"to_json({column})"
    if wanted.base == "BLOB" and source.base == "VARCHAR":
        return f"encode({column})"
    if wanted.base == "TIMESTAMP_NS":
        # TRY_CAST raises where the years do not reach.
        return f"TRY(CAST({column} AS TIMESTAMP_NS))"
    if wanted.base in MOMENTS and source.base == "VARCHAR":
        # By itself, DuckDB would leave an offset from UTC out of account.
        zoned = f"TRY_CAST(TRY_CAST({column} AS TIMESTAMPTZ) AS {wanted.text})"
        bare = f"regexp_full_match({column}, '[-0-9]*[ T]?[0-9:.]*')"
        far = f"CASE WHEN {bare} THEN TRY_CAST({column} AS {wanted.text}) END"
        return f"CASE WHEN {_far(column)} THEN {far} ELSE {zoned} END"
    if wanted.base == "TIMESTAMPTZ" and source.base == "VARCHAR":
        return f"TRY_CAST(CASE WHEN NOT {_far(column)} THEN {column} END AS TIMESTAMPTZ)"
    return f"TRY_CAST({column} AS {wanted.text})"


def _far(column: str) -> str:
    """That a text begins with a year in which DuckDB miscounts the milliseconds of an instant."""
    return f"regexp_matches({column}, '^ *(28[7-9]|29[0-9])[0-9]{{3}}-')"


def _is_safe(source: Kind, wanted: Kind) -> bool:
    """Whether every value of the one type is a value of the other."""
    if wanted.base == "VARCHAR" or source.base == '"NULL"':
        return True
    if wanted.base == "JSON":
        return source.base != "VARCHAR"
    if source.base == "BOOLEAN":
        return wanted.base in INTEGERS
    if source.base in INTEGERS and wanted.base in INTEGERS:
        return _holds(source.base, wanted.base)
    if source.base in INTEGERS and wanted.base == "DECIMAL":
        return INTEGERS[source.base] <= wanted.precision - wanted.scale
    if source.base == "DECIMAL" and wanted.base == "DECIMAL":
        whole = wanted.precision - wanted.scale >= source.precision - source.scale
        return whole and wanted.scale >= source.scale
    if source.base == "FLOAT" or source.base == "ENUM":
        return wanted.base in ("DOUBLE", "VARCHAR")
    if source.base in ("TIMESTAMP_S", "TIMESTAMP_MS"):
        return wanted.base == "TIMESTAMP"
    return wanted.base == "BLOB" and source.base == "VARCHAR"


_WIDTHS = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64, "HUGEINT": 128}


def _holds(source: str, wanted: str) -> bool:
    bits = _WIDTHS[source.removeprefix("U")]
    room = _WIDTHS[wanted.removeprefix("U")]
    if source[0] == wanted[0] or (source[0] != "U" and wanted[0] != "U"):
        return room >= bits
    return source[0] == "U" and room > bits


def _kept(column: str, value: str, source: Kind, wanted: Kind) -> str:
    """A condition that the value is still what it was; empty where having one says it all."""
    if source.base == "VARCHAR":
        return _kept_of_text(column, value, wanted)
    if wanted.base == "FLOAT" and source.base == "DOUBLE":
        return f"(isinf({value}) = isinf({column}))"
    if wanted.base in FLOATS and source.base == "DECIMAL":
        return ""  # floats are approximate, and whoever declares one knows
    if source.base == "TIMESTAMPTZ" and wanted.base in MOMENTS:
        return ""
    moments = source.base in MOMENTS and wanted.base in (*MOMENTS, "DATE")
    numbers = source.exact or source.base in FLOATS
    if moments or (numbers and (wanted.exact or wanted.base in (*FLOATS, "BOOLEAN"))):
        return f"TRY_CAST({value} AS {source.text}) = {column}"
    return ""


def _kept_of_text(column: str, value: str, wanted: Kind) -> str:
    if wanted.exact:
        fraction = f"rtrim(regexp_extract({column}, '\\.([0-9_]*)', 1), '0_')"
        power = f"(NOT regexp_matches({column}, '[eE]') OR {value} = TRY_CAST({column} AS DOUBLE))"
        return f"length({fraction}) <= {wanted.scale} AND {power}"
    if wanted.base == "DATE":
        # A date may lie beyond all timestamps, and is then told by its form.
        same = f"TRY_CAST({value} AS TIMESTAMP) = TRY_CAST({column} AS TIMESTAMP)"
        form = f"regexp_full_match({column}, '[0-9]+-[0-9]+-[0-9]+( \\(BC\\))?')"
        return f"coalesce({same}, {form})"
    if wanted.base in MOMENTS:
        digits = {"TIMESTAMP_S": 0, "TIMESTAMP_MS": 3, "TIMESTAMP_NS": 9}.get(wanted.base, 6)
        whole = f"NOT regexp_matches({column}, '\\.[0-9]{{{digits}}}[0-9]*[1-9]')"
        if wanted.base != "TIMESTAMP_NS":
            return whole
        return f"{whole} AND NOT regexp_matches({column}, ':[0-9.]+ ?([zZ]|[+-][0-9:]+)$')"
    if wanted.base in ("TIMESTAMPTZ", "TIME", "TIMETZ"):
        return f"NOT regexp_matches({column}, '\\.[0-9]{{6}}[0-9]*[1-9]')"
    return ""
