"""Targets: what a task promises to make, and how it appears in the project, whole.

A target is made in the run's snapshot and published only after its task has succeeded. It is
first put beside its place under a name that begins with `.pit-`, flushed to the disk, and then
renamed: a file over the old file, a folder by exchanging the two. So at every instant the
project has either the old target or the new one.

The project gets a copy, never a hard link, however large the target: with one inode in two
places, a task that later appends to its file in the run would tear what is published, and a
script run by hand that writes in place would change what the run's dependants read and what the
history keeps. File systems that can (btrfs, XFS) share the blocks, so there the copy is free.

What a publication would remove or replace is compared beforehand with what the task has made:
`ownership.py`. A link never leads it out of the project, and a project that is gone is not made
again. Files such as `.gitkeep`, by which people keep a folder in version control, stay in it.

While it is being filled, a temporary file or folder is locked. What a killed run has left is
therefore known for certain, and `sweep` removes it, whoever else is publishing at that moment.

A target is a path or pattern relative to the project; one that ends with a slash must be a
folder. Absolute targets are written by the task itself, so they are only looked for.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from pit.fs import copying, kernel
from pit.fs.files import remove_tree
from pit.fs.patterns import ancestors, fixed_folder, is_pattern, matches
from pit.project import selection
from pit.project.databases import filled_journals
from pit.project.places import unspelled

_NEW = "new"
_OLD = "old"
_TRIES = 8
_CREATING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Never wait for the other end of a FIFO that has taken a file's place.
_READING = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)


class Refused(OSError):
    """What stands in the project keeps targets from being published; nothing has been touched."""


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
    inside = _inside(str(snapshot))
    for target in _staged(targets):
        folder = fixed_folder(target.rstrip("/"))
        parent = os.path.join(inside, folder)
        if folder and not selection.lies_in(_resolved(inside, folder), inside):
            raise OSError(0, "a link on the way leads out of the run's snapshot", parent)
        os.makedirs(parent, exist_ok=True)
        for place in list(selection.matching(inside, target)):
            _remove(os.path.join(inside, place))


def missing(snapshot: Path, targets: Iterable[str]) -> tuple[str, ...]:
    """The targets that are not there: no such file or folder, or a pattern without a match."""
    return tuple(target for target in targets if not any(_made(str(snapshot), target)))


def places(snapshot: Path, targets: Iterable[str]) -> tuple[str, ...]:
    """The files and folders in the snapshot that are to appear at the same places in the
    project."""
    made = (place for target in _staged(targets) for place in _made(str(snapshot), target))
    return tuple(dict.fromkeys(made))


def unfinished(snapshot: Path, targets: Iterable[str]) -> dict[str, str]:
    """The databases among the files to be published whose last rows are in a journal beside them,
    with the journal: the two cannot appear at one instant. Those in a folder appear with it."""
    found = {}
    for place in places(snapshot, targets):
        for journal in filled_journals(os.path.join(snapshot, place)):
            found[place] = os.path.relpath(journal, snapshot)
    return found


def publish(
    snapshot: Path, project: Path, targets: Iterable[str], check: Callable[[], object] | None = None
) -> None:
    """Makes the targets of a task that has succeeded appear in the project.

    All are flushed to the disk before the first appears; `check` is called in between, which may
    take back the leave that it gave before. OSError, with the path that it is about, leaves the
    targets that have not appeared as they were.
    """
    staged: list[_Staged] = []
    try:
        for place, destination in destinations(project, places(snapshot, targets)).items():
            staged.append(_Staged(str(snapshot), place, destination, project))
            staged[-1].fill()
        if check is not None:
            check()
        for each in staged:
            each.appear()
        for folder in dict.fromkeys(folder for each in staged for folder in each.touched):
            _flush_folder(folder)
    finally:
        for each in staged:
            each.clear()


def hand_on(project: Path, snapshot: Path, places: Iterable[str]) -> None:
    """Puts what an earlier run published into the snapshot of this one, where it lacks it.

    `places` are those of `digest.products`; one that ends with a slash is an empty folder. What a
    task then writes into what it only reads stays in its run. OSError if a link in the snapshot
    leads out of it.
    """
    inside = os.path.realpath(snapshot)
    leads_in: dict[str, bool] = {}
    for spelled in places:
        place = unspelled(spelled)
        source, twin = os.path.join(project, place), os.path.join(snapshot, place)
        if os.path.isabs(place) or os.path.lexists(twin):
            continue
        folder = os.path.dirname(twin)
        if folder not in leads_in:
            leads_in[folder] = selection.lies_in(os.path.realpath(folder), inside)
        if not leads_in[folder]:
            raise OSError(0, "a link on the way leads out of the run's snapshot", folder)
        os.makedirs(folder, exist_ok=True)
        if not place.endswith("/"):
            _hand_on_one(source, twin)


def _hand_on_one(source: str, twin: str) -> None:
    info = os.lstat(source)
    if stat.S_ISLNK(info.st_mode):
        os.symlink(os.readlink(source), twin)
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
        if owned and not leading_out(project, place):
            with suppress(OSError):  # gone already, or a folder that still holds something
                os.unlink(os.path.join(project, unspelled(owned[0])))
                for folder in owned[1:]:
                    os.rmdir(os.path.join(project, unspelled(folder)))


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


def destinations(project: Path, places: Iterable[str]) -> dict[str, str]:
    """Where targets go, by place: through links inside the project, at the place or on the way,
    as a script run by hand would write. Refused if one leads out, or if the project is gone."""
    root = os.path.realpath(project)
    if not os.path.isdir(root):
        raise OSError(errno.ENOENT, "the project's folder is gone", str(project))
    found = {}
    for place in places:
        found[place] = path = _resolved(root, place)
        if path == root or not selection.lies_in(path, root):
            raise Refused(_out_of(project, place, path))
    return found


_inside = lru_cache(maxsize=8)(os.path.realpath)
"""Where a run's snapshot really lies, which does not change while it runs."""


