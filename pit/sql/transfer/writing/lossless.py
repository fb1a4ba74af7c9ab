"""Whether a value survives its way into a column's type: conditions in DuckDB's SQL.

A cast rounds, cuts off and shifts without a word. `lost` is true of a value that would not be the
same afterwards; a column whose values do not fit its declared type may have a wider one instead.
"""

from __future__ import annotations

from pit.sql.transfer.types import INTEGERS, MOMENTS, Kind, kind

_TEXTS = ("VARCHAR", "BLOB")
_FINE = {"TIMESTAMP_NS": 9, "TIMESTAMP_MS": 3, "TIMESTAMP_S": 0}
_WIDER = {"DATE": "TIMESTAMP", "FLOAT": "DOUBLE"}


def cast(value: str, read: str, wanted: Kind) -> str:
    """A value, read as one DuckDB type, in the type that is wanted; NULL where that fails."""
    if wanted.text == read:
        return value
    if wanted.base == "BLOB":
        return f"from_base64({value})"
    if wanted.base == "TIMESTAMP_NS":
        return f"TRY(CAST({value} AS TIMESTAMP_NS))"
    return f"TRY_CAST({value} AS {wanted.text})"


def lost(value: str, read: str, wanted: Kind, floats: bool) -> str:
    """That a value does not survive `cast`; empty where every value does.

    `floats` says that some of the column's values are floating-point numbers.
    """
    if wanted.text == read or wanted.base in _TEXTS:
        return ""
    result = cast(value, read, wanted)
    more = _altered(value, result, read, wanted, floats)
    bad = f"{result} IS NULL OR {more}" if more else f"{result} IS NULL"
    return f"({value} IS NOT NULL AND ({bad}))"


def _altered(value: str, result: str, read: str, wanted: Kind, floats: bool) -> str:
    """That the cast has made another value of it; empty where it cannot."""
    base = wanted.base
    if base == "FLOAT" and floats:
        return f"CAST({result} AS DOUBLE) <> TRY_CAST({value} AS DOUBLE)"
    if read != "VARCHAR":
        return ""
    match base:
        case "DOUBLE":
            # Whole numbers of more than 53 bits are rounded.
            whole = f"TRY_CAST(TRY_CAST({value} AS DOUBLE) AS HUGEINT)"
            return (
                f"(regexp_full_match({value}, '-?[0-9]+') "
                f"AND {whole} IS DISTINCT FROM TRY_CAST({value} AS HUGEINT))"
            )
        case "DATE":
            return f"TRY_CAST({value} AS TIMESTAMP) <> CAST({result} AS TIMESTAMP)"
        case "TIME" | "TIMETZ" | "TIMESTAMPTZ" | "INTERVAL":
            return _finer(value, 6)
        case _ if base in MOMENTS:
            return _finer(value, _FINE.get(base, 6))
        case _ if base == "DECIMAL" or base in INTEGERS:
            return _rounded(value, result, wanted.scale, floats)
    return ""


def _finer(value: str, digits: int) -> str:
    """A second with more digits behind the point than the type has room for."""
    return f"regexp_matches({value}, '\\.[0-9]{{{digits}}}[0-9]*[1-9]')"


def _rounded(value: str, result: str, scale: int, floats: bool) -> str:
    """A number that became another one; a float is the decimal that is nearest to it."""
    if floats:
        # By way of text: DuckDB's cast of a decimal to a float may miss the nearest one.
        again = f"CAST(CAST({result} AS VARCHAR) AS DOUBLE)"
        return f"{again} <> TRY_CAST({value} AS DOUBLE)"
    digits = f"length(rtrim(split_part({value}, '.', 2), '0'))"
    return f"({digits} > {scale} OR regexp_matches({value}, '[eE]'))"


def wider(wanted: Kind, numbers: bool) -> Kind | None:
    """A type that takes what does not fit; `numbers` says that all values are ints and floats."""
    if wanted.base == "DECIMAL" and numbers:
        return kind("DOUBLE")
    return kind(_WIDER[wanted.base]) if wanted.base in _WIDER else None
