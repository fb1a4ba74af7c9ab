"""Whoever listens to a run, and its clock."""

from __future__ import annotations

import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from pit.events import Event

_LONGEST = 86400.0
"""Seconds; who waits for longer looks up once a day."""


class Sink(Protocol):
    """A listener: a view of the terminal, a summary, a log. Called from the main thread alone."""

    def emit(self, event: Event) -> None:
        """Take notice of one event; order is that of the calls."""


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


class Listeners:
    """All who listen to a run; one that fails is told no more."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = list(sinks)

    def tell(self, event: Event) -> None:
        """Tell everybody, in order."""
        for sink in tuple(self._sinks):
            self._tell(sink, event)

    def _tell(self, sink: Sink, event: Event) -> None:
        heard = False
        try:
            sink.emit(event)
            heard = True
        finally:
            if not heard:  # a defect: the end of the run can still be told to everybody else
                self._sinks.remove(sink)
