"""A look at a DAG without running it: what is current, what would run, and why.

The same comparison as in a run, but on the live project. What depends on something that would be
made anew cannot be told before it has been made; such a task is deferred.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

from pit.engine import current, databases, earlier, handed, wanted
from pit.engine.current import Change, Kind, Records
from pit.engine.earlier import Earlier
from pit.engine.fingerprint import Fingerprints, Surroundings, present
from pit.engine.orphaned import orphaned
from pit.engine.questions import Questions, asks
from pit.engine.verdict import verdict_of
from pit.engine.wanted import Unmet
from pit.model import Dag, FileMark, Record, Task, TaskRecord, WorkspaceConfig
from pit.project.python import environment
from pit.project.snapshot.digest import Digests
from pit.spec import graph
from pit.spec.dataflow import makes
from pit.spec.movement import may_be_handed_on
from pit.spec.patterns import is_pattern
from pit.state.digests import Seen
from pit.state.identities import private_files

if TYPE_CHECKING:
    from pit.state.secrets import Secrets

Capture = Callable[..., tuple[int, bytes]]


class Success(Protocol):
    """When a task last succeeded, and how long that took."""

    @property
    def run(self) -> str:
        """The run's id."""

    @property
    def seconds(self) -> float:
        """How long the work took."""


class Memory(Records, handed.Values, earlier.Memory, Protocol):
    """The store as this module needs it."""

    def recorded(self, dag: str) -> frozenset[str]:
        """The tasks of a DAG that have records."""

    def records(self, dag: str) -> Sequence[TaskRecord]:
        """The records of a DAG."""

    def last_successes(self, dag: str) -> Mapping[str, Success]:
        """The newest success of each task of a DAG, tracked or not."""

    def digests(self, *folders: str) -> Mapping[str, Seen]:
        """The digest cache."""

    def save_digests(self, changes: Mapping[str, Seen | None]) -> None:
        """Bring the digest cache up to date."""


class Action(StrEnum):
    """What a run would do with a task."""

    RUN = "run"
    SKIP = "skip"
    DEFER = "defer"


class Outlook(Record):
    """What a run would do with one task; `seconds` is how long it took the last time."""

    task: str
    action: Action
    changes: tuple[Change, ...] = ()
    after: tuple[str, ...] = ()
    record: TaskRecord | None = None
    seconds: float | None = None


class Subject(Record):
    """What is looked at."""

    dag: Dag
    config: WorkspaceConfig
    params: Mapping[str, str]
    secrets: Secrets | None = None


