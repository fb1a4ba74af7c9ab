"""The file that was meant by a path at which there is none."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pit.config.dag.dataflow import WORKSPACE
from pit.errors import nearest
from pit.fs.patterns import is_pattern
from pit.model import Task

FILES_SEEN = 5_000
"""So many files of a project are looked at for suggestions."""


def files(project: str) -> Iterator[str]:
    """Paths of files in the project, hidden folders left out, at most `FILES_SEEN`."""
    seen = 0
    for folder, folders, names in os.walk(project):
        folders[:] = sorted(name for name in folders if name[0] != "." and name[:2] != "__")
        for name in sorted(names):
            seen += 1
            if seen > FILES_SEEN:
                return
            yield os.path.relpath(os.path.join(folder, name), project)


def nearest_file(path: str, known: Sequence[str]) -> str | None:
    """The path of a like name, or the only one of the same name in another folder."""
    name = os.path.basename(path).lower()
    moved = [each for each in known if os.path.basename(each).lower() == name]
    return moved[0] if len(moved) == 1 else nearest(path, known)


def meant(task: str, path: str, tasks: Iterable[Task], project: Path, workspace: Path) -> str:
    """The file that an input of a task which is not there stands for, or "": one that another of
    the tasks makes, or one on the disk."""
    made = {each.name: each.targets for each in tasks}
    own = set(made.get(task, ()))
    targets = [t for each in made.values() for t in each if t not in own and not is_pattern(t)]
    if path.startswith(("/", WORKSPACE)):
        place = path.replace(WORKSPACE, f"{workspace}/", 1)
        beside = [os.path.join(os.path.dirname(path), name) for name in _beside(place)]
        return nearest_file(path, [*targets, *beside]) or ""
    near = nearest_file(path, targets)
    there = [each for each in files(str(project)) if each not in own and each != "pit.toml"]
    return near or nearest_file(path, there) or ""


def _beside(path: str) -> list[str]:
    try:
        return sorted(os.listdir(os.path.dirname(path)))[:FILES_SEEN]
    except OSError:
        return []
