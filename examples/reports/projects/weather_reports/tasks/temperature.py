"""Draws the temperatures of a month: each day from its coldest to its warmest hour, and the mean.

By hand, after month.py:
  PIT_MATRIX_AIRPORT=EWR PIT_MATRIX_MONTH=2013-02 uv run tasks/temperature.py
"""

from statistics import fmean

from weather_reports.card import BOTTOM, INK, LEFT, RIGHT, TOP, Card, Scale, minus
from weather_reports.readings import Reading, this_month

COLOURS = [
    (-12, "#405cb1"),
    (0, "#60a5da"),
    (12, "#7ec49e"),
    (22, "#f3c55e"),
    (36, "#dd543c"),
]


def celsius(reading: Reading) -> float | None:
    """What the chart is about."""
    return reading.celsius


month = this_month()
low, mean, high = (month.daily(celsius, by) for by in (min, fmean, max))
coldest, warmest = min(low, key=low.__getitem__), max(high, key=high.__getitem__)

card = Card(month, "temperature")
up = Scale(min(low.values()) - 1, max(high.values()) + 1, BOTTOM, TOP)
card.rules(up, 5, "°C")
across = card.days()
if up.low < 0 < up.high:
    card.line(LEFT, up(0), RIGHT, up(0), "#93a1b0")
width = 0.62 * (across(2) - across(1))
heat = card.gradient(up, COLOURS)
for day in low:
    x, y = across(day) - width / 2, up(high[day])
    card.bar(x, y, width, up(low[day]) - y, heat)
card.path(((across(day), up(mean[day])) for day in mean), INK)
card.figures(
    (f"{minus(month.mean(celsius))} °C", "mean"),
    (f"{minus(high[warmest])} °C", f"warmest, on day {warmest}"),
    (f"{minus(low[coldest])} °C", f"coldest, on day {coldest}"),
    (str(sum(1 for value in low.values() if value < 0)), "days with frost"),
)
card.save()
