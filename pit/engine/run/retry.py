"""What a retry goes on with: the request of a run that continues one which did not succeed.

What had succeeded is not done again, tracked or not; the data folder of the old run is taken over
and, if wanted, its frozen code. After a restart of the machine, what may not have reached the disk
before is not trusted.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path

from msgspec.structs import replace

from pit.config.project import read_project
from pit.config.workspace import discover_one
from pit.engine.locks import owner
from pit.engine.locks.ending import is_ending
from pit.engine.run.request import Continued, Request
from pit.engine.target.target import resolve
from pit.engine.target.typed import Typed
from pit.errors import BadArgument, InvalidConfig, SnapshotFailed, UnknownRun
from pit.model import Dag, Reason, RunState, TaskState, WorkspaceConfig
from pit.state.restart import settled_until
from pit.state.rundir import RunDir
from pit.state.store.store import Store
from pit.state.store.tables.runs import RunRow, TaskRow
from pit.work.process.procfs import boot_id

Command = Callable[[str], str]
"""A `pit` command line to type, with these words."""


def run_of(store: Store, target: str) -> RunRow:
    """The run that is meant: the last one of a DAG, or the one whose id begins so."""
    return store.runs.last_run(target) or store.runs.find(target)


def await_end(config: WorkspaceConfig, run: RunRow, say: Callable[[str], None]) -> None:
    """A run whose Pit was killed lives until its guardian has ended what was left of it."""
    if run.state is not RunState.RUNNING or not is_ending(run, config.runs_dir):
        return
    say(f"waiting for the end of what run {run.id} has left behind")
    deadline = time.monotonic() + _LONGEST_END
    while is_ending(run, config.runs_dir) and time.monotonic() < deadline:
        time.sleep(0.05)


def request_of(
    store: Store,
    config: WorkspaceConfig,
    run: RunRow,
    command: Command,
    day: date,
    *,
    old_code: bool,
) -> Request:
    """The request of a run that goes on, on a day, where `run` stopped: with its own code or
    today's.

    BadArgument if there is nothing to go on with, SnapshotFailed if its code cannot be used again.
    """
    if run.state is RunState.RUNNING:
        raise BadArgument(f"run {run.id} is still running", "Wait until it has ended")
    if run.state is RunState.SUCCESS:
        raise BadArgument(f"run {run.id} succeeded", f"Run it anew with: pit run {run.dag}")
    owner.require(config, run.dag, store)
    lineage = _lineage(store, run)
    _refuse_if_taken(store, config, lineage, command, old_code=old_code)
    continued, left_out = _continued(store, config, lineage, old_code=old_code)
    old = continued.project
    dag = discover_one(config, run.dag) if old is None else _old_dag(config, run, old)
    typed = Typed(dag=run.dag, selection=run.selection or "", params=run.params, undone=left_out)
    target = resolve(dag, typed, config, day, frozen=old)
    return Request(target=target, continued=continued)


def _lineage(store: Store, run: RunRow) -> list[RunRow]:
    """The run, the one that it continued, and so on, as far as the store remembers them.

    A retry that could not be set up or was stopped has not come to what had succeeded before it.
    """
    found = [run]
    with suppress(UnknownRun):
        while found[-1].retry_of is not None:
            found.append(store.runs.find(found[-1].retry_of))
    return found


def _refuse_if_taken(
    store: Store,
    config: WorkspaceConfig,
    lineage: Sequence[RunRow],
    command: Command,
    *,
    old_code: bool,
) -> None:
    """Raise BadArgument if another retry has what this one would go on with.

    The folders of a run go to the run that continues it, and are there once.
    """
    taken_by = _continuing(store, lineage[0])
    for part in ("data", "project") if old_code else ("data",):
        if _newest(config, lineage, part) is None and _newest(config, taken_by, part) is not None:
            last = taken_by[0]
            what = "data" if part == "data" else "snapshot"
            raise BadArgument(
                f"the {what} of run {lineage[0].id} went to run {last.id}, which continues it",
                f"Run it anew with: {command(f'run {last.dag}')}"
                if last.state is RunState.SUCCESS
                else f"Go on with that one: {command(f'retry {last.id}')}",
            )


def _continuing(store: Store, run: RunRow) -> list[RunRow]:
    """The runs that continue a run, directly or through others, the latest first."""
    later = [each for each in store.runs.latest(run.dag, limit=_LATER) if each.seq > run.seq]
    known = {run.id}
    found = []
    for each in reversed(later):
        if each.retry_of in known:
            known.add(each.id)
            found.append(each)
    return found[::-1]


def _continued(
    store: Store, config: WorkspaceConfig, lineage: Sequence[RunRow], *, old_code: bool
) -> tuple[Continued, tuple[str, ...] | None]:
    """What a retry goes on with, and the tasks that it is about if the run had left some out."""
    tasks = {row.id: store.runs.tasks(row.id) for row in lineage}
    run = lineage[0]
    settled = _settled(store, lineage)
    done = _done(lineage, tasks, settled)
    chosen = tuple(t.task for t in tasks[run.id] if t.reason != Reason.SINGLE_TASK)
    continued = Continued(
        run=run.id,
        done=done,
        data=_newest(config, lineage, "data"),
        tasks=frozenset(task.task for task in tasks[run.id]),
        cut_off=run.state is RunState.INTERRUPTED,
    )
    if old_code:
        continued = _with_snapshot(store, config, lineage, continued)
        _refuse_if_unsettled(store, continued, settled)
    return continued, chosen if len(chosen) < len(tasks[run.id]) else None


def _settled(store: Store, lineage: Sequence[RunRow]) -> dict[str, float]:
    """By run, the time until which what it wrote has reached the disk."""
    boot, others = boot_id(), store.runs.latest(limit=_LATER)
    return {run.id: settled_until(run, others, boot) for run in lineage}


def _done(
    lineage: Sequence[RunRow], tasks: Mapping[str, Sequence[TaskRow]], settled: Mapping[str, float]
) -> dict[str, str]:
    """The tasks that need not be done again, each with the run that has done it.

    What may have been lost in a restart of the machine counts as not done: a tracked task is then
    looked at anew, and any other runs.
    """
    done: dict[str, str] = {}
    for row in reversed(lineage):
        for task in (each for each in tasks[row.id] if each.is_done):
            kept = task.reason == Reason.SUCCEEDED_BEFORE and task.task in done
            made = task.ended_at if task.state is TaskState.SUCCESS else None
            if settled[row.id] == math.inf or kept or (made or math.inf) <= settled[row.id]:
                done[task.task] = task.made_by or row.id
    return done


def _refuse_if_unsettled(store: Store, continued: Continued, settled: Mapping[str, float]) -> None:
    """Raise SnapshotFailed if the snapshot may have lost files in a restart of the machine."""
    until = settled.get(continued.taken_by, math.inf)
    begun = [attempt.started_at for attempt in store.runs.attempts(continued.taken_by)]
    if until != math.inf and min(begun, default=math.inf) > until:
        raise SnapshotFailed(
            f"the machine was restarted since run {continued.taken_by} took its snapshot, "
            "which may not have reached the disk before",
            _NEW_CODE,
        )


def _newest(config: WorkspaceConfig, runs: Iterable[RunRow], part: str) -> Path | None:
    """The first of the runs' folders of this kind that has something in it."""
    folders = (RunDir.at(config.runs_dir, run.id).root / part for run in runs)
    return next((folder for folder in folders if folder.is_dir() and os.listdir(folder)), None)


