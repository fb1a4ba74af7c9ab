"""Private files and folders: made for their owner alone, removed whatever their permissions.

Whatever Pit keeps may hold data or secrets of its user, so folders are 0700 and files 0600, and
the umask has no say in it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pit.errors import DiskFull, PitError, SetupError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
MAKE_ROOM = "Make room (pit prune, or pit prune --all-finished)"
"""What to do about a full disk."""


def make_folder(path: Path) -> None:
    """Makes a 0700 folder and its missing parents; one that exists is left as it is."""
    for folder in (*reversed(path.parents), path):
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            continue
        except OSError:
            # A read-only or closed parent answers so even for a folder that is there.
            if not folder.is_dir():
                raise
            continue
        os.chmod(folder, 0o700)


def create_file(path: Path) -> bool:
    """Creates an empty 0600 file; False if something of that name is there already."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return False
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    return True


def close_to_others(path: Path) -> None:
    """Takes a file's permissions for group and others away, if it is ours and has any.

    By path and never through an open file: closing one would drop the locks that SQLite
    holds on the same file elsewhere in this process.
    """
    try:
        info = os.stat(path)
        if info.st_uid == os.geteuid() and info.st_mode & 0o077:
            os.chmod(path, stat.S_IMODE(info.st_mode) & 0o700)
    except OSError:
        return


def failure(error: OSError, doing: str, hint: str = "") -> PitError:
    """The error to show for a failed system call: `doing` names what was tried, and where."""
    if error.errno in FULL:
        return DiskFull(f"{doing}: the disk is full", f"{MAKE_ROOM} and try again")
    if error.errno == errno.EROFS:
        return SetupError(f"{doing}: the file system is read-only", hint)
    return SetupError(f"{doing}: {(error.strerror or str(error)).lower()}", hint)


def _open_up(folder: str) -> None:
    mode = os.lstat(folder).st_mode
    if stat.S_ISDIR(mode) and mode & 0o700 != 0o700:
        os.chmod(folder, 0o700)


def _empty(folder: str, troubles: list[OSError]) -> Iterator[str]:
    """Unlinks the files of `folder` and yields its sub-folders; links are never followed."""
    try:
        _open_up(folder)
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield entry.path
                else:
                    _attempt(os.unlink, entry.path, troubles)
    except FileNotFoundError:
        return
    except OSError as error:
        troubles.append(error)


def _attempt(call: object, path: str, troubles: list[OSError]) -> None:
    try:
        call(path)  # type: ignore[operator]
    except FileNotFoundError:
        return
    except OSError as error:
        troubles.append(error)


def remove_tree(path: Path) -> None:
    """Removes a folder with all that is in it, also from read-only folders and beside others
    who remove the same; a file or link is unlinked, a missing path is fine.

    Goes on after an error, so that as much as possible is gone, then raises the first.
    """
    troubles: list[OSError] = []
    if path.is_symlink() or not path.is_dir():
        _attempt(os.unlink, str(path), troubles)
    else:
        folders = [str(path)]
        for folder in folders:
            folders.extend(_empty(folder, troubles))
        for folder in reversed(folders):
            _attempt(os.rmdir, folder, troubles)
    if troubles:
        raise troubles[0]


def usage(path: Path, linked: bool = True) -> int:
    """The bytes that a folder or file takes on disk; what cannot be read counts nothing.

    Without `linked`, files that have another name elsewhere count nothing either: what is
    removed here stays there.
    """
    try:
        total = _blocks(os.lstat(path))
    except OSError:
        return 0
    folders = [str(path)]
    for folder in folders:
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    info = entry.stat(follow_symlinks=False)
                    is_folder = stat.S_ISDIR(info.st_mode)
                    if linked or is_folder or info.st_nlink == 1:
                        total += _blocks(info)
                    if is_folder:
                        folders.append(entry.path)
        except OSError:
            continue
    return total


def _blocks(info: os.stat_result) -> int:
    return info.st_blocks * 512
