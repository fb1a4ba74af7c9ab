"""Databases in files: room for a new one, and who holds one that is in use."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from pit.sql.driver import Failure, SqlFailure

SIBLING = "another task of this run"


def make_room(path: str) -> None:
    """The database's folder exists, and nothing but a file stands in its place."""
    try:
        os.makedirs(Path(path).parent, exist_ok=True)
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise SqlFailure(_final(f"cannot open {path}: {error.strerror}")) from None
    if not stat.S_ISREG(mode):
        raise SqlFailure(_final(f"cannot open {path}: it is not a file"))


def _final(message: str) -> Failure:
    return Failure(message=message, kind="IO Error", retryable=False)


def holder(paths: Iterable[str]) -> str:
    """Who holds a POSIX lock on one of these files, as the kernel tells it (Linux)."""
    inodes = set(_inodes(paths))
    pids = [pid for pid, inode in _locks() if inode in inodes]
    others = [pid for pid in pids if pid != os.getpid()]
    if others:
        return f"{_program(others[0])} (pid {others[0]})"
    return SIBLING if pids else "another program"


def _inodes(paths: Iterable[str]) -> Iterable[int]:
    for path in paths:
        try:
            yield os.stat(path).st_ino
        except OSError:
            continue


def _locks() -> Iterable[tuple[int, int]]:
    """The process and the inode of every lock; the device is left out, for file systems lie."""
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        words = line.replace("->", "").split()
        if len(words) > 5 and words[5].count(":") == 2:
            yield int(words[4]), int(words[5].rsplit(":", 1)[1])


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "a program"
