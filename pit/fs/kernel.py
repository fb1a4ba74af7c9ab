"""System calls that Python's `os` lacks: exchange two names, flush a disk."""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache
from typing import Any

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_RENAME_SWAP = 2
_UNABLE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)


@cache
def _library() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def exchange(one: str, other: str) -> bool:
    """Two existing paths change places in one step; False where the file system cannot.

    At no instant is either of them missing, even if they are folders full of files. By renameat2
    with RENAME_EXCHANGE, on macOS renamex_np with RENAME_SWAP. Raises OSError like os.rename,
    FileNotFoundError if one of them is missing.
    """
    first, second = os.fsencode(one), os.fsencode(other)
    library = _library()
    if hasattr(library, "renameat2"):
        status = library.renameat2(_AT_FDCWD, first, _AT_FDCWD, second, _RENAME_EXCHANGE)
    elif hasattr(library, "renamex_np"):
        status = library.renamex_np(first, second, _RENAME_SWAP)
    else:
        return False
    if status == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNABLE:
        return False
    raise OSError(code, os.strerror(code), other)


def flush(descriptor: int) -> None:
    """Flushes the whole file system of an open file: for many files, where fsync of each would
    take minutes."""
    library = _library()
    if not hasattr(library, "syncfs"):
        os.sync()
    elif library.syncfs(descriptor) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
