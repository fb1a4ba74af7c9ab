"""The seam between a run and whoever listens: sinks, the history they keep, and the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from pit.events import AttemptStarted, Event, RunEnded, TaskEnded

if TYPE_CHECKING:
    from pit.state.store.store import Store

_LONGEST = 86400.0
"""Seconds; who waits for longer looks up once a day."""


class Sink(Protocol):
    """A listener: the store, a view of the terminal, a log. Called from the main thread alone."""

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


class Telling:
    """One event to every sink; the durable one first, so that nobody hears what is not kept.

    `hide` gives an event without the secrets that the run has handed out.
    """

    def __init__(
        self,
        durable: Store,
        others: Sequence[Sink] = (),
        hide: Callable[[Event], Event] = lambda event: event,
    ) -> None:
        self._durable = durable
        self._others = list(others)
        self._hide = hide
        self.started = False
        """Whether the run is known: only then can it have an end."""
        self.begun: set[str] = set()
        """The tasks that have had an attempt."""
        self.ended: set[str] = set()
        """The tasks whose final state has been told."""

    def emit(self, event: Event) -> None:
        """Pass an event on."""
        if isinstance(event, TaskEnded):
            self.ended.add(event.task)
        event = self._hide(event)
        self._durable.emit(event)
        self.started = True
        if isinstance(event, AttemptStarted):
            self.begun.add(event.task)
        if isinstance(event, RunEnded):
            # Kept before it is told: where it cannot be kept, the run ends in another way.
            self._durable.barrier()
        for sink in tuple(self._others):
            self._tell(sink, event)

    def _tell(self, sink: Sink, event: Event) -> None:
        heard = False
        try:
            sink.emit(event)
            heard = True
        finally:
            if not heard:  # a defect: the end of the run can still be told to everybody else
                self._others.remove(sink)

    def barrier(self) -> None:
        """Wait until all events so far are durable."""
        self._durable.barrier()