class Look:
    """One look at a DAG; `save` keeps the digests that it had to take."""

    def __init__(
        self,
        subject: Subject,
        memory: Memory,
        capture: Capture,
        digests: Digests | None = None,
    ) -> None:
        self._subject, self._memory = subject, memory
        self._dag = graph.implied(subject.dag)
        self._tasks = {task.name: task for task in self._dag.tasks}
        self._digests = digests or Digests(
            memory.digests(str(subject.dag.project), str(subject.config.runs_dir))
        )
        self._successes = memory.last_successes(subject.dag.name)
        self._earlier = Earlier(subject.dag.name, memory)
        self.environment = self._environment(capture)
        self._questions = Questions(self._url, look=True)
        self._fingerprints = Fingerprints(
            Surroundings(
                dag=subject.dag,
                implied=self._dag,
                urls=self._urls,
                root=subject.dag.project,
                workspace=subject.config.root,
                params=subject.params,
                environment=self.environment,
                url=self._url,
                ask=self._questions.of,
                steady=True,
                orphans=orphaned(subject.dag, memory, self._digests),
                private=private_files(subject.config),
            ),
            self._digests,
        )

    def _environment(self, capture: Capture) -> environment.Environment | None:
        if not any(task.runner == "python" for task in self._dag.tasks):
            return None
        cache = self._subject.config.cache_dir
        return environment.standing_environment(self._subject.dag.project, cache, capture)

    def _url(self, task: Task) -> str | None:
        subject = self._subject
        name = databases.connection(subject.dag, task)
        return databases.url(subject.secrets, subject.dag.name, name)

    def _urls(self, task: Task) -> Mapping[str, str]:
        subject = self._subject
        wanted = task.secrets or ()
        return databases.urls(subject.secrets, subject.dag.name, wanted, subject.config.root)

    @property
    def fingerprints(self) -> Fingerprints:
        """The fingerprints that this look takes."""
        return self._fingerprints

    def outlooks(
        self,
        among: Iterable[str] | None = None,
        force: bool = False,
        until_stale: bool = False,
    ) -> list[Outlook]:
        """What a run of these tasks (all by default) would do, in topological order.

        With `until_stale` the first task that is not current is the last that is looked at.
        """
        chosen = set(self._tasks if among is None else among)
        needed = graph.above(self._dag, chosen) if chosen else self._tasks.keys()
        busy: dict[str, Action] = {}
        found = []
        for name in graph.topological(self._dag):
            if name not in chosen:
                self._note(name, needed=name in needed)
                continue
            outlook = self._outlook(self._tasks[name], busy, force)
            if outlook.action is not Action.SKIP:
                busy[name] = outlook.action
            found.append(outlook)
            if until_stale and outlook.action is not Action.SKIP:
                break
        return found

    def unmet(self, outlooks: Iterable[Outlook]) -> tuple[Unmet, ...]:
        """What the secrets do not give the tasks that would run, or may."""
        tasks = [self._tasks[each.task] for each in outlooks if each.action is not Action.SKIP]
        return wanted.unmet(self._subject.secrets, self._dag, tasks)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While it lasts, databases are asked, for reading alone, by a SQL process of its own."""
        subject = self._subject
        if not any(asks(task) for task in self._dag.tasks):
            yield
            return
        from pit.work import process
        from pit.work.broker import Sessions  # few tasks need one to be judged

        cancel = process.Cancel()
        with (
            closing(cancel),
            TemporaryDirectory(prefix="pit-look-") as folder,
            Sessions(
                spawn=process.spawn_session,
                cwd=subject.dag.project,
                env=environment.base_variables(os.environ),
                stderr=Path(folder, "stderr"),
                workspace=subject.config.root,
            ) as sessions,
        ):
            self._questions.begin(lambda: sessions, cancel)
            try:
                yield
            finally:
                self._questions.end()

    def save(self) -> None:
        """Keep the digests for the next look."""
        self._memory.save_digests(self._digests.changes())

    def _note(self, name: str, record: TaskRecord | None = None, needed: bool = True) -> None:
        """A task that would not run is as it last was."""
        if record is not None:
            left = record.fingerprint
            self._fingerprints.note(name, record.run, left.products, left.handed)
        elif name in self._successes:
            run = self._successes[name].run
            self._fingerprints.note(name, run, handed=self._handed(name, run) if needed else {})

    def _handed(self, name: str, run: str) -> Mapping[str, FileMark]:
        """What a task that last succeeded in `run` hands on beside its targets."""
        task, subject = self._tasks.get(name), self._subject
        if task is None or not current.is_tracked(task):
            return handed.values_of(run, name, self._memory)
        key = current.params_key(task, subject.params)
        record = self._memory.record(subject.dag.name, name, key)
        if record is None:
            return {}
        return handed.standing(record, subject.config.runs_dir, self._memory, self._digests)

    def _outlook(self, task: Task, busy: Mapping[str, Action], force: bool) -> Outlook:
        took = self._successes.get(task.name)
        facts: dict[str, Any] = {
            "task": task.name,
            "seconds": None if took is None else took.seconds,
            "after": tuple(name for name in task.depends_on if name in busy),
        }
        if force:
            return Outlook(action=Action.RUN, changes=(Change(kind=Kind.FORCED),), **facts)
        if not current.is_tracked(task):
            kind = Kind.ALWAYS if task.always else Kind.UNTRACKED
            return Outlook(action=Action.RUN, changes=(Change(kind=kind),), **facts)
        return self._tracked(task, busy, facts)

    def _tracked(self, task: Task, busy: Mapping[str, Action], facts: dict[str, Any]) -> Outlook:
        moved = [name for name in facts["after"] if not self._tasks[name].targets]
        sure = [name for name in moved if busy[name] is Action.RUN]
        verdict = verdict_of(
            task,
            self._dag.name,
            self._subject.params,
            self._fingerprints,
            self._memory,
            self._standing,
            self._earlier.became,
        )
        facts["record"] = verdict.record
        unknown = tuple(one for one in verdict.changes if one.kind is Kind.UNKNOWN)
        known = tuple(one for one in verdict.changes if one.kind is not Kind.UNKNOWN)
        if any(not self._may_pass(change, facts["after"]) for change in known):
            return Outlook(action=Action.RUN, changes=known, **facts)
        if sure:
            changes = tuple(Change(kind=Kind.SUCCESS, subject=name) for name in sure)
            return Outlook(action=Action.RUN, changes=changes, **facts)
        self._note(task.name, verdict.record)
        self._hide_leftovers(task)
        if facts["after"] or unknown:
            return Outlook(action=Action.DEFER, changes=unknown, **facts)
        return Outlook(action=Action.SKIP, **facts)

    def _hide_leftovers(self, task: Task) -> None:
        """What a pattern of its targets matches and its last success did not make: a run, which
        begins without the targets of its tasks in the project, would not see it."""
        if any(map(is_pattern, task.targets)):
            standing = self._fingerprints.products(task)
            left = standing.keys() - self._fingerprints.made(task.name).keys()
            self._fingerprints.hide(place for place in left if not os.path.isabs(place))

    def _may_pass(self, change: Change, after: Sequence[str]) -> bool:
        """Whether what differs now will be made anew before, and may be the same again then."""
        if change.kind is Kind.UPSTREAM:
            return change.maker in after
        makers = (self._tasks[name] for name in after)
        return change.kind is Kind.INPUT and any(makes(task, change.subject) for task in makers)

    def _standing(self, task: Task, record: TaskRecord) -> dict[str, FileMark]:
        config, made = self._subject.config, record.fingerprint.products
        there = present(task, made, self._subject.dag.project, config.root, self._digests)
        return there | handed.standing(record, config.runs_dir, self._memory, self._digests)


def missing_inputs(dag: Dag, root: Path) -> dict[str, tuple[str, ...]]:
    """The literal inputs, by task, that neither exist nor are made by another task."""
    made = {target.rstrip("/") for task in dag.tasks for target in task.targets}
    return {task.name: lost for task in dag.tasks if (lost := tuple(_lost(task, made, root)))}


def _lost(task: Task, made: set[str], root: Path) -> Sequence[str]:
    return [
        path
        for path in task.inputs or ()
        if not any(sign in path for sign in "*?[{")
        and not may_be_handed_on(task, path)
        and not _is_made(path.rstrip("/"), made)
        and not os.path.lexists(root / path)
    ]


def _is_made(path: str, made: set[str]) -> bool:
    return any(
        path == target or path.startswith(f"{target}/") or target.startswith(f"{path}/")
        for target in made
    )
