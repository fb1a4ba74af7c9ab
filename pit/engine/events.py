"""The seam between a run and whoever listens: sinks, the history they keep, and the clock."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from pit.model import Event, RunEnded, TaskEnded

_LOOK_UP = 0.5
"""Seconds after which a signal that another thread has taken is heeded."""


class Sink(Protocol):
    """A listener: the store, a view of the terminal, a log. Called from the main thread alone."""

    def emit(self, event: Event) -> None:
        """Take notice of one event; order is that of the calls."""


class Durable(Sink, Protocol):
    """The sink that remembers."""

    def barrier(self) -> None:
        """Return when everything emitted before would survive a power loss."""


class Clock:
    """Real time. Tests put a clock in its place whose `wait` moves the time instead of sleeping."""

    def now(self) -> float:
        """Unix seconds; may jump."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that only go forward; for durations and deadlines."""
        return time.monotonic()

    def wait(self, mailbox: SimpleQueue[Any], seconds: float | None) -> Any:
        """The next message of `mailbox`, or None after `seconds`.

        A signal to the process may be taken by any of its threads, and wakes that thread alone;
        the handler waits for the main thread, which therefore looks up by itself now and then.
        """
        until = math.inf if seconds is None else time.monotonic() + seconds
        while True:
            left = max(0.0, until - time.monotonic())
            try:
                return mailbox.get(timeout=min(left, _LOOK_UP))
            except Empty:
                if left <= _LOOK_UP:
                    return None


class Telling:
    """One event to every sink; the durable one first, so that nobody hears what is not kept.

    `hide` gives an event without the secrets that the run has handed out.
    """

    def __init__(
        self,
        durable: Durable,
        others: Sequence[Sink] = (),
        hide: Callable[[Event], Event] = lambda event: event,
    ) -> None:
        self._durable = durable
        self._others = tuple(others)
        self._hide = hide
        self.ended: set[str] = set()
        """The tasks whose final state has been told."""

    def emit(self, event: Event) -> None:
        """Pass an event on."""
        if isinstance(event, TaskEnded):
            self.ended.add(event.task)
        event = self._hide(event)
        self._durable.emit(event)
        if isinstance(event, RunEnded):
            # Kept before it is told: where it cannot be kept, the run ends in another way.
            self._durable.barrier()
        for sink in self._others:
            sink.emit(event)

    def barrier(self) -> None:
        """Wait until all events so far are durable."""
        self._durable.barrier()
