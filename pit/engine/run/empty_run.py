"""A run that finds nothing to do: a row in the store, without a folder, a snapshot or doit.

It counts as a run nevertheless: it takes its place for `overlap`, and satisfies `[dag.requires]`.
Most runs are of this kind, so what only the others need is not imported here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING

from pit.engine.locks import owner, place
from pit.engine.planning import stamp
from pit.engine.planning.stamp import Stamp
from pit.engine.staleness import comparison
from pit.errors import PitError
from pit.events import Event, FoundCurrent, RunEnded, RunStarted, Warned
from pit.model import Dag, Reason, Record, RunState, WorkspaceConfig
from pit.state.rundir import RunDir, prepare

if TYPE_CHECKING:
    from pit.engine.planning.nothing_to_do import NothingToDo
    from pit.engine.target.target import Target
    from pit.engine.target.typed import Typed
    from pit.fs.reads import Reads
    from pit.state.store.store import Store


class Inquiry:
    """What is asked for. What that means is worked out once, and only if need be: a stamp answers
    without.

    `declared` reads the DAG; `trigger` says who asks.
    """

    def __init__(
        self,
        config: WorkspaceConfig,
        typed: Typed,
        day: date,
        declared: Callable[[], Dag],
        trigger: str = "manual",
    ) -> None:
        self.config, self.typed, self.day, self.trigger = config, typed, day, trigger
        self._declared = declared

    @cached_property
    def reads(self) -> Reads:
        """What has been read for the target."""
        from pit.fs.reads import Reads

        return Reads()

    @cached_property
    def target(self) -> Target:
        """The tasks that are meant, with their parameters; PitError if none are."""
        from pit.engine.target.target import resolve

        return resolve(self._declared(), self.typed, self.config, self.day, reads=self.reads)


class EmptyRun(Record):
    """What such a run has told, and how many tasks are current."""

    events: tuple[Event, ...]
    tasks: int


def run_empty(asked: Inquiry, store: Store, command: Callable[[str], str]) -> EmptyRun | None:
    """A run, if there is nothing to do; None where there is, or where that cannot be told so.

    `command` is a `pit` command line to type.
    """
    began = time.monotonic()
    config, dag = asked.config, asked.typed.dag
    owner.require(config, dag, store)
    if store.runs.running():
        return None  # alive or interrupted: the long way says which
    path, facts = stamp.place(config, asked.typed), stamp.facts(comparison.VERSION, asked.day)
    found, fresh = stamp.read(path), None
    if found is None or not stamp.holds(found, facts, store.records.mark(dag)):
        fresh = _look(asked, facts, store)
        if fresh is None:
            return None
        found = fresh.stamp
        if fresh.kept:
            stamp.write(path, found)
    for required in found.requires:
        owner.require(config, required, store)
    place.check_requirements(dag, found.requires, store, time.time())
    prepare(config.runs_dir, config.settings)
    events = _recorded(asked, found, fresh, store, began, command)
    return None if events is None else EmptyRun(events=events, tasks=found.tasks)


def _look(asked: Inquiry, facts: dict[str, str], store: Store) -> NothingToDo | None:
    """What a proper look finds, where the last run promises that everything is current."""
    last = store.runs.last_run(asked.typed.dag)
    if last is None or last.state is not RunState.SUCCESS or last.stub:
        return None
    from pit.engine.planning import nothing_to_do
    from pit.work.process import launch

    began = time.time_ns()
    with suppress(PitError, OSError, ValueError):  # a real run meets it again and says it properly
        asked.reads.facts |= facts
        return nothing_to_do.answer(asked.target, asked.reads, began, store, launch.capture)
    return None


def _recorded(
    asked: Inquiry,
    found: Stamp,
    fresh: NothingToDo | None,
    store: Store,
    began: float,
    command: Callable[[str], str],
) -> tuple[Event, ...] | None:
    """Take the run's place and write its row; None where another run of the DAG is alive.

    `began` is of the monotonic clock.
    """
    config, dag = asked.config, asked.typed.dag
    lock = place.lock_of(config.runs_dir, dag)
    if not lock.acquire():
        return None
    folder = RunDir.allocate(config.runs_dir, dag, time.time())
    try:
        started = _started(asked, found, folder)
        store.emit(started)
        warned = _warned(started, fresh, command)
        for each in warned:
            store.emit(each)
        if fresh is not None and not found.whole:
            store.emit(FoundCurrent(run=folder.id, at=started.at, tasks=_looked_at(asked)))
            store.barrier()
        ended = RunEnded(
            run=folder.id,
            at=started.at,
            state=RunState.SUCCESS,
            reason=Reason.CURRENT,
            seconds=time.monotonic() - began,
            complete_at=None if found.whole or fresh is None else _complete_at(asked, store),
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


def _started(asked: Inquiry, found: Stamp, folder: RunDir) -> RunStarted:
    return RunStarted(
        run=folder.id,
        at=time.time(),
        dag=asked.typed.dag,
        run_dir=str(folder.root),
        project=found.project,
        tasks=(),
        params=found.params,
        selection=asked.typed.selection or None,
        whole=found.whole,
        trigger=asked.trigger,
        parent=os.environ.get("PIT_RUN_ID"),
        pid=os.getpid(),
    )


def _looked_at(asked: Inquiry) -> tuple[str, ...]:
    return tuple(task.name for task in asked.target.tasks)


def _complete_at(asked: Inquiry, store: Store) -> float | None:
    """Since when the whole DAG of a selection that was looked at is done, None if it is not."""
    from pit.engine.staleness import completion

    dag = asked.target.dag
    return completion.complete_at(
        dag, store.dags.standings(dag.name), store.runs.last_complete(dag.name)
    )
