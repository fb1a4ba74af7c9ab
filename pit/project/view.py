"""What a task would read of a project, seen in one way by all who decide what is current.

There are two ends. `live_view` is the project on the disk, as a snapshot that were taken now would
have it: ignore rules, links that lead out, private files and what the tasks themselves make are
treated as the snapshot treats them. `frozen_view` is the snapshot of a run, as it was taken: what
tasks leave in it later does not count. What tasks upstream have made is laid over both, as `shown`
to one task at a time.

So `plan`, `why`, `run`, doit and "nothing to do" cannot see two different projects. Whatever is
read is written down in `reads`.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Protocol

from pit.fs.reads import Reads
from pit.model import FileMark
from pit.project import databases, selection
from pit.project.digest import Digests, digest_bytes
from pit.project.files import Files, Names
from pit.project.manifest import Manifest
from pit.project.selection import Entry, Excluded, Ignore
from pit.spec.patterns import fixed_folder, is_pattern, matches

_ROUNDS = 3
"""How often a look at many files begins again because some vanished in the middle of it."""
_IS_FILE = stat.S_ISREG

Shown = Mapping[str, FileMark]
"""Places in the project by what tasks upstream have made there."""


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


# ---------------------------------------------------------------- the two ends


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
        self._named = tuple(dict.fromkeys(named))

    def without(self, path: Path) -> Excluded:
        """What is left out if that path is as well."""
        return Excluded(self._project, (*self._paths, path), self._private)

    def is_linked(self, place: str) -> bool:
        """Whether an ignored file is there after all."""
        return is_named(place, self._named)


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


# ---------------------------------------------------------------- the view


class ProjectView:
    """What tasks read of a project; threads may share it.

    `live` is the project itself, where the products of earlier runs stand.
    """

    def __init__(
        self,
        tree: LiveTree | FrozenTree,
        live: LiveTree,
        workspace: Path,
        digests: Digests,
        reads: Reads,
    ) -> None:
        self.root, self.reads, self.digests = tree.root, reads, digests
        self.workspace = workspace
        self._tree, self._live = tree, live
        self._plain = {
            "/": PlainTree("", digests, reads),
            f"{workspace}/": PlainTree(str(workspace), digests, reads),
        }

    # ------------------------------------------------ code: what a finder of modules asks

    def names(self, place: str, shown: Shown = {}) -> Sequence[Entry]:  # noqa: B006 never changed
        """What a folder of the project holds that may be code, with what tasks upstream made."""
        found = self._tree.code(place)
        if not shown:
            return found
        prefix = f"{place}/" if place else ""
        more = {}
        for made in shown:
            if made.startswith(prefix) and made != prefix and not os.path.isabs(made):
                name, slash, _ = made[len(prefix) :].partition("/")
                more[name] = Entry(name, bool(slash), is_file=not slash)
        return sorted({**{entry.name: entry for entry in found}, **more}.values())

    def mark(self, place: str, shown: Shown = {}) -> FileMark:  # noqa: B006 never changed
        """The mark of a file of code."""
        made = shown.get(place)
        return made if made is not None else self._tree.mark(place)

    def files(self, shown: Shown = {}) -> Files:  # noqa: B006 never changed
        """The same, as those see it who look for code."""
        return _Code(self, shown)

    def path(self, place: str) -> str:
        """Where the content of a place can be read: here, or where it was published."""
        here = f"{self.root}/{place}"
        return here if os.path.lexists(here) else f"{self._live.root}/{place}"

    def is_file(self, place: str) -> bool:
        """Whether there is a file of the project at a place."""
        path = f"{self.root}/{place}"
        self.reads.path(path)
        return os.path.isfile(path)

    # ------------------------------------------------ data: what inputs name

    def inputs(self, patterns: Iterable[str]) -> dict[str, FileMark]:
        """What `inputs` name, by place; places of absolute inputs are absolute.

        A literal input that is missing has no mark; a link that leads nowhere has one; FIFOs,
        sockets and devices have none. A place whose name is not UTF-8 is spelled, see `spelled`.
        """
        found: dict[str, FileMark] = {}
        for pattern in patterns:
            tree, inner, prefix = self._anchored(pattern)
            if prefix or self._counts(inner):
                self._add(tree, inner, prefix, found)
        return found

    def _add(self, tree: Tree, pattern: str, prefix: str, found: dict[str, FileMark]) -> None:
        if _marked_file(tree, pattern, prefix, found, self.reads):
            return
        found |= _at_rest(partial(self._matched, tree, pattern, prefix), self._live.forget)
        if tree is self._tree and tree is not self._live:
            found |= _at_rest(partial(self._databases, pattern), self._live.forget)

    def _databases(self, pattern: str) -> dict[str, FileMark]:
        """The live databases that a pattern names, for no snapshot takes one."""
        found: dict[str, FileMark] = {}
        for place in _inputs(self._live, pattern):
            if not selection.is_database(place) or not self._live.has(place):
                continue
            if not databases.belongs(f"{self._live.root}/{place}"):
                _mark(self._live, place, "", found, self.reads)
        return found

    def _matched(self, tree: Tree, pattern: str, prefix: str) -> dict[str, FileMark]:
        found: dict[str, FileMark] = {}
        for place in _inputs(tree, pattern):
            if not prefix and not self._counts(place):
                continue
            path = f"{tree.root}/{place}"
            if os.path.isdir(path):
                aim = _aim(path, os.path.realpath(tree.root or "/"))
                found[spelled(prefix + place)] = kind_mark("link", aim)
            else:
                _mark(tree, place, prefix, found, self.reads)
        return found

    def _counts(self, place: str) -> bool:
        """Whether the project has a place, for inputs: live, its rules say so."""
        return not isinstance(self._tree, LiveTree) or self._tree.has(place)

    def _anchored(self, pattern: str) -> tuple[Tree, str, str]:
        """Where to look for a pattern, what for, and what comes before the places found."""
        if pattern.startswith(selection.WORKSPACE):
            prefix = f"{self.workspace}/"
            return self._plain[prefix], pattern.removeprefix(selection.WORKSPACE), prefix
        if pattern.startswith("/"):
            return self._plain["/"], pattern.lstrip("/"), "/"
        return self._tree, pattern, ""

    def is_there(self, path: str) -> bool:
        """Whether there is anything at a literal input."""
        tree, inner, prefix = self._anchored(path)
        place = f"{tree.root}/{inner}".rstrip("/")
        self.reads.path(place)
        if os.path.lexists(place):
            return bool(prefix) or self._counts(inner.rstrip("/"))
        # A database is looked at in the project, for no snapshot takes one.
        return (
            not prefix
            and selection.is_database(inner)
            and os.path.lexists(f"{self._live.root}/{inner}")
        )

    # ------------------------------------------------ products

    def products(self, targets: Iterable[str]) -> dict[str, FileMark]:
        """What stands at `targets` where tasks work, by place; see `products_below`."""
        return products_below(self.root, targets, self.digests, self.reads, self.workspace)

    def published(self, targets: Iterable[str], recorded: Shown) -> dict[str, FileMark]:
        """What now stands in the project of a task's products.

        A folder counts with all that it holds; what else a pattern matches is not the task's.
        """
        return present(
            targets, recorded, self._live.root, self.workspace, self.live_digests, self.reads
        )

    @property
    def live_digests(self) -> Digests:
        """The digests of live files."""
        return self._live.digests


def live_view(
    project: Path, workspace: Path, rules: Rules, digests: Digests, reads: Reads | None = None
) -> ProjectView:
    """The project as a snapshot that were taken now would have it."""
    reads = Reads() if reads is None else reads
    tree = LiveTree(str(project), rules, digests, reads)
    return ProjectView(tree, tree, workspace, digests, reads)


def frozen_view(
    snapshot: Path,
    manifest: Manifest | None,
    project: Path,
    workspace: Path,
    rules: Rules,
    known: Digests,
) -> ProjectView:
    """The project as a run's snapshot has it; `known` are the digests of live files."""
    reads, digests = Reads(), _Below(f"{snapshot}/", known)
    live = LiveTree(str(project), rules, known, reads)
    tree = FrozenTree(str(snapshot), manifest, digests, known)
    return ProjectView(tree, live, workspace, digests, reads)


