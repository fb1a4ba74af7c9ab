"""Hourly readings of one airport in one month, as `tasks/month.py` writes them."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import fmean


@dataclass(frozen=True)
class Reading:
    """The weather in one hour; None where the station did not say."""

    day: int
    hour: int
    celsius: float | None
    wind: float | None  # km/h, sustained
    gust: float | None  # km/h
    wind_from: float | None  # degrees, 0 and 360 are north
    rain: float | None  # mm of water in the hour, snow included


COLUMNS = [field.name for field in fields(Reading)]


@dataclass(frozen=True)
class Month:
    """The readings of one airport in one month."""

    airport: str
    name: str
    year: int
    number: int
    readings: list[Reading]

    @property
    def days(self) -> range:
        """The days of the month for which there are readings."""
        return range(1, max(reading.day for reading in self.readings) + 1)

    def daily(
        self, of: Callable[[Reading], float | None], by: Callable[[Iterable[float]], float]
    ) -> dict[int, float]:
        """One figure for each day, made of the day's values; days without any are missing."""
        values: dict[int, list[float]] = {}
        for reading in self.readings:
            if (value := of(reading)) is not None:
                values.setdefault(reading.day, []).append(value)
        return {day: by(found) for day, found in values.items()}

    def mean(self, of: Callable[[Reading], float | None]) -> float:
        """The mean over the month."""
        return fmean(value for reading in self.readings if (value := of(reading)) is not None)


def this_month() -> Month:
    """The month that the matrix names, from build/<airport>/<month>.csv and airports.csv."""
    airport, month = os.environ["PIT_MATRIX_AIRPORT"], os.environ["PIT_MATRIX_MONTH"]
    year, number = map(int, month.split("-"))
    with Path(f"build/{airport}/{month}.csv").open(newline="") as file:
        readings = [_reading(row) for row in csv.DictReader(file)]
    return Month(airport, names()[airport], year, number, readings)


def names() -> dict[str, str]:
    """The names of the airports, by their codes, in the order of airports.csv."""
    with Path("airports.csv").open(newline="") as file:
        return {row["airport"]: row["name"] for row in csv.DictReader(file)}


def _reading(row: dict[str, str]) -> Reading:
    day, hour, *values = (row[name] for name in COLUMNS)
    return Reading(int(day), int(hour), *(float(value) if value else None for value in values))
