"""Draws the rain of a month: what fell each day, and how it added up.

By hand, after month.py:  PIT_MATRIX_AIRPORT=EWR PIT_MATRIX_MONTH=2013-02 uv run tasks/rain.py
"""

from itertools import accumulate

from weather_reports.card import BOTTOM, LEFT, PALE, RIGHT, TOP, Card, Scale
from weather_reports.readings import Reading, this_month

BAR, SUM = "#4d8fd1", "#1b3f73"


def rain(reading: Reading) -> float | None:
    """What the chart is about."""
    return reading.rain


month = this_month()
fell = month.daily(rain, sum)
total, wettest = sum(fell.values()), max(fell, key=fell.__getitem__)
hours = sum(1 for reading in month.readings if reading.rain)

card = Card(month, "rain")
most = max(20.0, 1.08 * total)
up = Scale(0, most, BOTTOM, TOP)
card.rules(up, next(step for step in (5, 10, 20, 25, 50) if most / step <= 6), "mm")
across = card.days()
sums = dict(zip(fell, accumulate(fell.values()), strict=True))
points = [(across(0.5), BOTTOM), *((across(day + 0.5), up(value)) for day, value in sums.items())]
area = " ".join(f"{x:.4g},{y:.4g}" for x, y in [*points, (RIGHT, BOTTOM)])
card.parts.append(f'<polygon points="{area}" fill="{SUM}" fill-opacity="0.07"/>')
width = 0.62 * (across(2) - across(1))
for day, value in fell.items():
    card.bar(across(day) - width / 2, up(value), width, up(0) - up(value), BAR)
card.path(points, SUM, 1.6)
card.line(LEFT, BOTTOM, RIGHT, BOTTOM, PALE)
card.figures(
    (f"{total:.0f} mm", "with snow as water"),
    (f"{fell[wettest]:.0f} mm", f"the most, on day {wettest}"),
    (str(sum(1 for value in fell.values() if value >= 1)), "days with 1 mm or more"),
    (str(hours), "hours with rain"),
)
card.save()
