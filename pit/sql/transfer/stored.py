"""What a column becomes in a file: most as they are, some as text, what has no form is refused."""

from __future__ import annotations

from collections.abc import Sequence

from pit.sql import dialect, table
from pit.sql.transfer.files import refused
from pit.sql.transfer.types import Kind

FORMS = {".parquet": "parquet", ".csv": "csv", ".jsonl": "json", ".ndjson": "json"}
_OPTIONS = {"parquet": "FORMAT parquet", "csv": "FORMAT csv, HEADER", "json": "FORMAT json"}
_AS_TEXT = ("TIMETZ", "BIT", "BIGNUM", '"NULL"')
_quote, _text = dialect.DUCKDB.quote, dialect.DUCKDB.literal


def form_of(path: str) -> str:
    """parquet, csv or json, by a file's suffix; raises SqlFailure for any other."""
    for suffix, form in FORMS.items():
        if path.endswith(suffix):
            return form
    raise refused(f"{path} must end in {', '.join(FORMS)}")


def copied(
    columns: Sequence[tuple[str, str, Kind]], source: str, path: str, form: str, option: str = ""
) -> str:
    """The COPY that writes a relation: `columns` are names, values and types.

    Raises SqlFailure for names and types that the form cannot have.
    """
    _check_names([name for name, _, _ in columns])
    parts = [
        f"{stored(name, value, kind, form)} AS {_quote(name)}" for name, value, kind in columns
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


def stored(name: str, value: str, kind: Kind, form: str) -> str:
    """A value in the type that a file has for it."""
    shown = table.visible(name)
    if kind.base in ("HUGEINT", "UHUGEINT") and form == "parquet":
        # DuckDB would write a float.
        fits = f"TRY_CAST({value} AS DECIMAL(38,0))"
        reason = f'column "{shown}": a number has more than 38 digits'
        return _unless(f"{value} IS NULL OR {fits} IS NOT NULL", fits, reason)
    if kind.base == "INTERVAL" and form == "parquet":
        reason = f'column "{shown}": Parquet stores intervals in whole milliseconds only'
        return _unless(f"{value} IS NULL OR microsecond({value}) % 1000 = 0", value, reason)
    if kind.base in _AS_TEXT:
        return f"CAST({value} AS VARCHAR)"
    if kind.base == "UNION" or (kind.nested and form == "csv"):
        return f"CAST(to_json({value}) AS VARCHAR)"
    if kind.base == "BLOB" and form != "parquet":
        raise refused(
            f'column "{shown}" is binary, which {form.upper()} cannot hold; '
            "encode it in the query, or save Parquet"
        )
    if kind.base in ("FLOAT", "DOUBLE") and form == "json":
        reason = f'column "{shown}": JSON has neither NaN nor infinity'
        return _unless(f"{value} IS NULL OR isfinite({value})", value, reason)
    return value


def _unless(good: str, value: str, reason: str) -> str:
    return f"CASE WHEN {good} THEN {value} ELSE error({_text(reason)}) END"
