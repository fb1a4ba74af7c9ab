"""Locks between processes: flock on a file, the only word on whether a run is alive.

The kernel drops a flock when the last process that shares the open file is gone, whatever killed
it, so a lock that is held means that its holder lives. The lock belongs to the open file and not
to the process: the guardian, forked with it, goes on holding it. Tasks never inherit it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from pit.fs.files import failure, make_folder

_BUSY = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})
_TRIES = 4
_BETWEEN_TRIES = 0.002
_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.2
_LONGEST_NAME = 200


def _flock(descriptor: int, operation: int) -> bool:
    return _is_given(lambda: fcntl.flock(descriptor, operation))


def _is_given(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise
    return True


def is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is the one that stands at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _in_the_way(path: Path) -> str:
    """What to do about a file that stands where a folder of the path should be; empty if none."""
    for folder in path.parents:
        if os.path.lexists(folder):
            return "" if folder.is_dir() else f"{folder} must be a folder: move it out of the way"
    return ""


class Lock:
    """A lock on one path; the file is made (0600) when it is missing, and stays.

    Errors other than "somebody has it" are raised as SetupError or DiskFull.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def __repr__(self) -> str:
        return f"Lock({str(self.path)!r}, {'held' if self.held else 'free'})"

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self, shared: bool = False, blocking: bool = False) -> bool:
        """Takes the lock, exclusively or shared; False if another has it and `blocking` is off."""
        if self.held:
            raise RuntimeError(f"{self.path} is locked already by this very object")
        try:
            return self._acquire(shared, blocking)
        except OSError as error:
            raise failure(error, f"cannot lock {self.path}", _in_the_way(self.path)) from error

    def _acquire(self, shared: bool, blocking: bool) -> bool:
        operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        while True:
            descriptor = self._open()
            try:
                if not self._take(descriptor, operation, blocking):
                    return False
                # Between opening and locking, the file may have been removed or replaced:
                # a lock on a file that nobody else will open protects nothing.
                if is_at(descriptor, self.path):
                    self._descriptor, descriptor = descriptor, -1
                    return True
            finally:
                if descriptor >= 0:
                    os.close(descriptor)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            descriptor = os.open(self.path, flags, 0o600)
        except FileNotFoundError:
            make_folder(self.path.parent)
            descriptor = os.open(self.path, flags, 0o600)
        if os.fstat(descriptor).st_mode & 0o077 and os.fstat(descriptor).st_uid == os.geteuid():
            os.fchmod(descriptor, 0o600)
        return descriptor

    def _take(self, descriptor: int, operation: int, blocking: bool) -> bool:
        if blocking:
            return self._ask(descriptor, operation)
        # `held` asks by taking a shared lock for a moment; that moment must not count as a holder.
        for attempt in range(_TRIES):
            if self._ask(descriptor, operation | fcntl.LOCK_NB):
                return True
            if attempt < _TRIES - 1:
                time.sleep(_BETWEEN_TRIES)
        return False

    def _ask(self, descriptor: int, operation: int) -> bool:
        """Ask the kernel for the lock; False if somebody has it."""
        return _flock(descriptor, operation)

    def wait(self, cancelled: Callable[[], bool], shared: bool = False) -> bool:
        """Waits until the lock is ours (True) or `cancelled()` says to stop waiting (False)."""
        pause = _FIRST_PAUSE
        while not self.acquire(shared):
            if cancelled():
                return False
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        return True

    def sign(self, who: str) -> None:
        """Writes into the file who has the lock, for those who wait; it may be missing."""
        with suppress(OSError):
            os.ftruncate(self.fileno(), 0)
            os.pwrite(self.fileno(), who.encode(errors="replace"), 0)

    def fileno(self) -> int:
        """The open file that holds the lock; whoever inherits it holds the lock too."""
        if self._descriptor is None:
            raise RuntimeError(f"{self.path} is not locked by this object")
        return self._descriptor

    def release(self) -> None:
        """Lets go; the lock stays held while another process has inherited the open file.

        Closing instead of LOCK_UN, which would take the lock from the guardian as well.
        """
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def __enter__(self) -> Lock:
        self.acquire(blocking=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class _Range(Lock):
    """A lock on one byte of a file that others share; like flock, it belongs to the open file."""

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(path)
        digest = hashlib.sha256(name.encode("utf-8", "replace")).digest()
        self._at = int.from_bytes(digest[:8], "big") >> 1

    def _ask(self, descriptor: int, operation: int) -> bool:
        kind = fcntl.F_WRLCK if operation & fcntl.LOCK_EX else fcntl.F_RDLCK
        command = fcntl.F_OFD_SETLK if operation & fcntl.LOCK_NB else fcntl.F_OFD_SETLKW
        # struct flock: type, whence, start, length, pid
        asked = struct.pack("hhqqi0q", kind, os.SEEK_SET, self._at, 1, 0)
        return _is_given(lambda: fcntl.fcntl(descriptor, command, asked))


def lock_for(folder: Path, name: str) -> Lock:
    """A lock on what a name stands for, of which there may be any number.

    Where the system can lock parts of a file (Linux), all of a folder share one file, and no lock
    makes or removes any: ext4 is slow to make files where others have just been removed. Elsewhere
    each has a file of its own, which stays.
    """
    if hasattr(fcntl, "F_OFD_SETLK"):
        return _Range(_shared_file(folder), name)
    return Lock(folder / f"{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:24]}.lock")


@lru_cache(maxsize=8)
def _shared_file(folder: Path) -> Path:
    return folder / "names.lock"


def signature(path: Path) -> str:
    """Who says in the lock's file to have it; empty if nobody does."""
    try:
        with path.open() as file:
            return file.read(_LONGEST_NAME).strip()
    except (OSError, UnicodeDecodeError):
        return ""


def share(path: Path) -> int | None:
    """The open file of a path, locked with others who share it, also on a read-only disk.

    None if the file is missing, or somebody holds it alone. Whoever closes it lets go.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    if _flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB) and is_at(descriptor, path):
        return descriptor
    os.close(descriptor)
    return None


def held(path: Path) -> bool:
    """Whether somebody holds this lock exclusively, without creating or waiting for anything.

    Asks with a shared lock, so that two who ask at once do not take each other for the holder.
    A file that is missing or may not be read is held by nobody we know.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return not _flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)
