"""The five tables as they should be: columns with their types, keys, and where keys point."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

TIME_OF_DAY = pl.Int16  # as the source has it: 517 is 5:17


@dataclass(frozen=True)
class Table:
    """One table; `references` maps a column to the (table, column) whose values it must have."""

    name: str
    columns: dict[str, type[pl.DataType]]
    key: tuple[str, ...]
    least_rows: int
    references: dict[str, tuple[str, str]]


TABLES = {
    table.name: table
    for table in (
        Table(
            "airlines",
            columns={"carrier": pl.String, "name": pl.String},
            key=("carrier",),
            least_rows=10,
            references={},
        ),
        Table(
            "airports",
            columns={
                "faa": pl.String,
                "name": pl.String,
                "lat": pl.Float64,
                "lon": pl.Float64,
                "alt": pl.Int32,
                "tz": pl.Int8,
                "dst": pl.String,
                "tzone": pl.String,
            },
            key=("faa",),
            least_rows=1_000,
            references={},
        ),
        Table(
            "planes",
            columns={
                "tailnum": pl.String,
                "year": pl.Int16,
                "type": pl.String,
                "manufacturer": pl.String,
                "model": pl.String,
                "engines": pl.Int8,
                "seats": pl.Int16,
                "speed": pl.Int16,
                "engine": pl.String,
            },
            key=("tailnum",),
            least_rows=3_000,
            references={},
        ),
        Table(
            "weather",
            columns={
                "origin": pl.String,
                "year": pl.Int16,
                "month": pl.Int8,
                "day": pl.Int8,
                "hour": pl.Int8,
                "temp": pl.Float64,
                "dewp": pl.Float64,
                "humid": pl.Float64,
                "wind_dir": pl.Int16,
                "wind_speed": pl.Float64,
                "wind_gust": pl.Float64,
                "precip": pl.Float64,
                "pressure": pl.Float64,
                "visib": pl.Float64,
                "time_hour": pl.Datetime,
            },
            # Not (origin, year, month, day, hour): the hour that clocks repeat in autumn would be
            # there twice.
            key=("origin", "time_hour"),
            least_rows=26_000,
            references={"origin": ("airports", "faa")},
        ),
        Table(
            "flights",
            columns={
                "year": pl.Int16,
                "month": pl.Int8,
                "day": pl.Int8,
                "dep_time": TIME_OF_DAY,
                "sched_dep_time": TIME_OF_DAY,
                "dep_delay": pl.Int16,
                "arr_time": TIME_OF_DAY,
                "sched_arr_time": TIME_OF_DAY,
                "arr_delay": pl.Int16,
                "carrier": pl.String,
                "flight": pl.Int32,
                "tailnum": pl.String,
                "origin": pl.String,
                "dest": pl.String,
                "air_time": pl.Int16,
                "distance": pl.Int32,
                "hour": pl.Int8,
                "minute": pl.Int8,
                "time_hour": pl.Datetime,
            },
            key=("year", "month", "day", "carrier", "flight", "origin", "sched_dep_time"),
            least_rows=336_776,
            # `dest` and `tailnum` are no references: four airports (Puerto Rico, the Virgin
            # Islands) and many planes are missing from the source's own tables.
            references={"carrier": ("airlines", "carrier"), "origin": ("airports", "faa")},
        ),
    )
}
