"""What `pit validate` says beside problems: warnings, and what is allowed and yet worth knowing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pit.config.keys.runners import BASH, PYTHON, SQL
from pit.model import Dag, Problem, Task, TaskType

_NAMED = 3
"""How many files a remark names."""


class Remarks(NamedTuple):
    """Problems, which any run would stumble over; warnings, for what another machine, or another
    task, may make up for, both with their places; and notes.
    """

    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


def notes(dag: Dag) -> Iterator[str]:
    """What there is to know of the tasks of a DAG, as pit.toml declares them."""
    for task in dag.tasks:
        for note in _of_task(dag, task):
            yield f"{dag.name}/{task.name} {note}"


def _of_task(dag: Dag, task: Task) -> Iterator[str]:
    if task.runner == BASH and _has_crlf(dag.project / task.script):
        yield f"runs {task.script}, which has Windows line endings (CRLF); bash cannot read them"
    if task.targets and task.inputs is None:
        yield (
            "has targets but no inputs, so it always runs; with inputs, or inputs = [], Pit skips "
            "it when it is current"
        )
    yield from _out_of_sight(dag, task)
    if _leaves_nothing(task):
        yield (
            'is tracked and names nothing that it makes; with targets = ["table:…"], or a file, '
            "Pit sees when that is gone"
        )
    for target in task.targets:
        if target.startswith(("/", "{workspace}/")):
            yield (
                f"writes {target} itself: outside of the project Pit checks that a target is "
                "there, and cannot make it appear whole"
            )


def _out_of_sight(dag: Dag, task: Task) -> Iterator[str]:
    """What a tracked task starts that no record holds."""
    if task.runner in (PYTHON, SQL) or task.inputs is None or task.always:
        return
    from pit.project.runners.hidden import hidden  # heavy, and most tasks are Python or SQL

    with suppress(OSError):
        for script, found in hidden(dag, task):
            names = ", ".join(found[:_NAMED]) + (", …" if len(found) > _NAMED else "")
            yield (
                f"starts Python in {script}, where Pit does not follow it: a change in {names} "
                'leaves the task current; name it in inputs, or run it with runner = "python"'
            )


def _leaves_nothing(task: Task) -> bool:
    """Whether a tracked SQL script has no target that could be looked for."""
    is_script = task.runner == SQL and task.type is TaskType.SCRIPT
    is_tracked = task.inputs is not None and not task.always
    return is_script and is_tracked and not (task.targets or task.tables)


def _has_crlf(script: Path) -> bool:
    try:
        return b"\r\n" in script.read_bytes()
    except OSError:
        return False
