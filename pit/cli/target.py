"""What `DAG[/TASK]` and `-p` mean on a command line, and a look at it that starts nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

from pit.cli.arguments import chosen, parameters
from pit.cli.asked import record_asked
from pit.cli.options import Settings
from pit.cli.unlock import unlock
from pit.config.dag import graph, params
from pit.engine.locks import owner, place
from pit.engine.planning.look import Look
from pit.engine.planning.select import prepared, selected
from pit.engine.staleness.planner import Decision, target_of
from pit.errors import BadArgument, PitError
from pit.model import Dag, Record, Task, TaskRecord, WorkspaceConfig
from pit.state.secrets.secrets import Secrets
from pit.state.store.store import Store
from pit.state.store.tables.digests import Seen
from pit.state.store.tables.history import LastSuccess, RunRow


class Aim(Record):
    """What a command is about: a DAG with its matrices expanded, parameters, and chosen tasks.

    `selection` is what stands after the slash, empty for the whole DAG.
    """

    config: WorkspaceConfig
    dag: Dag
    params: dict[str, str]
    chosen: tuple[str, ...]
    selection: str = ""

    @property
    def locks(self) -> Path:
        """Where runs keep the locks on tasks."""
        return place.locks(self.config.runs_dir)

    def tasks(self) -> tuple[Task, ...]:
        """The chosen tasks, as pit.toml declares them."""
        names = set(self.chosen)
        return tuple(task for task in self.dag.tasks if task.name in names)

    def implied(self) -> tuple[Task, ...]:
        """The chosen tasks with the dependencies that their inputs imply."""
        tasks = {task.name: task for task in graph.implied(self.dag).tasks}
        return tuple(tasks[name] for name in self.chosen)


def aim(settings: Settings, target: str, pairs: Sequence[str]) -> Aim:
    """What `target` and the `-p` options name; UsageError or InvalidConfig if nothing."""
    config = settings.config()
    declared, selection = chosen(config, target)
    values = params.resolve(declared.params, parameters(pairs), date.today())
    dag = prepared(declared, values)
    names = selected(dag, selection) if selection else {task.name for task in dag.tasks}
    return Aim(
        config=config,
        dag=dag,
        params=values,
        chosen=tuple(task.name for task in dag.tasks if task.name in names),
        selection=selection or "",
    )


def one(found: Aim) -> Task:
    """The one task that is aimed at."""
    if not found.selection:
        raise BadArgument(f'"{found.dag.name}" is a whole DAG', "Write DAG/TASK")
    if len(found.chosen) > 1:
        names = ", ".join(found.chosen[:5]) + (" …" if len(found.chosen) > 5 else "")
        raise BadArgument(
            f'"{found.selection}" means {len(found.chosen)} tasks', f"Name one of: {names}"
        )
    return found.dag.task(found.chosen[0])


# ---------------------------------------------------------------- looking


class Memory:
    """The store as far as there is one: opened for reading, so that any disk will do.

    What a look has digested is kept if the store can be written; if not, the next look pays.
    """

    def __init__(self, path: Path, store: Store | None) -> None:
        self._path, self.store = path, store

    def record(self, dag: str, task: str, params: str) -> TaskRecord | None:
        """The record of a task with these values of its parameters."""
        return None if self.store is None else self.store.record(dag, task, params)

    def records_for(self, dag: str, wanted: Mapping[str, str]) -> Mapping[str, TaskRecord]:
        """The records of several tasks at once."""
        return {} if self.store is None else self.store.records_for(dag, wanted)

    def text(self, digest: str) -> bytes | None:
        """A source by its digest, if it was kept."""
        return None if self.store is None else self.store.text(digest)

    def last_success(self, dag: str) -> RunRow | None:
        """The run after which a whole DAG was known to be done most lately."""
        return None if self.store is None else self.store.last_success(dag)

    def last_successes(self, dag: str) -> Mapping[str, LastSuccess]:
        """The newest success of each task of a DAG."""
        return {} if self.store is None else self.store.last_successes(dag)

    def digests(self, *folders: str) -> Mapping[str, Seen]:
        """The digest cache."""
        return {} if self.store is None else self.store.digests(*folders)

    def environments(self, run_id: str) -> dict[str, str]:
        """The digests that a run was executed with."""
        return {} if self.store is None else self.store.environments(run_id)

    def tasks(self, run_id: str) -> Sequence[Any]:
        """The tasks of a run."""
        return () if self.store is None else self.store.tasks(run_id)

    def runs(self, dag: str, limit: int) -> Sequence[Any]:
        """The latest runs of a DAG first."""
        return () if self.store is None else self.store.runs(dag, limit)

    def attempts(self, run_id: str, task: str) -> Sequence[Any]:
        """The attempts of a task in a run."""
        return () if self.store is None else self.store.attempts(run_id, task)

    def tried(self, dag: str) -> Sequence[Any]:
        """How tasks came out in the last runs of a DAG, the latest first."""
        return () if self.store is None else self.store.tried(dag)

    def notes(self, dag: str, task: str, limit: int) -> Sequence[Any]:
        """What people did to the records of a task, the latest first."""
        return () if self.store is None else self.store.notes(dag, task, limit)

    def recorded(self, dag: str) -> frozenset[str]:
        """The tasks of a DAG that have records."""
        return frozenset() if self.store is None else self.store.recorded(dag)

    def records(self, dag: str) -> Sequence[TaskRecord]:
        """The records of a DAG."""
        return () if self.store is None else self.store.records(dag)

    def values(self, run_id: str, task: str | None = None) -> Sequence[Any]:
        """The small facts that the tasks of a run set, or those of one task."""
        return () if self.store is None else self.store.values(run_id, task)

    def save_digests(self, changes: Mapping[str, Seen | None]) -> None:
        """Bring the digest cache up to date, where that is possible."""
        if self.store is not None and changes:
            with suppress(PitError), Store.open(self._path) as store:
                store.save_digests(changes)


@contextmanager
def remembered(config: WorkspaceConfig) -> Iterator[Memory]:
    """What the workspace remembers, open for reading while the `with` lasts."""
    store = Store.open_readonly(config.metadata_db)
    try:
        yield Memory(config.metadata_db, store)
    finally:
        if store is not None:
            store.close()


def look(
    settings: Settings,
    found: Aim,
    memory: Memory,
    *,
    force: bool = False,
    whole: bool = False,
    chosen: Collection[str] | None = None,
) -> Look:
    """A look at the DAG as it stands in the project: at the tasks that are aimed at, at others, or
    at the whole."""
    from pit.work.process import launch  # only for asking uv about Python

    if memory.store is not None:
        owner.require(found.config, found.dag.name, memory.store)
    unlock(settings.console, found.config)
    secrets = Secrets.of(found.config)
    record_asked(settings, found.config, found.dag, secrets)
    names = None if whole else chosen or found.chosen
    target = target_of(found.dag, found.config, found.params, names)
    return Look(target, secrets, memory, launch.capture, force=force)


def stale_above(
    settings: Settings,
    found: Aim,
    pairs: Sequence[str],
    memory: Memory,
    alone: Iterable[Decision] | None = None,
) -> tuple[str, str]:
    """What is stale above the tasks that are aimed at, and what to type; empty if nothing is.

    `alone` are the decisions on these tasks by themselves, if they are known.
    """
    from pit.engine.planning import stale_upstream  # not every look asks for it

    selection = stale_upstream.Selection(
        dag=found.dag,
        chosen=frozenset(found.chosen),
        typed=found.selection,
        given=parameters(pairs),
    )
    stale = stale_upstream.looked_for(
        selection, lambda chosen: look(settings, found, memory, chosen=chosen), alone
    )
    return ("", "") if stale is None else (stale.sentence, stale.hint(settings.again))
