"""Durations as people write them: "90s", "15m", "1h30m", "1.5h", the syntax of Go."""

from __future__ import annotations

import math
import re

from pit.text import regex

UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
"""Seconds by unit; micro has two letters that look alike."""

LONGEST = 292 * 365.25 * 86400.0
"""The longest duration accepted, in seconds: about 292 years, as in Go."""

PATTERN = r"\+?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+|\+?0"
"""The syntax as a regular expression, also for editors (JSON Schema)."""

_WHOLE = regex.lazy(PATTERN)
_PIECE = regex.lazy(r"([0-9.]+)(ns|us|µs|μs|ms|s|m|h)")
_NUMBER = regex.lazy(r"[0-9]+(\.[0-9]*)?|\.[0-9]+")
_CALENDAR = {"d": 24, "w": 168}
_WORDS = {"sec": "s", "second": "s", "min": "m", "minute": "m", "hr": "h", "hour": "h"}


def parse(text: str) -> float:
    """Seconds in a duration such as "1h30m"; ValueError with a sentence that quotes `text`."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(_why_not(text))
    seconds = math.fsum(float(number) * UNITS[unit] for number, unit in _PIECE.findall(text))
    if seconds > LONGEST:
        raise ValueError(f'"{text}" is longer than 292 years')
    return seconds


def format(seconds: float) -> str:
    """A duration as `parse` reads it, to the millisecond: "1h30m", "1m15.5s", "350ms", "20µs"."""
    if seconds < 0:
        return f"-{format(-seconds)}"
    if not math.isfinite(seconds):
        return "forever"
    if seconds < 0.9995:
        return _below_one_second(seconds)
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    parts = (f"{hours}h" if hours else "", f"{minutes}m" if minutes else "")
    return "".join(parts) + (f"{milliseconds / 1000:g}s" if milliseconds else "")


def _below_one_second(seconds: float) -> str:
    if seconds >= 0.001:
        return f"{round(seconds * 1000)}ms"
    microseconds = round(seconds * 1e6)
    return f"{microseconds}µs" if 0 < microseconds < 1000 else "1ms" if microseconds else "0s"


def _why_not(text: str) -> str:
    """The sentence for a text that is no duration, with what was probably meant."""
    bare = text.strip()
    if bare.startswith("-"):
        return f'"{text}" is negative; a duration is never negative'
    if _NUMBER.fullmatch(bare):
        return f'"{text}" has no unit; did you mean "{bare}s"?'
    meant = _meant(bare)
    suffix = f'; did you mean "{meant}"?' if meant else '; write it like "90s", "15m" or "1h30m"'
    return f'"{text}" is not a duration{suffix}'


def _meant(bare: str) -> str | None:
    squeezed = re.sub(r"[\s,]+", "", bare.lower())
    if _WHOLE.fullmatch(squeezed):
        return squeezed
    pieces = re.fullmatch(r"([0-9]+)([a-z]+?)s?", squeezed)
    if not pieces:
        return None
    number, unit = pieces.groups()
    if unit[0] in _CALENDAR and unit in ("d", "day", "w", "week"):
        return f"{int(number) * _CALENDAR[unit[0]]}h"
    return f"{number}{_WORDS[unit]}" if unit in _WORDS else None
