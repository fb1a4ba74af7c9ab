"""The workspace as declared: every project's pit.toml as records.

`discover` reads all projects and never raises for a broken one: what is wrong stands in
`Workspace.problems`, and only a command that names the broken DAG fails.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pit.config import project_cache
from pit.config.keys.values import suggestion
from pit.config.misplaced import misplaced
from pit.config.project import FILE, Project
from pit.config.settings import load_workspace_config as load_workspace_config
from pit.config.toml.findings import printable
from pit.errors import InvalidConfig, NoProjects, ProjectsUnreadable, UnknownDag
from pit.model import Dag, Problem, Record, WorkspaceConfig

PROJECTS = "projects"


class Workspace(Record, frozen=True):
    """All projects of a workspace: the valid DAGs by name, and all that is wrong with the rest.

    `broken` has the problems of a broken project under its folder's name and, where it could
    be read, its DAG's name. `projects` counts the pit.toml files found.
    """

    config: WorkspaceConfig
    dags: dict[str, Dag]
    problems: tuple[Problem, ...]
    broken: dict[str, tuple[Problem, ...]]
    projects: int

    def dag(self, name: str) -> Dag:
        """The DAG called `name`; InvalidConfig if broken, UnknownDag or NoProjects if not there."""
        if name in self.dags:
            return self.dags[name]
        if name in self.broken:
            raise InvalidConfig(self.broken[name])
        if not self.projects and not self.problems:
            raise no_projects(self.config.root)
        error = UnknownDag(name, sorted({*self.dags, *self.broken}))
        folder = self.config.root / PROJECTS / name
        if folder.is_dir() and not (folder / FILE).exists():
            error.hint = f"{PROJECTS}/{name} has no {FILE}"
        for each in misplaced(self.config.root):
            if name in (each.folder, each.file.parent.name):
                error.hint = f"{each.sentence}\n{each.command}"
        raise error


def no_projects(root: Path) -> NoProjects:
    """The error for a workspace without projects, with the one around it where there is one."""
    around = next((each for each in root.parents if _has_projects(each)), None)
    return NoProjects(root, around, None if around else _misplaced(root))


def _misplaced(root: Path) -> tuple[str, str] | None:
    """What is said of a pit.toml that lies at the top of a folder, or too deep for it."""
    above = [each.parent for each in root.parents if each.name == PROJECTS]
    for folder in (*above, root):
        for each in misplaced(folder):
            if folder == root or root.is_relative_to(each.file.parent):
                here = folder == Path.cwd()
                command = (
                    each.command if here else f"cd {shlex.quote(str(folder))} && {each.command}"
                )
                return each.sentence, f"Put it there: {command}"
    return None


def _has_projects(folder: Path) -> bool:
    """Whether a folder has a project in it; one that is not ours to read has none for us."""
    try:
        return any((folder / PROJECTS).glob(f"*/{FILE}"))
    except OSError:
        return False


def discover(config: WorkspaceConfig) -> Workspace:
    """Read every `projects/*/pit.toml` of the workspace, broken ones included."""
    projects = [
        project_cache.project(folder, config.root, config.cache_dir)
        for folder in _folders(config.root)
    ]
    _check_duplicates(projects)
    _check_requirements(projects)
    problems = {id(project): _problems(project) for project in projects}
    return Workspace(
        config=config,
        dags={p.dag.name: p.dag for p in projects if p.dag and not problems[id(p)]},
        problems=tuple(found for p in projects for found in problems[id(p)]),
        broken=_broken((p, problems[id(p)]) for p in projects),
        projects=len(projects),
    )


def _problems(project: Project) -> tuple[Problem, ...]:
    """What is wrong with a project; the compile cache does not have the text to point at."""
    if project.findings and project.dag is not None and not project.findings.text:
        with suppress(OSError):
            project.findings.text = (project.folder / FILE).read_text("utf-8", "replace")
    return project.findings.problems()


def discover_one(config: WorkspaceConfig, name: str) -> Dag:
    """The DAG called `name`, checked against all others for its name; raises as `Workspace.dag`."""
    return discover(config).dag(name)


def _folders(root: Path) -> list[Path]:
    """The project folders, by name; ProjectsUnreadable where they cannot be told."""
    try:
        names = sorted(os.listdir(root / PROJECTS))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ProjectsUnreadable(root / PROJECTS, (error.strerror or str(error)).lower()) from error
    folders = (root / PROJECTS / name for name in names if not name.startswith("."))
    return [folder for folder in folders if _may_hold_project(folder)]


def _may_hold_project(folder: Path) -> bool:
    """Whether a pit.toml of any kind is there; one that cannot be looked at counts, to be told."""
    try:
        os.lstat(folder / FILE)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _broken(read: Iterable[tuple[Project, tuple[Problem, ...]]]) -> dict[str, tuple[Problem, ...]]:
    found: dict[str, tuple[Problem, ...]] = {}
    for project, problems in read:
        if problems:
            for name in {printable(project.folder.name), project.name or ""} - {""}:
                found[name] = found.get(name, ()) + problems
    return found


def _check_duplicates(projects: list[Project]) -> None:
    """Of projects whose DAGs have one name, but for case, none is usable."""
    by_name: dict[str, list[Project]] = {}
    for project in projects:
        if project.name is not None:
            by_name.setdefault(project.name.lower(), []).append(project)
    for namesakes in by_name.values():
        for project in namesakes:
            others = [other for other in namesakes if other is not project]
            if others:
                _add_namesakes(project, others)


def _add_namesakes(project: Project, others: list[Project]) -> None:
    files = " and ".join(other.findings.path for other in others)
    case = "" if all(other.name == project.name for other in others) else ", but for case"
    sentence = f'the DAG name "{project.name}" is also that of {files}{case}'
    project.findings.add(("dag", "name"), sentence, "DAG names must differ within a workspace")


def _check_requirements(projects: list[Project]) -> None:
    known = {project.name or printable(project.folder.name) for project in projects}
    for project in projects:
        for name in project.dag.requires if project.dag else ():
            if name not in known:
                others = sorted(known - {project.name})
                near = suggestion(name, others)
                sentence = f'requires unknown DAG "{name}"{near}'
                here = ", ".join(others[:_NAMED]) + (", …" if len(others) > _NAMED else "")
                hint = f"The other DAGs here: {here}" if here else "There is no other DAG here"
                at = ("dag", "requires", name)
                project.findings.add(at, sentence, "" if near else hint, on_key=True)


_NAMED = 10
"""So many DAGs are named in the place of one that is not there."""
