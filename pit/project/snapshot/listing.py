"""What one folder of a project holds for a snapshot, and whether that has moved since."""

from __future__ import annotations

import os
import stat
import time
from typing import NamedTuple

from pit.errors import SnapshotFailed
from pit.project import selection
from pit.project.selection import Excluded, Ignore, is_database, is_left_out, shown

YOUNG = 0.02
"""Seconds in which two changes of a file may bear the same time."""


FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
"""How a folder of the project is opened: never through a link that took its place."""


class Listing(NamedTuple):
    """The names in a folder that count, by kind, and how it looked.

    `others` are FIFOs, sockets and devices, with the word for it. `mark` changes when anything
    changes; it is None while a file is so young that one more change in the same instant could
    hide.
    """

    info: os.stat_result
    ignore: Ignore | None
    folders: list[str]
    files: list[tuple[str, os.stat_result]]
    links: list[str]
    others: list[tuple[str, str]]
    mark: int | None


def listing(live: str, place: str, ignore: Ignore | None, excluded: Excluded) -> Listing | None:
    """What is to be copied of the folder `live`; None if it has vanished or is left out.

    `place` is where it stands in the snapshot, "" for the project itself. `ignore` are the rules
    of the folders above. OSError says what cannot be read.
    """
    try:
        folder = os.open(live, FOLDER)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        # By its open folder, which spares the kernel the way to each of its files.
        with os.scandir(folder) as found:
            entries = list(found)
        names = [entry.name for entry in entries]
        if place and selection.is_virtual_environment(names):
            return None
        if selection.IGNORE_FILE in names:
            ignore = _ignore(f"{live}/{selection.IGNORE_FILE}", place, ignore)
        info = os.fstat(folder)
        return _sorted(live, info, entries, f"{place}/" if place else "", ignore, excluded)
    finally:
        os.close(folder)


def _ignore(path: str, place: str, above: Ignore | None) -> Ignore | None:
    if not os.path.isfile(path):
        return above
    try:
        return Ignore.read(path, f"{place}/" if place else "", above)
    except ValueError as error:
        raise SnapshotFailed(f"{shown(path)} has an invalid pattern: {error}") from error


def _sorted(
    live: str,
    info: os.stat_result,
    entries: list[os.DirEntry[str]],
    place: str,
    ignore: Ignore | None,
    excluded: Excluded,
) -> Listing:
    found = Listing(info, ignore, [], [], [], [], None)
    mark, youngest = 0, 0
    covers = excluded.covers if excluded else None
    for entry in entries:
        name = entry.name
        if is_left_out(name) or (covers is not None and covers(place + name)):
            continue
        if ignore is not None and _ignored(ignore, place + name, entry):
            continue
        if entry.is_dir(follow_symlinks=False):
            found.folders.append(name)
            mark += hash((name, entry.inode()))
            continue
        try:
            stats = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        except OSError as error:
            error.filename = f"{live}/{name}"
            raise
        mode, changed = stats.st_mode, stats.st_ctime_ns
        if stat.S_ISREG(mode):
            if is_database(name):
                continue
            found.files.append((name, stats))
        elif stat.S_ISLNK(mode):
            if is_database(name):
                continue
            found.links.append(name)
            mark += _aim_mark(f"{live}/{name}")
        else:
            found.others.append((name, kind(mode)))
        mark += hash((name, stats.st_ino, stats.st_size, changed, mode))
        if changed > youngest:
            youngest = changed
    is_young = abs(time.time_ns() - youngest) < YOUNG * 1e9
    return found if is_young else found._replace(mark=mark)


def _ignored(ignore: Ignore, place: str, entry: os.DirEntry[str]) -> bool:
    """Whether the rules cover an entry; `data/` also covers a link, which may lead to a folder."""
    if entry.is_dir(follow_symlinks=False):
        return ignore.covers(f"{place}/")
    return ignore.covers(place) or (entry.is_symlink() and ignore.covers(f"{place}/"))


def _aim_mark(path: str) -> int:
    """Changes when what a link leads to does."""
    try:
        info = os.stat(path)
    except OSError:
        return 0
    return hash((info.st_dev, info.st_ino, info.st_size, info.st_ctime_ns))


def kind(mode: int) -> str:
    """The word for something that is neither file, folder nor link."""
    if stat.S_ISFIFO(mode):
        return "a FIFO"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"
