"""The workspace as declared: pit_config.toml and every project's pit.toml as records.

`discover` reads all projects and never raises for a broken one: what is wrong stands in
`Workspace.problems`, and only a command that names the broken DAG fails.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from pit.errors import InvalidConfig, NoProjects, UnknownDag
from pit.model import Dag, Problem, Record, WorkspaceConfig
from pit.spec import toml
from pit.spec.findings import Findings, printable
from pit.spec.keys import CONFIG
from pit.spec.project import FILE, Project, read_project
from pit.spec.values import suggestion

CONFIG_FILE = "pit_config.toml"
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
            raise NoProjects(self.config.root)
        raise UnknownDag(name, sorted({*self.dags, *self.broken}))


def load_workspace_config(root: Path) -> WorkspaceConfig:
    """pit_config.toml of the workspace at `root`, or its defaults; raises InvalidConfig."""
    root = Path(os.path.abspath(root))
    defaults = WorkspaceConfig(
        root=root, runs_dir=root / "runs", metadata_db=root / "pit_metadata.db"
    )
    path = root / CONFIG_FILE
    if not os.path.lexists(path):
        return defaults
    findings = Findings(CONFIG_FILE)
    table = toml.read(path, findings)
    fields = CONFIG.read(table, (), findings) if table is not None else {}
    if findings:
        raise InvalidConfig(findings.problems())
    paths = {key: root / fields.pop(key) for key in _PATHS if key in fields}
    given = {**paths, **fields}
    return WorkspaceConfig(
        root=root,
        runs_dir=given.pop("runs_dir", defaults.runs_dir),
        metadata_db=given.pop("metadata_db", defaults.metadata_db),
        **given,
    )


_PATHS = ("runs_dir", "metadata_db", "secrets_file")


def discover(config: WorkspaceConfig) -> Workspace:
    """Read every `projects/*/pit.toml` of the workspace, broken ones included."""
    top = Findings(PROJECTS)
    projects = [read_project(folder, config.root) for folder in _folders(config.root, top)]
    _check_duplicates(projects)
    _check_requirements(projects)
    problems = {id(project): project.findings.problems() for project in projects}
    return Workspace(
        config=config,
        dags={p.dag.name: p.dag for p in projects if p.dag and not problems[id(p)]},
        problems=top.problems() + tuple(found for p in projects for found in problems[id(p)]),
        broken=_broken((p, problems[id(p)]) for p in projects),
        projects=len(projects),
    )


def discover_one(config: WorkspaceConfig, name: str) -> Dag:
    """The DAG called `name`, checked against all others for its name; raises as `Workspace.dag`."""
    return discover(config).dag(name)


def _folders(root: Path, findings: Findings) -> list[Path]:
    """The project folders, by name."""
    try:
        names = sorted(os.listdir(root / PROJECTS))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        findings.add_at(None, f"cannot be read: {error.strerror}")
        return []
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
                near = suggestion(name, sorted(known - {project.name}))
                sentence = f'requires unknown DAG "{name}"{near}'
                project.findings.add(("dag", "requires", name), sentence, on_key=True)
