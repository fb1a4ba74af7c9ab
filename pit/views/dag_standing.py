"""How a DAG and its tasks stand, beyond the last run: a run of some tasks never hides the others.

A task is shown by its own last attempt, or, where a later run found it current or did not come to
it, by that. A DAG has failed as long as the last attempt of one of its tasks has, and as long as
nobody has finished what a run of all of it has left undone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from pit.model import Reason, Record, RunState, TaskRecord, TaskState, WorkspaceConfig
from pit.state import liveness
from pit.state.store.store import Store
from pit.state.store.tables.dags import DagSummary, StandingRow
from pit.state.store.tables.runs import RunRow, TaskRow
from pit.views.runs import handed_on, records_for

BAD = (RunState.FAILED, RunState.INTERRUPTED, RunState.CANCELLED)


class TaskStanding(Record):
    """A task as its run tells it; `run` is empty if none ever came to it."""

    row: TaskRow
    run: str


class DagStanding(Record):
    """How a DAG stands: `state` is None if it never ran as a whole and no attempt has failed.

    `failed` are the tasks whose last attempts did; `blamed` is the run that left it as it is,
    `last` the id of its last run.
    """

    last: str
    state: RunState | None
    failed: tuple[TaskStanding, ...]
    blamed: RunRow


def of_dag(config: WorkspaceConfig, store: Store, summary: DagSummary) -> DagStanding:
    """How a DAG stands that has a run."""
    last, whole, complete = summary.last, summary.whole, summary.complete
    failed = tuple(_failed(config, store, summary.failing))
    state = liveness.state_of(last, config.runs_dir)
    if state is not RunState.SUCCESS or last.complete_at is not None:
        return DagStanding(last=last.id, state=state, failed=failed, blamed=last)
    if failed:
        return DagStanding(last=last.id, state=_worst(failed), failed=failed, blamed=last)
    if whole is None or (complete is not None and complete.seq > whole.seq):
        return DagStanding(
            last=last.id, state=None if complete is None else state, failed=(), blamed=last
        )
    return DagStanding(
        last=last.id, state=liveness.state_of(whole, config.runs_dir), failed=(), blamed=whole
    )


def _failed(
    config: WorkspaceConfig, store: Store, failing: Sequence[StandingRow]
) -> Iterator[TaskStanding]:
    runs = _states(config, store, failing)
    for place, each in enumerate(failing):
        row = liveness.task_in(runs.get(each.run, RunState.INTERRUPTED), _attempted(each, place))
        if row.state is not TaskState.RUNNING:
            yield TaskStanding(row=row, run=each.run)


def _states(
    config: WorkspaceConfig, store: Store, among: Sequence[StandingRow]
) -> dict[str, RunState]:
    """Where those runs stand whose attempts are under way as far as the store knows."""
    named = {each.run for each in among if each.state is TaskState.RUNNING}
    return {run.id: liveness.state_of(run, config.runs_dir) for run in store.runs.named(named)}


def _worst(failed: Sequence[TaskStanding]) -> RunState:
    reasons = {told.row.reason for told in failed}
    if reasons <= {Reason.CANCELLED}:
        return RunState.CANCELLED
    return RunState.INTERRUPTED if reasons <= {Reason.INTERRUPTED} else RunState.FAILED


# ---------------------------------------------------------------- the tasks


def of_tasks(config: WorkspaceConfig, store: Store, summary: DagSummary) -> list[TaskStanding]:
    """How the tasks of a DAG stand, in the order of its last run that had something to do."""
    standings = {each.task: each for each in store.dags.standings(summary.dag)}
    runs = _states(config, store, tuple(standings.values()))
    worked = store.runs.last_worked(summary.dag)
    rows = store.runs.tasks(worked.id) if worked is not None else ()
    if worked is None or not rows:
        # They outlive the runs that say what tasks there are.
        found = [
            _stands(each, _never(each.task, n), runs, summary.last)
            for n, each in enumerate(standings.values())
        ]
        return _since(store, summary.last, found)
    state = liveness.state_of(worked, config.runs_dir)
    idle = summary.complete
    if idle is not None and not (idle.whole and idle.reason == Reason.CURRENT):
        idle = None
    found = []
    for row in (liveness.task_in(state, row) for row in rows):
        standing = standings.get(row.task)
        if standing is None or row.state in (TaskState.PENDING, TaskState.RUNNING):
            found.append(
                TaskStanding(row=row, run="" if row.reason == Reason.SINGLE_TASK else worked.id)
            )
        else:
            found.append(_stands(standing, row, runs, summary.last, worked, idle))
    return _since(store, summary.last, found)


def _stands(
    standing: StandingRow,
    row: TaskRow,
    runs: Mapping[str, RunState],
    last: RunRow,
    worked: RunRow | None = None,
    idle: RunRow | None = None,
) -> TaskStanding:
    """How one task stands; `row` is what the run `worked`, the last that had something to do, says
    of it, `idle` a run of the whole DAG that had not.

    It is called current if the last run has looked at it; whether it still is nobody knows.
    """
    run = runs.get(standing.run, RunState.INTERRUPTED)
    own = liveness.task_in(run, _attempted(standing, row.position))
    done = max(standing.done_seq, idle.seq if idle is not None else 0)
    is_latest = own.state is not TaskState.SUCCESS or done == last.seq
    if done > standing.seq and done >= standing.left_seq and is_latest:
        if row.reason != Reason.CURRENT:
            row = _never(row.task, row.position)
            row = replace(row, reason=Reason.CURRENT, made_by=standing.made_by)
        return TaskStanding(row=row, run=row.made_by)
    if own.state not in (TaskState.SUCCESS, TaskState.SKIPPED):
        return TaskStanding(row=own, run=standing.run)
    if standing.left_state is not None and standing.left_seq > max(done, standing.seq):
        return _left(standing, row)
    if worked is not None and (_is_cut_off(row, worked, done) or standing.state is None):
        return TaskStanding(row=row, run=worked.id)
    return TaskStanding(row=own, run=standing.run)


def _left(standing: StandingRow, row: TaskRow) -> TaskStanding:
    """A task that a later run was to do, and did not come to."""
    left = replace(
        _never(row.task, row.position),
        state=standing.left_state,
        reason=standing.left_reason,
        error=standing.left_error,
    )
    return TaskStanding(row=left, run=standing.left_run)


def _is_cut_off(row: TaskRow, worked: RunRow, done: int) -> bool:
    """Whether a run of the whole DAG died before it came to a task."""
    is_skipped = row.state is TaskState.SKIPPED and row.reason == Reason.INTERRUPTED
    return is_skipped and worked.whole and worked.seq > done


def _since(store: Store, last: RunRow, found: list[TaskStanding]) -> list[TaskStanding]:
    """With what the records say of those that are current and whose run has kept nothing."""
    if not any(_lacks_why(told.row) for told in found):
        return found
    records = records_for(store, last)
    return [
        replace(told, row=_current(told.row, records)) if _lacks_why(told.row) else told
        for told in found
    ]


def _lacks_why(row: TaskRow) -> bool:
    return row.reason == Reason.CURRENT and not row.why


def _current(row: TaskRow, records: Mapping[str, TaskRecord]) -> TaskRow:
    record = records.get(row.task)
    if record is not None and record.run == row.made_by:
        return handed_on(row, record)
    return replace(row, why=f"current since run {row.made_by}" if row.made_by else "")


def _attempted(standing: StandingRow, position: int) -> TaskRow:
    return TaskRow(
        task=standing.task,
        position=position,
        state=standing.state or TaskState.SKIPPED,
        reason=standing.reason,
        error=standing.error,
        attempts=standing.attempts,
        started_at=standing.started_at,
        ended_at=standing.ended_at,
        seconds=standing.seconds,
        why=standing.why,
    )


def _never(task: str, position: int) -> TaskRow:
    """A task that its run did not try."""
    return TaskRow(task=task, position=position, state=TaskState.SKIPPED)
