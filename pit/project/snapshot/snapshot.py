"""The snapshot: the frozen copy of a project that a run executes from.

One walk lists and copies each folder, a second one looks whether anything moved meanwhile and
takes the folders that did again, so that a snapshot taken during a `git pull` is not half old
and half new. Files are copied by `copy_file_range`, which shares blocks where the file system
can (btrfs, XFS). Permissions and modification times are kept; owners, ACLs and extended
attributes are not.

Links stay links when they point inside the project, rewritten if absolute, so that they never
lead back to the live tree; what lies outside is copied. Ignored files that `inputs` name are
linked to the live file, and `{workspace}/` and absolute inputs are read where they are: such
data is not frozen but watched (inputs.py), because big data is never duplicated.

Where an earlier run has left its snapshot as a base (base.py), that is brought up to date: only
what is not there as it should be is copied.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pit.errors import DiskFull, PitError, SnapshotFailed
from pit.fs import copying
from pit.fs.files import FULL, MAKE_ROOM, remove_tree
from pit.fs.reads import Reads
from pit.fs.stat import signature, young_for
from pit.model import Record
from pit.project import selection
from pit.project.digest import Digests
from pit.project.manifest import Copied, Manifest
from pit.project.selection import Excluded, Found, Ignore, shown
from pit.project.snapshot import inputs as live_inputs
from pit.project.snapshot.base import Base, Unfit, same_folder
from pit.project.snapshot.inputs import Watch
from pit.project.snapshot.listing import FOLDER, YOUNG, Listing, kind, listing
from pit.project.trees import LiveTree, Rules

LARGE = 1_000_000_000
"""From how many copied bytes on a snapshot says how to become smaller."""

_ROUNDS = 3
_VANISHED = (FileNotFoundError, NotADirectoryError)
# Whatever stands there by now: never follow a link, never wait for a FIFO's other end.
_READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WRITING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_DANGLING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Snapshot(Record):
    """What was taken; `links` has a Watch for every input, as declared, that is read live.

    `manifest` is None for one that an earlier Pit took.
    """

    files: int
    bytes: int
    seconds: float
    links: dict[str, Watch]
    manifest: Manifest | None
    warnings: tuple[str, ...] = ()


def again(inputs: Iterable[str], workspace: Path, manifest: Manifest | None = None) -> Snapshot:
    """A snapshot that an earlier run has taken: only what is read in place is looked at anew."""
    links = {name: watch for name in inputs if (watch := live_inputs.in_place(name, workspace))}
    return Snapshot(files=0, bytes=0, seconds=0.0, links=links, manifest=manifest)


def take(
    project: Path,
    into: Path,
    inputs: Iterable[str],
    workspace: Path,
    rules: Rules | None = None,
    checkpoint: Callable[[], None] = lambda: None,
    base: Base | None = None,
) -> Snapshot:
    """Copies `project` into the empty or missing folder `into`, or brings the `base` there up to
    date.

    `rules` say what is not part of it, such as what this run will make, and which files are
    private. `checkpoint` is called every few milliseconds and may raise to give up. Raises
    SnapshotFailed or DiskFull, naming the path; what was copied so far stays. Unfit if there is no
    use for the base; then `into` has to be emptied.
    """
    try:
        return _take(project, into, inputs, workspace, rules or Rules(project), checkpoint, base)
    except _Unwritable as error:
        if base is None:
            raise
        raise Unfit(str(error)) from error


def _take(
    project: Path,
    into: Path,
    inputs: Iterable[str],
    workspace: Path,
    rules: Rules,
    checkpoint: Callable[[], None],
    base: Base | None,
) -> Snapshot:
    began = time.monotonic()
    copy = _Copy(os.path.realpath(project), str(into), rules.without(into), checkpoint, base)
    copy.take()
    links = _links(copy, inputs, workspace, rules)
    copy.close()
    weights = copy.weights()
    return Snapshot(
        files=sum(taken.files for taken in copy.taken.values()),
        bytes=weights.total(),
        seconds=time.monotonic() - began,
        links=links,
        manifest=copy.manifest(str(project)),
        warnings=tuple(dict.fromkeys((*copy.warnings, *_too_large(weights)))),
    )


def _links(copy: _Copy, inputs: Iterable[str], workspace: Path, rules: Rules) -> dict[str, Watch]:
    """Makes the inputs readable that were not copied, and watches them.

    What .pitignore leaves out of the project is there nevertheless if an input of any task names
    it, also of one that is not selected: else what code finds would depend on the selection.
    """
    links, wanted = {}, set(inputs)
    tree = LiveTree(copy.live, rules.of_copy(), Digests(), Reads())
    for declared in (*sorted(wanted), *(rules.named if copy.ignores else ())):
        watch = live_inputs.in_place(declared, workspace) if declared in wanted else None
        try:
            watch = watch or live_inputs.link(declared, tree, copy.into, copy.others, copy.warnings)
        except OSError as error:
            raise _unwritable(error, error.filename2 or error.filename) from error
        if watch is not None and declared in wanted:
            links[declared] = watch
    return links


# ---------------------------------------------------------------- what is said


def _unreadable(error: Exception, path: str, live: str) -> PitError:
    why = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
    place = os.path.relpath(path, live)
    return SnapshotFailed(
        f"cannot read {shown(path)} for the snapshot: {why}",
        f"Make it readable, or leave it out of runs by the line /{shown(place)} in .pitignore",
    )


class _Unwritable(SnapshotFailed):
    """It is the snapshot that cannot be written, not the project that cannot be read."""


def _unwritable(error: OSError, path: str) -> PitError:
    if error.errno in FULL:
        return DiskFull(
            f"the disk is full: the snapshot cannot write {shown(path)}",
            f"{MAKE_ROOM}, or leave large files out of runs with a .pitignore",
        )
    why = (error.strerror or str(error)).lower()
    return _Unwritable(f"the snapshot cannot write {shown(path)}: {why}")


def _too_large(weights: Counter[str]) -> Iterator[str]:
    if weights.total() >= LARGE:
        heaviest = ", ".join(
            f"{shown(place)} {size / 1e9:.1f} GB" for place, size in weights.most_common(3)
        )
        yield (
            f"the snapshot copied {weights.total() / 1e9:.1f} GB ({heaviest}); leave data out "
            "with a .pitignore: what `inputs` name of it is then linked instead of copied"
        )


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
        real = selection.located(path)
        for live, twin in self.roots:
            if selection.lies_in(real, live):
                return twin + real[len(live) :]
        return None


class _Way(NamedTuple):
    """Between which folders files are copied: their paths with a slash, and the open folders;
    `place` is that of a file in the snapshot but for its name."""

    from_: str
    to: str
    place: str
    live: int | None
    twin: int | None


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
        self,
        live: str,
        into: str,
        excluded: Excluded,
        checkpoint: Callable[[], None],
        base: Base | None,
    ) -> None:
        self.live = live
        self.into = into
        self.excluded = excluded
        self.warnings: list[str] = []
        self.taken: dict[str, _Taken] = {}
        self.files: dict[str, Copied] = {}
        self.links: dict[str, str] = {}
        self.others: set[str] = set()
        self.ignores = False
        self._checkpoint = checkpoint
        self._base = base
        self._masked = _umask() | 0o7000

    def take(self) -> None:
        """Copies the project, and again what moved meanwhile."""
        self._walk([_Folder(self.live, self.into, "", None, ((self.live, self.into),))])
        if self._base is not None and self._base.equals(self.manifest(self.live)):
            return
        for _ in range(_ROUNDS):
            moved = self._moved()
            if not moved:
                return
            time.sleep(YOUNG)
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
                if self._base is not None and same_folder(twin, taken.info):
                    continue
                os.chmod(twin, stat.S_IMODE(taken.info.st_mode))
                os.utime(twin, ns=(taken.info.st_atime_ns, taken.info.st_mtime_ns))
            except OSError as error:
                raise _unwritable(error, twin) from error

    def manifest(self, project: str) -> Manifest:
        """What was taken, by place."""
        folders = {taken.folder.place for taken in self.taken.values()}
        others = self.others | self.links.keys() | folders
        return Manifest(
            project=project, files=self.files, others=others, folders=folders, links=self.links
        )

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
            self._clear(folder.twin)
            return
        self.ignores = self.ignores or found.ignore is not None
        files = self._make_folder(folder, found)
        for name, what in found.others:
            path = shown(f"{folder.live}/{name}")
            self.warnings.append(f"{path} is {what}: left out of the snapshot")
        copied = self._files(folder, files) if files else 0
        for name in found.links:
            yield from self._link(folder, name, found.ignore)
        inner = [folder.inner(name, found.ignore) for name in found.folders]
        yield from (each for each in inner if each.twin not in self.taken)
        self.taken[folder.twin] = _Taken(folder, found.info, found.mark, len(found.files), copied)

    def _make_folder(self, folder: _Folder, found: Listing) -> list[Found]:
        """Makes the twin, or rids it of all that is not to stay; the files that are to be copied.

        What stays are the sub-folders that still are to be there, and what is right in a base.
        """
        files = self.excluded.spared(folder.live, found.files)
        if self._base is not None and folder.twin not in self.taken:
            place = folder.place_of("")
            left = self._base.set_right(folder.live, folder.twin, place, found, files, self.files)
            if left is not None:
                return left
        try:
            if folder.twin not in self.taken:
                if folder.place or not os.path.isdir(folder.twin):
                    os.mkdir(folder.twin, 0o700)
                return files
            keep = {f"{folder.twin}/{name}" for name in found.folders}
            with os.scandir(folder.twin) as entries:
                stale = [entry.path for entry in entries if entry.path not in keep]
            for path in stale:
                self._forget(path)
        except OSError as error:
            raise _unwritable(error, folder.twin) from error
        return files

    def _clear(self, twin: str, but_a_folder: bool = False) -> None:
        """Frees a place where a base may have something."""
        if self._base is not None:
            self._base.clear(twin, but_a_folder)

    def _forget(self, twin: str) -> None:
        """Removes what has vanished from the project since it was copied."""
        remove_tree(Path(twin))
        for path in [path for path in self.taken if selection.lies_in(path, twin)]:
            del self.taken[path]
        gone = os.path.relpath(twin, self.into)
        for known in (self.files, self.links):
            for place in [place for place in known if selection.lies_in(place, gone)]:
                del known[place]
        self.others = {place for place in self.others if not selection.lies_in(place, gone)}

    def _find(self, folder: _Folder) -> Listing | None:
        try:
            return listing(folder.live, folder.place, folder.ignore, self.excluded)
        except OSError as error:
            raise _unreadable(error, error.filename or folder.live, self.live) from error

    # ------------------------------------------------ files

    def _files(self, folder: _Folder, files: list[Found]) -> int:
        """Copies the regular files of a folder, by their names in the two open folders."""
        try:
            live = os.open(folder.live, FOLDER)
        except _VANISHED:
            return 0
        except OSError as error:
            raise _unreadable(error, folder.live, self.live) from error
        try:
            twin = os.open(folder.twin, FOLDER)
        except OSError as error:
            os.close(live)
            raise _unwritable(error, folder.twin) from error
        way = _Way(f"{folder.live}/", f"{folder.twin}/", folder.place_of(""), live, twin)
        try:
            return sum([self._file(name, name, way, way.place + name) for name, _ in files])
        finally:
            os.close(live)
            os.close(twin)

    def _file(self, name: str, twin: str, way: _Way, place: str) -> int:
        """Copies one regular file; one that has just vanished or changed its kind is left to
        the second look."""
        try:
            source = os.open(name, _READING, dir_fd=way.live)
        except _VANISHED:
            return 0
        except OSError as error:
            if error.errno == errno.ELOOP:
                return 0
            raise _unreadable(error, way.from_ + name, self.live) from error
        try:
            return self._file_from(source, twin, way, place)
        except copying.SourceFailed as failed:
            raise _unreadable(failed.cause, way.from_ + name, self.live) from failed
        except OSError as error:
            raise _unwritable(error, way.to + twin) from error
        finally:
            os.close(source)

    def _file_from(self, source: int, twin: str, way: _Way, place: str) -> int:
        """Copies an open file; an OSError is about the target."""
        info, when = os.fstat(source), time.time_ns()
        if not stat.S_ISREG(info.st_mode):
            return 0
        mode = stat.S_IMODE(info.st_mode)
        target = os.open(twin, _WRITING, mode & 0o777, dir_fd=way.twin)
        try:
            size = copying.contents(source, target, info, self._checkpoint) if info.st_size else 0
            if mode & self._masked:
                os.fchmod(target, mode)
            os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
            copy = signature(os.fstat(target))
        finally:
            os.close(target)
        looked = signature(info)
        if looked == signature(os.fstat(source)):
            settled = young_for(looked.ctime, when) <= 0
            self.files[place] = Copied(live=looked, copy=copy, settled=settled)
        if self._base is not None:
            self._base.told(place, self.files.get(place))
        return size

    # ------------------------------------------------ links

    def _is_spared(self, real: str, info: os.stat_result) -> bool:
        """Whether what a link leads to is none of the files that no snapshot takes."""
        folder, name = os.path.split(real)
        return bool(self.excluded.spared(folder, [(name, info)]))

    def _link(self, folder: _Folder, name: str, ignore: Ignore | None) -> Iterator[_Folder]:
        """Makes the twin of a symbolic link; yields the folder to copy in its place, if any."""
        path, twin = f"{folder.live}/{name}", f"{folder.twin}/{name}"
        try:
            aim = os.readlink(path)
        except OSError:
            self._clear(twin)
            return  # vanished, or no link any more: left to the second look
        if self.excluded.is_private(path):
            self._clear(twin)
            return
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
            if selection.is_database(real) or not self._is_spared(real, info):
                self._clear(folder.twin)
            elif self._base is None:
                self._outer_file(real, folder)
            elif copied := self._base.has_file(real, folder.twin, folder.place, info):
                self.files[folder.place] = copied
            else:
                self._outer_file(real, folder)
        elif not stat.S_ISDIR(info.st_mode):
            self._clear(folder.twin)
            self.warnings.append(f"{shown(path)} leads to {kind(info.st_mode)}: left out")
        elif any(selection.lies_in(live, real) for live, _ in folder.roots):
            self.warnings.append(
                f"{shown(path)} leads to a folder that contains it; it stays a link, so what "
                "tasks read through it is not frozen"
            )
            self._symlink(real, folder.twin)
        else:
            self._clear(folder.twin, but_a_folder=True)
            roots = ((real, folder.twin), *folder.roots)
            yield folder._replace(live=real, roots=roots)

    def _outer_file(self, real: str, folder: _Folder) -> None:
        self._file(real, folder.twin, _Way("", "", "", None, None), folder.place)

    def _symlink(self, aim: str, twin: str) -> None:
        if self._base is None or not self._base.has_link(twin, aim):
            try:
                os.symlink(aim, twin)
            except OSError as error:
                raise _unwritable(error, twin) from error
        self.links[os.path.relpath(twin, self.into)] = aim


def _rewritten(aim: str, inside: str, folder: str) -> str:
    """The text of a link in the twin `folder` to the twin `inside`; as it was, if that does."""
    if not os.path.isabs(aim) and os.path.normpath(os.path.join(folder, aim)) == inside:
        return aim
    return os.path.relpath(inside, folder)


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