class _Code:
    """The files of a view among which code is looked for, see `Files`."""

    def __init__(self, view: ProjectView, shown: Shown) -> None:
        self._view, self._shown = view, shown

    @property
    def root(self) -> str:
        """The folder, as an absolute path."""
        return os.path.abspath(self._view.root)

    def names(self, folder: str) -> Names:
        """What a folder holds; nothing if there is no such folder."""
        found = self._view.names(folder, self._shown)
        return Names(
            frozenset(entry.name for entry in found if entry.is_folder),
            tuple(
                entry.name
                for entry in found
                if entry.is_file and not selection.is_database(entry.name)
            ),
        )

    def mark(self, place: str) -> FileMark:
        """The mark of a file's content; OSError if it cannot be read."""
        return self._view.mark(place, self._shown)

    def read(self, place: str) -> bytes:
        """A file's content; OSError if it cannot be read."""
        return Path(self._view.path(place)).read_bytes()

    def real(self, path: str) -> str:
        """A place or an absolute path as an absolute path without links."""
        return os.path.realpath(os.path.join(self._view.root, path))


class _Below(Digests):
    """Digests of the files below one folder; those of all others are asked of another."""

    def __init__(self, folder: str, others: Digests) -> None:
        super().__init__()
        self._folder, self._others = folder, others

    def of(self, path: str, info: os.stat_result | None = None) -> FileMark:
        """The mark of a file; one that a link leads out to is not one of the folder."""
        if not path.startswith(self._folder):
            return self._others.of(path, info)
        if os.path.islink(path):
            real = os.path.realpath(path)
            if not real.startswith(os.path.realpath(self._folder) + "/"):
                return self._others.of(real)
        return super().of(path, info)


