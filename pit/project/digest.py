"""What files hold, in short: BLAKE3 digests, reused as long as nothing can have changed.

A digest is reused while device, inode, size, and modification and change time in nanoseconds
stand; the change time moves even when a program sets the other one back. It is not kept if the
file was so young when it was read that an edit right afterwards could bear the same times: file
systems stamp with the tick of a clock, the coarser ones with whole seconds. Files are read, never
mapped into memory, because one that is truncated meanwhile would kill the reader.

Limits, which every tool that trusts times shares: a program that keeps a file mapped for writing
may change it for some seconds without moving its times, and the clients of network file systems
may show times that are some seconds old.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pit.fs.stat import SECOND, YOUNG, Signature, young_for
from pit.model import FileMark

if TYPE_CHECKING:
    from pit.state.cache.digests import Seen

_PIECE = 1 << 20
_LARGE_PIECE = 8 << 20
_LARGE = 64 << 20
"""From this size on, several threads digest one file."""

_READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_ROUNDS = 3
"""How often a file that changes while it is read is read again."""

_WORTH_WAITING = 16 << 20
"""From this size on, waiting until a file is not young costs less than reading it again."""
_SETTLING = 32 << 20
"""How many bytes of young files `settle` reads at most."""

_GONE = (FileNotFoundError, NotADirectoryError)
_IS_FILE = stat.S_ISREG


def digest_file(path: str | Path) -> FileMark:
    """The mark of one file's content now.

    OSError, with the path, if there is no such file (always FileNotFoundError), if it is no
    regular file, or if it cannot be read.
    """
    mark, _ = _read(os.fspath(path))
    return mark


def digest_bytes(data: bytes) -> str:
    """The digest that a file of this content has."""
    from blake3 import blake3

    return blake3(data).hexdigest()


class Digests:
    """Digests by absolute path, as known from the last time and as found now.

    Threads may share it. Give files that live for one run an instance of their own: `changes`
    tells of every file that was asked for.
    """

    def __init__(self, known: Mapping[str, Seen] | None = None) -> None:
        self._known: dict[str, Seen] = dict(known or {})
        self._changes: dict[str, Seen | None] = {}
        self._young: dict[str, int] = {}

    def of(self, path: str, info: os.stat_result | None = None) -> FileMark:
        """The mark of a file, links followed; `info` is its stat, if just taken.

        Raises as `digest_file` does.
        """
        known = self._known.get(path)
        if known is not None:
            if info is None:
                info = self._look(path)
            if known[:5] == (
                info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns,
            ):  # fmt: skip
                return FileMark(digest=known[5], size=known[2])
        return self._read(path)

    def recall(self, path: str, looked: Signature) -> FileMark | None:
        """The mark of a file that looked so, if it did when it was last read."""
        known = self._known.get(path)
        if known is not None and known[:5] == looked:
            return FileMark(digest=known[5], size=known[2])
        return None

    def learn(self, path: str, looked: Signature, digest: str) -> None:
        """Remember what was read from a copy of a file that looked so when it was copied."""
        self._known[path] = self._changes[path] = (*looked, digest)

    def changes(self) -> dict[str, Seen | None]:
        """What to keep for the next time since this was last asked; None for a file that is gone.

        Files that were too young to rely on are not in it: they are read again next time.
        """
        changes, self._changes = self._changes, {}
        return dict(changes)  # who reads on meanwhile may still hold the other one

    def settle(self) -> None:
        """Reads small files again that were too young to rely on, so that the next time need not.

        For the end of a run, when most of what it made has come of age.
        """
        young, self._young = self._young, {}
        left = _SETTLING
        for path, size in young.items():
            left -= size
            if left < 0:
                return
            with suppress(OSError):
                self.of(path)

    def _look(self, path: str) -> os.stat_result:
        try:
            return os.stat(path)
        except _GONE as error:
            self._drop(path)
            raise _vanished(path) from error

    def _read(self, path: str) -> FileMark:
        try:
            mark, seen = _read(path)
        except FileNotFoundError:
            self._drop(path)
            raise
        if seen is not None:
            self._known[path] = self._changes[path] = seen
            self._young.pop(path, None)
        else:
            self._drop(path)
            self._young[path] = mark.size
        return mark

    def _drop(self, path: str) -> None:
        if self._known.pop(path, None) is not None:
            self._changes[path] = None


# ---------------------------------------------------------------- reading one file


def _read(path: str) -> tuple[FileMark, Seen | None]:
    """A file's mark, and how the file was if a later look can rely on that."""
    try:
        descriptor = os.open(path, _READING)
    except _GONE as error:
        raise _vanished(path) from error
    try:
        return _read_open(descriptor, path)
    except OSError as error:
        if error.filename is None:  # reading an open file tells no path
            error.filename = path
        raise
    finally:
        os.close(descriptor)


def _read_open(descriptor: int, path: str) -> tuple[FileMark, Seen | None]:
    for _ in range(_ROUNDS):
        before = _regular(descriptor, path)
        settled = _settled(before)
        os.lseek(descriptor, 0, os.SEEK_SET)
        digest, size = _digest(descriptor, before.st_size)
        seen = _seen(before, digest)
        if seen == _seen(os.fstat(descriptor), digest):
            return FileMark(digest=digest, size=size), seen if settled else None
    return FileMark(digest=digest, size=size), None


def _seen(info: os.stat_result, digest: str) -> Seen:
    times = info.st_mtime_ns, info.st_ctime_ns
    return (info.st_dev, info.st_ino, info.st_size, *times, digest)


def _regular(descriptor: int, path: str) -> os.stat_result:
    info = os.fstat(descriptor)
    if stat.S_ISDIR(info.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not _IS_FILE(info.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)
    return info


def _vanished(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def _settled(info: os.stat_result) -> bool:
    """Whether any change from now on will move the file's times; waits for it if worth it."""
    wait = young_for(info.st_ctime_ns, time.time_ns())
    if 0 < wait <= YOUNG and info.st_size >= _WORTH_WAITING:
        time.sleep(wait / SECOND)
        wait = young_for(info.st_ctime_ns, time.time_ns())
    return wait <= 0


def _digest(descriptor: int, size: int) -> tuple[str, int]:
    """The digest of an open file from where it stands, and how many bytes there were."""
    from blake3 import blake3

    large = size > _LARGE
    hasher = blake3(max_threads=blake3.AUTO if large else 1)
    length = 0
    if size < _PIECE:
        while data := os.read(descriptor, size + 1):
            hasher.update(data)
            length += len(data)
    else:
        buffer = bytearray(_LARGE_PIECE if large else _PIECE)
        view = memoryview(buffer)
        while count := os.readv(descriptor, [buffer]):
            hasher.update(view[:count])
            length += count
    return hasher.hexdigest(), length
