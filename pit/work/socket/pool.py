"""Threads for what takes time: started when needed, at most so many, gone when idle."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

_IDLE = 5.0
"""Seconds without work after which a thread ends."""


class Pool:
    """Calls work in threads; what it calls must not raise.

    The threads are daemons: one that hangs in a library never delays the end of Pit.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._open = 0
        self.threads = 0
        """How many there are now."""

    def submit(self, work: Callable[[], None]) -> None:
        """Have it called, with one more thread for it if all are busy; never blocks."""
        with self._lock:
            self._open += 1
            more = self._open > self.threads < self._most
            self.threads += more
        self._work.put(work)
        if more:
            threading.Thread(target=self._loop, name="sdk-call", daemon=True).start()

    def _loop(self) -> None:
        while True:
            try:
                work = self._work.get(timeout=_IDLE)
            except Empty:
                with self._lock:
                    if self._open >= self.threads:  # something has just come
                        continue
                    self.threads -= 1
                    return
            if work is None:
                return
            work()
            with self._lock:
                self._open -= 1

    def close(self) -> None:
        """Have the threads end when they have nothing more to do; waits for none."""
        with self._lock:
            threads, self._most = self.threads, 0
        for _ in range(threads):
            self._work.put(None)
