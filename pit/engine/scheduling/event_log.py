"""Where the events of a run go: facts into the store, and then all of them to who listens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from pit.errors import on_error
from pit.events import AttemptStarted, Event, Fact, RunEnded, TaskEnded

if TYPE_CHECKING:
    from pit.state.store.store import Store


Hear = Callable[[Event], None]
"""Somebody who listens; called by the main thread alone."""


class EventLog:
    """What a run has told so far; a fact goes to the store first, so that nobody hears what is not
    kept. Used by the main thread alone.

    `hide` gives an event without the secrets that the run has handed out.
    """

    def __init__(self, store: Store, hear: Sequence[Hear], hide: Callable[[Event], Event]) -> None:
        self._store, self._hear, self._hide = store, list(hear), hide
        self.started = False
        """Whether the run is known: only then can it have an end."""
        self.begun: set[str] = set()
        """The tasks that have had an attempt."""
        self.ended: set[str] = set()
        """The tasks whose final state has been told."""

    def emit(self, event: Event) -> None:
        """Tell an event, without secrets."""
        if isinstance(event, TaskEnded):
            self.ended.add(event.task)
        event = self._hide(event)
        if isinstance(event, Fact):
            self._store.emit(event)
            self.started = True
        if isinstance(event, AttemptStarted):
            self.begun.add(event.task)
        if isinstance(event, RunEnded):
            # Kept before it is told: where it cannot be kept, the run ends in another way.
            self._store.barrier()
        self._tell(event)

    def _tell(self, event: Event) -> None:
        """One who hears with a defect hears no more, so that the others hear how the run ends."""
        for hear in tuple(self._hear):
            with on_error(partial(self._hear.remove, hear)):
                hear(event)

    def barrier(self) -> None:
        """Wait until all facts so far are durable."""
        self._store.barrier()
