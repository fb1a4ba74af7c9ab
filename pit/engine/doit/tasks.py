"""The projects' tasks as doit sees them: names, descriptions, files and targets as in pit.toml.

Each DAG is a group, and each of its tasks a task `<dag>:<task>` in it. They have no actions: what
doit does with them is `commands.py`'s to say.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from doit import doit_cmd, loader
from doit.task import Task as DoitTask

from pit.config import workspace as spec
from pit.config.dag.expanded import ExpandedDag
from pit.engine.doit.dispatch import doit_task
from pit.engine.doit.status import Outside, Standing, Subject
from pit.engine.target.target import resolve, without_params
from pit.engine.target.typed import Typed
from pit.errors import BadParameter, InvalidConfig, PitError, UsageError
from pit.fs.patterns import is_pattern
from pit.model import Dag, Problem, Task
from pit.project import publish, selection


class Mirror:
    """What doit sees of the workspace at `root`, or of its one project `only`."""

    def __init__(self, root: Path, outside: Outside, only: Path | None = None) -> None:
        self.root, self.outside, self._only = root, outside, only
        self.subjects: dict[str, Subject] = {}
        self.broken: Mapping[str, tuple[Problem, ...]] = {}
        self._given: Mapping[str, str] = {}
        with self.guarded():
            self.config = outside.config()
        self.standing = Standing(self.subjects, outside.look)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Ends doit with Pit's exit code where Pit refuses; doit would show a traceback."""
        try:
            yield
        except PitError as error:
            raise SystemExit(self.outside.failed(error)) from None

    def pit(self, *words: str) -> int:
        """Carries out one `pit` command line, from where doit was called; its exit code."""
        os.chdir(loader.initial_workdir or ".")
        return self.outside.pit(words)

    def parameters(self, dag: str) -> Iterator[str]:
        """The options for what doit's command line gives (`date=2026-01-31`) and a DAG takes."""
        for param in self.subjects[dag].dag.declared.params:
            if param.name in self._given:
                yield f"--param={param.name}={self._given[param.name]}"

    # ------------------------------------------------------------------ the tasks

    def tasks(self) -> Iterator[DoitTask]:
        """The groups and tasks of every DAG that is not broken; what is broken is told."""
        with self.guarded():
            self._load()
        taken: set[str] = set()
        for subject in self.subjects.values():
            yield from _Tasks(subject.dag, self.root, taken).all()

    def members(self, dag: str, task: str) -> Collection[str]:
        """The tasks that a doit name stands for: one, a matrix's instances, or all of a DAG."""
        subject = self.subjects[dag].dag
        if not task:
            return list(subject.tasks)
        return subject.instances.get(task, (task,))

    def ordered(self, names: Collection[str]) -> list[str]:
        """DAGs in the order of doit's list, but each after those among them that it requires."""
        requires = {
            name: set(self.subjects[name].dag.declared.requires) & set(names) for name in names
        }
        found: list[str] = []
        while requires:
            ready = next((n for n, needs in requires.items() if needs <= set(found)), None)
            found.append(ready or next(iter(requires)))  # a circle: the run itself will refuse it
            del requires[found[-1]]
        return found

    def _load(self) -> None:
        self._given = getattr(doit_cmd, "_CMDLINE_VARS", None) or {}
        dags = self._dags()
        _check_known(self._given, dags)
        for dag in dags:
            try:
                self.subjects[dag.name] = self._subject(dag)
            except InvalidConfig as error:
                if self._only:
                    raise
                self._warn(error.problems)

    def _dags(self) -> list[Dag]:
        """The DAGs to show; what is broken is told, and stops nothing unless nothing is left."""
        workspace = spec.discover(self.config)
        self.broken = workspace.broken
        if self._only is not None:
            return [_the_one(workspace, self._only)]
        if not workspace.projects and not workspace.problems:
            raise spec.no_projects(self.root)
        if not workspace.dags:
            raise InvalidConfig(workspace.problems)
        self._warn(workspace.problems)
        return list(workspace.dags.values())

    def _subject(self, dag: Dag) -> Subject:
        """The DAG with its matrices expanded and, if they are known, its parameters filled in."""
        given = {p.name: self._given[p.name] for p in dag.params if p.name in self._given}
        typed = Typed(dag=dag.name, params=given)
        try:
            target = resolve(dag, typed, self.config, self.outside.day)
        except BadParameter as error:
            return Subject(dag=without_params(dag), target=None, lacking=str(error))
        return Subject(dag=target.dag, target=target)

    def _warn(self, problems: Sequence[Problem]) -> None:
        """One line for each broken file."""
        for path in dict.fromkeys(problem.path for problem in problems):
            found = [problem for problem in problems if problem.path == path]
            place = f"{path}:{found[0].line}:{found[0].column}" if found[0].line else path
            more = f" (and {len(found) - 1} more)" if found[1:] else ""
            self.outside.warn(f"{place}: {found[0].sentence}{more}", "See it with: pit validate")

    def check_named(self, names: Sequence[str]) -> None:
        """InvalidConfig if one of the names on the command line is that of a broken project."""
        for name in names:
            dag = name.partition(":")[0]
            if dag not in self.subjects and dag in self.broken:
                raise InvalidConfig(self.broken[dag])


