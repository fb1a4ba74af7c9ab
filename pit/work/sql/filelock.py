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
from pit.fs.locks import Lock, held, signature
from pit.work.sql.turns import Pause

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25

Log = Callable[[str], None]


class _Held:
    """A lock that this run has, or goes without, and how many of its tasks work under it.

    `kept` are those for whom it was taken before they began; each counts as one that works.
    """

    def __init__(self, lock: Lock | None, users: int = 0) -> None:
        self.lock, self.users = lock, users
        self.kept: set[str] = set()


class FileLocks:
    """The locks of one run, below a folder that the workspace's runs share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._held: dict[tuple[str, bool], _Held] = {}
        self._next: dict[str, Lock] = {}
        self._hopes: dict[str, set[str]] = {}

    # ------------------------------------------------------------------ before a task begins

    def reserve(self, path: str, who: str, reading: bool = False) -> str:
        """Keep the lock for a task that is about to begin, or say who has it; "" once it is kept.

        Never waits. As long as it is asked again and again, this run is the next to have the file,
        unless another one is.
        """
        try:
            return self._reserve(path, who, reading)
        except SetupError:
            return ""  # where no lock can be made, the task itself goes without

    def _reserve(self, path: str, who: str, reading: bool) -> str:
        following = self._next.setdefault(path, Lock(self._place(path, ".next")))
        taken = self._join(path, who, reading)
        if not taken:
            self._hopes.setdefault(path, set()).add(who)
            if following.held or following.acquire():
                taken = self._join(path, who, reading, next_is_us=True)
        if not taken:
            return self._holder(path)
        with self._lock:
            self._held[path, reading].kept.add(who)
        following.release()  # whoever else hopes lines up anew, behind other runs
        self._hopes.get(path, set()).discard(who)
        return ""

    def dismiss(self, path: str, who: str, reading: bool = False) -> None:
        """A task for which a lock was kept has ended, or one that hoped for it hopes no more."""
        hopes = self._hopes.get(path, set())
        hopes.discard(who)
        if not hopes and path in self._next:
            self._next.pop(path).release()
        with self._lock:
            known = self._held.get((path, reading))
            kept = known is not None and who in known.kept
            if known is not None:
                known.kept.discard(who)
        if kept:
            self.leave(path, reading)

    # ------------------------------------------------------------------ while a task works

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
            if known is not None and who in known.kept:
                known.users += 1
                return True
            if not next_is_us and held(self._place(path, ".next")):
                return False
            if known is not None:
                known.users += 1
                return True
            lock = Lock(self._place(path, ".lock"))
            if not lock.acquire(shared=reading):
                return False
            lock.sign(who)
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
                    if not reading:
                        known.lock.sign("")  # who asks between two holders is told of neither
                    known.lock.release()

    def _place(self, path: str, suffix: str) -> Path:
        name = hashlib.sha256(os.fsencode(path)).hexdigest()[:24]
        return self._folder / f"{name}{suffix}"

    def _holder(self, path: str) -> str:
        return signature(self._place(path, ".lock")) or "another run"
