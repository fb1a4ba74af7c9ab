"""Takes one month of one airport out of build/weather.csv, in metric units.

By hand:  PIT_MATRIX_AIRPORT=EWR PIT_MATRIX_MONTH=2013-02 uv run tasks/month.py
"""

import csv
import os
from collections.abc import Callable
from pathlib import Path

from weather_reports.readings import COLUMNS

FASTEST = 200  # km/h; the source has 1,687 for Newark on 12 February, which nobody noticed there
GREATEST_JUMP = 10  # degrees from one hour to the next and back again, as at Kennedy on 8 May

airport, month = os.environ["PIT_MATRIX_AIRPORT"], os.environ["PIT_MATRIX_MONTH"]
year, number = map(int, month.split("-"))


def metric(text: str, convert: Callable[[float], float]) -> float | None:
    """A value of the source in other units; None for its NA."""
    return None if text == "NA" else convert(float(text))


def reading(row: dict[str, str]) -> dict[str, float | None]:
    """One row of the source as one reading."""
    wind, gust = (
        metric(row[name], lambda mph: mph * 1.609344) for name in ("wind_speed", "wind_gust")
    )
    return {
        "day": int(row["day"]),
        "hour": int(row["hour"]),
        "celsius": metric(row["temp"], lambda fahrenheit: (fahrenheit - 32) / 1.8),
        "wind": wind if wind is not None and wind <= FASTEST else None,
        "gust": gust if gust is not None and gust <= FASTEST else None,
        "wind_from": metric(row["wind_dir"], float),
        "rain": metric(row["precip"], lambda inches: inches * 25.4),
    }


def spikes(readings: list[dict[str, float | None]]) -> list[dict[str, float | None]]:
    """The readings whose temperature leaps away from both hours beside them, to the same side."""
    known = [found for found in readings if found["celsius"] is not None]
    found = []
    for before, here, after in zip(known, known[1:], known[2:], strict=False):
        up, down = here["celsius"] - before["celsius"], here["celsius"] - after["celsius"]
        if up * down > 0 and min(abs(up), abs(down)) > GREATEST_JUMP:
            found.append(here)
    return found


with Path("build/weather.csv").open(newline="") as file:
    readings = [
        reading(row)
        for row in csv.DictReader(file)
        if (row["origin"], int(row["year"]), int(row["month"])) == (airport, year, number)
    ]
if not readings:
    raise SystemExit(f"no readings of {airport} in {month}")
for found in spikes(readings):
    print(f"day {found['day']}, hour {found['hour']}: {found['celsius']:.1f} °C left out")
    found["celsius"] = None

path = Path(f"build/{airport}/{month}.csv")
path.parent.mkdir(parents=True, exist_ok=True)
with path.open("w", newline="") as file:
    table = csv.writer(file, lineterminator="\n")
    table.writerow(COLUMNS)
    for found in readings:
        values = (found[name] for name in COLUMNS)
        table.writerow("" if v is None else f"{v:.2f}".rstrip("0").rstrip(".") for v in values)
print(f"{path}: {len(readings)} readings")
