"""The snapshot: the frozen copy of a project that a run executes from.

One walk lists and copies each folder, a second one looks whether anything moved meanwhile and
takes the folders that did again, so that a snapshot taken during a `git pull` is not half old
and half new. Files are copied by `copy_file_range`, which shares blocks where the file system
can (btrfs, XFS). Permissions and modification times are kept; owners, ACLs and extended
attributes are not.

Links stay links when they point inside the project, rewritten if absolute, so that they never
lead back to the live tree; what lies outside is copied. Ignored files that `inputs` name are
linked to the live file, and `{workspace}/` and absolute inputs are read where they are: such
data is not frozen but watched (`changed`), because big data is never duplicated.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pit.errors import DiskFull, PitError, SnapshotFailed
from pit.model import Record
from pit.spec.patterns import ancestors, compiled, is_pattern
from pit.state.files import FULL, remove_tree
from pit.work import copying, selection
from pit.work.selection import Ignore

LARGE = 1_000_000_000
"""From how many copied bytes on a snapshot says how to become smaller."""

_ROUNDS = 3
_YOUNG = 0.02
"""Seconds in which two changes of a file may bear the same time."""
_VANISHED = (FileNotFoundError, NotADirectoryError)
# Whatever stands there by now: never follow a link, never wait for a FIFO's other end.
_READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WRITING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_DANGLING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)

Stat = tuple[int, int, int, int, int]
"""Device, inode, size, and modification and change time in nanoseconds."""


class Watch(Record):
    """A data input that a run reads live: the files it names and how they were at the start.

    `pattern`, below `root`, is expanded again by `changed`; it is empty for files that were
    linked into the snapshot one by one, where new names cannot appear.
    """

    files: dict[str, Stat]
    root: str = ""
    pattern: str = ""


class Snapshot(Record):
    """What was taken; `links` has a Watch for every input, as declared, that is read live."""

    files: int
    bytes: int
    seconds: float
    links: dict[str, Watch]
    warnings: tuple[str, ...] = ()


def take(
    project: Path,
    into: Path,
    inputs: Iterable[str],
    workspace: Path,
    exclude: Iterable[Path] = (),
    checkpoint: Callable[[], None] = lambda: None,
) -> Snapshot:
    """Copies `project` into the empty or missing folder `into`.

    `exclude` names paths or patterns below the project that are not part of it, such as the
    folder of runs or what this run will make. `checkpoint` is called every few milliseconds and
    may raise to give up. Raises SnapshotFailed or DiskFull, naming the path; what was copied
    so far stays.
    """
    began = time.monotonic()
    live = os.path.realpath(project)
    copy = _Copy(live, str(into), _excluded(project, live, (*exclude, into)), checkpoint)
    copy.take()
    links = {
        declared: watch for declared in inputs if (watch := _linked(copy, declared, workspace))
    }
    copy.close()
    weights = copy.weights()
    return Snapshot(
        files=sum(taken.files for taken in copy.taken.values()),
        bytes=weights.total(),
        seconds=time.monotonic() - began,
        links=links,
        warnings=tuple(dict.fromkeys((*copy.warnings, *_too_large(weights)))),
    )


def changed(links: Mapping[str, Watch], inputs: Iterable[str] | None = None) -> tuple[str, ...]:
    """The live files, of these inputs or of all, that are not as the snapshot found them.

    A file that came or went where an absolute pattern looks counts as changed.
    """
    wanted = links if inputs is None else [name for name in inputs if name in links]
    found: set[str] = set()
    for watch in (links[name] for name in wanted):
        now = _stats(_expanded(watch.root, watch.pattern) if watch.pattern else watch.files)
        found.update(path for path, _ in watch.files.items() ^ now.items())
    return tuple(sorted(found))


def _expanded(root: str, pattern: str) -> Iterator[str]:
    return (os.path.join(root, place) for place in selection.files(root, pattern))


def _stats(paths: Iterable[str]) -> dict[str, Stat]:
    return {path: key for path in paths if (key := _stat(path)) is not None}


def _stat(path: str) -> Stat | None:
    try:
        info = os.stat(path)
    except OSError:
        return None
    return (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


# ---------------------------------------------------------------- what is said


def shown(path: str) -> str:
    """A path fit for a message, whatever bytes its name consists of."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _unreadable(error: Exception, path: str, live: str) -> PitError:
    why = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
    place = os.path.relpath(path, live)
    return SnapshotFailed(
        f"cannot read {shown(path)} for the snapshot: {why}",
        f"Make it readable, or leave it out of runs by the line /{shown(place)} in .pitignore",
    )


