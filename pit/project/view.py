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

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from pit.fs.reads import Reads
from pit.model import FileMark
from pit.project import databases, selection
from pit.project.digest import Digests
from pit.project.files import Files, Names
from pit.project.manifest import Manifest
from pit.project.marks import (
    PlainTree,
    Tree,
    aim_of,
    at_rest,
    input_files,
    kind_mark,
    mark_place,
    marked_file,
    vanished,
)
from pit.project.places import spelled
from pit.project.products import present, products_below
from pit.project.selection import Entry
from pit.project.trees import FrozenTree, LiveTree, Rules

Shown = Mapping[str, FileMark]
"""Places in the project by what tasks upstream have made there."""


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
        if made is not None:
            return made
        if isinstance(self._tree, LiveTree) and not self._tree.has_code(place):
            raise vanished(f"{self.root}/{place}")
        return self._tree.mark(place)

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
        if isinstance(self._tree, LiveTree) and not self._tree.has_code(place):
            return False
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
        if marked_file(tree, pattern, prefix, found, self.reads):
            return
        found |= at_rest(partial(self._matched, tree, pattern, prefix), self._live.forget)
        if tree is self._tree and tree is not self._live:
            found |= at_rest(partial(self._databases, pattern), self._live.forget)

    def _databases(self, pattern: str) -> dict[str, FileMark]:
        """The live databases that a pattern names, for no snapshot takes one."""
        found: dict[str, FileMark] = {}
        # As they are now, for another task may have made some: nothing of it is remembered.
        now = PlainTree(self._live.root, self.live_digests, self.reads)
        for place in input_files(now, pattern):
            if not selection.is_database(place) or not self._live.has(place):
                continue
            if not databases.belongs(f"{self._live.root}/{place}"):
                mark_place(self._live, place, "", found, self.reads)
        return found

    def _matched(self, tree: Tree, pattern: str, prefix: str) -> dict[str, FileMark]:
        found: dict[str, FileMark] = {}
        for place in input_files(tree, pattern):
            if not prefix and not self._counts(place):
                continue
            path = f"{tree.root}/{place}"
            if os.path.isdir(path):
                aim = aim_of(path, os.path.realpath(tree.root or "/"))
                found[spelled(prefix + place)] = kind_mark("link", aim)
            else:
                mark_place(tree, place, prefix, found, self.reads)
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

    def real_place(self, path: str) -> str:
        """A literal input of the project by its folder as a snapshot has it."""
        if path.startswith(("/", selection.WORKSPACE)):
            return path
        return self._live.real_place(path)

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
    tree = FrozenTree(str(snapshot), manifest, rules, digests, known)
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