# ---------------------------------------------------------------- products


def products_below(
    root: str | Path,
    targets: Iterable[str],
    digests: Digests,
    reads: Reads | None = None,
    workspace: Path | None = None,
) -> dict[str, FileMark]:
    """What stands at `targets` below `root`, by place; all that a folder holds, as in `tree`.

    A target that is missing has no mark. The marks are the same in the run's snapshot and, once
    published, in the project.
    """
    reads = Reads() if reads is None else reads
    found: dict[str, FileMark] = {}
    for target in targets:
        top, inner, prefix = anchored(str(root), target, workspace)
        plain = PlainTree(top, digests, reads)
        if not _marked_file(plain, inner, prefix, found, reads):
            found |= _at_rest(partial(_made, plain, inner, prefix, digests, reads))
    return found


def present(
    targets: Iterable[str],
    recorded: Shown,
    project: str,
    workspace: Path,
    digests: Digests,
    reads: Reads | None = None,
) -> dict[str, FileMark]:
    """What now stands in a project of the products that a success of a task has recorded."""
    reads = Reads() if reads is None else reads
    found: dict[str, FileMark] = {}
    for target in targets:
        with suppress(OSError):  # what cannot be read is not what was made
            made = products_below(project, (target,), digests, reads, workspace)
            if is_pattern(target):
                made = {place: mark for place, mark in made.items() if place in recorded}
            found |= made
    _pass_over_placeholders(found, recorded)
    for place in recorded.keys() - found.keys():
        with suppress(OSError):
            found[place] = marked(os.path.join(project, unspelled(place)), digests, reads)
    return found


def _pass_over_placeholders(found: dict[str, FileMark], recorded: Shown) -> None:
    """What keeps a folder in version control is neither a product nor a stranger's; a folder that
    holds nothing else is empty."""
    for place in found.keys() - recorded.keys():
        if selection.is_placeholder(place):
            del found[place]
            folder = f"{os.path.dirname(place)}/"
            if folder in recorded and not any(other.startswith(folder) for other in found):
                found[folder] = recorded[folder]


def anchored(root: str, pattern: str, workspace: Path | None) -> tuple[str, str, str]:
    """Below which folder a path or pattern lies, what it is there, and what comes before places."""
    if workspace is not None and pattern.startswith(selection.WORKSPACE):
        return str(workspace), pattern.removeprefix(selection.WORKSPACE), f"{workspace}/"
    if pattern.startswith("/"):
        return "", pattern.lstrip("/"), "/"
    return root, pattern, ""


