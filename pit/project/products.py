"""Products: what stands at the targets of tasks, where tasks work and where it was published."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from pit.fs.patterns import fixed_folder, is_pattern
from pit.fs.reads import Reads
from pit.model import FileMark
from pit.project import databases, selection
from pit.project.digest import Digests
from pit.project.marks import (
    PlainTree,
    aim_of,
    at_rest,
    kind_mark,
    mark_place,
    marked,
    marked_file,
    vanished,
)
from pit.project.places import spelled, unspelled


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
        if not marked_file(plain, inner, prefix, found, reads):
            found |= at_rest(partial(_made, plain, inner, prefix, digests, reads))
    return found


def present(
    targets: Iterable[str],
    recorded: Mapping[str, FileMark],
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


def _pass_over_placeholders(found: dict[str, FileMark], recorded: Mapping[str, FileMark]) -> None:
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
            mark_place(tree, place, prefix, found, reads)
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
                found[spelled(name)] = kind_mark("link", aim_of(entry.path, base))
    return found


def _entries(folder: str, reads: Reads) -> list[os.DirEntry[str]]:
    reads.folder(folder.rstrip("/"))
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError as error:
        raise vanished(folder) from error
