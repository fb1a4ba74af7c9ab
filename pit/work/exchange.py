"""Two names of one file system that change places in one step: renameat2 with RENAME_EXCHANGE.

At no instant is either of them missing, even for folders that are not empty. macOS has the same
as renamex_np with RENAME_SWAP.
"""

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
    """Exchanges two paths that both exist; False where the system or file system cannot.

    Raises OSError like os.rename, FileNotFoundError if one of them is missing.
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
