"""How a file looks to the system, in the five numbers by which an edit shows.

Device and inode say which file it is, size and the two times in nanoseconds whether it changed. The
change time moves even when a program sets the other one back, so it alone tells how young a file
is: a modification time in the past or in the future has been set by hand, and says nothing.
"""

from __future__ import annotations

import os
from typing import NamedTuple

SECOND = 1_000_000_000
YOUNG = 100_000_000
"""Nanoseconds in which two changes may bear the same time, generously: file systems stamp with the
tick of a clock."""
YOUNG_BY_SECONDS = 2 * SECOND
"""The same where times are whole seconds, as on older file systems."""


class Signature(NamedTuple):
    """Device, inode, size in bytes, modification and change time in nanoseconds."""

    device: int
    inode: int
    size: int
    mtime: int
    ctime: int


def signature(info: os.stat_result) -> Signature:
    """The signature in what the system tells of a file."""
    return Signature(
        info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns
    )  # fmt: skip


def look(path: str | os.PathLike[str]) -> Signature | None:
    """How the file behind a path looks, links followed; None if there is none to look at."""
    try:
        return signature(os.stat(path))
    except OSError:
        return None


def look_at_itself(path: str) -> Signature | None:
    """How whatever bears this name looks, a link as itself; None if nothing does."""
    try:
        return signature(os.lstat(path))
    except OSError:
        return None


def young_for(ctime: int, now: int) -> int:
    """Nanoseconds until another change is sure to move a file's times; negative since it is."""
    margin = YOUNG if ctime % SECOND else YOUNG_BY_SECONDS
    return ctime + margin - now
