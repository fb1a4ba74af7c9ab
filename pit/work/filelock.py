"""Who may open a DuckDB file, among the runs of a workspace: one run at a time, in order.

DuckDB lets one process write a file and tells all others that it cannot lock it. So a run takes a
lock of Pit's own for as long as any of its tasks works on the file; the kernel frees it when the
run dies. A second lock is that of whoever is next: while it is taken, the run that has the file
lets no further task of its own in, so that a busy run cannot keep another one out for ever.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

from pit.errors import SetupError
from pit.state.locks import Lock, held
from pit.work.turns import Pause

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25
_LONGEST_NAME = 200

Log = Callable[[str], None]


class _Held:
    """A lock that this run has, or goes without, and how many of its tasks work under it."""

    def __init__(self, lock: Lock | None, users: int = 0) -> None:
        self.lock, self.users = lock, users


class FileLocks:
    """The locks of one run, below a folder that the workspace's runs share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._held: dict[tuple[str, bool], _Held] = {}

    def enter(self, path: str, who: str, pause: Pause, log: Log, reading: bool = False) -> bool:
        """Take the lock for a file, or share it with this run's other tasks.

        False when `pause` gave the waiting up. `who` is what others are told meanwhile; `log` is
        told once for whom this one waits. Those who are only `reading` let each other in. Where no
        lock can be made, as in a workspace that is read-only, DuckDB's own has to do.
        """
        try:
            return self._enter(path, who, pause, log, reading)
        except SetupError:
            with self._lock:
                self._held.setdefault((path, reading), _Held(None)).users += 1
            return True

    def _enter(self, path: str, who: str, pause: Pause, log: Log, reading: bool) -> bool:
        if self._join(path, who, reading):
            return True
        log(f"waiting for {path}: in use by {self._holder(path)}")
        following = Lock(self._place(path, ".next"))
        seconds = _FIRST_PAUSE
        try:
            while pause(seconds):
                if not following.held:
                    following.acquire()
                if following.held and self._join(path, who, reading, next_is_us=True):
                    return True
                seconds = min(seconds * 1.5, _LONGEST_PAUSE)
            return False
        finally:
            following.release()

    def _join(self, path: str, who: str, reading: bool, next_is_us: bool = False) -> bool:
        with self._lock:
            known = self._held.get((path, reading))
            if not next_is_us and held(self._place(path, ".next")):
                return False
            if known is not None:
                known.users += 1
                return True
            lock = Lock(self._place(path, ".lock"))
            if not lock.acquire(shared=reading):
                return False
            _sign(lock, who)
            self._held[path, reading] = _Held(lock, users=1)
            return True

    def leave(self, path: str, reading: bool = False) -> None:
        """One task is done with the file."""
        with self._lock:
            known = self._held[path, reading]
            known.users -= 1
            if not known.users:
                del self._held[path, reading]
                if known.lock is not None:
                    known.lock.release()

    def _place(self, path: str, suffix: str) -> Path:
        name = hashlib.sha256(os.fsencode(path)).hexdigest()[:24]
        return self._folder / f"{name}{suffix}"

    def _holder(self, path: str) -> str:
        try:
            with self._place(path, ".lock").open() as file:
                return file.read(_LONGEST_NAME).strip() or "another run"
        except (OSError, UnicodeDecodeError):
            return "another run"


def _sign(lock: Lock, who: str) -> None:
    """Write into the lock's file who has it, for those who wait; it may be missing."""
    try:
        os.ftruncate(lock.fileno(), 0)
        os.pwrite(lock.fileno(), who.encode(errors="replace"), 0)
    except OSError:
        return
