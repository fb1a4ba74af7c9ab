"""What files hold, in short: BLAKE3 digests, reused as long as nothing can have changed.

A digest is reused while device, inode, size, and modification and change time in nanoseconds
stand; the change time moves even when a program sets the other one back. It is not kept if the
file was so young when it was read that an edit right afterwards could bear the same times: file
systems stamp with the tick of a clock, the coarser ones with whole seconds. Files are read, never
mapped into memory, because one that is truncated meanwhile would kill the reader.

Limits, which every tool that trusts times shares: a program that keeps a file mapped for writing
may change it for some seconds without moving its times, and the clients of network file systems
may show times that are some seconds old.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from pit.model import FileMark
from pit.project import selection
from pit.project.snapshot.databases import belongs, database_mark
from pit.spec.patterns import is_pattern

if TYPE_CHECKING:
    from pit.state.digests import Seen

_PIECE = 1 << 20
_LARGE_PIECE = 8 << 20
_LARGE = 64 << 20
"""From this size on, several threads digest one file."""

_READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_ROUNDS = 3
"""How often a file that changes while it is read is read again."""

_SECOND = 1_000_000_000
_YOUNG = 50_000_000
"""Nanoseconds in which two changes may bear the same time, generously."""
_YOUNG_BY_SECONDS = 2 * _SECOND
"""The same where times are whole seconds."""
_WORTH_WAITING = 16 << 20
"""From this size on, waiting until a file is not young costs less than reading it again."""
_SETTLING = 32 << 20
"""How many bytes of young files `settle` reads at most."""

_GONE = (FileNotFoundError, NotADirectoryError)
_IS_FILE = stat.S_ISREG


def digest_file(path: str | Path) -> FileMark:
    """The mark of one file's content now.

    OSError, with the path, if there is no such file (always FileNotFoundError), if it is no
    regular file, or if it cannot be read.
    """
    mark, _ = _read(os.fspath(path))
    return mark


def digest_bytes(data: bytes) -> str:
    """The digest that a file of this content has."""
    from blake3 import blake3

    return blake3(data).hexdigest()


class Digests:
    """Digests by absolute path, as known from the last time and as found now.

    Threads may share it. Give files that live for one run an instance of their own: `changes`
    tells of every file that was asked for.
    """

    def __init__(self, known: Mapping[str, Seen] | None = None) -> None:
        self._known: dict[str, Seen] = dict(known or {})
        self._changes: dict[str, Seen | None] = {}
        self._young: dict[str, int] = {}

    def of(self, path: str, info: os.stat_result | None = None) -> FileMark:
        """The mark of a file, links followed; `info` is its stat, if just taken.

        Raises as `digest_file` does.
        """
        known = self._known.get(path)
        if known is not None:
            if info is None:
                info = self._look(path)
            if known[:5] == (
                info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns,
            ):  # fmt: skip
                return FileMark(digest=known[5], size=known[2])
        return self._read(path)

    def recall(self, path: str, info: os.stat_result) -> FileMark | None:
        """The mark of a file that looks like `info`, if it looked so when it was last read."""
        known = self._known.get(path)
        if known is not None and known == _seen(info, known[5]):
            return FileMark(digest=known[5], size=known[2])
        return None

    def seen(self, path: str) -> tuple[int, int, int, int, int] | None:
        """How a file looked when it was last asked for; None if that cannot be relied on."""
        known = self._known.get(path)
        return None if known is None else known[:5]

    def learn(self, path: str, info: os.stat_result, digest: str) -> None:
        """Remember what was read from a copy of a file that looked like `info`."""
        self._known[path] = self._changes[path] = _seen(info, digest)

    def changes(self) -> dict[str, Seen | None]:
        """What to keep for the next time since this was last asked; None for a file that is gone.

        Files that were too young to rely on are not in it: they are read again next time.
        """
        changes, self._changes = self._changes, {}
        return dict(changes)  # who reads on meanwhile may still hold the other one

    def settle(self) -> None:
        """Reads small files again that were too young to rely on, so that the next time need not.

        For the end of a run, when most of what it made has come of age.
        """
        young, self._young = self._young, {}
        left = _SETTLING
        for path, size in young.items():
            left -= size
            if left < 0:
                return
            with suppress(OSError):
                self.of(path)

    def _look(self, path: str) -> os.stat_result:
        try:
            return os.stat(path)
        except _GONE as error:
            self._drop(path)
            raise _vanished(path) from error

    def _read(self, path: str) -> FileMark:
        try:
            mark, seen = _read(path)
        except FileNotFoundError:
            self._drop(path)
            raise
        if seen is not None:
            self._known[path] = self._changes[path] = seen
            self._young.pop(path, None)
        else:
            self._drop(path)
            self._young[path] = mark.size
        return mark

    def _drop(self, path: str) -> None:
        if self._known.pop(path, None) is not None:
            self._changes[path] = None


# ---------------------------------------------------------------- reading one file


def _read(path: str) -> tuple[FileMark, Seen | None]:
    """A file's mark, and how the file was if a later look can rely on that."""
    try:
        descriptor = os.open(path, _READING)
    except _GONE as error:
        raise _vanished(path) from error
    try:
        return _read_open(descriptor, path)
    except OSError as error:
        if error.filename is None:  # reading an open file tells no path
            error.filename = path
        raise
    finally:
        os.close(descriptor)


