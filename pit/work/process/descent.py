"""Whose descendant a process is, told by a limit that it has inherited and has no use for.

A process can give up its session, its parents, its environment and its open files, and a
daemon does. Its resource limits it keeps, through every fork and exec, and nobody sets one
that limits nothing. Linux has two of those, 64 bits wide: RLIMIT_LOCKS, without effect since
version 2.4, and RLIMIT_RTTIME, which concerns real-time programs alone, and none at the
size meant here. So Pit starts each child with a number of its own for a soft limit, the
child's *mark*: its upper part, the *family*, is that of this Pit, the lower that of the child.

A Pit that is itself a task of another uses the limit that the other one has left, so that
what it starts is known to both. Further down the innermost two are known.

Where limits cannot be set (macOS, some sandboxes, hard limits that are too low) there are no
marks, and who calls must do without them: a mark is 0 then, and a family too.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

from pit.work.process import procfs

_LIMITS = {10: b"Max file locks", 15: b"Max realtime timeout"}
"""RLIMIT_LOCKS and RLIMIT_RTTIME, with their names in /proc."""

_SIGNATURE = 0x50 << 56
_FAMILY_BITS, _MEMBER_BITS = 34, 22
_LAST = (1 << _MEMBER_BITS) - 1

T = TypeVar("T")


def family(pid: int, start: int, boot: str) -> int:
    """What the marks have in common that the Pit of this id, start time and boot gives out."""
    import hashlib

    who = hashlib.blake2b(f"{boot} {pid} {start}".encode(), digest_size=8).digest()
    return _SIGNATURE >> _MEMBER_BITS | int.from_bytes(who, "big") >> 64 - _FAMILY_BITS


def marks(pid: int) -> list[int]:
    """The marks that a process carries, none if it is gone."""
    return [limit for limit in _soft_limits(pid) if _is_mark(limit)]


def belongs(pid: int, family: int) -> bool:
    """Whether a process descends from a child of the Pit of this family."""
    return any(limit >> _MEMBER_BITS == family for limit in _soft_limits(pid))


def _is_mark(limit: int) -> bool:
    return limit >> _FAMILY_BITS + _MEMBER_BITS == _SIGNATURE >> _FAMILY_BITS + _MEMBER_BITS


if sys.platform == "linux":

    def _soft_limits(pid: int) -> list[int]:
        try:
            return [resource.prlimit(pid, limit)[0] for limit in _LIMITS]
        except PermissionError:  # another user's, such as one that root's task has changed to
            return _limits_in_proc(pid)
        except OSError:
            return []
else:

    def _soft_limits(pid: int) -> list[int]:
        return []


def _limits_in_proc(pid: int) -> list[int]:
    """`_soft_limits` by /proc, where anybody may read them, in 20 times the time."""
    try:
        with open(f"/proc/{pid}/limits", "rb") as lines:
            told = [line for line in lines if line.startswith(tuple(_LIMITS.values()))]
    except OSError:
        return []
    soft = [line[26:].split(maxsplit=1)[0] for line in told]
    return [int(word) for word in soft if word.isdigit()]


class Descent:
    """The marks that this process gives out; one per process, because limits are.

    While a child is started its mark is this process's own limit, so that not even a child's
    child, born in its first microsecond, is without; then the limit is again what it was.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0
        self._limit = 0
        self._before = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        self._family = 0
        self._last = 0

    @property
    def family(self) -> int:
        """What all marks of this process have in common; 0 where it cannot give out any."""
        with self._lock:
            self._settle()
            return self._family

    def start(self, start: Callable[[], T]) -> tuple[T, int]:
        """What `start` returns, which starts one child in this thread, and the child's mark."""
        with self._lock:
            self._settle()
            if not self._family:
                return start(), 0
            self._last = self._last % _LAST + 1
            mark = self._family << _MEMBER_BITS | self._last
            resource.setrlimit(self._limit, (mark, self._before[1]))
            try:
                return start(), mark
            finally:
                resource.setrlimit(self._limit, self._before)

    def _settle(self) -> None:
        """Choose the limit and the family; anew after a fork, for then this is another process."""
        if self._pid == os.getpid():
            return
        self._pid, self._family = os.getpid(), 0
        this = procfs.stat(self._pid)
        if sys.platform != "linux" or this is None:
            return
        own = family(self._pid, this.start, procfs.boot_id())
        for limit in _LIMITS:
            before = resource.getrlimit(limit)
            if (limit == max(_LIMITS) or not _is_mark(before[0])) and _can_be(limit, own, before):
                self._limit, self._before, self._family = limit, before, own
                return


def _can_be(limit: int, family: int, before: tuple[int, int]) -> bool:
    """Whether a mark of this family can be set; what was there `before` is there again."""
    try:
        resource.setrlimit(limit, (family << _MEMBER_BITS, before[1]))
        resource.setrlimit(limit, before)
    except (OSError, ValueError):
        return False
    return True


descent = Descent()
