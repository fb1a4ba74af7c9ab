"""Files of the run's data folder, for requests that name one: nothing outside is ever touched.

A name is resolved first, `resolved`, and what it leads to is told from what lies outside. Opening
then walks down from the data folder without following links, so that one that is put in the way
between the look and the opening is noticed, not followed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from pit.errors import Refused, on_error
from pit.fs import atomic

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def resolved(data: Path, name: str, *, exists: bool = False) -> Path:
    """The file called `name` in the data folder, links resolved; its parent folders exist then.

    An absolute path is good if it lies in the folder. Raises Refused for all that lies outside,
    for what is no regular file or folder, and where `exists` asks for what is absent.
    """
    if not name or "\0" in name:
        raise Refused("a file's name is missing" if not name else "a file's name contains NUL")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise Refused(f"{name!a} is not a file name: it is not valid text") from None
    root = os.path.realpath(data)
    try:
        real = os.path.realpath(os.path.join(root, name))
        _check(real, root, name)
        found = os.stat(real).st_mode
    except FileNotFoundError:
        if exists:
            raise Refused(
                f'"{name}" does not exist in the data folder', "It is looked for in PIT_DATA_DIR"
            ) from None
        _make_parents(root, real, name)
        return Path(real)
    except OSError as error:
        raise _refusal(error, name) from None
    if not (stat.S_ISREG(found) or stat.S_ISDIR(found)):
        raise Refused(f'"{name}" is neither a file nor a folder')
    return Path(real)


def _check(real: str, root: str, name: str) -> None:
    if real != root and not real.startswith(root + os.sep):
        raise Refused(
            f'"{name}" leads out of the data folder', "Name a file relative to PIT_DATA_DIR"
        )


def _make_parents(root: str, real: str, name: str) -> None:
    try:
        os.close(_descend(root, os.path.dirname(real), make=True))
    except OSError as error:
        raise _refusal(error, name) from None


def _descend(root: str, folder: str, *, make: bool = False) -> int:
    """A handle of a folder below `root`, reached without following a link."""
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with on_error(lambda: os.close(handle)):
        for part in os.path.relpath(folder, root).split(os.sep):
            if part in ("", "."):
                continue
            if part == "..":
                raise OSError(errno.EXDEV, "leads out of the data folder")
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=handle)
            inner = os.open(part, _FOLDER, dir_fd=handle)
            os.close(handle)
            handle = inner
    return handle


@contextmanager
def _folder_of(data: Path, path: Path) -> Iterator[tuple[int, str]]:
    """The handle of a file's folder, and the file's name in it."""
    try:
        handle = _descend(os.path.realpath(data), str(path.parent))
    except OSError as error:
        raise _refusal(error, path.name) from None
    try:
        yield handle, path.name
    finally:
        os.close(handle)


def reading(data: Path, path: Path) -> BinaryIO:
    """A file that `resolved` has named, open for reading; Refused if it has become no file."""
    with _folder_of(data, path) as (folder, name):
        try:
            handle = os.open(name, _FILE, dir_fd=folder)
        except OSError as error:
            raise _refusal(error, name) from None
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise Refused(f'"{name}" is not a regular file')
        return open(handle, "rb")


@contextmanager
def writing(data: Path, path: Path) -> Iterator[BinaryIO]:
    """A new file for `path`, which it replaces whole if the block ends well; else it is gone."""
    with _folder_of(data, path) as (folder, name):
        temporary = atomic.name()
        try:
            handle = os.open(temporary, _NEW, 0o600, dir_fd=folder)
        except OSError as error:
            raise _refusal(error, name) from None
        with on_error(lambda: _remove(temporary, folder)):
            with open(handle, "wb") as file:
                yield file
            try:
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError as error:
                raise _refusal(error, name) from None


def _remove(name: str, folder: int) -> None:
    with suppress(OSError):
        os.unlink(name, dir_fd=folder)


def _refusal(error: OSError, name: str) -> Refused:
    if error.errno in (errno.ELOOP, errno.EXDEV):
        return Refused(f'"{name}" leads out of the data folder by a link')
    return Refused(f'"{name}" cannot be used: {(error.strerror or str(error)).lower()}')