def _resolved(root: str, place: str) -> str:
    """A place in a resolved folder with the links below it resolved; mostly there are none."""
    path = root
    for name in os.path.normpath(place).split("/"):
        path = f"{path}/{name}"
        if os.path.islink(path):
            return os.path.realpath(os.path.join(root, place))
    return path


def leading_out(project: Path, place: str) -> str:
    """The link at a place in the project, or on the way to it, that leads out; empty if none."""
    root = os.path.realpath(project)
    above = [*reversed(list(ancestors(place.rstrip("/")))), place.rstrip("/")]
    for part in above:
        link = os.path.join(root, part)
        if os.path.islink(link) and not selection.lies_in(os.path.realpath(link), root):
            return part
    return ""


def _out_of(project: Path, place: str, destination: str) -> str:
    link = leading_out(project, place)
    if not link:
        return f"{place} is a link to the project itself: nothing was published"
    return (
        f"{link} is a link that leads out of the project, to {destination}: nothing was published; "
        'let the task write there itself: a target that is absolute or begins with "{workspace}/"'
    )


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

    def __init__(self, snapshot: str, place: str, destination: str, project: Path) -> None:
        self.destination = destination
        self.source = os.path.join(snapshot, place)
        self.snapshot = snapshot
        inside = _inside(snapshot)
        real = _resolved(inside, place)
        if selection.lies_in(real, inside) or not os.path.islink(self.source):
            self.source = real
        parent, self._name = os.path.split(destination)
        self.touched = [parent, *_make_folders(parent, project)]
        plain = os.path.isfile(self.source) and not os.path.islink(self.source)
        self._plain, self._appeared = plain and not os.path.isdir(destination), False
        self._path, self._lock = _claimed(parent, self._plain)
        self._new = self._path if self._plain else os.path.join(self._path, _NEW, self._name)

    def fill(self) -> None:
        """Copies what the task made and flushes it to the disk."""
        if self._plain:
            _fill_file(self.source, self._lock, flush=True)
            return
        os.mkdir(os.path.dirname(self._new))
        _Tree(self.source, self.snapshot).copy(self._new, self._lock, self.destination)

    def appear(self) -> None:
        """Puts the target at its place, in one step unless a folder cannot be exchanged."""
        if self._plain:
            os.replace(self._new, self.destination)
            self._appeared = True
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
        if not self._plain or not self._appeared:
            with suppress(OSError):  # what cannot be removed now is swept by a later run
                remove_tree(Path(self._path))
        os.close(self._lock)


def _claimed(parent: str, plain: bool) -> tuple[str, int]:
    """A new temporary file or folder in `parent`, and the open file that keeps it locked."""
    while True:
        path = os.path.join(parent, f"{selection.TEMPORARY}{os.urandom(6).hex()}")
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


def _make_folders(path: str, project: Path) -> list[str]:
    """Makes a folder and its missing parents up to the project, never that itself; the folders
    that got a new name by it."""
    if os.path.isdir(path):
        return []
    missing, root = [], os.path.realpath(project)
    while not os.path.isdir(path) and path != root:
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        try:
            os.mkdir(folder)
        except FileExistsError:
            if not os.path.isdir(folder):
                raise
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
    return os.path.islink(path) and not selection.lies_in(os.path.realpath(path), _inside(snapshot))


class _Tree:
    """A folder that a task made, or a link that it made in place of one.

    Links inside the folder stay as they are in the copy; a file that lies elsewhere in the
    snapshot is copied, since the run's folder goes some day; a folder there is linked to at its
    place in the project; what leads out of the snapshot is linked to absolutely.
    """

    def __init__(self, top: str, snapshot: str) -> None:
        self._top = top
        self._snapshot = snapshot

    def copy(self, to: str, disk: int, old: str) -> None:
        """Copies all to the missing path `to`, flushed; `disk` is any open file beside it, `old`
        what it takes the place of."""
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
        if folders:
            self._keep_placeholders(old, to)
        for twin, info in reversed(folders):
            os.chmod(twin, stat.S_IMODE(info.st_mode))
            os.utime(twin, ns=(info.st_atime_ns, info.st_mtime_ns))
        kernel.flush(disk)

    def _keep_placeholders(self, old: str, to: str) -> None:
        """Takes over what people keep in a folder whatever it holds, from the old one."""
        for folder, _, names in os.walk(old):
            for name in selection.PLACEHOLDERS.intersection(names):
                path = os.path.join(folder, name)
                twin = os.path.join(to, os.path.relpath(path, old))
                parent = os.path.dirname(twin)
                if os.path.realpath(parent) != parent or os.path.lexists(twin):
                    continue  # the task made a link of that folder, or has its own
                if stat.S_ISREG(os.lstat(path).st_mode):
                    with suppress(FileExistsError, NotADirectoryError):  # a file in its place
                        os.makedirs(parent, exist_ok=True)
                        self._file(path, twin)

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
    root = os.path.realpath(project)
    for target in staged:
        if not is_pattern(target):
            folder = os.path.dirname(_resolved(root, target))
            if selection.lies_in(folder, root):
                yield folder
