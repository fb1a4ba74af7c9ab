"""Room kept for the store, so that a full disk can be recorded.

Two things, because a task that fills the disk eats whatever becomes free within milliseconds:

* Blocks of the write-ahead log, allocated beyond its end when the store is opened (Linux). The log
  grows into them on a disk that is full for everybody else, checkpoints or not.
* `<database>-reserve`, one megabyte of allocated blocks, for when those are used up and for other
  systems. When SQLite finds no room, the file is removed and its blocks are at once allocated to
  the log.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path

from pit.fs import atomic

RESERVE = 1 << 20
# SQLite folds the log into the database at 1,000 pages of 4 KiB; that, and a reserve on top.
_LOG = 4 * RESERVE + RESERVE
_PLENTY = 4
_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE


def has_room(folder: Path, size: int = 1 << 16) -> bool:
    """Whether `size` bytes can be written in `folder` now, quotas included: it tries."""
    probe = folder / atomic.name()
    try:
        _allocate_file(probe, size)
    except OSError as error:
        return error.errno not in {errno.ENOSPC, errno.EDQUOT}
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
    return True


def _allocate_file(path: Path, size: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)
        else:
            os.write(descriptor, bytes(size))
    finally:
        os.close(descriptor)


def _has_plenty(folder: Path, size: int) -> bool:
    space = os.statvfs(folder)
    return space.f_bavail * space.f_frsize >= _PLENTY * size


class Reserve:
    """The reserve of one database."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(f"{database.name}-reserve")
        self._log = database.with_name(f"{database.name}-wal")

    def keep(self) -> None:
        """Sees to it that there is a reserve, where there is plenty of room.

        Never raises: a store without a reserve works as well, until the disk is full.
        """
        with contextlib.suppress(OSError):
            if _has_plenty(self.path.parent, _LOG):
                self._grow_log(0, _LOG)
            if not self.path.exists() and _has_plenty(self.path.parent, RESERVE):
                self._make_file()

    def _make_file(self) -> None:
        fresh = atomic.beside(self.path)
        try:
            _allocate_file(fresh, RESERVE)
            os.rename(fresh, self.path)
        except OSError:
            fresh.unlink(missing_ok=True)

    def release(self) -> bool:
        """Gives the file's room to the log; False if there was none to give."""
        try:
            end = self._log.stat().st_size
            self.path.unlink()
        except OSError:
            return False
        with contextlib.suppress(OSError):
            self._grow_log(end, RESERVE - (RESERVE >> 4))
        return True

    def _grow_log(self, start: int, size: int) -> None:
        """Allocates blocks to the log without changing what it contains or its size.

        Not by posix_fallocate: that changes the size, and where a file system cannot allocate it
        writes zeros instead, perhaps over what another process is writing.
        """
        if sys.platform != "linux":
            return
        import ctypes

        allocate = getattr(ctypes.CDLL(None), "fallocate", None)
        if allocate is None:
            return
        allocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)
        descriptor = os.open(self._log, os.O_WRONLY | os.O_CLOEXEC)
        try:
            allocate(descriptor, _KEEP_SIZE, start, size)
        finally:
            os.close(descriptor)