def _unwritable(error: OSError, path: str) -> PitError:
    if error.errno in FULL:
        return DiskFull(
            f"the disk is full: the snapshot cannot write {shown(path)}",
            "Make room (pit prune helps), or leave large files out of runs with a .pitignore",
        )
    why = (error.strerror or str(error)).lower()
    return SnapshotFailed(f"the snapshot cannot write {shown(path)}: {why}")


def _too_large(weights: Counter[str]) -> Iterator[str]:
    if weights.total() >= LARGE:
        heaviest = ", ".join(
            f"{shown(place)} {size / 1e9:.1f} GB" for place, size in weights.most_common(3)
        )
        yield (
            f"the snapshot copied {weights.total() / 1e9:.1f} GB ({heaviest}); leave data out "
            "with a .pitignore: what `inputs` name of it is then linked instead of copied"
        )


# ---------------------------------------------------------------- what is not part of it


class _Excluded:
    """Paths and patterns, relative to the project, that are not part of it."""

    def __init__(self, places: Iterable[str]) -> None:
        self._places = frozenset(places)
        self._patterns = [compiled(place).fullmatch for place in self._places if is_pattern(place)]

    def __bool__(self) -> bool:
        return bool(self._places)

    def covers(self, place: str) -> bool:
        """Whether this very place is excluded."""
        return place in self._places or any(match(place) for match in self._patterns)

    def contains(self, place: str) -> bool:
        """Whether this place or a folder above it is excluded."""
        return self.covers(place) or any(self.covers(folder) for folder in ancestors(place))


def _excluded(project: Path, live: str, paths: Iterable[Path]) -> _Excluded:
    """Those of `paths` that lie in the project, whether spelled through links or not."""
    roots = {os.path.abspath(project), live}
    spellings = [text for path in paths for text in (os.path.abspath(path), _real(path))]
    return _Excluded(
        text[len(root) + 1 :] for root in roots for text in spellings if text.startswith(root + "/")
    )


def _real(path: str | Path) -> str:
    """The path with the links of its parents resolved, its own name kept."""
    head, tail = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(head), tail)


# ---------------------------------------------------------------- the copy


class _Folder(NamedTuple):
    """A folder to be copied: where it lies, where its twin goes, its place in the snapshot.

    `roots` are the live trees that have a twin, innermost first, as (live, twin) pairs:
    the project, and the folders outside it that a link led to on the way here.
    """

    live: str
    twin: str
    place: str
    ignore: Ignore | None
    roots: tuple[tuple[str, str], ...]

    def inner(self, name: str, ignore: Ignore | None) -> _Folder:
        """The sub-folder of this name."""
        live, twin = f"{self.live}/{name}", f"{self.twin}/{name}"
        return _Folder(live, twin, self.place_of(name), ignore, self.roots)

    def place_of(self, name: str) -> str:
        """The place in the snapshot of something in this folder."""
        return f"{self.place}/{name}" if self.place else name

    def twin_of(self, path: str) -> str | None:
        """Where in the snapshot the twin of a live path lies; None if it leads out."""
        real = _real(path)
        for live, twin in self.roots:
            if real == live or real.startswith(live + "/"):
                return twin + real[len(live) :]
        return None


class _Found(NamedTuple):
    """What a folder holds that counts, and how it looked.

    `mark` changes when anything of it does; None while a file is so young that one more change
    in the same instant could hide.
    """

    info: os.stat_result
    ignore: Ignore | None
    folders: list[str]
    files: list[tuple[str, os.stat_result]]
    links: list[str]
    mark: int | None


class _Taken(NamedTuple):
    """A folder that was copied, without its sub-folders."""

    folder: _Folder
    info: os.stat_result
    mark: int | None
    files: int
    bytes: int


