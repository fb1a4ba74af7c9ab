"""A private file replaced whole: whoever reads it sees the old content or the new, never a piece.

The new content is written beside the file, synced and renamed over it, so that neither kill -9 nor
a full disk costs what was there. What a killed writer left is removed by the next one, which is
sound because all writers of a file hold its lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pit.errors import DiskFull, SecretsNotWritten, SetupError
from pit.fs.files import FULL
from pit.fs.locks import Lock

_OURS, _TEMPORARY = ".pit-", ".new"


@contextmanager
def alone(path: Path) -> Iterator[Path]:
    """The file that `path` leads to, for one writer at a time; others wait for their turn.

    The lock is a file beside it, gone when nobody writes.
    """
    real = Path(os.path.realpath(path))
    if not real.parent.is_dir():
        raise SecretsNotWritten(f"{path} cannot be written: the folder {real.parent} is not there")
    lock = Lock(real.with_name(f"{_OURS}{real.name}.lock"))
    try:
        lock.acquire(blocking=True)
    except DiskFull:
        raise
    except SetupError as error:
        raise SecretsNotWritten(
            f"{path} was not changed: {error}", "Check the permissions of its folder"
        ) from error
    try:
        _sweep(real)
        yield real
    finally:
        # Who waits for this very file finds out that it is gone, and makes a new one.
        with suppress(OSError):
            os.unlink(lock.path)
        lock.release()


def _sweep(path: Path) -> None:
    for left in path.parent.glob(f"{_OURS}{_escaped(path.name)}.*{_TEMPORARY}"):
        with suppress(OSError):
            left.unlink()


def _escaped(name: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


def replace(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Puts `content` in the place of a file, or makes it; its owner stays.

    DiskFull or SecretsNotWritten says why it could not be; the file is then as it was.
    """
    trouble: OSError | None = None
    try:
        _replace(path, content, mode)
    except OSError as error:
        trouble = error
    if trouble is not None:
        raise not_written(path, trouble)


def create(path: Path, content: bytes) -> None:
    """Makes a file, whole and for its owner alone; FileExistsError if something is there."""
    trouble: OSError | None = None
    try:
        _replace(path, content, 0o600, new=True)
    except FileExistsError:
        raise
    except OSError as error:
        trouble = error
    if trouble is not None:
        raise not_written(path, trouble)


def _replace(path: Path, content: bytes, mode: int, new: bool = False) -> None:
    temporary = path.with_name(f"{_OURS}{path.name}.{os.urandom(6).hex()}{_TEMPORARY}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, 0o600)
    try:
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                _keep_owner(descriptor, path)
                os.fchmod(descriptor, mode)
                os.fsync(descriptor)
            if new:
                os.link(temporary, path, follow_symlinks=False)
            else:
                os.rename(temporary, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
    finally:
        sync_folder(path.parent)


def _keep_owner(descriptor: int, path: Path) -> None:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return
    mine = os.fstat(descriptor)
    if there.st_gid != mine.st_gid:
        with suppress(PermissionError):
            os.fchown(descriptor, -1, there.st_gid)
    if there.st_uid != mine.st_uid:
        # Ours, and for us alone, it would be lost to whoever it belongs to.
        try:
            os.fchown(descriptor, there.st_uid, -1)
        except PermissionError:
            raise SecretsNotWritten(
                f"{path} was not changed: it belongs to another user",
                "Run this as that user, or as root",
            ) from None


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder survive a power cut, where the file system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def not_written(path: Path, error: OSError) -> DiskFull | SecretsNotWritten:
    """What a user is told when a private file could not be written."""
    if error.errno in FULL:
        return DiskFull(
            f"{path} was not changed: the disk is full", "Make room (pit prune helps) and try again"
        )
    reason = (error.strerror or type(error).__name__).lower()
    return SecretsNotWritten(
        f"{path} was not changed: {reason}", "Check the permissions of the file and its folder"
    )
