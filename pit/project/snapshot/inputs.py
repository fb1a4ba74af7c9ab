"""Data inputs that a run reads live: linked into its snapshot or read where they are.

Such data is not frozen, because big data is never duplicated. Instead every file is watched: a
task that read something which has changed since the run began is not current afterwards.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pit.fs.patterns import ancestors
from pit.fs.stat import Signature, look, signature
from pit.model import Record
from pit.project import databases, selection
from pit.project.selection import shown
from pit.project.trees import LiveTree


class Watch(Record):
    """One declared input that is read live: the files that it named, as they were then, and the
    links and folders on the way to them.

    `pattern`, below `root`, is expanded again to see what has come or gone; it is empty for
    files that were linked into the snapshot one by one, where new names cannot appear.
    """

    files: dict[str, Signature]
    way: dict[str, Signature]
    root: str = ""
    pattern: str = ""


def changed(links: Mapping[str, Watch], inputs: Iterable[str] | None = None) -> tuple[str, ...]:
    """The live files, of these declared inputs or of all, that are not as they were.

    A link or folder on the way that was exchanged, and maybe exchanged back, counts as well.
    """
    wanted = links if inputs is None else [name for name in inputs if name in links]
    found: set[str] = set()
    for watch in (links[name] for name in wanted):
        now = _looks(_expanded(watch.root, watch.pattern) if watch.pattern else watch.files)
        found.update(path for path, _ in watch.files.items() ^ now.items())
        found.update(path for path, was in watch.way.items() if _is_moved(path, was))
    return tuple(sorted(found))


def in_place(declared: str, workspace: Path) -> Watch | None:
    """The watch over a `{workspace}/` or absolute input; None if it is one of the project."""
    if declared.startswith(selection.WORKSPACE):
        root, pattern = str(workspace), declared.removeprefix(selection.WORKSPACE)
    elif os.path.isabs(declared):
        root, pattern = "/", declared.lstrip("/")
    else:
        return None
    files = _looks(_expanded(root, pattern))
    return Watch(files=files, way=_ways(root, files), root=root, pattern=pattern)


def link(
    declared: str, live: LiveTree, into: str, places: set[str], warnings: list[str]
) -> Watch | None:
    """Links the files of a project's input that the snapshot `into` lacks; None if it has all.

    Their places, and those of the folders made for them, join `places`. OSError, with the path in
    the snapshot as its filename, if that fails.
    """
    found: list[str] = []
    for named in selection.files(live.root, declared, live.entries):
        place = live.real_place(named)  # what a link leads to inside has a place of its own
        path, twin = os.path.join(live.root, place), os.path.join(into, place)
        if os.path.exists(twin) or not os.path.isfile(path) or not live.has(place):
            continue
        if databases.belongs(path):  # watched with its database
            continue
        if selection.is_database(place):
            warnings.append(
                f'input "{shown(place)}" is a database, which no snapshot takes: open it by its '
                f"path {shown(path)}, or give it as {selection.WORKSPACE}… or absolute"
            )
        elif not _linked(path, twin, into):
            continue
        found.append(path)
        places.update((place, *ancestors(place)))
    files = _looks(found)
    return Watch(files=files, way=_ways(live.root, files)) if found else None


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


def _looks(paths: Iterable[str]) -> dict[str, Signature]:
    found = {part: _look(part) for path in paths for part in databases.parts(path)}
    return {path: seen for path, seen in found.items() if seen is not None}


def _look(path: str) -> Signature | None:
    found = look(path)
    if found is None or not databases.belongs(path):
        return found
    # SQLite gives a journal its owner whenever root opens it, though only to read.
    return found._replace(ctime=0)


# ---------------------------------------------------------------- the way to a file


def _ways(root: str, paths: Iterable[str]) -> dict[str, Signature]:
    """The links and folders below `root`, or wherever links lead, on the way to these files."""
    found: dict[str, Signature] = {}
    known: set[str] = set()
    for path in paths:
        if os.path.islink(path) or os.path.dirname(path) not in known:
            _walk(root, path, found)
            known.add(os.path.dirname(path))
    return found


def _walk(root: str, path: str, found: dict[str, Signature]) -> None:
    """Goes to a path name by name, as the kernel does, and notes links and folders."""
    inside = path.startswith(f"{root.rstrip('/')}/")
    here = root.rstrip("/") if inside else ""
    todo = path[len(here) :].strip("/").split("/")[::-1]
    for _ in range(_LONGEST_WAY):
        if not todo:
            return
        name = todo.pop()
        if name in ("", "."):
            continue
        here = os.path.dirname(here) if name == ".." else f"{here}/{name}"
        try:
            info = os.lstat(here)
            if stat.S_ISLNK(info.st_mode):
                found[here] = signature(info)
                aim = os.readlink(here)
                todo += aim.split("/")[::-1]
                here = "" if aim.startswith("/") else os.path.dirname(here)
            elif stat.S_ISDIR(info.st_mode):
                found[here] = signature(info)
        except OSError:
            return


_LONGEST_WAY = 1_000
"""How many names a way may have, those of the links on it included; the kernel knows of fewer."""


def _is_moved(path: str, was: Signature) -> bool:
    """Whether a link or folder was exchanged meanwhile.

    New names in a folder move both of its times, and do not matter here: the files are looked at
    themselves. A folder that was renamed, there and back, has a new change time alone.
    """
    try:
        info = os.lstat(path)
    except OSError:
        return True
    now = signature(info)
    if stat.S_ISLNK(info.st_mode) or now[:2] != was[:2]:
        return now != was
    return now.ctime != was.ctime and now.mtime == was.mtime
