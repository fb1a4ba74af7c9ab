"""How long to wait before asking again: exponential back-off with full jitter, and Retry-After."""

from __future__ import annotations

import random
import time
from email.utils import parsedate_to_datetime


def delay(failures: int, base: float, longest: float) -> float:
    """Seconds before the next attempt, after `failures` of them (from 1).

    A random moment between now and `base` doubled with each further failure, but no more than
    `longest`: so that many clients who failed together do not come back together.
    """
    ceiling = min(longest, base * 2.0 ** min(failures - 1, 60))
    return random.uniform(0.0, ceiling)


def retry_after(header: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or as a date; None without one."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        when = parsedate_to_datetime(text)
        return max(0.0, when.timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
