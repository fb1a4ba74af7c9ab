"""Python that a task starts out of sight: by a shell script, which is not followed."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pit.fs.patterns import matches
from pit.model import Dag, Task
from pit.project.files import DiskFiles
from pit.project.python import words
from pit.project.python.environment import search_path
from pit.project.python.source import Finder
from pit.project.runners import table
from pit.project.runners.runner import Way

_LONGEST = 1 << 20
"""Bytes up to which a script is read."""


def hidden(dag: Dag, task: Task) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The scripts of a task that start Python of the project, and the files of Python that neither
    count as its code nor stand in its inputs; OSError if something cannot be read."""
    runner = table.of(task)
    if runner.is_sql or runner.is_python or not task.script:
        return
    own = dag.env | task.env
    path = search_path(None, own, os.environ, dag.project, dag.project)
    finder = Finder(DiskFiles(dag.project))
    code = runner.sources(task, finder, Way(variables=own, path=(*path, "src")))
    for place in code:
        if place.endswith(".py") or finder.files.mark(place).size > _LONGEST:
            continue
        lines = _lines(finder.files.read(place))
        if not any(map(words.starts_python, lines)):
            continue
        found = finder.commanded(lines, place, (*path, "src")).files
        left = (each for each in found if each.endswith(".py") and each not in code)
        unseen = tuple(each for each in left if not _is_named(each, task.inputs or ()))
        if unseen:
            yield place, unseen


def _lines(text: bytes) -> list[str]:
    """The lines of a shell script but for its comments."""
    lines = text.decode("utf-8", "replace").splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _is_named(place: str, patterns: tuple[str, ...]) -> bool:
    return any(
        matches(pattern, place) or place.startswith(f"{pattern.rstrip('/')}/")
        for pattern in patterns
    )
