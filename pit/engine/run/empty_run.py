"""A run that finds nothing to do: a row in the store, without a folder, a snapshot or doit.

It counts as a run nevertheless: it takes its place for `overlap`, and satisfies `[dag.requires]`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pit.engine.locks import place
from pit.events import Event, FoundCurrent, RunEnded, RunStarted, Warned
from pit.model import Reason, Record, RunState
from pit.state.rundir import RunDir

if TYPE_CHECKING:
    from pit.state.store.store import Store


class Row(Record):
    """What a run without anything to do tells the store; `began` on the monotonic clock.

    It is about the `whole` DAG or else about some tasks, which are `looked_at` unless a stamp told.
    `warning` is a sentence and a hint.
    """

    dag: str
    project: str
    selection: str | None
    trigger: str
    parent: str | None
    params: dict[str, str]
    began: float
    whole: bool = True
    looked_at: tuple[str, ...] = ()
    warning: tuple[str, str] | None = None


def record(
    row: Row,
    runs_dir: Path,
    store: Store,
    complete_at: Callable[[], float | None] = lambda: None,
) -> tuple[Event, ...] | None:
    """Take the run's place and write its row; None where another run of the DAG is alive.

    `complete_at` tells since when the whole DAG is done, once it is known what was looked at.
    """
    lock = place.lock_of(runs_dir, row.dag)
    if not lock.acquire():
        return None
    folder = RunDir.allocate(runs_dir, row.dag, time.time())
    try:
        started = _started(row, folder)
        store.emit(started)
        warned = [] if row.warning is None else [_warned(started, *row.warning)]
        for each in warned:
            store.emit(each)
        if row.looked_at and not row.whole:
            store.emit(FoundCurrent(run=folder.id, at=started.at, tasks=row.looked_at))
            store.barrier()
        ended = RunEnded(
            run=folder.id,
            at=started.at,
            state=RunState.SUCCESS,
            reason=Reason.CURRENT,
            seconds=time.monotonic() - row.began,
            complete_at=None if row.whole else complete_at(),
        )
        store.emit(ended)
        store.barrier()
        return started, *warned, ended
    finally:
        folder.lock.release()
        folder.remove_all()
        lock.release()


def _warned(started: RunStarted, message: str, hint: str) -> Warned:
    return Warned(run=started.run, at=started.at, message=message, hint=hint)


def _started(row: Row, folder: RunDir) -> RunStarted:
    return RunStarted(
        run=folder.id,
        at=time.time(),
        dag=row.dag,
        run_dir=str(folder.root),
        project=row.project,
        tasks=(),
        params=row.params,
        selection=row.selection,
        whole=row.whole,
        trigger=row.trigger,
        parent=row.parent,
        pid=os.getpid(),
    )