class _Copy:
    """A snapshot in the making."""

    def __init__(
        self, live: str, into: str, excluded: _Excluded, checkpoint: Callable[[], None]
    ) -> None:
        self.live = live
        self.into = into
        self.excluded = excluded
        self.warnings: list[str] = []
        self.taken: dict[str, _Taken] = {}
        self._checkpoint = checkpoint
        self._masked = _umask() | 0o7000

    def take(self) -> None:
        """Copies the project, and again what moved meanwhile."""
        self._walk([_Folder(self.live, self.into, "", None, ((self.live, self.into),))])
        for _ in range(_ROUNDS):
            moved = self._moved()
            if not moved:
                return
            time.sleep(_YOUNG)
            for folder in moved:
                if folder.twin in self.taken:  # else it went with a folder above it
                    self._walk([folder])
        if moved := self._moved():
            names = ", ".join(shown(folder.live) for folder in moved[:3])
            self.warnings.append(f"files in {names} kept changing while the snapshot copied them")

    def close(self) -> None:
        """Gives the folders the permissions and times of their models, the innermost first."""
        for twin, taken in reversed(self.taken.items()):
            try:
                os.chmod(twin, stat.S_IMODE(taken.info.st_mode))
                os.utime(twin, ns=(taken.info.st_atime_ns, taken.info.st_mtime_ns))
            except OSError as error:
                raise _unwritable(error, twin) from error

    def weights(self) -> Counter[str]:
        """The copied bytes by the first name of their place."""
        weights: Counter[str] = Counter()
        for taken in self.taken.values():
            weights[taken.folder.place.partition("/")[0] or "the project folder"] += taken.bytes
        return weights

    # ------------------------------------------------ folders

    def _walk(self, todo: list[_Folder]) -> None:
        while todo:
            self._checkpoint()
            todo.extend(self._folder(todo.pop()))

    def _moved(self) -> list[_Folder]:
        """The folders that do not look as they did when they were copied."""
        moved = []
        for folder, _, mark, _, _ in list(self.taken.values()):
            self._checkpoint()
            found = self._find(folder)
            if found is None:
                self._forget(folder.twin)
            elif found.mark is None or found.mark != mark:
                moved.append(folder)
        return [folder for folder in moved if folder.twin in self.taken]

    def _folder(self, folder: _Folder) -> Iterator[_Folder]:
        """Copies what lies directly in a folder; yields the sub-folders that are still to do."""
        found = self._find(folder)
        if found is None:
            return
        self._make_folder(folder, found)
        copied = 0
        for name, info in found.files:
            copied += self._file(f"{folder.live}/{name}", f"{folder.twin}/{name}", info)
        for name in found.links:
            yield from self._link(folder, name, found.ignore)
        inner = [folder.inner(name, found.ignore) for name in found.folders]
        yield from (each for each in inner if each.twin not in self.taken)
        self.taken[folder.twin] = _Taken(folder, found.info, found.mark, len(found.files), copied)

    def _make_folder(self, folder: _Folder, found: _Found) -> None:
        """Makes the twin, or rids it of all but the sub-folders that still are to be there."""
        try:
            if folder.twin not in self.taken:
                if folder.place or not os.path.isdir(folder.twin):
                    os.mkdir(folder.twin, 0o700)
                return
            keep = {f"{folder.twin}/{name}" for name in found.folders}
            with os.scandir(folder.twin) as entries:
                stale = [entry.path for entry in entries if entry.path not in keep]
            for path in stale:
                self._forget(path)
        except OSError as error:
            raise _unwritable(error, folder.twin) from error

    def _forget(self, twin: str) -> None:
        """Removes what has vanished from the project since it was copied."""
        remove_tree(Path(twin))
        for path in [path for path in self.taken if f"{path}/".startswith(f"{twin}/")]:
            del self.taken[path]

    def _find(self, folder: _Folder) -> _Found | None:
        """What is to be copied of a folder; None if it has vanished or is left out."""
        try:
            info = os.lstat(folder.live)
            with os.scandir(folder.live) as listing:
                entries = list(listing)
            names = [entry.name for entry in entries]
            if folder.place and selection.is_virtual_environment(names):
                return None
            ignore = self._ignore(folder, names)
            return self._sorted(folder, entries, info, ignore)
        except _VANISHED:
            return None
        except OSError as error:
            raise _unreadable(error, error.filename or folder.live, self.live) from error

    def _ignore(self, folder: _Folder, names: list[str]) -> Ignore | None:
        """The rules that hold in this folder."""
        path = f"{folder.live}/{selection.IGNORE_FILE}"
        if selection.IGNORE_FILE not in names or not os.path.isfile(path):
            return folder.ignore
        try:
            return Ignore.read(path, f"{folder.place}/".lstrip("/"), folder.ignore)
        except ValueError as error:
            raise SnapshotFailed(
                f"{shown(path)} has a pattern that makes no sense: {error}"
            ) from error

    def _sorted(
        self,
        folder: _Folder,
        entries: list[os.DirEntry[str]],
        info: os.stat_result,
        ignore: Ignore | None,
    ) -> _Found:
        """The entries of a folder by kind, without those that are left out."""
        folders: list[str] = []
        files: list[tuple[str, os.stat_result]] = []
        links: list[str] = []
        mark, youngest = 0, 0
        for entry in entries:
            name = entry.name
            if selection.is_left_out(name):
                continue
            if self.excluded and self.excluded.covers(folder.place_of(name)):
                continue
            is_folder = entry.is_dir(follow_symlinks=False)
            if ignore is not None and _ignored(ignore, folder.place_of(name), entry):
                continue
            if is_folder:
                folders.append(name)
                mark += hash((name, entry.inode()))
                continue
            try:
                stats = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if selection.is_database(name):
                continue
            if stat.S_ISREG(stats.st_mode):
                files.append((name, stats))
            elif stat.S_ISLNK(stats.st_mode):
                links.append(name)
                mark += hash(_stat(entry.path))
            else:
                self.warnings.append(
                    f"{shown(entry.path)} is {_kind(stats.st_mode)}: left out of the snapshot"
                )
            mark += hash((name, stats.st_ino, stats.st_size, stats.st_ctime_ns, stats.st_mode))
            youngest = max(youngest, stats.st_ctime_ns)
        young = abs(time.time_ns() - youngest) < _YOUNG * 1e9
        return _Found(info, ignore, folders, files, links, None if young else mark)

    # ------------------------------------------------ files

    def _file(self, path: str, twin: str, info: os.stat_result) -> int:
        """Copies one regular file; one that has just vanished or changed its kind is left to
        the second look."""
        try:
            source = os.open(path, _READING)
        except _VANISHED:
            return 0
        except OSError as error:
            if error.errno == errno.ELOOP:
                return 0
            raise _unreadable(error, path, self.live) from error
        try:
            return self._file_from(source, path, twin, info)
        finally:
            os.close(source)

    def _file_from(self, source: int, path: str, twin: str, info: os.stat_result) -> int:
        mode = stat.S_IMODE(info.st_mode)
        try:
            target = os.open(twin, _WRITING, mode & 0o777)
            try:
                size = self._fill(source, target, path, info) if info.st_size else 0
                if mode & self._masked:
                    os.fchmod(target, mode)
                os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
            finally:
                os.close(target)
        except OSError as error:
            raise _unwritable(error, twin) from error
        return size

    def _fill(self, source: int, target: int, path: str, info: os.stat_result) -> int:
        """Copies the bytes; an OSError is about the target."""
        try:
            return copying.contents(source, target, info, self._checkpoint)
        except copying.SourceFailed as failed:
            raise _unreadable(failed.cause, path, self.live) from failed

    # ------------------------------------------------ links

    def _link(self, folder: _Folder, name: str, ignore: Ignore | None) -> Iterator[_Folder]:
        """Makes the twin of a symbolic link; yields the folder to copy in its place, if any."""
        path, twin = f"{folder.live}/{name}", f"{folder.twin}/{name}"
        try:
            aim = os.readlink(path)
        except OSError:
            return  # vanished, or no link any more: left to the second look
        inside = folder.twin_of(os.path.join(folder.live, aim))
        if inside is not None:
            self._symlink(_rewritten(aim, inside, folder.twin), twin)
        else:
            yield from self._outward(folder.inner(name, ignore), os.path.join(folder.live, aim))

    def _outward(self, folder: _Folder, aim: str) -> Iterator[_Folder]:
        """Copies what a link that leads out of the project points to."""
        path, real = folder.live, os.path.realpath(folder.live)
        try:
            info = os.stat(path)
        except OSError as error:
            if error.errno not in _DANGLING:
                raise _unreadable(error, path, self.live) from error
            self._symlink(aim, folder.twin)
            return
        if stat.S_ISREG(info.st_mode):
            if not selection.is_database(real):
                self._file(real, folder.twin, info)
        elif not stat.S_ISDIR(info.st_mode):
            self.warnings.append(f"{shown(path)} leads to {_kind(info.st_mode)}: left out")
        elif any(f"{live}/".startswith(f"{real}/") for live, _ in folder.roots):
            self.warnings.append(
                f"{shown(path)} leads to a folder that contains it; it stays a link, so what "
                "tasks read through it is not frozen"
            )
            self._symlink(real, folder.twin)
        else:
            roots = ((real, folder.twin), *folder.roots)
            yield folder._replace(live=real, roots=roots)

    def _symlink(self, aim: str, twin: str) -> None:
        try:
            os.symlink(aim, twin)
        except OSError as error:
            raise _unwritable(error, twin) from error


