"""Who may use a database of this run now: many SQL tasks at once, or one Python task alone."""

from __future__ import annotations

import threading
from collections.abc import Callable

Pause = Callable[[float], bool]
"""Sleeps for so many seconds; False when there is no point in waiting any longer."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25


class Turns:
    """Readers-writer locks by key; who waits to be alone goes before who comes to share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside: dict[str, int] = {}
        self._waiting: dict[str, int] = {}

    def enter(self, key: str, alone: bool, pause: Pause) -> bool:
        """Wait for a turn and take it; False if the waiting was given up."""
        if self._take(key, alone):
            return True
        self._wait_for(key, alone, 1)
        try:
            seconds = _FIRST_PAUSE
            while pause(seconds):
                if self._take(key, alone, waited=True):
                    return True
                seconds = min(seconds * 1.5, _LONGEST_PAUSE)
            return False
        finally:
            self._wait_for(key, alone, -1)

    def _take(self, key: str, alone: bool, waited: bool = False) -> bool:
        with self._lock:
            inside = self._inside.get(key, 0)
            if alone:
                free = inside == 0 and (waited or not self._waiting.get(key))
            else:
                free = inside >= 0 and not self._waiting.get(key)
            if free:
                self._inside[key] = -1 if alone else inside + 1
            return free

    def _wait_for(self, key: str, alone: bool, change: int) -> None:
        if alone:
            with self._lock:
                self._waiting[key] = self._waiting.get(key, 0) + change

    def leave(self, key: str) -> None:
        """Give a turn back."""
        with self._lock:
            inside = self._inside[key]
            self._inside[key] = 0 if inside < 0 else inside - 1
