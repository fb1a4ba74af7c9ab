"""Targets: what a task promises to make, and how it appears in the project, whole.

A target is made in the run's snapshot and published only after its task has succeeded. It is
first put beside its place under a name that begins with `.pit-`, flushed to the disk, and then
renamed: a file over the old file, a folder by exchanging the two. So at every instant the
project has either the old target or the new one.

The project gets a copy, never a hard link, however large the target: with one inode in two
places, a task that later appends to its file in the run would tear what is published, and a
script run by hand that writes in place would change what the run's dependants read and what the
history keeps. File systems that can (btrfs, XFS) share the blocks, so there the copy is free.

While it is being filled, a temporary file or folder is locked. What a killed run has left is
therefore known for certain, and `sweep` removes it, whoever else is publishing at that moment.

A target is a path or pattern relative to the project; one that ends with a slash must be a
folder. Absolute targets are written by the task itself, so they are only looked for.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from pit.fs import copying, kernel
from pit.project import selection
from pit.spec.patterns import ancestors, fixed_folder, is_pattern, matches
from pit.state.files import remove_tree

_NEW = "new"
_OLD = "old"
_TRIES = 8
_LARGE = 64 << 20
"""Bytes from which on a file that is handed on is linked instead of copied."""
_CREATING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Never wait for the other end of a FIFO that has taken a file's place.
_READING = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_SPELLED = re.compile(rb"\\x([89a-f][0-9a-f])")
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)


def anchored(targets: Iterable[str], workspace: Path) -> tuple[str, ...]:
    """The targets with `{workspace}/` replaced, as the functions of this module take them."""
    return tuple(
        f"{workspace}/{target.removeprefix(selection.WORKSPACE)}"
        if target.startswith(selection.WORKSPACE)
        else target
        for target in targets
    )


def prepare(snapshot: Path, targets: Iterable[str]) -> None:
    """Removes what stands at the targets in the snapshot, and makes their parent folders.

    So a task sees neither its own previous target nor what its last attempt left. OSError if
    that cannot be done, or if a folder on the way is a link that leads out of the snapshot.
    """
    inside = os.path.realpath(snapshot)
    for target in _staged(targets):
        parent = os.path.join(inside, fixed_folder(target.rstrip("/")))
        if not selection.lies_in(os.path.realpath(parent), inside):
            raise OSError(0, "a link on the way leads out of the run's snapshot", parent)
        os.makedirs(parent, exist_ok=True)
        for place in list(selection.matching(inside, target)):
            _remove(os.path.join(inside, place))


def missing(snapshot: Path, targets: Iterable[str]) -> tuple[str, ...]:
    """The targets that are not there: no such file or folder, or a pattern without a match."""
    return tuple(target for target in targets if not any(_made(str(snapshot), target)))


def publish(snapshot: Path, project: Path, targets: Iterable[str]) -> None:
    """Makes the targets of a task that has succeeded appear in the project.

    All are flushed to the disk before the first appears. OSError, with the path that it is
    about, leaves the targets that have not appeared as they were.
    """
    places = dict.fromkeys(
        place for target in _staged(targets) for place in _made(str(snapshot), target)
    )
    staged: list[_Staged] = []
    try:
        for place in places:
            made = os.path.join(snapshot, place)
            staged.append(_Staged(made, str(snapshot), _destination(project, place)))
            staged[-1].fill()
        for each in staged:
            each.appear()
        for folder in dict.fromkeys(folder for each in staged for folder in each.touched):
            _flush_folder(folder)
    finally:
        for each in staged:
            each.clear()


def hand_on(project: Path, snapshot: Path, places: Iterable[str]) -> None:
    """Puts what an earlier run published into the snapshot of this one, where it lacks it.

    `places` are those of `digest.products`; one that ends with a slash is an empty folder. Large
    files are linked, which is safe as long as tasks do not write into what they only read.
    """
    for spelled in places:
        place = _named(project, spelled)
        source, twin = os.path.join(project, place), os.path.join(snapshot, place)
        if os.path.isabs(place) or os.path.lexists(twin):
            continue
        if place.endswith("/"):
            os.makedirs(twin, exist_ok=True)
            continue
        os.makedirs(os.path.dirname(twin), exist_ok=True)
        _hand_on_one(source, twin)


def _named(project: Path, place: str) -> str:
    """A place as it is on the disk: digests spell bytes that are not UTF-8 with backslashes."""
    if "\\x" not in place or os.path.lexists(os.path.join(project, place)):
        return place
    return os.fsdecode(_SPELLED.sub(lambda byte: bytes.fromhex(byte[1].decode()), place.encode()))


def _hand_on_one(source: str, twin: str) -> None:
    info = os.lstat(source)
    if stat.S_ISLNK(info.st_mode):
        os.symlink(os.readlink(source), twin)
    elif info.st_size > _LARGE and info.st_dev == os.stat(os.path.dirname(twin)).st_dev:
        os.link(source, twin)
    else:
        target = os.open(twin, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _fill_file(source, target, flush=False)
        finally:
            os.close(target)


def withdraw(project: Path, targets: Iterable[str], places: Iterable[str]) -> None:
    """Removes from the project what a task used to make and makes no more.

    Only what its target patterns match: a literal target is always made, and a folder goes as a
    whole when it is exchanged. A folder that is empty then goes if a pattern matches it.
    """
    patterns = [target for target in _staged(targets) if is_pattern(target)]
    for place in places:
        owned = [place, *ancestors(place)]
        while owned and not any(matches(pattern, owned[-1]) for pattern in patterns):
            owned.pop()
        if owned:
            with suppress(OSError):  # gone already, or a folder that still holds something
                os.unlink(os.path.join(project, owned[0]))
                for folder in owned[1:]:
                    os.rmdir(os.path.join(project, folder))


def sweep(project: Path, targets: Iterable[str]) -> None:
    """Removes what a crash has left beside these targets, and puts back an old folder that
    stood aside; leaves alone what another run is publishing. Never fails: it is a courtesy."""
    for folder in dict.fromkeys(_neighbourhoods(project, targets)):
        with suppress(OSError), os.scandir(folder) as entries:
            left = [entry.path for entry in entries if entry.name.startswith(selection.TEMPORARY)]
            for path in left:
                with suppress(OSError):
                    _sweep_one(path)


def _staged(targets: Iterable[str]) -> Iterator[str]:
    return (target for target in targets if not os.path.isabs(target))


def _made(snapshot: str, target: str) -> Iterator[str]:
    """The places, relative to the snapshot, of what a task made of one target."""
    root, pattern = ("/", target.lstrip("/")) if os.path.isabs(target) else (snapshot, target)
    for place in selection.matching(root, pattern):
        path = os.path.join(root, place)
        if os.path.isdir(path) or (os.path.isfile(path) and not target.endswith("/")):
            yield place


def _destination(project: Path, place: str) -> str:
    """Where a target goes: through a link at its place, as a script run by hand would write."""
    path = os.path.join(project, place)
    return os.path.realpath(path) if os.path.islink(path) else path


def _remove(path: str) -> None:
    """Removes a file or folder, also from a read-only folder."""
    try:
        remove_tree(Path(path))
    except PermissionError:
        parent = os.path.dirname(path)
        os.chmod(parent, stat.S_IMODE(os.stat(parent).st_mode) | 0o700)
        remove_tree(Path(path))


def _flush_folder(folder: str) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, _FOLDER)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------- staging


class _Staged:
    """One target on its way: filled under a temporary name beside its place, then renamed.

    A regular file is staged as `.pit-<random>` itself. All else is staged inside a folder of
    such a name, as `new/<name>`; without an exchange the old one stands aside as `old/<name>`.
    """

    def __init__(self, source: str, snapshot: str, destination: str) -> None:
        self.destination = destination
        self.source = source
        self.snapshot = snapshot
        if not _leads_out(source, snapshot):
            self.source = os.path.realpath(source)
        parent, self._name = os.path.split(destination)
        self.touched = [parent, *_make_folders(parent)]
        plain = os.path.isfile(self.source) and not os.path.islink(self.source)
        self._plain = plain and not os.path.isdir(destination)
        self._path, self._lock = _claimed(parent, self._plain)
        self._new = self._path if self._plain else os.path.join(self._path, _NEW, self._name)

    def fill(self) -> None:
        """Copies what the task made and flushes it to the disk."""
        if self._plain:
            _fill_file(self.source, self._lock, flush=True)
            return
        os.mkdir(os.path.dirname(self._new))
        _Tree(self.source, self.snapshot).copy(self._new, self._lock)

    def appear(self) -> None:
        """Puts the target at its place, in one step unless a folder cannot be exchanged."""
        if self._plain:
            os.replace(self._new, self.destination)
            return
        for _ in range(_TRIES):
            if self._exchanged() or self._moved_in():
                return
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), self.destination)

    def _exchanged(self) -> bool:
        try:
            return kernel.exchange(self._new, self.destination)
        except FileNotFoundError:
            return False

    def _moved_in(self) -> bool:
        """Old aside, new in; False if another run has put its own there in between."""
        aside = os.path.join(self._path, _OLD, self._name)
        remove_tree(Path(aside))
        os.makedirs(os.path.dirname(aside), exist_ok=True)
        with suppress(FileNotFoundError):
            os.rename(self.destination, aside)
        try:
            os.rename(self._new, self.destination)
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            _put_back(aside, self.destination)
            raise
        return True

    def clear(self) -> None:
        """Removes the temporary name and what the target has replaced."""
        with suppress(OSError):  # what cannot be removed now is swept by a later run
            remove_tree(Path(self._path))
        os.close(self._lock)


def _claimed(parent: str, plain: bool) -> tuple[str, int]:
    """A new temporary file or folder in `parent`, and the open file that keeps it locked."""
    while True:
        path = os.path.join(parent, f"{selection.TEMPORARY}{secrets.token_hex(6)}")
        try:
            descriptor = _created(path, plain)
        except FileNotFoundError:
            if os.path.isdir(parent):
                continue
            raise
        with suppress(OSError):  # no locks on this file system: then nothing is swept either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        # A sweep may have come between making and locking; then the name is gone.
        if _stands_at(descriptor, path):
            return path, descriptor
        os.close(descriptor)


def _created(path: str, plain: bool) -> int:
    if plain:
        return os.open(path, _CREATING, 0o600)
    os.mkdir(path, 0o700)
    return os.open(path, _FOLDER)


def _stands_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _put_back(aside: str, destination: str) -> None:
    if os.path.lexists(aside) and not os.path.lexists(destination):
        os.rename(aside, destination)


def _make_folders(path: str) -> list[str]:
    """Makes a folder and its missing parents; the folders that got a new name by it."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        os.makedirs(folder, exist_ok=True)
    return [os.path.dirname(folder) for folder in missing]