def _rewritten(aim: str, inside: str, folder: str) -> str:
    """The text of a link in the twin `folder` to the twin `inside`; as it was, if that does."""
    if not os.path.isabs(aim) and os.path.normpath(os.path.join(folder, aim)) == inside:
        return aim
    return os.path.relpath(inside, folder)


def _ignored(ignore: Ignore, place: str, entry: os.DirEntry[str]) -> bool:
    """Whether the rules cover an entry; `data/` covers a link as well, as it may lead to a
    folder."""
    if entry.is_dir(follow_symlinks=False):
        return ignore.covers(f"{place}/")
    return ignore.covers(place) or (entry.is_symlink() and ignore.covers(f"{place}/"))


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "a FIFO"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def _umask() -> int:
    """The process's umask, without setting it if the system can tell."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("Umask:"):
                    return int(line.split()[1], 8)
    except OSError:
        pass
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


# ---------------------------------------------------------------- inputs that are not copied


def _linked(copy: _Copy, declared: str, workspace: Path) -> Watch | None:
    """Makes one declared input readable where it is not copied; None if all of it is."""
    if declared.startswith(selection.WORKSPACE):
        return _in_place(str(workspace), declared.removeprefix(selection.WORKSPACE))
    if os.path.isabs(declared):
        return _in_place("/", declared.lstrip("/"))
    found: dict[str, Stat] = {}
    for place in selection.files(copy.live, declared):
        path, twin = os.path.join(copy.live, place), os.path.join(copy.into, place)
        if copy.excluded.contains(place) or os.path.exists(twin) or not os.path.isfile(path):
            continue
        if selection.is_database(place):
            copy.warnings.append(
                f'input "{shown(place)}" is a database, which no snapshot takes: open it by its '
                f"path {shown(path)}, or give it as {selection.WORKSPACE}… or absolute"
            )
        elif not _link_in(copy, path, twin):
            continue
        found |= _stats([path])
    return Watch(files=found) if found else None


def _in_place(root: str, pattern: str) -> Watch:
    return Watch(files=_stats(_expanded(root, pattern)), root=root, pattern=pattern)


def _link_in(copy: _Copy, path: str, twin: str) -> bool:
    """Links a live file into the snapshot; False where the way to it leads out of it."""
    parent = os.path.dirname(twin)
    inside = os.path.realpath(copy.into)
    if not f"{os.path.realpath(parent)}/".startswith(f"{inside}/"):
        return False
    try:
        os.makedirs(parent, exist_ok=True)
        if os.path.islink(twin):
            os.unlink(twin)
        os.symlink(path, twin)
    except OSError as error:
        raise _unwritable(error, twin) from error
    return True
