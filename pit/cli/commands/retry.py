"""`pit retry`: a new run that goes on where an earlier one stopped."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import click
from msgspec.structs import replace

from pit.cli.arguments import is_done
from pit.cli.complete import complete_target
from pit.cli.compose import conclude, perform, report_interrupted
from pit.cli.options import Settings, command
from pit.config.project import read_project
from pit.config.workspace import discover_one
from pit.engine.locks import owner
from pit.engine.locks.ending import is_ending
from pit.engine.run.request import Again, Request
from pit.engine.target.target import resolve
from pit.engine.target.typed import Typed
from pit.errors import BadArgument, InvalidConfig, SnapshotFailed, UnknownRun
from pit.model import Dag, Reason, RunState, TaskState, WorkspaceConfig
from pit.state.restart import settled_until
from pit.state.rundir import RunDir
from pit.state.store.store import Store
from pit.state.store.tables.runs import RunRow, TaskRow
from pit.version import VERSION
from pit.work.process.procfs import boot_id

_LONGEST_END = 60.0
"""Seconds to wait for processes that are being ended; their grace is mostly 10."""


@command("retry", short_help="Go on with a run that did not succeed.")
@click.argument("target", metavar="RUN|DAG", shell_complete=complete_target)
@click.option(
    "--code",
    type=click.Choice(["old", "new"]),
    default="old",
    help="Its own snapshot (old, the default), or today's project.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one event per line as JSON.")
def retry(settings: Settings, target: str, code: str, as_json: bool) -> None:
    """Go on with a run that failed, was cancelled or interrupted.

    RUN is a run id, or the beginning of one; DAG means its last run. What had succeeded is not
    done again, tracked or not. The new run takes over the data folder of the old one and, unless
    --code new is given, its frozen code. After a restart of the machine, what may not have reached
    the disk before is not trusted: a young snapshot is refused, and young results are made again.
    """
    config = settings.config()
    with Store.open(config.metadata_db) as store:
        _await_end(settings, config, store.runs.last_run(target) or store.runs.find(target))
        report_interrupted(settings, config, store)
        run = _run(store, target)
        owner.require(config, run.dag, store)
        lineage = _lineage(store, run)
        _refuse_if_taken(settings, store, config, lineage, old_code=code == "old")
        again, left_out = _again(store, config, lineage, old_code=code == "old")
    dag = _old_dag(config, run, again) if again.project else discover_one(config, run.dag)
    typed = Typed(dag=run.dag, selection=run.selection or "", params=run.params, undone=left_out)
    found = resolve(dag, typed, config, settings.day, frozen=again.project)
    request = Request(target=found, again=again, pit_version=VERSION)
    conclude(perform(settings, request, as_json))


def _await_end(settings: Settings, config: WorkspaceConfig, run: RunRow) -> None:
    """A run whose Pit was killed lives until its guardian has ended what was left of it."""
    if run.state is not RunState.RUNNING or not is_ending(run, config.runs_dir):
        return
    settings.console.note(f"waiting for the end of what run {run.id} has left behind")
    deadline = time.monotonic() + _LONGEST_END
    while is_ending(run, config.runs_dir) and time.monotonic() < deadline:
        time.sleep(0.05)


def _run(store: Store, target: str) -> RunRow:
    """The run that is meant; an error for one that is alive or has succeeded."""
    run = store.runs.last_run(target) or store.runs.find(target)
    if run.state is RunState.RUNNING:
        raise BadArgument(f"run {run.id} is still running", "Wait until it has ended")
    if run.state is RunState.SUCCESS:
        raise BadArgument(f"run {run.id} succeeded", f"Run it anew with: pit run {run.dag}")
    return run


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
    settings: Settings,
    store: Store,
    config: WorkspaceConfig,
    lineage: Sequence[RunRow],
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
                f"Run it anew with: {settings.again(f'run {last.dag}')}"
                if last.state is RunState.SUCCESS
                else f"Go on with that one: {settings.again(f'retry {last.id}')}",
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


def _again(
    store: Store, config: WorkspaceConfig, lineage: Sequence[RunRow], old_code: bool
) -> tuple[Again, tuple[str, ...] | None]:
    """What a retry goes on with, and the tasks that it is about if the run had left some out."""
    tasks = {row.id: store.runs.tasks(row.id) for row in lineage}
    run = lineage[0]
    settled = _settled(store, lineage)
    done = _done(lineage, tasks, settled)
    chosen = tuple(t.task for t in tasks[run.id] if t.reason != Reason.SINGLE_TASK)
    again = Again(
        run=run.id,
        done=done,
        data=_newest(config, lineage, "data"),
        tasks=frozenset(task.task for task in tasks[run.id]),
        cut_off=run.state is RunState.INTERRUPTED,
    )
    if old_code:
        again = _with_snapshot(store, config, lineage, again)
        _refuse_if_unsettled(store, again, settled)
    return again, chosen if len(chosen) < len(tasks[run.id]) else None


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
        for task in filter(is_done, tasks[row.id]):
            kept = task.reason == Reason.SUCCEEDED_BEFORE and task.task in done
            made = task.ended_at if task.state is TaskState.SUCCESS else None
            if settled[row.id] == math.inf or kept or (made or math.inf) <= settled[row.id]:
                done[task.task] = task.made_by or row.id
    return done


def _refuse_if_unsettled(store: Store, again: Again, settled: Mapping[str, float]) -> None:
    """Raise SnapshotFailed if the snapshot may have lost files in a restart of the machine."""
    until = settled.get(again.taken_by, math.inf)
    begun = [attempt.started_at for attempt in store.runs.attempts(again.taken_by)]
    if until != math.inf and min(begun, default=math.inf) > until:
        raise SnapshotFailed(
            f"the machine was restarted since run {again.taken_by} took its snapshot, "
            "which may not have reached the disk before",
            _NEW_CODE,
        )


def _newest(config: WorkspaceConfig, runs: Iterable[RunRow], part: str) -> Path | None:
    """The first of the runs' folders of this kind that has something in it."""
    folders = (RunDir.at(config.runs_dir, run.id).root / part for run in runs)
    return next((folder for folder in folders if folder.is_dir() and os.listdir(folder)), None)


def _with_snapshot(
    store: Store, config: WorkspaceConfig, lineage: Sequence[RunRow], again: Again
) -> Again:
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
        raise SnapshotFailed(f"the snapshot of run {again.run} is gone", _NEW_CODE)
    if latest != whole:
        raise SnapshotFailed(f"run {again.run} ended before its snapshot was complete", _NEW_CODE)
    took = [run.started_at for run in lineage if run.id == taken_by]
    return replace(
        again,
        project=whole,
        taken_by=taken_by,
        taken_at=took[0] if took else 0.0,  # forgotten: anything recorded since is newer
        hashes=hashes[known],
    )


def _old_dag(config: WorkspaceConfig, run: RunRow, again: Again) -> Dag:
    """The DAG as the old run's snapshot declares it, for the project that it was taken of."""
    assert again.project is not None
    found = read_project(again.project, config.root)
    if found.dag is None or found.findings:
        raise InvalidConfig(found.findings.problems())
    return replace(found.dag, name=run.dag, project=Path(run.project))


_LATER = 200
"""So many runs of a DAG are looked through for those that continue an older one."""

_NEW_CODE = "Go on with today's code: --code new"
