"""Times as people read them: the clock's, and how far they are from now. All are Unix seconds."""

from __future__ import annotations

import time


def moment(at: float) -> str:
    """A time in the machine's time zone: `2026-11-24 06:00:12`."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def ago(at: float, now: float) -> str:
    """How long ago a time was, in one unit: `5m ago`."""
    return "just now" if now - at < 1 else f"{_rough(now - at)} ago"


def until(at: float, now: float) -> str:
    """How far ahead a time is, in one unit: `in 3h`."""
    return "now" if at - now < 1 else f"in {_rough(at - now)}"


def _rough(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{int(seconds)}s"
