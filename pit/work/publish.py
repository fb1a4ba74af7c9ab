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

import fcntl
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from pit.spec.patterns import fixed_folder, is_pattern
from pit.state.files import remove_tree
from pit.work import copying, exchange, selection

_OLD = "old"
_NEW = "new"


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
        if not f"{os.path.realpath(parent)}/".startswith(f"{inside}/"):
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
            staged.append(_Staged(_destination(project, place)))
            staged[-1].fill(os.path.join(snapshot, place), str(snapshot))
        for each in staged:
            each.appear()
        for parent in dict.fromkeys(os.path.dirname(each.destination) for each in staged):
            _flush_folder(parent)
    finally:
        for each in staged:
            each.clear()


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
