"""The writer of a store: facts wait in a queue and are committed in groups.

Whoever needs durability now (`flush`) commits the queue in its own thread, without handing it to
another one; those who come meanwhile share the next commit. A background thread commits what nobody
asked for, at most 50 ms after it was emitted. Progress, which tasks tell ten times a second, goes
with the next commit, or has one every second.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from pit.errors import DiskFull, PitError, on_error
from pit.events import Fact, Progressed
from pit.state.store.database import Database, Write
from pit.state.store.recording import record
from pit.state.store.reserve import Reserve

_GROUPING = 0.04
_PROGRESS = 1.0
_AFTER_FAILURE = 1.0


class _Flush:
    """Somebody who waits for a commit; `error` is why there was none."""

    __slots__ = ("error", "is_done", "then")

    def __init__(self, then: Write | None) -> None:
        self.then, self.is_done = then, False
        self.error: PitError | None = None


class Writer:
    """A queue of facts before one database; `add` and `flush` may be called by any thread."""

    def __init__(self, database: Database, reserve: Reserve) -> None:
        self._database = database
        self._reserve = reserve
        self._queue: deque[Fact] = deque()
        self._flushing = threading.Lock()
        self._asked: deque[_Flush] = deque()
        self._waiting = threading.Event()  # there is something in the queue
        self._soon = threading.Event()  # and it is not progress alone
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._alarm: PitError | None = None  # what keeps the queue from being committed
        self._spent: DiskFull | None = None  # why the reserve was needed

    def add(self, fact: Fact) -> None:
        """Queues a fact; raises, once, what keeps those before it from becoming durable.

        The fact is queued even then.
        """
        self._queue.append(fact)
        if self._thread is None:
            self._start()
        if not (self._soon.is_set() or isinstance(fact, Progressed)):
            self._soon.set()
        if not self._waiting.is_set():
            self._waiting.set()
        self._sound()

    def add_now(self, fact: Fact) -> None:
        """Makes a fact durable, and all that was added before; if it cannot be, raises and
        keeps nothing of it. Starts no thread.
        """
        with self._flushing:
            self._commit_queue()
            self._commit([fact])
            self._database.require_place()

    def flush(self, then: Write | None = None) -> None:
        """Returns when all that was added before is durable, and in the same commit what `then`
        writes, which is not tried again.

        Raises DiskFull or StoreUnavailable if it is not: the facts stay queued and the next
        flush tries again. What went wrong in the background and has passed is nobody's concern.
        Raises DiskFull once, too, when it is durable only thanks to the reserve, because then the
        run had better end; and StoreUnavailable whenever the database is not in its place any
        more, because then nobody will ever read it.
        """
        asked = _Flush(then)
        self._asked.append(asked)
        with self._flushing:
            if not asked.is_done:  # whoever had the lock before has committed it with his own
                self._commit_all(asked)
            if asked.error is not None:
                raise asked.error
            self._database.require_place()
        self._sound()

    def close(self) -> None:
        """Flushes and stops the background thread."""
        self._stopping.set()
        self._soon.set()
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
            self._soon.wait(_PROGRESS)
            self._stopping.wait(pause)
            # Cleared before the queue is taken: what is added from here on wakes us again.
            self._waiting.clear()
            self._soon.clear()
            pause = _GROUPING if self._commit_in_background() else _AFTER_FAILURE

    def _commit_in_background(self) -> bool:
        with self._flushing:
            try:
                self._commit_queue()
            except PitError as error:
                self._alarm = error  # while nobody else can commit, and find that it has passed
                self._soon.set()
                self._waiting.set()
                return False
        return True

    def _commit_all(self, leader: _Flush) -> None:
        """One commit for all who wait for one; each is told if there was none."""
        asked = [self._asked.popleft() for _ in range(len(self._asked))]
        others = [each for each in asked if each is not leader]
        with on_error(lambda: self._asked.extend(others)):
            try:
                self._commit_queue([each.then for each in asked if each.then is not None])
            except PitError as error:
                for each in asked:
                    each.error = error
        for each in asked:
            each.is_done = True

    def _commit_queue(self, thens: Sequence[Write] = ()) -> None:
        facts = [self._queue.popleft() for _ in range(len(self._queue))]
        if not facts and not thens:
            return
        with on_error(lambda: self._queue.extendleft(reversed(facts))):
            self._commit(facts, thens)
        self._alarm = None

    def _commit(self, facts: list[Fact], thens: Sequence[Write] = ()) -> None:
        try:
            self._write(facts, thens)
        except DiskFull as error:
            if not self._reserve.release():
                raise
            self._write(facts, thens)
            self._spent = error

    def _write(self, facts: list[Fact], thens: Sequence[Write]) -> None:
        with self._database.transaction() as connection:
            record(connection, facts)
            for then in thens:
                then(connection)
