"""Where sockets stand: a folder of the run's own that nobody else may enter.

    <base>/pit-<uid>/<random>/<random>        0700 from pit-<uid> on

The path of a Unix socket is limited to about a hundred bytes, so it is short and does not lie in
the run's folder. The folder is locked (flock) while its run lives: what a run that was killed has
left is swept away by the next one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, suppress

LONGEST_PATH = 100
"""Bytes; Linux takes 107, macOS 103."""

_RANDOM = 5
_FIRST_USER = 1000
_SWEPT = 50
_DEEPER = 2 * (2 * _RANDOM + 1)


class SocketDir:
    """A run's folder for its sockets, its own as long as it is open."""

    def __init__(self, path: str, handle: int) -> None:
        self.path = path
        self._handle = handle

    def name(self) -> str:
        """A path for another socket, never given before."""
        return f"{self.path}/{os.urandom(_RANDOM).hex()}"

    def close(self) -> None:
        """The folder is gone, with whatever is left in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._handle)
        shared = os.path.dirname(self.path)
        if not shared.endswith(f"/pit-{os.geteuid()}"):
            with suppress(OSError):
                os.rmdir(shared)


def new() -> SocketDir:
    """A new folder; OSError if there is no place for one."""
    failure: OSError | None = None
    for base in _bases():
        try:
            shared = _shared(base)
            _sweep(shared)
            return _tried(_made(shared))
        except OSError as error:
            failure = error
    raise failure or OSError("no folder has a path short enough for a socket")


def _bases() -> Iterator[str]:
    """Folders that may hold sockets, the best first: in memory, where making one costs a fifth.

    A run may outlive the login that it was started from; XDG_RUNTIME_DIR does not, and neither
    does what users leave in /dev/shm, where there is a logind (its RemoveIPC).
    """
    lasting = os.geteuid() < _FIRST_USER or not os.path.exists("/run/systemd/seats")
    usual = ("/dev/shm", "/tmp") if lasting else ("/tmp",)
    yield from (base for base in usual if _is_fit(base) and _keeps_names(base))
    import tempfile

    known = (*usual, tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", ""))
    yield from sorted(filter(_is_fit, known), key=lambda base: not _keeps_names(base))


def _is_fit(base: str) -> bool:
    """Whether this is a folder whose path leaves room for a socket's."""
    deep = len(os.fsencode(f"{base}/pit-{os.geteuid()}")) + _DEEPER
    return os.path.isabs(base) and os.path.isdir(base) and deep <= LONGEST_PATH


def _keeps_names(base: str) -> bool:
    """Whether nobody else can put something of his in the place of our folder there.

    In a container /tmp may be writable for all without the sticky bit; it is better than nothing.
    """
    mode = os.stat(base).st_mode
    return bool(mode & stat.S_ISVTX or not mode & 0o022)


def _shared(base: str) -> str:
    """The folder of all runs of this user; one that somebody else has made is not used."""
    path = f"{base}/pit-{os.geteuid()}"
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        import tempfile

        return tempfile.mkdtemp(prefix="pit-", dir=base)
    return path


def _made(shared: str) -> SocketDir:
    """A folder that is locked; tried again where another run has swept it away before it was."""
    while True:
        path = f"{shared}/{os.urandom(_RANDOM).hex()}"
        os.mkdir(path, 0o700)
        with suppress(FileNotFoundError, BlockingIOError):
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            with ExitStack() as failing:
                failing.callback(os.close, handle)
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(handle), os.stat(path)):
                    failing.pop_all()
                    return SocketDir(path, handle)


def _tried(folder: SocketDir) -> SocketDir:
    """The folder, if sockets can be made in it; some file systems have none."""
    try:
        with socket.socket(socket.AF_UNIX) as trial:
            trial.bind(folder.name())
    except OSError:
        folder.close()
        raise
    return folder


def _sweep(shared: str) -> None:
    """Remove the folders whose runs are gone; a few at a time, for nobody waits for it."""
    entries = os.listdir(shared)
    if len(entries) > _SWEPT:
        import random

        entries = random.sample(entries, _SWEPT)
    for entry in entries:
        path = f"{shared}/{entry}"
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(handle)
