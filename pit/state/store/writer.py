"""The writer of a store: events wait in a queue and are committed in groups.

Whoever needs durability now (`flush`) commits the queue in its own thread, without handing it to
another one. A background thread commits what nobody asked for, at most 50 ms after it was emitted.
"""

from __future__ import annotations

import threading
from collections import deque

from pit.errors import DiskFull, PitError, on_error
from pit.events import Event
from pit.state.store.database import Database, Write
from pit.state.store.recording import record
from pit.state.store.reserve import Reserve

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
        self._alarm: PitError | None = None  # what keeps the queue from being committed
        self._spent: DiskFull | None = None  # why the reserve was needed

    def add(self, event: Event) -> None:
        """Queues an event; raises, once, what keeps those before it from becoming durable.

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
            self._database.require_place()

    def flush(self, then: Write | None = None) -> None:
        """Returns when all that was added before is durable, and in the same commit what `then`
        writes, which is not tried again.

        Raises DiskFull or StoreUnavailable if it is not: the events stay queued and the next
        flush tries again. What went wrong in the background and has passed is nobody's concern.
        Raises DiskFull once, too, when it is durable only thanks to the reserve, because then the
        run had better end; and StoreUnavailable whenever the database is not in its place any
        more, because then nobody will ever read it.
        """
        with self._flushing:
            self._commit_queue(then)
            self._database.require_place()
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
        alarm = self._alarm or self._spent
        self._alarm = self._spent = None
        if alarm is not None:
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
            pause = _GROUPING if self._commit_in_background() else _AFTER_FAILURE

    def _commit_in_background(self) -> bool:
        with self._flushing:
            try:
                self._commit_queue()
            except PitError as error:
                self._alarm = error  # while nobody else can commit, and find that it has passed
                self._waiting.set()
                return False
        return True

    def _commit_queue(self, then: Write | None = None) -> None:
        events = [self._queue.popleft() for _ in range(len(self._queue))]
        if not events and then is None:
            return
        with on_error(lambda: self._queue.extendleft(reversed(events))):
            self._commit(events, then)
        self._alarm = None

    def _commit(self, events: list[Event], then: Write | None = None) -> None:
        try:
            self._write(events, then)
        except DiskFull as error:
            if not self._reserve.release():
                raise
            self._write(events, then)
            self._spent = error

    def _write(self, events: list[Event], then: Write | None) -> None:
        with self._database.transaction() as connection:
            record(connection, events)
            if then is not None:
                then(connection)
