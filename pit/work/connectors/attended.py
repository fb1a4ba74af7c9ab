"""Blocking work that ends when its call ends, or when its time is up.

A library that looks a host up, or waits for a connection, cannot be told to stop. So it works in a
thread of its own, which is left to itself where it does not come back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeVar

from pit.errors import ConnectorFailed
from pit.work.socket.call import Call

T = TypeVar("T")

_GRACE = 1.0
"""Seconds that stopped work has to come back before it is left to itself."""


class _Job(Generic[T]):
    """What a thread does, and what came of it; `drop` gets a result that nobody waits for."""

    def __init__(self, work: Callable[[], T], drop: Callable[[T], object]) -> None:
        self._work, self._drop = work, drop
        self._lock = threading.Lock()
        self._left = False
        self.done = threading.Event()
        self.woken = threading.Event()
        self.result: list[T] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            result = self._work()
        except BaseException as error:  # handed to the thread that waits, which raises it
            self.error = error
        else:
            with self._lock:
                if self._left:
                    self._drop(result)
                else:
                    self.result.append(result)
        self.done.set()
        self.woken.set()

    def leave(self) -> None:
        with self._lock:
            self._left = True
            for result in self.result:
                self._drop(result)


def attended(
    call: Call,
    work: Callable[[], T],
    *,
    stop: Callable[[], object],
    drop: Callable[[T], object],
    until: float,
    doing: str,
) -> T:
    """What `work()` returns or raises; ConnectorFailed when the call or the time is over first.

    `until` is a time of the monotonic clock. `stop()` must make the work return soon, from another
    thread; what it may still have returned is given to `drop`. `doing` begins the error's sentence.
    """
    job = _Job(work, drop)
    over = threading.Event()

    def end() -> None:
        over.set()
        job.woken.set()

    with call.ending(end):
        threading.Thread(target=job.run, name="pit-connector", daemon=True).start()
        job.woken.wait(max(0.0, until - monotonic()))
    if not job.done.is_set():
        stop()
        job.done.wait(_GRACE)
        job.leave()
        reason = "the attempt is over" if over.is_set() else "it took longer than max_time allows"
        raise ConnectorFailed(f"{doing}: {reason}", retryable=not over.is_set())
    if job.error is not None:
        raise job.error
    return job.result[0]
