"""Marks: what stands at a place on the disk, in a digest and a size; whatever is read is noted."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from typing import Protocol

from pit.fs.patterns import is_pattern
from pit.fs.reads import Reads
from pit.model import FileMark
from pit.project import databases, selection
from pit.project.digest import Digests, digest_bytes
from pit.project.places import spelled
from pit.project.selection import Entry

_ROUNDS = 3
"""How often a look at many files begins again because some vanished in the middle of it."""


class Tree(Protocol):
    """One place on the disk below which patterns are looked for."""

    root: str

    def entries(self, place: str) -> Sequence[Entry]:
        """What counts in a folder, sorted by name; nothing where there is none."""

    def mark(self, place: str, info: os.stat_result | None = None) -> FileMark:
        """The mark of a file, links followed; FileNotFoundError if there is none."""


class PlainTree:
    """Folders as they are: the workspace, or the whole disk."""

    def __init__(self, root: str, digests: Digests, reads: Reads) -> None:
        self.root = root
        self._digests, self._reads = digests, reads
        self.entries = selection.entries_of(root or "/", reads.folder)

    def mark(self, place: str, info: os.stat_result | None = None) -> FileMark:
        """The mark of a file."""
        return marked(f"{self.root}/{place}", self._digests, self._reads, info)


def marked(
    path: str, digests: Digests, reads: Reads, info: os.stat_result | None = None
) -> FileMark:
    """The mark of the file at a path, which is written down as read; raises as `Digests.of`."""
    try:
        info = info or os.stat(path)
    except OSError:
        reads.path(path)
        return digests.of(path)  # which says what is wrong
    reads.file(path, info)
    for journal in databases.journals(path):
        reads.path(journal)
    return databases.database_mark(path, digests, info)


# ---------------------------------------------------------------- many files


def at_rest(
    look: Callable[[], dict[str, FileMark]], forget: Callable[[], None] = lambda: None
) -> dict[str, FileMark]:
    """What a look at many files finds; what vanishes in the middle of it, as when others rename
    or clean up, makes it begin again."""
    for _ in range(_ROUNDS - 1):
        with suppress(FileNotFoundError):
            return look()
        forget()
    return look()


def marked_file(
    tree: Tree, pattern: str, prefix: str, found: dict[str, FileMark], reads: Reads
) -> bool:
    """Marks a literal path to a file, which most are, by a single look at the disk."""
    if is_pattern(pattern):
        return False
    path = f"{tree.root}/{pattern}"
    try:
        info = os.stat(path)
    except OSError:
        reads.path(path.rstrip("/"))
        return False
    if not stat.S_ISREG(info.st_mode):
        return False
    try:
        found[spelled(prefix + pattern)] = tree.mark(pattern, info)
    except FileNotFoundError:
        return False
    return True


def input_files(tree: Tree, pattern: str) -> Iterator[str]:
    """The files that a pattern names, through links in a folder that is named literally; a link
    that leads back into that folder stands for itself, as its files have names of their own."""
    for place in selection.files(tree.root or "/", pattern, tree.entries):
        path = f"{tree.root}/{place}"
        if os.path.isdir(path) and not _leads_back(path, f"{tree.root}/{pattern}"):
            yield from (f"{place}/{inner}" for inner in _through(tree, place))
        else:
            yield place


def _leads_back(link: str, folder: str) -> bool:
    return selection.lies_in(os.path.realpath(link), os.path.realpath(folder))


def _through(tree: Tree, folder: str) -> Iterator[str]:
    """The files below a linked folder, through further links too, each folder once."""
    entered = {os.path.realpath(f"{tree.root}/{folder}")}
    inner = [""]
    while inner:
        below = inner.pop()
        for place in selection.files(
            tree.root or "/", f"{folder}/{below}".rstrip("/"), tree.entries
        ):
            name = place[len(folder) + 1 :]
            real = os.path.realpath(f"{tree.root}/{place}")
            if not os.path.isdir(real):
                yield name
            elif real not in entered:
                entered.add(real)
                inner.append(f"{name}/")


def mark_place(
    tree: Tree, place: str, prefix: str, found: dict[str, FileMark], reads: Reads
) -> None:
    path = f"{tree.root}/{place}"
    if databases.belongs(path):
        return
    try:
        info = os.stat(path)
    except OSError:
        if not os.path.lexists(path):
            raise vanished(path) from None
        reads.unwatched = f"{path}, a link that leads nowhere"
        found[spelled(prefix + place)] = dangling()
        return
    if stat.S_ISREG(info.st_mode):
        found[spelled(prefix + place)] = tree.mark(place, info)


# ---------------------------------------------------------------- what is no file


def aim_of(link: str, base: str) -> str:
    """Where a link leads, said so that it is the same wherever `base` lies."""
    real = os.path.realpath(link)
    return os.path.relpath(real, base) if selection.lies_in(real, base) else real


@cache
def dangling() -> FileMark:
    """The mark of an input that is a link to nothing."""
    return kind_mark("dangling")


def kind_mark(kind: str, text: str = "") -> FileMark:
    """The mark of what is no file: no file of size 0 has such a digest."""
    return FileMark(digest=digest_bytes(os.fsencode(f"{kind}\0{text}")), size=0)


def vanished(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
