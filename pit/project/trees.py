"""The two ends from which a project is seen: the live one by a snapshot's rules, and a snapshot."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from pit.fs.patterns import reaching
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
    `private` files that are left out wherever they are met. What tasks make that do not run now is
    in a snapshot, but `unseen`: it counts for those alone that depend on them. `named` are the
    inputs of all tasks: a file that .pitignore leaves out is there nevertheless if one names it.
    """

    def __init__(
        self,
        project: Path,
        excluded: Iterable[Path] = (),
        private: Iterable[Path] = (),
        named: Iterable[str] = (),
        unseen: Iterable[Path] = (),
    ) -> None:
        self._project, self._paths, self._private = project, tuple(excluded), tuple(private)
        self.excluded = Excluded(project, self._paths, self._private)
        more = tuple(unseen)
        self.unseen = (
            Excluded(project, (*self._paths, *more), self._private) if more else self.excluded
        )
        self.named = tuple(each for each in dict.fromkeys(named) if not _is_elsewhere(each))

    def of_copy(self) -> Rules:
        """The same, for what a snapshot has, seen or not."""
        return Rules(self._project, self._paths, self._private, self.named)

    def without(self, path: Path) -> Excluded:
        """What is left out if that path is as well."""
        return Excluded(self._project, (*self._paths, path), self._private)

    def is_linked(self, place: str, is_folder: bool) -> bool:
        """Whether something ignored is there after all: named itself, or on the way to it."""
        if is_folder and any(reaching(pattern)(place) for pattern in self.named):
            return True
        return is_named(place, self.named)


def _is_elsewhere(declared: str) -> bool:
    return os.path.isabs(declared) or declared.startswith(selection.WORKSPACE)


class _Folder:
    """A folder of the live project: its place in a snapshot, where it really lies, the ignore rules
    in it, and the live trees that have a twin in a snapshot, innermost first."""

    __slots__ = ("ignore", "path", "place", "roots")

    def __init__(
        self, place: str, path: str, ignore: Ignore | None, roots: tuple[str, ...]
    ) -> None:
        self.place, self.path, self.ignore, self.roots = place, path, ignore, roots


class LiveTree:
    """The live project as a snapshot would have it.

    A link that leads out of the project is what it leads to, for a snapshot copies that; one that
    leads inside stays a link, and what is met through it is what lies there. `code` is what a
    snapshot has, `entries` also what inputs may name: ignored files and databases.
    """

    def __init__(self, root: str, rules: Rules, digests: Digests, reads: Reads) -> None:
        self.root, self.rules = root, rules
        self.digests, self._reads = digests, reads
        self._real = os.path.realpath(root)
        self._folders: dict[str, _Folder | None] = {}
        self._listed: dict[str, tuple[Sequence[Entry], Sequence[Entry]]] = {}
        self._code_names: dict[str, frozenset[str]] = {}

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
        self._folders, self._listed, self._code_names = {}, {}, {}

    def has(self, place: str) -> bool:
        """Whether the rules leave a place alone, links on the way to it resolved."""
        excluded = self.rules.unseen
        if not excluded:
            return True
        real = self.real_place(place)
        return not excluded.contains(real) and not excluded.is_private(f"{self.root}/{place}")

    def has_code(self, place: str) -> bool:
        """Whether a snapshot has a file at a place, and what it leads to if it is a link."""
        place = self.real_place(place)
        above, name = os.path.split(place)
        names = self._code_names.get(above)
        if names is None:
            names = frozenset(entry.name for entry in self.code(above))
            self._code_names[above] = names
        if name not in names:
            return False
        path = f"{self.root}/{place}"
        if not os.path.islink(path):
            return True
        real = os.path.realpath(path)
        inside = selection.lies_in(real, self._real)
        return not inside or self.has_code(real[len(self._real) + 1 :])

    def real_place(self, place: str) -> str:
        """A place by its folder as a snapshot has it: links that lead inside resolved."""
        above, name = os.path.split(place.rstrip("/"))
        if not above:
            return name
        folder = self._folder(above)
        return f"{folder.place}/{name}".lstrip("/") if folder is not None else place

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
        try:
            return self._folders[place]
        except KeyError:
            found = self._folders[place] = self._found(place)
            return found

    def _found(self, place: str) -> _Folder | None:
        if not place:
            return self._with_rules("", self._real, None, (self._real,))
        above, name = os.path.split(place)
        folder = self._folder(above)
        if folder is None:
            return None
        path, own = f"{folder.path}/{name}", f"{folder.place}/{name}".lstrip("/")
        roots = folder.roots
        if os.path.islink(path):
            self._reads.folder(path)
            path = os.path.realpath(path)
            if selection.lies_in(path, self._real):
                return self._folder(path[len(self._real) + 1 :])
            if is_outward(path, roots):
                roots = (path, *roots)
        return self._with_rules(own, path, folder.ignore, roots)

    def _with_rules(
        self, place: str, path: str, ignore: Ignore | None, roots: tuple[str, ...]
    ) -> _Folder:
        rules = f"{path}/{selection.IGNORE_FILE}"
        self._reads.path(rules)
        if os.path.isfile(rules):
            ignore = Ignore.read(rules, f"{place}/" if place else "", ignore)
        return _Folder(place, path, ignore, roots)

    def _sorted(self, place: str, folder: _Folder) -> tuple[Sequence[Entry], Sequence[Entry]]:
        self._reads.folder(f"{self.root}/{place}" if place else self.root)
        self._reads.folder(folder.path)
        try:
            with os.scandir(folder.path) as scanned:
                found = sorted(scanned, key=lambda entry: entry.name)
        except OSError:
            return (), ()
        if place and selection.is_virtual_environment([entry.name for entry in found]):
            return (), ()
        every, code = [], []
        prefix = f"{folder.place}/" if folder.place else ""
        excluded = self.rules.unseen
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
        excluded = self.rules.unseen
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
            return bool(self.rules.unseen.spared(folder, [(each.name, each.stat())]))
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
        return covered and not self.rules.is_linked(place, entry.is_folder)


def is_outward(real: str, roots: Iterable[str]) -> bool:
    """Whether a snapshot copies what a link leads to: it has no twin, and contains none."""
    return not any(selection.lies_in(real, root) or selection.lies_in(root, real) for root in roots)


class FrozenTree:
    """The snapshot of a run, as it was taken."""

    def __init__(
        self,
        root: str,
        manifest: Manifest | None,
        rules: Rules,
        digests: Digests,
        known: Digests,
    ) -> None:
        self.root, self._unseen = root, rules.unseen
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
        inside = self._really(place)
        if inside is None:
            return found
        manifest, covers = self._manifest, self._unseen.covers
        return [
            entry
            for entry in found
            if manifest is None or manifest.has(inside + entry.name)
            if not self._unseen or not covers(inside + entry.name)
        ]

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
