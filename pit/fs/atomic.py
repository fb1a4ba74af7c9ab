"""Small files written whole, and the names of what is being written.

A name is random: two processes of one number, each the first of its container, may write beside
the same place. It begins with `.pit-`, which every snapshot, listing and load leaves out, and has
no part of the place's own name, which may be as long as a file system allows.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


def name() -> str:
    """The name of a file that is being written, like no other."""
    return f".pit-{os.urandom(6).hex()}"


def beside(path: Path) -> Path:
    """A path in the folder of another, for what will take its place."""
    return path.with_name(name())


def write(path: Path, content: bytes, *, mode: int = 0o600, durable: bool = False) -> None:
    """Puts a file in the place of another, or of none: who reads sees all of it, or what was there.

    If it is `durable`, a power cut leaves one of the two as well. OSError if it cannot be written;
    then nothing of it stays.
    """
    temporary = beside(path)
    try:
        with open(os.open(temporary, _NEW, mode), "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            os.unlink(temporary)
