"""Tables as Parquet files, by whichever library the task's environment has."""

from __future__ import annotations

from pit.sdk import LibraryMissing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any, Mapping, Sequence


def write(data: Any, path: Path) -> None:
    """Write data as Parquet with the library that it comes from."""
    kinds = {kind.__module__.partition(".")[0] for kind in type(data).__mro__}
    if "pandas" in kinds:
        # An index without a name, such as a filter leaves, is no column of anybody's.
        data.to_parquet(path, index=any(level is not None for level in data.index.names))
    elif "polars" in kinds:
        (data.collect() if hasattr(data, "collect") else data).write_parquet(path)
    elif kinds & {"duckdb", "_duckdb"}:
        data.write_parquet(str(path))
    elif isinstance(data, (list, tuple)):
        _write_rows(data, path)
    elif hasattr(data, "__arrow_c_stream__") or hasattr(data, "to_batches"):
        _write_arrow(data, path)
    else:
        raise TypeError(
            "write_output takes Arrow, pandas, polars, DuckDB or a list of dicts, "
            f"not {type(data).__name__}"
        )


def _write_arrow(data: Any, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if isinstance(data, pa.RecordBatch):
        data = pa.Table.from_batches([data])
    if isinstance(data, pa.Table):
        pq.write_table(data, path)
        return
    reader = data if hasattr(data, "schema") else pa.RecordBatchReader.from_stream(data)
    with pq.ParquetWriter(path, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)


def _write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        raise ValueError("rows without a column make no table")
    columns = {name: [row.get(name) for row in rows] for name in names}
    library = _library("write rows", ("pyarrow", "polars", "duckdb"))
    if library == "pyarrow":
        import pyarrow

        _write_arrow(pyarrow.table(columns), path)
    elif library == "polars":
        import polars

        polars.DataFrame(columns).write_parquet(path)
    else:
        import duckdb

        quoted = (name.replace('"', '""') for name in names)
        query = "SELECT " + ", ".join(f'unnest(?) AS "{name}"' for name in quoted)
        with duckdb.connect() as database:
            database.sql(query, params=list(columns.values())).write_parquet(str(path))


_LIBRARIES = {"arrow": "pyarrow", "polars": "polars", "pandas": "pandas", "duckdb": "duckdb"}


def check(return_type: str | None) -> None:
    """ValueError for a return_type that is none."""
    if return_type not in (None, "rows", *_LIBRARIES):
        types = ", ".join((*_LIBRARIES, "rows"))
        raise ValueError(f'return_type "{return_type}" is not one of {types}')


def read(path: Path, return_type: str | None) -> Any:
    """Read Parquet as the caller wants it."""
    check(return_type)
    if return_type in (None, "rows"):
        wanted = _library("read a table", tuple(_LIBRARIES.values()))
    else:
        wanted = _library("return " + return_type, (_LIBRARIES[return_type],))
    frame = _READERS[wanted](str(path))
    return _ROWS[wanted](frame) if return_type == "rows" else frame


def _read_arrow(path: str) -> Any:
    import pyarrow.parquet as pq

    return pq.read_table(path, partitioning=None)


def _read_polars(path: str) -> Any:
    import polars

    return polars.read_parquet(path, glob=False)


def _read_pandas(path: str) -> Any:
    import pandas

    return pandas.read_parquet(path)


def _read_duckdb(path: str) -> Any:
    import duckdb

    return duckdb.read_parquet(path)


def _rows_of_relation(relation: Any) -> list[dict[str, Any]]:
    return [dict(zip(relation.columns, row)) for row in relation.fetchall()]


_READERS = {
    "pyarrow": _read_arrow,
    "polars": _read_polars,
    "pandas": _read_pandas,
    "duckdb": _read_duckdb,
}
_ROWS: dict[str, Any] = {
    "pyarrow": lambda table: table.to_pylist(),
    "polars": lambda frame: frame.to_dicts(),
    "pandas": lambda frame: frame.to_dict("records"),
    "duckdb": _rows_of_relation,
}


def _library(purpose: str, names: Sequence[str]) -> str:
    """The first of these libraries that is installed."""
    from importlib.util import find_spec

    for name in names:
        if find_spec(name) is not None:
            return name
    raise LibraryMissing(
        f"to {purpose}, the task's environment needs {' or '.join(names)}; "
        f"add it with: uv add {names[0]}"
    )
