"""Runs, past and present, with their tasks: read from the store, alive by their locks.

Nothing here writes, and nothing is asked of the process that runs: any other sees the same.
"""

from __future__ import annotations

import json

from msgspec.structs import replace

from pit.engine.locks.ending import is_ending
from pit.engine.planning import explain
from pit.model import Reason, Record, RunState, TaskRecord, TaskState, WorkspaceConfig
from pit.state import liveness
from pit.state.store.store import Store
from pit.state.store.tables.runs import RunRow, TaskRow


class RunSummary(Record):
    """A run: an entry of `pit runs --json`, and in other listings. `seconds` is null while it runs.

    `error` says what went wrong beside `reason`, and `selection` which tasks it was about, null for
    all. `stub`: it has executed no SQL, for want of secrets. `parent` is the run that has started
    it, `retry_of` the one that it continues. `folder` is where its files are, null if they are
    gone. `ending`: Pit was killed, and what it has left is being ended; then it is interrupted.
    """

    run: str
    dag: str
    state: RunState
    reason: str | None
    error: str
    stub: bool
    started_at: float
    ended_at: float | None
    seconds: float | None
    selection: str | None
    trigger: str
    params: dict[str, str]
    parent: str | None
    retry_of: str | None
    folder: str | None
    ending: bool = False


def run_view(config: WorkspaceConfig, run: RunRow) -> RunSummary:
    """A run as it stands now."""
    state = liveness.state_of(run, config.runs_dir)
    place = liveness.folder(run, config.runs_dir)
    return RunSummary(
        run=run.id,
        dag=run.dag,
        state=state,
        reason=Reason.INTERRUPTED if state is RunState.INTERRUPTED else run.reason,
        error=run.error,
        stub=run.stub,
        started_at=run.started_at,
        ended_at=run.ended_at,
        seconds=run.seconds,
        selection=run.selection,
        trigger=run.trigger,
        params=run.params,
        parent=run.parent,
        retry_of=run.retry_of,
        folder=str(place.root) if place is not None and place.root.is_dir() else None,
        ending=state is RunState.RUNNING and is_ending(run, config.runs_dir),
    )


def latest_runs(
    config: WorkspaceConfig, store: Store, dag: str | None, limit: int, state: RunState | None
) -> list[RunSummary]:
    """The latest runs of a DAG, or of all, in a state, or in any; the latest first.

    Those that died unrecorded count as interrupted, not as running.
    """
    rows = store.runs.latest(dag=dag, limit=limit, state=state)
    if state is RunState.INTERRUPTED:
        rows = tuple(sorted((*store.runs.running(dag), *rows), key=lambda row: -row.seq))
    found = [run_view(config, row) for row in rows]
    return [each for each in found if state in (None, each.state)][:limit]


# ---------------------------------------------------------------- the tasks of a run


def tasks(store: Store, run: RunRow) -> tuple[TaskRow, ...]:
    """The tasks of a run; of one that found nothing to do, what their records say.

    Such a run keeps a row for itself alone. Where it was about some tasks, the others were not
    selected.
    """
    rows = store.runs.tasks(run.id)
    if rows or run.reason != Reason.CURRENT:
        return rows
    earlier = store.runs.latest(run.dag, before_seq=run.seq, limit=_EARLIER)
    before = next((each for each in map(store.runs.tasks, (r.id for r in earlier)) if each), ())
    if not before:
        worked = store.runs.last_worked(run.dag)
        before = store.runs.tasks(worked.id) if worked is not None else ()
    records = records_for(store, run)
    found = tuple(handed_on(row, records[row.task]) for row in before if row.task in records)
    if run.whole:
        return found
    looked_at = {each.task for each in store.dags.standings(run.dag) if each.done_seq >= run.seq}
    return tuple(
        row if row.task in looked_at else replace(row, reason=Reason.SINGLE_TASK) for row in found
    )


_EARLIER = 50


def records_for(store: Store, run: RunRow) -> dict[str, TaskRecord]:
    """The records of a DAG by task, for the parameters of one of its runs."""
    return {r.task: r for r in store.records.of_dag(run.dag) if _fits(r.params, run.params)}


def _fits(params: str, values: dict[str, str]) -> bool:
    """Whether a record's parameters are those of a run, as far as its task gets them."""
    wanted = json.loads(params) if params else {}
    return all(values.get(name) == value for name, value in wanted.items())


def handed_on(row: TaskRow, record: TaskRecord) -> TaskRow:
    """A task that is current by its record."""
    return TaskRow(
        task=row.task,
        position=row.position,
        state=TaskState.SKIPPED,
        reason=Reason.CURRENT,
        why=explain.since(record),
        made_by=record.run,
        saved=record.seconds,
    )
