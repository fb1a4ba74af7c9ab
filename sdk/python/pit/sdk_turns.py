"""Requests that come all at once: so many are sent, the rest wait in the order in which they came.

Pit lets a task have so many connections and no more, and one thread may start hundreds of others.
There are two queues, so that a secret or a line of the log does not wait for large transfers.
"""

from __future__ import annotations

import os
from _thread import allocate_lock
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

QUICK, LONG = 8, 24
"""Requests at once: those that take no time, and those for which Pit talks to other systems."""


class Turns:
    """A context manager that at most so many threads are in at once.

    Nothing is locked while it is decided whose turn it is, for a signal's handler may ask Pit for
    something in the middle of that: `deque` does one thing at a time by itself. Whoever makes a
    place free looks for who waits; whoever waits has joined the queue before he looks for a place.
    """

    def __init__(self, most: int) -> None:
        self._free: deque[None] = deque([None] * most)
        self._waiting: deque[Any] = deque()

    def __enter__(self) -> None:
        turn = allocate_lock()
        turn.acquire()
        self._waiting.append(turn)
        try:
            self._admit()
            turn.acquire()
        except BaseException:  # a signal's handler has raised: give the place in the queue back
            try:
                self._waiting.remove(turn)
            except ValueError:  # its turn has come meanwhile
                self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self._free.append(None)
        self._admit()

    def _admit(self) -> None:
        """Let as many in as there are places for."""
        while self._waiting:
            try:
                place = self._free.pop()
            except IndexError:
                return
            try:
                turn = self._waiting.popleft()
            except IndexError:
                self._free.append(place)
            else:
                turn.release()


def _begin() -> None:
    """No thread but the one that calls this is in or waits; so it is after a fork, too."""
    global quick, long
    quick, long = Turns(QUICK), Turns(LONG)


quick = long = Turns(0)
_begin()
os.register_at_fork(after_in_child=_begin)
