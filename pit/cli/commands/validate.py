"""`pit validate` and `pit schema`: what the projects say, checked before anything runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from pit.cli.options import Settings, command, json_option
from pit.cli.terminal.console import count
from pit.config.keys.runners import BASH, PYTHON, SQL
from pit.config.misplaced import misplaced
from pit.config.project import FILE
from pit.config.workspace import PROJECTS, Workspace, no_projects
from pit.errors import InvalidConfig, PitError, nearest
from pit.model import Dag, Problem, Record, Task, TaskType, WorkspaceConfig

if TYPE_CHECKING:
    from pit.cli.commands.foreseen import Foreseen
    from pit.cli.secrets.checks import Found

_NAMED = 3
"""How many files a remark names."""


class Report(Record):
    """The shape of `pit validate --json`."""

    valid: bool
    projects: int
    dags: tuple[str, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    notes: tuple[str, ...]


@command("validate", short_help="Check every project, and show all problems.")
@json_option
def validate(settings: Settings, as_json: bool) -> None:
    """Check every project of the workspace, and show all problems of all of them at once."""
    config = settings.config()
    workspace = settings.workspace()
    if not workspace.projects:
        raise no_projects(config.root)
    of_secrets, warnings, remarks = _of_secrets(config, workspace)
    ahead = _of_files(workspace)
    problems = (
        *workspace.problems,
        *_of_matrices(workspace.dags.values()),
        *ahead.problems,
        *of_secrets,
    )
    warnings = (*_of_runs(config), *ahead.warnings, *warnings)
    report = Report(
        valid=not problems,
        projects=workspace.projects,
        dags=tuple(sorted(workspace.dags)),
        problems=problems,
        warnings=warnings,
        notes=(
            *(note for dag in workspace.dags.values() for note in notes(dag)),
            *ahead.notes,
            *remarks,
            *_no_projects(config.root),
        ),
    )
    if as_json:
        settings.console.json(report)
        raise click.exceptions.Exit(0 if report.valid else InvalidConfig.exit_code)
    for note in report.notes:
        settings.console.out(f"note: {note}")
    for warning in report.warnings:
        told = msgspec.structs.replace(warning, sentence=f"warning: {warning.sentence}")
        settings.console.problem(told)
    if not report.valid:
        raise InvalidConfig(report.problems)
    settings.console.out(_all_is_well(workspace, len(warnings)))


def _of_secrets(config: WorkspaceConfig, workspace: Workspace) -> Found:
    """What there is to say of the secrets file, if the workspace names one."""
    from pit.cli.secrets.checks import check

    return check(config, workspace)


def _of_runs(config: WorkspaceConfig) -> Iterator[Problem]:
    """A folder of runs that cannot be used; a warning, as nothing runs where CI only validates."""
    from pit.state import rundir

    try:
        rundir.foresee(config.runs_dir, config.settings)
    except PitError as error:
        yield Problem(path=str(config.settings), sentence=str(error), hint=error.hint)


def _of_files(workspace: Workspace) -> Foreseen:
    """What there is to say of the files and programs that the tasks name."""
    from pit.cli.commands.foreseen import foreseen

    return foreseen(list(workspace.dags.values()), workspace.config.root)


def _of_matrices(dags: Iterable[Dag]) -> Iterator[Problem]:
    """What is wrong with matrices that take their values from files."""
    from pit.config import matrix
    from pit.project.selection import WatchedDisk

    for dag in dags:
        try:
            matrix.expand(dag, dag.project, WatchedDisk())
        except InvalidConfig as error:
            yield from error.problems


def _no_projects(root: Path) -> Iterator[str]:
    """The folders beside the projects that are none, and projects where none is looked for."""
    strays = tuple(misplaced(root))
    for stray in strays:
        yield f"{stray.sentence} ({stray.command})"
    told = {stray.file.parent for stray in strays}
    above = {folder.parent for folder in told}
    for folder in sorted((root / PROJECTS).iterdir()):
        if folder.name.startswith((".", "_")) or not folder.is_dir() or (folder / FILE).exists():
            continue
        if folder in above or folder.parent in told:
            continue
        near = None
        with suppress(OSError):
            near = nearest(FILE, os.listdir(folder))
        have = f"{near} where {FILE} is looked for" if near else f"no {FILE}"
        yield f"{PROJECTS}/{folder.name} is not a project: it has {have}"


def notes(dag: Dag) -> list[str]:
    """What is allowed and yet worth knowing."""
    return [f"{dag.name}/{task.name} {note}" for task in dag.tasks for note in _of_task(dag, task)]


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


def _all_is_well(workspace: Workspace, warnings: int) -> str:
    tasks = sum(len(dag.tasks) for dag in workspace.dags.values())
    but = f", with {count(warnings, 'warning')}" if warnings else ""
    return f"{count(workspace.projects, 'project')} with {count(tasks, 'task')}: all valid{but}."


@command("schema", short_help="Print the JSON Schema of pit.toml.", workspace=False)
def schema(settings: Settings) -> None:
    """Print the JSON Schema of pit.toml, with which editors complete and check it.

    A pit.toml names it in its first line: #:schema ../../pit.schema.json
    """
    from pit.config.keys.schema import json_schema

    settings.console.json(json_schema())
