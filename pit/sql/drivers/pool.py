"""Connections that wait for their next script: kept for a while, handed out one script at a time.

The driver resets a connection before it gives it back, so that nothing of a script, not even a
temporary table or a lock, lives on in here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

_KEPT = 8
"""How many idle connections to one database are kept."""
_IDLE = 30.0
"""Seconds after which an idle connection is closed: a server has better uses for it."""

C = TypeVar("C")


class Pool(Generic[C]):
    """Idle connections by database."""

    def __init__(self, close: Callable[[C], None], idle: float = _IDLE) -> None:
        self._close, self._idle = close, idle
        self._lock = threading.Lock()
        self._waiting: dict[str, list[tuple[float, C]]] = {}

    def take(self, key: str) -> C | None:
        """The connection that was used last, if there is one."""
        with self._lock:
            waiting = self._waiting.get(key)
            return waiting.pop()[1] if waiting else None

    def give(self, key: str, connection: C) -> None:
        """Keep a connection for a later script, or close it when there are enough."""
        with self._lock:
            waiting = self._waiting.setdefault(key, [])
            full = len(waiting) >= _KEPT
            if not full:
                waiting.append((time.monotonic(), connection))
        if full:
            self._close(connection)
            return
        timer = threading.Timer(self._idle, self._sweep)
        timer.daemon = True
        timer.start()

    def _sweep(self) -> None:
        limit = time.monotonic() - self._idle
        old: list[C] = []
        with self._lock:
            for waiting in self._waiting.values():
                old += [connection for since, connection in waiting if since <= limit]
                waiting[:] = [one for one in waiting if one[0] > limit]
        for connection in old:
            self._close(connection)
