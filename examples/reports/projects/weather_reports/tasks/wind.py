"""Draws the wind of a month: a rose of where it came from, and how it blew day by day.

By hand, after month.py:  PIT_MATRIX_AIRPORT=EWR PIT_MATRIX_MONTH=2013-02 uv run tasks/wind.py
"""

from math import cos, radians, sin
from statistics import fmean

from weather_reports.card import BOTTOM, LEFT, PALE, RIGHT, RULE, TOP, Card, Scale, minus
from weather_reports.readings import Reading, this_month

POINTS = (
    *("N", "NNE", "NE", "ENE", "E", "ESE", "SE", "SSE"),
    *("S", "SSW", "SW", "WSW", "W", "WNW", "NW", "NNW"),
)
CLASSES = [
    (12, "#bfe3dd"),
    (25, "#6fc0b8"),
    (38, "#2f8f94"),
    (float("inf"), "#17526b"),
]  # km/h, colour
GUST = "#e0784f"
X, Y, RADIUS = 128, 166, 80


def sector(reading: Reading) -> int:
    """The number of the point of the compass from which it blows."""
    return round((reading.wind_from or 0) / 22.5) % 16


def place(angle: float, radius: float) -> str:
    """A place around the middle of the rose, north being up."""
    return f"{X + radius * sin(radians(angle)):.1f} {Y - radius * cos(radians(angle)):.1f}"


def petal(angle: float, inner: float, outer: float, colour: str) -> str:
    """A piece of one sector, from one radius to another."""
    left, right = angle - 9.5, angle + 9.5
    arcs = f"A{outer:.1f} {outer:.1f} 0 0 1 {place(right, outer)}L{place(right, inner)}"
    back = f"A{inner:.1f} {inner:.1f} 0 0 0 {place(left, inner)}Z"
    return f'<path d="M{place(left, inner)}L{place(left, outer)}{arcs}{back}" fill="{colour}"/>'


month = this_month()
blowing = [reading for reading in month.readings if reading.wind and reading.wind_from is not None]
calm = sum(1 for reading in month.readings if reading.wind == 0)
counts = [[0] * len(CLASSES) for _ in POINTS]
for reading in blowing:
    kind = next(i for i, (limit, _) in enumerate(CLASSES) if reading.wind < limit)
    counts[sector(reading)][kind] += 1
most = max(map(sum, counts))

card = Card(month, "wind")
for share in (0.5, 1):
    card.parts.append(
        f'<circle cx="{X}" cy="{Y}" r="{RADIUS * share:.4g}" fill="none" stroke="{RULE}"/>'
    )
for name, dx, dy in (("N", 0, -RADIUS - 6), ("E", RADIUS + 9, 4), ("S", 0, RADIUS + 14)):
    card.text(X + dx, Y + dy, name, "pale middle")
card.text(X - RADIUS - 9, Y + 4, "W", "pale middle")
for number, kinds in enumerate(counts):
    inner = 0.0
    for count, (_, colour) in zip(kinds, CLASSES, strict=True):
        outer = inner + RADIUS * count / most
        if count:
            card.parts.append(petal(22.5 * number, inner, outer, colour))
        inner = outer

mean = month.daily(lambda reading: reading.wind, fmean)
gusts = month.daily(lambda reading: reading.gust, max)
last = month.days[-1]
left = LEFT + 218
across = Scale(0.5, last + 0.5, left, RIGHT)
up = Scale(0, 112, BOTTOM - 4, TOP)
for value in up.steps(25):
    card.line(left, up(value), RIGHT, up(value), RULE)
    card.text(left - 8, up(value) + 4, minus(value, 0), "pale end")
card.text(left - 8, TOP - 12, "km/h", "pale end")
card.text(RIGHT, TOP - 12, "each day: mean wind and strongest gust", "pale end")
width = 0.62 * (across(2) - across(1))
for day, value in mean.items():
    colour = next(colour for limit, colour in CLASSES if value < limit)
    card.bar(across(day) - width / 2, up(value), width, up(0) - up(value), colour)
for day, value in gusts.items():
    card.dot(across(day), up(value), GUST, 2.2)
for day in (1, *range(5, last, 5)):
    card.text(across(day), BOTTOM + 14, str(day), "pale middle")
card.line(left, up(0), RIGHT, up(0), PALE)

strongest = max(gusts, key=gusts.__getitem__)
prevailing = POINTS[max(range(16), key=lambda number: sum(counts[number]))]
card.figures(
    (f"{month.mean(lambda reading: reading.wind):.0f} km/h", "mean"),
    (f"{gusts[strongest]:.0f} km/h", f"top gust, on day {strongest}"),
    (prevailing, "where it came from most"),
    (f"{100 * calm / len(month.readings):.0f} %", "of the hours calm"),
)
card.save()