def _made(
    tree: PlainTree, pattern: str, prefix: str, digests: Digests, reads: Reads
) -> dict[str, FileMark]:
    found: dict[str, FileMark] = {}
    if is_pattern(pattern):
        reads.folder(os.path.join(tree.root or "/", fixed_folder(pattern)))
    else:
        reads.path(f"{tree.root}/{pattern}".rstrip("/"))
    for place in selection.matching(tree.root or "/", pattern, tree.entries):
        path = f"{tree.root}/{place}"
        if os.path.isdir(path):
            below = tree_below(path, digests, tree.root or "/", reads)
            top = spelled(prefix + place)
            found |= {f"{top}/{name}": mark for name, mark in below.items()}
        elif not pattern.endswith("/"):
            _mark(tree, place, prefix, found, reads)
    return found


def tree_below(
    path: str | Path, digests: Digests, root: str | Path | None = None, reads: Reads | None = None
) -> dict[str, FileMark]:
    """What a folder holds, by relative name, hidden files too; an empty folder's name ends with
    a slash, and its own is empty.

    A link counts as the file that it leads to; one that leads to a folder or nowhere counts by
    where that is, relative to `root` (the folder itself by default) if inside.
    """
    reads = Reads() if reads is None else reads
    base = os.path.realpath(path if root is None else root)
    found: dict[str, FileMark] = {}
    folders = [""]
    while folders:
        folder = folders.pop()
        entries = [
            entry
            for entry in _entries(os.path.join(path, folder), reads)
            if not entry.name.startswith(selection.TEMPORARY) and not databases.belongs(entry.path)
        ]
        if not entries:
            found[spelled(folder)] = kind_mark("folder")
        for entry in entries:
            name = folder + entry.name
            if entry.is_dir(follow_symlinks=False):
                folders.append(f"{name}/")
            elif os.path.isfile(entry.path):
                found[spelled(name)] = marked(entry.path, digests, reads)
            elif entry.is_symlink():
                found[spelled(name)] = kind_mark("link", _aim(entry.path, base))
    return found


def _entries(folder: str, reads: Reads) -> list[os.DirEntry[str]]:
    reads.folder(folder.rstrip("/"))
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError as error:
        raise _vanished(folder) from error


# ---------------------------------------------------------------- marks


def _at_rest(
    look: Callable[[], dict[str, FileMark]], forget: Callable[[], None] = lambda: None
) -> dict[str, FileMark]:
    """What a look at many files finds; what vanishes in the middle of it, as when others rename
    or clean up, makes it begin again."""
    for _ in range(_ROUNDS - 1):
        with suppress(FileNotFoundError):
            return look()
        forget()
    return look()


def _marked_file(
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
    if not _IS_FILE(info.st_mode):
        return False
    try:
        found[spelled(prefix + pattern)] = tree.mark(pattern, info)
    except FileNotFoundError:
        return False
    return True


def _inputs(tree: Tree, pattern: str) -> Iterator[str]:
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


def _mark(tree: Tree, place: str, prefix: str, found: dict[str, FileMark], reads: Reads) -> None:
    path = f"{tree.root}/{place}"
    if databases.belongs(path):
        return
    try:
        info = os.stat(path)
    except OSError:
        if not os.path.lexists(path):
            raise _vanished(path) from None
        reads.unwatched = f"{path}, a link that leads nowhere"
        found[spelled(prefix + place)] = dangling()
        return
    if _IS_FILE(info.st_mode):
        found[spelled(prefix + place)] = tree.mark(place, info)


def _aim(link: str, base: str) -> str:
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


def _vanished(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


# ---------------------------------------------------------------- places as text


def spelled(place: str) -> str:
    """A place as text that every file and database takes, different for different places.

    Bytes that are not UTF-8 are spelled with a backslash, so a backslash is doubled.
    """
    if place.isascii() and "\\" not in place:
        return place
    return selection.shown(place.replace("\\", "\\\\"))


def unspelled(place: str) -> str:
    """The place that was spelled so, as it is on the disk."""
    if "\\" not in place:
        return place
    raw = place.encode("utf-8", "surrogateescape")
    return os.fsdecode(_SPELLED.sub(_raw, raw))


_SPELLED = re.compile(rb"\\\\|\\x([89a-f][0-9a-f])")


def _raw(found: re.Match[bytes]) -> bytes:
    return bytes.fromhex(found[1].decode()) if found[1] else b"\\"


def is_named(place: str, patterns: Iterable[str]) -> bool:
    """Whether one of the inputs names a place, itself or by the folder that it lies in."""
    return any(
        matches(pattern, place) or place.startswith(f"{pattern.rstrip('/')}/")
        for pattern in patterns
    )