def _fill_file(source: str, target: int, flush: bool) -> None:
    """Copies one regular file with its permissions and time into an open, empty one."""
    descriptor = os.open(source, _READING)
    try:
        info = os.fstat(descriptor)
        copying.contents(descriptor, target, info, lambda: None)
    except copying.SourceFailed as failed:
        raise OSError(failed.cause.errno, failed.cause.strerror, source) from failed
    finally:
        os.close(descriptor)
    os.fchmod(target, stat.S_IMODE(info.st_mode))
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
    if flush:
        os.fsync(target)


def _leads_out(path: str, snapshot: str) -> bool:
    """Whether a path is a link to something that is not in the snapshot."""
    real, root = os.path.realpath(path), os.path.realpath(snapshot)
    return os.path.islink(path) and not selection.lies_in(real, root)


class _Tree:
    """A folder that a task made, or a link that it made in place of one.

    Links inside the folder stay as they are in the copy; a file that lies elsewhere in the
    snapshot is copied, since the run's folder goes some day; a folder there is linked to at its
    place in the project; what leads out of the snapshot is linked to absolutely.
    """

    def __init__(self, top: str, snapshot: str) -> None:
        self._top = top
        self._snapshot = snapshot

    def copy(self, to: str, disk: int) -> None:
        """Copies all to the missing path `to`, flushed; `disk` is any open file beside it."""
        folders: list[tuple[str, os.stat_result]] = []
        todo = [(self._top, to)]
        while todo:
            path, twin = todo.pop()
            info = os.lstat(path)
            if stat.S_ISDIR(info.st_mode):
                os.mkdir(twin, 0o700)
                folders.append((twin, info))
                todo.extend((f"{path}/{name}", f"{twin}/{name}") for name in os.listdir(path))
            elif stat.S_ISLNK(info.st_mode):
                self._link(path, twin)
            elif stat.S_ISREG(info.st_mode):
                self._file(path, twin)
        for twin, info in reversed(folders):
            os.chmod(twin, stat.S_IMODE(info.st_mode))
            os.utime(twin, ns=(info.st_atime_ns, info.st_mtime_ns))
        kernel.flush(disk)

    def _file(self, path: str, twin: str) -> None:
        target = os.open(twin, _CREATING, 0o600)
        try:
            _fill_file(path, target, flush=False)
        finally:
            os.close(target)

    def _link(self, path: str, twin: str) -> None:
        real = os.path.realpath(path)
        if _leads_out(path, self._snapshot):
            os.symlink(real, twin)
        elif os.path.isfile(real) and not selection.lies_in(real, self._top):
            self._file(real, twin)
        else:
            os.symlink(os.path.relpath(real, os.path.dirname(path)), twin)


def _sweep_one(path: str) -> None:
    """Removes one temporary file or folder, unless whoever made it is at work."""
    descriptor = os.open(path, _READING)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _stands_at(descriptor, path):
            return
        aside = os.path.join(path, _OLD)
        if os.path.isdir(aside):
            for name in os.listdir(aside):
                _put_back(os.path.join(aside, name), os.path.join(os.path.dirname(path), name))
        remove_tree(Path(path))
    finally:
        os.close(descriptor)


def _neighbourhoods(project: Path, targets: Iterable[str]) -> Iterator[str]:
    """The folders in which temporary names of these targets may lie."""
    staged = [target.rstrip("/") for target in _staged(targets)]
    for folder in dict.fromkeys(map(os.path.dirname, staged)):
        for parent in selection.matching(str(project), folder) if folder else [""]:
            yield os.path.join(project, parent)
    for target in staged:
        if not is_pattern(target):
            yield os.path.dirname(_destination(project, target))