def _check_known(given: Mapping[str, str], dags: Sequence[Dag]) -> None:
    known = {param.name for dag in dags for param in dag.params}
    for name in given:
        if name not in known:
            hint = "NAME=VALUE on doit's command line is a parameter of a DAG"
            raise BadParameter(f'no DAG here has a parameter "{name}"', hint)


def _the_one(workspace: spec.Workspace, project: Path) -> Dag:
    for dag in workspace.dags.values():
        if dag.project == project:
            return dag
    if project.name in workspace.broken:
        raise InvalidConfig(workspace.broken[project.name])
    raise UsageError(
        f"{project} is not a project of the workspace {workspace.config.root}",
        f"It needs a pit.toml, and to lie in {workspace.config.root / spec.PROJECTS}",
    )


# ---------------------------------------------------------------- one DAG


class _Tasks:
    """The doit tasks of one DAG; `taken` are the targets that doit knows already.

    doit wants no target twice, which only absolute ones of different projects can be.
    """

    def __init__(self, dag: ExpandedDag, root: Path, taken: set[str]) -> None:
        self._dag = dag
        self._root, self._taken = root, taken
        self._here = Path.cwd()

    def all(self) -> Iterator[DoitTask]:
        """The group, then the groups of instances, then the tasks."""
        name = self._dag.name
        instances = self._dag.instances
        groups = [f"{name}:{task}" for task in instances]
        tasks = [f"{name}:{task}" for task in self._dag.tasks]
        yield DoitTask(
            name,
            None,
            doc=self._dag.declared.description,
            task_dep=[*groups, *tasks],
            has_subtask=True,
        )
        for task, names in instances.items():
            yield doit_task(
                name,
                task,
                names,
                doc=f"{len(names)} instances",
                subtask_of=name,
                has_subtask=True,
            )
        yield from map(self._task, self._dag.tasks.values())

    def _task(self, task: Task) -> DoitTask:
        made = doit_task(
            self._dag.name,
            task.name,
            self._dag.needs[task.name],
            doc=task.description or task.script or f"{task.type} {task.query}".rstrip(),
            targets=list(self._targets(task)),
            subtask_of=self._dag.name,
            meta=_facts(self._dag.declared, task),
        )
        made.file_dep = InOrder(self._files(task))
        return made

    def _targets(self, task: Task) -> Iterator[str]:
        for target in publish.anchored(task.targets, self._root):
            place = self._shown(target)
            if place not in self._taken:
                self._taken.add(place)
                yield place

    def _files(self, task: Task) -> Iterator[str]:
        """The script and the inputs; a pattern as the files that it matches now, if any."""
        if task.script:
            yield self._shown(task.script)
        for place in publish.anchored(task.inputs or (), self._root):
            found: Sequence[str] = ()
            if is_pattern(place) and not os.path.isabs(place):
                found = list(selection.matching(str(self._dag.project), place))
            yield from map(self._shown, found or [place])

    def _shown(self, place: str) -> str:
        """A place as it is written where doit works: in its folder, or else absolute."""
        path = self._dag.project / place
        folder = place.endswith("/")
        shown = str(path.relative_to(self._here) if path.is_relative_to(self._here) else path)
        return f"{shown}/" if folder else shown


class InOrder(set[str]):
    """A set that lists its files in order, so that doit shows them so."""

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(super().__iter__()))


def _facts(dag: Dag, task: Task) -> dict[str, Any]:
    """What pit.toml says of a task beyond what doit has words for, for `doit info`."""
    connection = task.connection or (dag.connection if task.runner == "sql" else None)
    facts = {
        "script": task.script,
        "type": str(task.type),
        "query": task.query,
        "tables": list(task.tables),
        "fingerprint": task.fingerprint,
        "runner": task.runner,
        "connection": connection,
        "params": list(task.params or ()),
        "env": task.env,
        "matrix": task.values,
        "timeout": task.timeout,
        "retries": task.retries,
        "always": task.always,
    }
    return {key: value for key, value in facts.items() if value}
