"""The clock of a run."""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue
from typing import Any

_LONGEST = 86400.0
"""Seconds; who waits for longer looks up once a day."""


class Clock:
    """Real time. Tests put a clock in its place whose `wait` moves the time instead of sleeping."""

    def now(self) -> float:
        """Unix seconds; may jump."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that only go forward; for durations and deadlines."""
        return time.monotonic()

    def wait(self, mailbox: SimpleQueue[Any], seconds: float | None) -> Any:
        """The next message of `mailbox`, or None after `seconds`."""
        try:
            return mailbox.get(timeout=None if seconds is None else min(seconds, _LONGEST))
        except Empty:
            return None
