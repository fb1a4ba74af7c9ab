"""A chart on a card: an SVG with a title, axes, marks and a row of figures, written as text."""

from __future__ import annotations

import calendar
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

from weather_reports.readings import Month

WIDTH, HEIGHT = 560, 330
LEFT, RIGHT, TOP, BOTTOM = 46, 536, 84, 246
INK, PALE, RULE = "#1d2733", "#6b7785", "#e3e8ee"

STYLE = f"""
text {{ font-family: system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: {INK} }}
.title {{ font-size: 18px; font-weight: 650 }}
.pale {{ font-size: 11px; fill: {PALE} }}
.figure {{ font-size: 17px; font-weight: 600 }}
.end {{ text-anchor: end }} .middle {{ text-anchor: middle }}
"""


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high`, laid out between two coordinates."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where a value lies."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def steps(self, step: float) -> Iterable[float]:
        """The multiples of `step` between low and high."""
        first = -(-self.low // step)
        while first * step <= self.high:
            yield first * step
            first += 1


@dataclass
class Card:
    """A card for one month; `parts` is the SVG so far."""

    month: Month
    measure: str
    parts: list[str] = field(default_factory=list)

    def days(self) -> Scale:
        """The days of the month across the chart, with their numbers below it."""
        last = self.month.days[-1]
        across = Scale(0.5, last + 0.5, LEFT, RIGHT)
        for day in (1, *range(5, last, 5), *([last] if last % 5 > 2 or last % 5 == 0 else [])):
            self.text(across(day), BOTTOM + 16, str(day), "pale middle")
        return across

    def rules(self, up: Scale, step: float, unit: str) -> None:
        """Level lines across the chart, with what they stand for at the left."""
        for value in up.steps(step):
            self.line(LEFT, up(value), RIGHT, up(value), RULE)
            self.text(LEFT - 8, up(value) + 4, f"{minus(value, 0)}", "pale end")
        self.text(LEFT - 8, TOP - 12, unit, "pale end")

    def figures(self, *figures: tuple[str, str]) -> None:
        """A row of (figure, what it is) at the foot of the card."""
        for number, (figure, label) in enumerate(figures):
            x = 24 + number * (WIDTH - 48) / len(figures)
            self.text(x, HEIGHT - 34, figure, "figure")
            self.text(x, HEIGHT - 16, label, "pale")

    def text(self, x: float, y: float, text: str, kind: str) -> None:
        """Words at a place."""
        self.parts.append(f'<text x="{x:.4g}" y="{y:.4g}" class="{kind}">{escape(text)}</text>')

    def line(self, x: float, y: float, to_x: float, to_y: float, colour: str) -> None:
        """A hair line."""
        self.parts.append(
            f'<line x1="{x:.4g}" y1="{y:.4g}" x2="{to_x:.4g}" y2="{to_y:.4g}" stroke="{colour}"/>'
        )

    def bar(
        self, x: float, y: float, width: float, height: float, fill: str, round_by: float = 2
    ) -> None:
        """A bar with its upper left corner at a place."""
        if height > 0:
            self.parts.append(
                f'<rect x="{x:.4g}" y="{y:.4g}" width="{width:.4g}" height="{height:.4g}"'
                f' rx="{min(round_by, width / 2, height / 2):.3g}" fill="{fill}"/>'
            )

    def gradient(self, up: Scale, stops: list[tuple[float, str]]) -> str:
        """A fill that changes its colour with the value that a height stands for."""
        month = self.month  # in the name, because a page may hold many cards
        name = f"{self.measure}-{month.airport}-{month.year}-{month.number}"
        low, high = stops[0][0], stops[-1][0]
        colours = "".join(
            f'<stop offset="{(value - low) / (high - low):.3g}" stop-color="{colour}"/>'
            for value, colour in stops
        )
        self.parts.append(
            f'<linearGradient id="{name}" gradientUnits="userSpaceOnUse" x1="0" x2="0"'
            f' y1="{up(low):.4g}" y2="{up(high):.4g}">{colours}</linearGradient>'
        )
        return f"url(#{name})"

    def path(self, points: Iterable[tuple[float, float]], colour: str, width: float = 1.8) -> None:
        """A line through points."""
        through = " ".join(f"{x:.4g},{y:.4g}" for x, y in points)
        self.parts.append(
            f'<polyline points="{through}" fill="none" stroke="{colour}" stroke-width="{width}"'
            ' stroke-linejoin="round" stroke-linecap="round"/>'
        )

    def dot(self, x: float, y: float, colour: str, radius: float = 2) -> None:
        """A dot."""
        self.parts.append(f'<circle cx="{x:.4g}" cy="{y:.4g}" r="{radius}" fill="{colour}"/>')

    def save(self) -> None:
        """Write the card to out/<airport>/<month>-<measure>.svg."""
        month = f"{calendar.month_name[self.month.number]} {self.month.year}"
        self.text(24, 36, self.month.name, "title")
        self.text(24, 55, f"{self.measure.capitalize()}, {month}", "pale")
        path = Path(f"out/{self.month.airport}/{os.environ['PIT_MATRIX_MONTH']}-{self.measure}.svg")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">\n'
            f"<title>{escape(f'{self.measure} at {self.month.name}, {month}')}</title>\n"
            f"<style>{STYLE}</style>\n"
            f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#fff"/>\n'
            + "\n".join(self.parts)
            + "\n</svg>\n"
        )
        print(f"{path}: {path.stat().st_size:,} bytes")


def minus(value: float, places: int = 1) -> str:
    """A number with a real minus sign."""
    text = f"{value:.{places}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")
