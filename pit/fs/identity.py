"""Which file one is: the same for as long as it lives, whatever is written to it.

A file system gives the inode of a file that was removed to the next one that is made. Only the
time of its birth tells those apart: the kernel tells it on ext4, XFS, Btrfs and most others, and
nothing can set it.
"""

from __future__ import annotations

import os
import struct
from functools import cache
from typing import Any

_AT_FDCWD = -100
_BIRTH = 0x800  # STATX_BTIME
_SECOND = 1_000_000_000
_SIZE, _MASK_AT, _BIRTH_AT = 256, 0, 80
"""Of struct statx, and of `stx_mask` and `stx_btime` in it."""

Identity = tuple[int, int, int]
"""Device, inode, and time of birth in nanoseconds of Unix time; 0 where nobody knows it."""


def file_identity(path: str) -> Identity:
    """Which file a path leads to, links followed; OSError if it leads to none."""
    info = os.stat(path)
    return info.st_dev, info.st_ino, _birth(path, info)


def _birth(path: str, info: os.stat_result) -> int:
    told = getattr(info, "st_birthtime_ns", None) or getattr(info, "st_birthtime", None)
    if told is not None:
        return int(told if isinstance(told, int) else told * _SECOND)
    statx = _statx()
    if statx is None:
        return 0
    found = bytearray(_SIZE)
    buffer = (statx[0].c_char * _SIZE).from_buffer(found)
    if statx[1](_AT_FDCWD, os.fsencode(path), 0, _BIRTH, buffer) != 0:
        return 0
    if not struct.unpack_from("=I", found, _MASK_AT)[0] & _BIRTH:
        return 0
    seconds, nanoseconds = struct.unpack_from("=qI", found, _BIRTH_AT)
    return int(seconds * _SECOND + nanoseconds)


@cache
def _statx() -> Any:
    """`ctypes`, and what the C library calls the system call; None where it has no such thing."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    return (ctypes, library.statx) if hasattr(library, "statx") else None