def _read_open(descriptor: int, path: str) -> tuple[FileMark, Seen | None]:
    for _ in range(_ROUNDS):
        before = _regular(descriptor, path)
        settled = _settled(before)
        os.lseek(descriptor, 0, os.SEEK_SET)
        digest, size = _digest(descriptor, before.st_size)
        seen = _seen(before, digest)
        if seen == _seen(os.fstat(descriptor), digest):
            return FileMark(digest=digest, size=size), seen if settled else None
    return FileMark(digest=digest, size=size), None


def _seen(info: os.stat_result, digest: str) -> Seen:
    times = info.st_mtime_ns, info.st_ctime_ns
    return (info.st_dev, info.st_ino, info.st_size, *times, digest)


def _regular(descriptor: int, path: str) -> os.stat_result:
    info = os.fstat(descriptor)
    if stat.S_ISDIR(info.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not _IS_FILE(info.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)
    return info


def _vanished(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def _settled(info: os.stat_result) -> bool:
    """Whether any change from now on will move the file's times; waits for it if worth it."""
    wait = _young_for(info)
    if 0 < wait <= _YOUNG and info.st_size >= _WORTH_WAITING:
        time.sleep(wait / _SECOND)
        wait = _young_for(info)
    return wait <= 0


def _young_for(info: os.stat_result) -> int:
    """Nanoseconds until an edit is sure to move the file's times; negative since it is.

    A modification time in the future has been set by hand and says nothing; on file systems
    that have no change time of their own the modification time is all there is.
    """
    now = time.time_ns()
    newest = max(info.st_ctime_ns, info.st_mtime_ns if info.st_mtime_ns <= now else 0)
    margin = _YOUNG if newest % _SECOND else _YOUNG_BY_SECONDS
    return newest + margin - now


def _digest(descriptor: int, size: int) -> tuple[str, int]:
    """The digest of an open file from where it stands, and how many bytes there were."""
    from blake3 import blake3

    large = size > _LARGE
    hasher = blake3(max_threads=blake3.AUTO if large else 1)
    length = 0
    if size < _PIECE:
        while data := os.read(descriptor, size + 1):
            hasher.update(data)
            length += len(data)
    else:
        buffer = bytearray(_LARGE_PIECE if large else _PIECE)
        view = memoryview(buffer)
        while count := os.readv(descriptor, [buffer]):
            hasher.update(view[:count])
            length += count
    return hasher.hexdigest(), length


# ---------------------------------------------------------------- many files


def marks(
    root: Path,
    patterns: Iterable[str],
    digests: Digests,
    workspace: Path | None = None,
    live: Path | None = None,
) -> dict[str, FileMark]:
    """What `inputs` name below `root`, by place; places of absolute inputs are absolute.

    `workspace` stands for `{workspace}` in the patterns. Where `root` is a snapshot, `live` is
    the project that it was taken of: there the databases are read, which no snapshot takes.
    A literal input that is missing has no mark; a link that leads nowhere has one; FIFOs,
    sockets and devices have none. Names that are not UTF-8 are spelled with backslashes.
    """
    found: dict[str, FileMark] = {}
    for pattern in patterns:
        top, pattern, prefix = _anchored(str(root), pattern, workspace)
        if not _marked_file(top, pattern, prefix, digests, found):
            found |= _at_rest(partial(_inputs_marks, top, pattern, prefix, digests))
            if live not in (None, root) and not prefix:
                found |= _at_rest(partial(_database_marks, str(live), pattern, digests))
    return found


def products(
    root: Path, targets: Iterable[str], digests: Digests, workspace: Path | None = None
) -> dict[str, FileMark]:
    """What stands at `targets` below `root`, by place; all that a folder holds, as in `tree`.

    A target that is missing has no mark. The marks are the same in the run's snapshot and, once
    published, in the project.
    """
    found: dict[str, FileMark] = {}
    for target in targets:
        top, pattern, prefix = _anchored(str(root), target, workspace)
        if not _marked_file(top, pattern, prefix, digests, found):
            found |= _at_rest(partial(_target_marks, top, pattern, prefix, digests))
    return found


def _target_marks(top: str, pattern: str, prefix: str, digests: Digests) -> dict[str, FileMark]:
    found: dict[str, FileMark] = {}
    for place in selection.matching(top or "/", pattern):
        path = f"{top}/{place}"
        if os.path.isdir(path):
            below = tree(path, digests, top or "/")
            found |= {_spelled(f"{prefix}{place}/{name}"): mark for name, mark in below.items()}
        elif not pattern.endswith("/"):
            _mark(path, prefix + place, digests, found)
    return found


def _at_rest(look: Callable[[], dict[str, FileMark]]) -> dict[str, FileMark]:
    """What a look at many files finds; what vanishes in the middle of it, as when others rename
    or clean up, makes it begin again."""
    for _ in range(_ROUNDS - 1):
        with suppress(FileNotFoundError):
            return look()
    return look()


def tree(path: str | Path, digests: Digests, root: str | Path | None = None) -> dict[str, FileMark]:
    """What a folder holds, by relative name, hidden files too; an empty folder's name ends with
    a slash, and its own is empty.

    A link counts as the file that it leads to; one that leads to a folder or nowhere counts by
    where that is, relative to `root` (the folder itself by default) if inside.
    """
    base = os.path.realpath(path if root is None else root)
    found: dict[str, FileMark] = {}
    folders = [""]
    while folders:
        folder = folders.pop()
        entries = [
            entry
            for entry in _entries(os.path.join(path, folder))
            if not entry.name.startswith(selection.TEMPORARY) and not belongs(entry.path)
        ]
        if not entries:
            found[folder] = _kind_mark("folder")
        for entry in entries:
            name = folder + entry.name
            if entry.is_dir(follow_symlinks=False):
                folders.append(f"{name}/")
            elif os.path.isfile(entry.path):
                found[_spelled(name)] = database_mark(entry.path, digests)
            elif entry.is_symlink():
                found[_spelled(name)] = _kind_mark("link", _aim(entry.path, base))
    return found


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError as error:
        raise _vanished(folder) from error


def _aim(link: str, base: str) -> str:
    """Where a link leads, said so that it is the same wherever `base` lies."""
    real = os.path.realpath(link)
    return os.path.relpath(real, base) if selection.lies_in(real, base) else real


@cache
def dangling() -> FileMark:
    """The mark of an input that is a link to nothing."""
    return _kind_mark("dangling")


def _kind_mark(kind: str, text: str = "") -> FileMark:
    """The mark of what is no file: no file of size 0 has such a digest."""
    return FileMark(digest=digest_bytes(os.fsencode(f"{kind}\0{text}")), size=0)


def _anchored(root: str, pattern: str, workspace: Path | None) -> tuple[str, str, str]:
    """Where to look for a pattern, what for, and what comes before the places found."""
    if workspace is not None and pattern.startswith(selection.WORKSPACE):
        return str(workspace), pattern.removeprefix(selection.WORKSPACE), f"{workspace}/"
    if pattern.startswith("/"):
        return "", pattern.lstrip("/"), "/"
    return root, pattern, ""


def _marked_file(
    top: str, pattern: str, prefix: str, digests: Digests, found: dict[str, FileMark]
) -> bool:
    """Marks a literal path to a file, which most are, by a single look at the disk."""
    if is_pattern(pattern):
        return False
    path = f"{top}/{pattern}"
    try:
        info = os.stat(path)
    except OSError:
        return False
    if not _IS_FILE(info.st_mode):
        return False
    try:
        found[_spelled(prefix + pattern)] = database_mark(path, digests, info)
    except FileNotFoundError:
        return False
    return True


def _inputs_marks(top: str, pattern: str, prefix: str, digests: Digests) -> dict[str, FileMark]:
    found: dict[str, FileMark] = {}
    for place in _inputs(top, pattern):
        path = f"{top}/{place}"
        if belongs(path):
            continue
        if os.path.isdir(path):
            found[_spelled(prefix + place)] = _kind_mark(
                "link", _aim(path, os.path.realpath(top or "/"))
            )
        else:
            _mark(path, prefix + place, digests, found)
    return found


def _database_marks(live: str, pattern: str, digests: Digests) -> dict[str, FileMark]:
    found: dict[str, FileMark] = {}
    for place in _inputs(live, pattern):
        if selection.is_database(place) and not belongs(f"{live}/{place}"):
            _mark(f"{live}/{place}", place, digests, found)
    return found


def _inputs(top: str, pattern: str) -> Iterator[str]:
    """The files that a pattern names, through links in a folder that is named literally; a link
    that leads back into that folder stands for itself, as its files have names of their own."""
    for place in selection.files(top or "/", pattern):
        path = f"{top}/{place}"
        if os.path.isdir(path) and not _leads_back(path, f"{top}/{pattern}"):
            yield from (f"{place}/{inner}" for inner in _through(path))
        else:
            yield place


def _leads_back(link: str, folder: str) -> bool:
    return selection.lies_in(os.path.realpath(link), os.path.realpath(folder))


def _through(folder: str) -> Iterator[str]:
    """The files below a linked folder, through further links too, each folder once."""
    entered = {os.path.realpath(folder)}
    inner = [""]
    while inner:
        below = inner.pop()
        for place in selection.files(f"{folder}/{below}", ""):
            real = os.path.realpath(f"{folder}/{below}{place}")
            if not os.path.isdir(real):
                yield below + place
            elif real not in entered:
                entered.add(real)
                inner.append(f"{below}{place}/")


def _mark(path: str, place: str, digests: Digests, found: dict[str, FileMark]) -> None:
    try:
        info = os.stat(path)
    except OSError:
        if not os.path.lexists(path):
            raise _vanished(path) from None
        found[_spelled(place)] = dangling()
        return
    if _IS_FILE(info.st_mode):
        found[_spelled(place)] = database_mark(path, digests, info)


def _spelled(place: str) -> str:
    """A place as text that every file and database takes."""
    return place if place.isascii() else selection.shown(place)