def _with_snapshot(
    store: Store, config: WorkspaceConfig, lineage: Sequence[RunRow], continued: Continued
) -> Continued:
    """With the snapshot of the latest run whose snapshot was known to be whole.

    A later run that ended before that has either taken it over already, or has begun one of its
    own, which nothing may be executed from.
    """
    hashes = [store.runs.environments(run.id) for run in lineage]
    known = next((n for n, kept in enumerate(hashes) if "snapshot" in kept), len(lineage))
    taken_by = hashes[known]["snapshot"] if known < len(lineage) else ""
    whole = _newest(config, reversed(lineage[: known + 1]), "project") if taken_by else None
    latest = _newest(config, lineage, "project")
    if latest is None:
        raise SnapshotFailed(f"the snapshot of run {continued.run} is gone", _NEW_CODE)
    if latest != whole:
        raise SnapshotFailed(
            f"run {continued.run} ended before its snapshot was complete", _NEW_CODE
        )
    took = [run.started_at for run in lineage if run.id == taken_by]
    return replace(
        continued,
        project=whole,
        taken_by=taken_by,
        taken_at=took[0] if took else 0.0,  # forgotten: anything recorded since is newer
        hashes=hashes[known],
    )


def _old_dag(config: WorkspaceConfig, run: RunRow, snapshot: Path) -> Dag:
    """The DAG as the old run's snapshot declares it, for the project that it was taken of."""
    found = read_project(snapshot, config.root)
    if found.dag is None or found.findings:
        raise InvalidConfig(found.findings.problems())
    return replace(found.dag, name=run.dag, project=Path(run.project))


_LONGEST_END = 60.0
"""Seconds to wait for processes that are being ended; their grace is mostly 10."""

_LATER = 200
"""So many runs of a DAG are looked through for those that continue an older one."""

_NEW_CODE = "Go on with today's code: --code new"
