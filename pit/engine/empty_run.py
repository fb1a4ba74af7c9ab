"""A run that finds nothing to do: a row in the store, without a folder, a snapshot or doit.

It counts as a run nevertheless: it takes its place for `overlap`, and satisfies `[dag.requires]`.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from pit.engine import place
from pit.engine.sinks import Durable
from pit.events import Event, RunEnded, RunStarted
from pit.model import Reason, Record, RunState
from pit.state.rundir import RunDir


class Row(Record):
    """What a run without anything to do tells the store; `began` on the monotonic clock."""

    dag: str
    project: str
    selection: str | None
    trigger: str
    parent: str | None
    params: dict[str, str]
    began: float


def record(row: Row, runs_dir: Path, keeper: Durable) -> tuple[Event, ...] | None:
    """Take the run's place and write its row; None where another run of the DAG is alive."""
    lock = place.lock_of(runs_dir, row.dag)
    if not lock.acquire():
        return None
    folder = RunDir.allocate(runs_dir, row.dag, time.time())
    try:
        events = _events(row, folder)
        for event in events:
            keeper.emit(event)
        keeper.barrier()
        return events
    finally:
        folder.lock.release()
        folder.remove_all()
        lock.release()


def _events(row: Row, folder: RunDir) -> tuple[Event, ...]:
    now, seconds = time.time(), time.monotonic() - row.began
    started = RunStarted(
        run=folder.id,
        at=now,
        dag=row.dag,
        run_dir=str(folder.root),
        project=row.project,
        tasks=(),
        params=row.params,
        selection=row.selection,
        trigger=row.trigger,
        parent=row.parent,
        pid=os.getpid(),
    )
    state, reason = RunState.SUCCESS, Reason.CURRENT
    ended = RunEnded(run=folder.id, at=now, state=state, reason=reason, seconds=seconds)
    return started, ended
