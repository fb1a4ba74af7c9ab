"""The two ends from which a project is seen: the live one by a snapshot's rules, and a snapshot."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from pit.fs.reads import Reads
from pit.model import FileMark
from pit.project import selection
from pit.project.digest import Digests
from pit.project.manifest import Manifest
from pit.project.marks import marked
from pit.project.places import is_named
from pit.project.selection import Entry, Excluded, Ignore


class Rules:
    """What of a project no snapshot takes, beside what nobody's does.

    `excluded` are paths and patterns below the project, such as what its tasks make themselves,
    `private` files that are left out wherever they are met. `named` are the inputs of all tasks: a
    file that .pitignore leaves out is there nevertheless if one of them names it.
    """

    def __init__(
        self,
        project: Path,
        excluded: Iterable[Path] = (),
        private: Iterable[Path] = (),
        named: Iterable[str] = (),
    ) -> None:
        self._project, self._paths, self._private = project, tuple(excluded), tuple(private)
        self.excluded = Excluded(project, self._paths, self._private)
        self.named = tuple(each for each in dict.fromkeys(named) if not _is_elsewhere(each))

    def without(self, path: Path) -> Excluded:
        """What is left out if that path is as well."""
        return Excluded(self._project, (*self._paths, path), self._private)

    def is_linked(self, place: str) -> bool:
        """Whether an ignored file is there after all."""
        return is_named(place, self.named)


def _is_elsewhere(declared: str) -> bool:
    return os.path.isabs(declared) or declared.startswith(selection.WORKSPACE)


class _Folder:
    """A folder of the live project: where it really lies, the ignore rules in it, and the live
    trees that have a twin in a snapshot, innermost first."""

    __slots__ = ("ignore", "path", "roots")

    def __init__(self, path: str, ignore: Ignore | None, roots: tuple[str, ...]) -> None:
        self.path, self.ignore, self.roots = path, ignore, roots


class LiveTree:
    """The live project as a snapshot would have it.

    A link that leads out of the project is what it leads to, for a snapshot copies that; one that
    leads inside stays a link. `code` says what is meant: the files of a snapshot, or with that
    also what inputs may name, which are ignored files and databases.
    """

    def __init__(self, root: str, rules: Rules, digests: Digests, reads: Reads) -> None:
        self.root, self.rules = root, rules
        self.digests, self._reads = digests, reads
        self._real = os.path.realpath(root)
        self._folders: dict[str, _Folder | None] = {}
        self._listed: dict[str, tuple[Sequence[Entry], Sequence[Entry]]] = {}

    def entries(self, place: str) -> Sequence[Entry]:
        """All that inputs may name."""
        return self._both(place)[0]

    def code(self, place: str) -> Sequence[Entry]:
        """What a snapshot has."""
        return self._both(place)[1]

    def mark(self, place: str, info: os.stat_result | None = None) -> FileMark:
        """The mark of a file."""
        return marked(f"{self.root}/{place}", self.digests, self._reads, info)

    def forget(self) -> None:
        """Look at all folders anew."""
        self._folders.clear()
        self._listed.clear()

    def has(self, place: str) -> bool:
        """Whether the rules leave a place alone."""
        excluded = self.rules.excluded
        if not excluded:
            return True
        return not excluded.contains(place) and not excluded.is_private(f"{self.root}/{place}")

    # ------------------------------------------------ folders

    def _both(self, place: str) -> tuple[Sequence[Entry], Sequence[Entry]]:
        found = self._listed.get(place)
        if found is None:
            folder = self._folder(place)
            found = ((), ()) if folder is None else self._sorted(place, folder)
            self._listed[place] = found
        return found

    def _folder(self, place: str) -> _Folder | None:
        """A folder, met on the way down from the project; None if it is no part of it."""
        if place not in self._folders:
            self._folders[place] = self._found(place)
        return self._folders[place]

    def _found(self, place: str) -> _Folder | None:
        if not place:
            return self._with_rules("", self._real, None, (self._real,))
        above, name = os.path.split(place)
        folder = self._folder(above)
        if folder is None:
            return None
        path = f"{folder.path}/{name}"
        roots = folder.roots
        if os.path.islink(path):
            path = os.path.realpath(path)
            if is_outward(path, roots):
                roots = (path, *roots)
        return self._with_rules(place, path, folder.ignore, roots)

    def _with_rules(
        self, place: str, path: str, ignore: Ignore | None, roots: tuple[str, ...]
    ) -> _Folder:
        rules = f"{path}/{selection.IGNORE_FILE}"
        if os.path.isfile(rules):
            self._reads.path(rules)
            ignore = Ignore.read(rules, f"{place}/" if place else "", ignore)
        return _Folder(path, ignore, roots)

    def _sorted(self, place: str, folder: _Folder) -> tuple[Sequence[Entry], Sequence[Entry]]:
        self._reads.folder(folder.path)
        try:
            with os.scandir(folder.path) as scanned:
                found = sorted(scanned, key=lambda entry: entry.name)
        except OSError:
            return (), ()
        if place and selection.is_virtual_environment([entry.name for entry in found]):
            return (), ()
        every, code = [], []
        prefix = f"{place}/" if place else ""
        excluded = self.rules.excluded
        for each in found:
            name = each.name
            if selection.is_left_out(name) or (excluded and excluded.covers(prefix + name)):
                continue
            entry = self._entry(each, folder)
            if entry is None:
                continue
            every.append(entry)
            if not self._is_ignored(prefix + name, entry, each, folder.ignore):
                code.append(entry)
        return every, code

    def _entry(self, each: os.DirEntry[str], folder: _Folder) -> Entry | None:
        """What one name in a folder is in a snapshot; None if it has none of the name."""
        excluded = self.rules.excluded
        if not each.is_symlink():
            if each.is_dir():
                return Entry(each.name, True, is_file=False)
            if excluded and not self._is_spared(folder.path, each):
                return None
            return Entry(each.name, False, is_file=each.is_file())
        real = os.path.realpath(each.path)
        if excluded.is_private(each.path):
            return None
        if not os.path.isdir(real):
            return Entry(each.name, False, True, os.path.isfile(real))
        return Entry(each.name, True, not is_outward(real, folder.roots), False)

    def _is_spared(self, folder: str, each: os.DirEntry[str]) -> bool:
        try:
            return bool(self.rules.excluded.spared(folder, [(each.name, each.stat())]))
        except OSError:
            return True

    def _is_ignored(
        self, place: str, entry: Entry, each: os.DirEntry[str], ignore: Ignore | None
    ) -> bool:
        if not entry.is_folder and selection.is_database(entry.name):
            return True
        if ignore is None:
            return False
        covered = ignore.covers(f"{place}/") if entry.is_folder or each.is_symlink() else False
        covered = covered or (not each.is_dir(follow_symlinks=False) and ignore.covers(place))
        return covered and not self.rules.is_linked(place)


def is_outward(real: str, roots: Iterable[str]) -> bool:
    """Whether a snapshot copies what a link leads to: it has no twin, and contains none."""
    return not any(selection.lies_in(real, root) or selection.lies_in(root, real) for root in roots)


class FrozenTree:
    """The snapshot of a run, as it was taken."""

    def __init__(
        self, root: str, manifest: Manifest | None, digests: Digests, known: Digests
    ) -> None:
        self.root = root
        self._manifest, self._digests, self._known = manifest, digests, known
        self._on_disk = selection.entries_of(root)
        self._top = os.path.realpath(root)
        self._real: dict[str, str | None] = {}

    def entries(self, place: str) -> Sequence[Entry]:
        """All that inputs may name."""
        return self.code(place)

    def code(self, place: str) -> Sequence[Entry]:
        """What the snapshot had when it was taken."""
        found = self._on_disk(place)
        if self._manifest is None:
            return found
        inside = self._really(place)
        if inside is None:
            return found
        return [entry for entry in found if self._manifest.has(inside + entry.name)]

    def _really(self, place: str) -> str | None:
        """A folder as the manifest knows it, with a slash, links resolved; None if it is none of
        the snapshot's."""
        if place not in self._real:
            real = os.path.realpath(f"{self.root}/{place}")
            within = selection.lies_in(real, self._top)
            self._real[place] = f"{real[len(self._top) + 1 :]}/".lstrip("/") if within else None
        return self._real[place]

    def mark(self, place: str, info: os.stat_result | None = None) -> FileMark:
        """The mark of a file: of the copy, known from the live one where that is the same file."""
        path = f"{self.root}/{place}"
        try:
            copy = os.lstat(path)
        except OSError:
            return self._digests.of(path)  # which says what is wrong
        if stat.S_ISLNK(copy.st_mode):
            real = os.path.realpath(path)
            inside = selection.lies_in(real, self._top)
            return self._digests.of(path) if inside else self._known.of(real)
        if self._manifest is None:
            return self._digests.of(path, copy)
        return self._manifest.mark(place, copy, self._digests, self._known, path)
