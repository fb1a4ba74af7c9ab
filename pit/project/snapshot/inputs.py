"""Data inputs that a run reads live: linked into its snapshot or read where they are.

Such data is not frozen, because big data is never duplicated. Instead every file is watched: a
task that read something which has changed since the run began is not current afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pit.model import Record
from pit.project import selection
from pit.project.selection import Excluded, shown
from pit.project.snapshot import databases

Stat = tuple[int, int, int, int, int]
"""Device, inode, size, and modification and change time in nanoseconds; a journal has no last."""


class Watch(Record):
    """One declared input that is read live: the files that it named, as they were then.

    `pattern`, below `root`, is expanded again to see what has come or gone; it is empty for
    files that were linked into the snapshot one by one, where new names cannot appear.
    """

    files: dict[str, Stat]
    root: str = ""
    pattern: str = ""


def changed(links: Mapping[str, Watch], inputs: Iterable[str] | None = None) -> tuple[str, ...]:
    """The live files, of these declared inputs or of all, that are not as they were."""
    wanted = links if inputs is None else [name for name in inputs if name in links]
    found: set[str] = set()
    for watch in (links[name] for name in wanted):
        now = _stats(_expanded(watch.root, watch.pattern) if watch.pattern else watch.files)
        found.update(path for path, _ in watch.files.items() ^ now.items())
    return tuple(sorted(found))


def in_place(declared: str, workspace: Path) -> Watch | None:
    """The watch over a `{workspace}/` or absolute input; None if it is one of the project."""
    if declared.startswith(selection.WORKSPACE):
        root, pattern = str(workspace), declared.removeprefix(selection.WORKSPACE)
    elif os.path.isabs(declared):
        root, pattern = "/", declared.lstrip("/")
    else:
        return None
    return Watch(files=_stats(_expanded(root, pattern)), root=root, pattern=pattern)


def link(
    declared: str, live: str, into: str, excluded: Excluded, warnings: list[str]
) -> Watch | None:
    """Links the files of a project's input that the snapshot `into` lacks; None if it has all.

    OSError, with the path in the snapshot as its filename, if that fails.
    """
    found: list[str] = []
    for place in selection.files(live, declared):
        path, twin = os.path.join(live, place), os.path.join(into, place)
        if excluded.contains(place) or os.path.exists(twin) or not os.path.isfile(path):
            continue
        if databases.belongs(path):  # watched with its database
            continue
        if excluded.is_private(path):  # by another name
            continue
        if selection.is_database(place):
            warnings.append(
                f'input "{shown(place)}" is a database, which no snapshot takes: open it by its '
                f"path {shown(path)}, or give it as {selection.WORKSPACE}… or absolute"
            )
        elif not _linked(path, twin, into):
            continue
        found.append(path)
    return Watch(files=_stats(found)) if found else None


def _linked(path: str, twin: str, into: str) -> bool:
    """Links a live file into the snapshot; False where the way to it leads out of it."""
    parent = os.path.dirname(twin)
    if not selection.lies_in(os.path.realpath(parent), os.path.realpath(into)):
        return False
    os.makedirs(parent, exist_ok=True)
    if os.path.islink(twin):
        os.unlink(twin)
    os.symlink(path, twin)
    return True


def _expanded(root: str, pattern: str) -> Iterator[str]:
    return (os.path.join(root, place) for place in selection.files(root, pattern))


def _stats(paths: Iterable[str]) -> dict[str, Stat]:
    found = {part: _stat(part) for path in paths for part in databases.parts(path)}
    return {path: key for path, key in found.items() if key is not None}


def _stat(path: str) -> Stat | None:
    try:
        info = os.stat(path)
    except OSError:
        return None
    # SQLite gives a journal its owner whenever root opens it, though only to read.
    changed = 0 if databases.belongs(path) else info.st_ctime_ns
    return (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, changed)
