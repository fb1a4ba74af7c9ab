"""The writer of a store: events wait in a queue and are committed in groups.

Whoever needs durability now (`flush`) commits the queue in its own thread, without handing it to
another one. A background thread commits what nobody asked for, at most 50 ms after it was emitted.
"""

from __future__ import annotations

import threading
from collections import deque

from pit.errors import DiskFull, PitError
from pit.events import Event
from pit.state.database import Database
from pit.state.recording import record
from pit.state.reserve import Reserve

_GROUPING = 0.04
_AFTER_FAILURE = 1.0


class Writer:
    """A queue of events before one database; `add` and `flush` may be called by any thread."""

    def __init__(self, database: Database, reserve: Reserve) -> None:
        self._database = database
        self._reserve = reserve
        self._queue: deque[Event] = deque()
        self._flushing = threading.Lock()
        self._waiting = threading.Event()
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._alarm: PitError | None = None

    def add(self, event: Event) -> None:
        """Queues an event; raises, once, what went wrong in the background since the last call.

        The event is queued even then.
        """
        self._queue.append(event)
        if self._thread is None:
            self._start()
        if not self._waiting.is_set():
            self._waiting.set()
        self._sound()

    def add_now(self, event: Event) -> None:
        """Makes an event durable, and all that was added before; if it cannot be, raises and
        keeps nothing of it. Starts no thread.
        """
        with self._flushing:
            self._commit_queue()
            self._commit([event])

    def flush(self) -> None:
        """Returns when all that was added before is durable.

        Raises DiskFull or StoreUnavailable if it is not: the events stay queued and the next
        flush tries again. Raises DiskFull once, too, when it is durable only thanks to the
        reserve, because then the run had better end.
        """
        with self._flushing:
            self._commit_queue()
        self._sound()

    def close(self) -> None:
        """Flushes and stops the background thread."""
        self._stopping.set()
        self._waiting.set()
        if self._thread is not None:
            self._thread.join()
        with self._flushing:
            self._commit_queue()

    def _sound(self) -> None:
        if self._alarm is not None:
            alarm, self._alarm = self._alarm, None
            raise alarm

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="store", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        pause = _GROUPING
        while not self._stopping.is_set():
            self._waiting.wait()
            self._stopping.wait(pause)
            # Cleared before the queue is taken: what is added from here on wakes us again.
            self._waiting.clear()
            try:
                with self._flushing:
                    self._commit_queue()
                pause = _GROUPING
            except PitError as error:
                self._alarm = error
                self._waiting.set()
                pause = _AFTER_FAILURE

    def _commit_queue(self) -> None:
        events = [self._queue.popleft() for _ in range(len(self._queue))]
        if not events:
            return
        try:
            self._commit(events)
        except BaseException:
            self._queue.extendleft(reversed(events))
            raise

    def _commit(self, events: list[Event]) -> None:
        try:
            self._write(events)
        except DiskFull as error:
            if not self._reserve.release():
                raise
            self._write(events)
            self._alarm = error

    def _write(self, events: list[Event]) -> None:
        with self._database.transaction() as connection:
            record(connection, events)
