"""Whose files stand where a task publishes: what no record explains is not Pit's to delete.

A file that is a target by its very name is replaced, as by a script run by hand. A folder is
exchanged as a whole, and a pattern matches what was never named, so there everything that stands is
first held against what is known to have been made: by this task, whatever its parameters, by a task
that makes it no more, or by the attempt itself with the same content. Anything else is a
stranger's, and the attempt ends before anything is touched.

What is no loss: empty folders, compiled Python, temporary names of Pit, and the placeholders that a
folder keeps whatever it holds.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from pit.fs.patterns import ancestors
from pit.model import FileMark
from pit.project import publish, selection
from pit.project.digest import Digests
from pit.project.places import spelled, unspelled
from pit.project.products import tree_below

NAMED = 3
"""How many strangers a message names."""

_COMPILED = "__pycache__"


class Explained(Protocol):
    """What is known to have been made at the places of a task's targets."""

    def digests(self, place: str) -> Collection[str]:
        """The digests of what was made at a place; none if nothing is known to have been."""


def check(
    project: Path,
    snapshot: Path,
    targets: Sequence[str],
    products: Mapping[str, FileMark],
    explained: Explained,
    digests: Digests,
    task: str,
    code: Collection[str] = (),
) -> bool:
    """Refused if publishing these targets would remove or replace what is not the task's.

    Returns whether anything stood there, or can come, that has to be looked at again.

    `products` is what the attempt has made, `task` how people name the task, `code` the resolved
    paths of files that the DAG is made of, which are nobody's target even through a link.
    """
    found: list[str] = []
    doubtful = False
    literal = {target.rstrip("/") for target in targets}
    going = publish.destinations(project, publish.places(snapshot, targets))
    for place, path in going.items():
        if path in code:
            shown = os.path.relpath(path, os.path.realpath(project))
            raise publish.Refused(f"{place} leads to {shown}, which the DAG is made of")
        there = _looked(path)
        by_name = place in literal and spelled(place) in products
        if by_name and (there is None or stat.S_ISREG(there.st_mode)):
            continue  # a file over a file, by its very name
        doubtful = True
        if there is None:
            continue
        look = _Look(project, path, place, products, explained, digests)
        found.extend(look.strangers(there))
    if found:
        raise publish.Refused(_sentence(found, task))
    return doubtful


def _looked(path: str) -> os.stat_result | None:
    with suppress(FileNotFoundError):
        return os.lstat(path)
    return None


def _sentence(found: Sequence[str], task: str) -> str:
    named = ", ".join(sorted(found)[:NAMED])
    if len(found) > NAMED:
        named += f" and {len(found) - NAMED:,} more"
    verb, them = ("stands", "it") if len(found) == 1 else ("stand", "them")
    return (
        f"{named} {verb} where its targets go, and it did not make {them}: nothing was published; "
        f"move {them} away, name its targets more narrowly, or remove {them} with: "
        f"pit clean {task} --unrecorded"
    )


class _Look:
    """What stands at one destination, held against what is known to have been made there."""

    def __init__(
        self,
        project: Path,
        path: str,
        place: str,
        products: Mapping[str, FileMark],
        explained: Explained,
        digests: Digests,
    ) -> None:
        self._project, self._path, self._place = project, path, place
        self._products, self._explained, self._digests = products, explained, digests
        self._marks: dict[str, FileMark] | None = None

    def strangers(self, there: os.stat_result) -> Iterator[str]:
        """The places that are not the task's, those of special files and mounts among them."""
        if not stat.S_ISDIR(there.st_mode):
            place = spelled(self._place)
            if not stat.S_ISREG(there.st_mode) or self._is_strange("", place):
                yield place
            return
        if os.path.ismount(self._path):
            yield f"{self._place} (a mounted file system)"
            return
        for name, regular in standing(self._path, there.st_dev):
            place = spelled(f"{self._place}/{name}")
            if not regular or self._is_strange(name, place):
                yield place

    def _is_strange(self, name: str, place: str) -> bool:
        known, made = self._explained.digests(place), self._products.get(place)
        if known and made is not None:
            return False  # it made it before and makes it anew, whatever was done to it meanwhile
        if not known and (made is None or selection.is_placeholder(name)):
            return not self._is_kept(name, place)
        mark = self._mark(name)
        return mark is None or (mark.digest not in known and mark != made)

    def _is_kept(self, name: str, place: str) -> bool:
        """Whether it is a placeholder, and stays in the folder that takes the place of its own."""
        if not selection.is_placeholder(name) or os.path.islink(os.path.join(self._path, name)):
            return False
        return not any(folder in self._products for folder in ancestors(place))

    def _mark(self, name: str) -> FileMark | None:
        if self._marks is None:
            self._marks = marks(self._project, self._path, self._digests)
        return self._marks.get(spelled(name))


def marks(project: Path, path: str, digests: Digests) -> dict[str, FileMark]:
    """What a file ("") or folder in the project holds, by name, as records have it."""
    if os.path.isdir(path):
        return tree_below(path, digests, project)
    return {"": digests.of(path)}


def standing(folder: str, device: int) -> Iterator[tuple[str, bool]]:
    """What a folder holds that somebody may miss, by its name in it, and whether it can have been
    made by a task: a regular file or a link. Folders are not listed, but for mounts."""
    todo = [""]
    while todo:
        inside = todo.pop()
        with os.scandir(os.path.join(folder, inside)) as entries:
            for entry in entries:
                name = inside + entry.name
                if entry.name.startswith(selection.TEMPORARY):
                    continue
                info = entry.stat(follow_symlinks=False)
                if not stat.S_ISDIR(info.st_mode):
                    if not _is_compiled(name):
                        yield name, stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode)
                elif info.st_dev != device:
                    yield f"{name}/", False
                else:
                    todo.append(f"{name}/")


def _is_compiled(name: str) -> bool:
    """Whether it is what Python keeps of modules that somebody has imported."""
    return name.endswith(".pyc") and f"/{name}".split("/")[-2] == _COMPILED


def withdrawn(
    project: Path,
    earlier: Mapping[str, Collection[str]],
    products: Collection[str],
    digests: Digests,
) -> list[str]:
    """What a task made before and has not made now, if nobody has changed it since."""
    return [
        place
        for place in earlier.keys() - products
        if not os.path.isabs(place) and _is_as_made(project, place, earlier[place], digests)
    ]


def _is_as_made(project: Path, place: str, known: Collection[str], digests: Digests) -> bool:
    try:
        return digests.of(os.path.join(project, unspelled(place))).digest in known
    except OSError:
        return False


# ---------------------------------------------------------------- removing by record


def divided(
    project: Path, place: str, explained: Explained, digests: Digests
) -> tuple[list[str], list[str]]:
    """What stands at a place in the project, file by file: what is as it was made, and the rest."""
    path = os.path.join(project, place)
    there = os.lstat(path)
    names: Iterable[tuple[str, bool]] = [("", True)]
    if stat.S_ISDIR(there.st_mode):
        names = standing(path, there.st_dev)
    own: list[str] = []
    rest: list[str] = []
    found: dict[str, FileMark] | None = None
    for name, regular in names:
        each = f"{place}/{name}" if name else place
        known = explained.digests(spelled(each))
        if known and regular:
            found = _marks_or_none(project, path, digests) if found is None else found
            mark = found.get(spelled(name))
            if mark is not None and mark.digest in known:
                own.append(each)
                continue
        rest.append(each)
    return own, rest


def _marks_or_none(project: Path, path: str, digests: Digests) -> dict[str, FileMark]:
    with suppress(OSError):
        return marks(project, path, digests)
    return {}
