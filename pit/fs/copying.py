"""The bytes of one file, from an open source into an open, empty target.

By `copy_file_range`, which shares blocks on file systems that can (btrfs, XFS, APFS has no such
call) and stays in the kernel elsewhere; by reading and writing where it cannot. Holes stay holes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

PIECE = 64 << 20
"""How many bytes go at once at most, so that a caller can give up in between."""

_BUFFER = 1 << 20
_SMALL = 1 << 20
"""Up to this size, what nearly every file has, one call does it and holes are not looked for."""
_CANNOT = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EISDIR}
)
_ABOUT_TARGET = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})


class SourceFailed(Exception):
    """The source could not be read; `cause` is the OSError. Any other OSError is the target's."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def contents(source: int, target: int, info: os.stat_result, checkpoint: Callable[[], None]) -> int:
    """Copies up to `info.st_size` bytes and returns how many there were.

    `checkpoint` is called between pieces and may raise.
    """
    if info.st_size <= _SMALL and _in_kernel(source, target, info.st_size) == info.st_size:
        return info.st_size
    os.lseek(source, 0, os.SEEK_SET)
    os.lseek(target, 0, os.SEEK_SET)
    copied = 0
    sparse = info.st_blocks * 512 < info.st_size - _SMALL and hasattr(os, "SEEK_DATA")
    extents = _extents(source, info.st_size) if sparse else [(0, info.st_size)]
    for start, end in extents:
        os.lseek(source, start, os.SEEK_SET)  # looking for the hole has moved it
        os.lseek(target, start, os.SEEK_SET)
        for piece in _pieces(source, target, end - start):
            copied += piece
            if copied < info.st_size:
                checkpoint()
    if sparse:
        os.ftruncate(target, info.st_size)
        return info.st_size
    return copied


def _extents(source: int, size: int) -> Iterator[tuple[int, int]]:
    """Where the data of a file with holes lies."""
    end = 0
    while end < size:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            start, end = end, size
        else:
            end = min(size, os.lseek(source, start, os.SEEK_HOLE))
        yield start, end


def _pieces(source: int, target: int, left: int) -> Iterator[int]:
    """Copies `left` bytes from where the files stand, or what there is; yields each piece."""
    in_kernel = True
    while left > 0:
        size = _in_kernel(source, target, min(left, PIECE)) if in_kernel else 0
        if not size:
            # Also when the kernel has copied nothing: some file systems answer 0 instead of an
            # error for files that they do have bytes of.
            in_kernel = False
            size = _by_hand(source, target, min(left, _BUFFER))
        if not size:
            return
        left -= size
        yield size


def _in_kernel(source: int, target: int, size: int) -> int:
    """Copies up to `size` bytes; 0 where the system or the file systems cannot."""
    try:
        return os.copy_file_range(source, target, size)
    except AttributeError:
        return 0
    except OSError as error:
        if error.errno in _CANNOT:
            return 0
        if error.errno in _ABOUT_TARGET:
            raise
        raise SourceFailed(error) from error


def _by_hand(source: int, target: int, size: int) -> int:
    try:
        data = os.read(source, size)
    except OSError as error:
        raise SourceFailed(error) from error
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(target, rest) :]
    return len(data)
