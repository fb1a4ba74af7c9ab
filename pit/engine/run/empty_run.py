"""A run that finds nothing to do: a row in the store, without a folder, a snapshot or doit.

It counts as a run nevertheless: it takes its place for `overlap`, and satisfies `[dag.requires]`.
Most runs are of this kind, so what only the others need is not imported here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pit.engine.locks import owner, place
from pit.engine.planning import stamp
from pit.engine.planning.stamp import Stamp
from pit.engine.staleness import comparison
from pit.events import Event, FoundCurrent, RunEnded, RunStarted, Warned
from pit.model import Dag, Reason, Record, RunState, WorkspaceConfig
from pit.state.rundir import RunDir, prepare

if TYPE_CHECKING:
    from pit.engine.planning.nothing_to_do import NothingToDo
    from pit.state.store.store import Store


class Wanted(Record):
    """What is to be run; `given` are the parameters as typed."""

    dag: str
    selection: str | None
    given: Mapping[str, str]
    trigger: str


class EmptyRun(Record):
    """What such a run has told, and how many tasks are current."""

    events: tuple[Event, ...]
    tasks: int


def run_empty(
    wanted: Wanted,
    config: WorkspaceConfig,
    declared: Callable[[], Dag],
    store: Store,
    command: Callable[[str], str],
) -> EmptyRun | None:
    """A run, if there is nothing to do; None where there is, or where that cannot be told so.

    `declared` reads the DAG, if need be; `command` is a `pit` command line to type.
    """
    began = time.monotonic()
    owner.require(config, wanted.dag, store)
    if store.runs.running():
        return None  # alive or interrupted: the long way says which
    path = stamp.place(config, wanted.dag, wanted.selection or "", wanted.given)
    found, fresh = stamp.read(path), None
    if found is None or not stamp.holds(
        found, stamp.facts(comparison.VERSION), store.records.mark(wanted.dag)
    ):
        fresh = _look(wanted, config, declared, store)
        if fresh is None:
            return None
        found = fresh.stamp
        if fresh.kept:
            stamp.write(path, found)
    for required in found.requires:
        owner.require(config, required, store)
    place.check_requirements(wanted.dag, found.requires, store, time.time())
    prepare(config.runs_dir, config.settings)
    events = _recorded(wanted, config, found, fresh, store, began, command)
    return None if events is None else EmptyRun(events=events, tasks=found.tasks)


def _look(
    wanted: Wanted, config: WorkspaceConfig, declared: Callable[[], Dag], store: Store
) -> NothingToDo | None:
    """What a proper look finds, where the last run promises that everything is current."""
    last = store.runs.last_run(wanted.dag)
    if last is None or last.state is not RunState.SUCCESS or last.stub:
        return None
    from pit.engine.planning import nothing_to_do
    from pit.work.process import launch

    began = time.time_ns()
    question = nothing_to_do.Question(
        dag=declared(),
        config=config,
        selection=wanted.selection,
        given=wanted.given,
        began=began,
    )
    return nothing_to_do.answer(question, store, launch.capture)


def _recorded(
    wanted: Wanted,
    config: WorkspaceConfig,
    found: Stamp,
    fresh: NothingToDo | None,
    store: Store,
    began: float,
    command: Callable[[str], str],
) -> tuple[Event, ...] | None:
    """Take the run's place and write its row; None where another run of the DAG is alive.

    `began` is of the monotonic clock.
    """
    lock = place.lock_of(config.runs_dir, wanted.dag)
    if not lock.acquire():
        return None
    folder = RunDir.allocate(config.runs_dir, wanted.dag, time.time())
    try:
        started = _started(wanted, found, folder)
        store.emit(started)
        warned = _warned(started, fresh, command)
        for each in warned:
            store.emit(each)
        if fresh is not None and not found.whole:
            store.emit(FoundCurrent(run=folder.id, at=started.at, tasks=fresh.chosen))
            store.barrier()
        ended = RunEnded(
            run=folder.id,
            at=started.at,
            state=RunState.SUCCESS,
            reason=Reason.CURRENT,
            seconds=time.monotonic() - began,
            complete_at=None if found.whole else _complete_at(fresh, store),
        )
        store.emit(ended)
        store.barrier()
        return started, *warned, ended
    finally:
        folder.lock.release()
        folder.remove_all()
        lock.release()


def _warned(
    started: RunStarted, fresh: NothingToDo | None, command: Callable[[str], str]
) -> tuple[Warned, ...]:
    """What a run says that leaves something stale above its tasks."""
    if fresh is None or fresh.stale is None:
        return ()
    message, hint = fresh.stale.sentence, fresh.stale.hint(command)
    return (Warned(run=started.run, at=started.at, message=message, hint=hint),)


def _started(wanted: Wanted, found: Stamp, folder: RunDir) -> RunStarted:
    return RunStarted(
        run=folder.id,
        at=time.time(),
        dag=wanted.dag,
        run_dir=str(folder.root),
        project=found.project,
        tasks=(),
        params=found.params,
        selection=wanted.selection,
        whole=found.whole,
        trigger=wanted.trigger,
        parent=os.environ.get("PIT_RUN_ID"),
        pid=os.getpid(),
    )


def _complete_at(fresh: NothingToDo | None, store: Store) -> float | None:
    """Since when the whole DAG of a selection that was looked at is done, None if it is not."""
    if fresh is None:
        return None
    from pit.engine.staleness import completion

    name = fresh.dag.name
    return completion.complete_at(
        fresh.dag, store.dags.standings(name), store.runs.last_complete(name)
    )
