"""What `pit validate` finds out about every project of a workspace, all at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from pit.config.misplaced import misplaced
from pit.config.project import FILE
from pit.config.workspace import PROJECTS, Workspace
from pit.errors import InvalidConfig, PitError, nearest
from pit.model import Dag, Problem, Record, WorkspaceConfig
from pit.state import rundir
from pit.views.validation import files, secrets
from pit.views.validation.remarks import notes


class ValidateView(Record):
    """The shape of `pit validate --json`; `valid` if there are no `problems`.

    `dags` are the DAGs that can be read, of as many `projects`. `warnings` are of what may not work
    here, `notes` of what is allowed and yet worth knowing.
    """

    valid: bool
    projects: int
    dags: tuple[str, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    notes: tuple[str, ...]


def validate_view(workspace: Workspace) -> ValidateView:
    """What there is to say of a workspace that has projects."""
    config = workspace.config
    of_secrets = secrets.check(config, workspace)
    of_files = files.check(list(workspace.dags.values()), config.root)
    problems = (
        *workspace.problems,
        *_of_matrices(workspace.dags.values()),
        *of_files.problems,
        *of_secrets.problems,
    )
    return ValidateView(
        valid=not problems,
        projects=workspace.projects,
        dags=tuple(sorted(workspace.dags)),
        problems=problems,
        warnings=(*_of_runs(config), *of_files.warnings, *of_secrets.warnings),
        notes=(
            *(note for dag in workspace.dags.values() for note in notes(dag)),
            *of_files.notes,
            *of_secrets.notes,
            *_no_projects(config.root),
        ),
    )


def _of_runs(config: WorkspaceConfig) -> Iterator[Problem]:
    """A folder of runs that cannot be used; a warning, as nothing runs where CI only validates."""
    try:
        rundir.foresee(config.runs_dir, config.settings)
    except PitError as error:
        yield Problem(path=str(config.settings), sentence=str(error), hint=error.hint)


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
