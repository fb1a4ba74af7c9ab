"""How every DAG stands, or one of them with its tasks."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from pit.config.keys import cron
from pit.config.workspace import Workspace
from pit.engine.locks import owner
from pit.model import Dag, Problem, Record, RunState, TaskState, WorkspaceConfig
from pit.state import liveness
from pit.state.store.store import Store
from pit.state.store.tables.dags import DagSummary
from pit.state.store.tables.runs import AttemptRow, ProgressRow, RunRow, WarningRow
from pit.views import dag_standing, reasons
from pit.views.dag_standing import DagStanding, TaskStanding
from pit.views.run import RunView
from pit.views.runs import RunSummary, run_view, tasks


class DagView(Record):
    """One DAG in `pit status --json`.

    `state` is that of the DAG: a success of some tasks hides no failure of another. It is null for
    a DAG that has not run as a whole. `valid` says that the workspace has a project for it that
    can be read. `last` is its last run; `success_rate` (0 to 1) and `recent`, their seconds, are of
    its last finished whole runs. `next_fire` is when one of its `schedules` is next due.
    """

    dag: str
    valid: bool
    state: RunState | None
    last: RunSummary | None
    success_rate: float | None
    recent: tuple[float, ...]
    schedules: tuple[str, ...]
    next_fire: float | None


class StatusView(Record):
    """The shape of `pit status --json`; `problems` are those of projects that cannot be read."""

    dags: tuple[DagView, ...]
    problems: tuple[Problem, ...]


class TaskView(Record):
    """One task in `pit status DAG --json`, with what its attempts used.

    `why` is why it ran, or since when it is current; then `made_by` is the run whose products it
    hands on, and `saved` are the seconds that this saved. `values` are the small facts that it set,
    or hands on. `run` is the one of which this is told, empty if there is none. `progress` is what
    its last attempt said of itself, `retry_at` when the next attempt is due.
    """

    task: str
    run: str
    state: TaskState
    reason: str | None
    error: str
    attempts: int
    started_at: float | None
    seconds: float | None
    cpu_seconds: float | None
    peak_memory: int | None
    exit_code: int | None
    why: str
    made_by: str
    saved: float
    values: dict[str, Any]
    progress: ProgressRow | None = None
    retry_at: float | None = None


class DagStatusView(Record):
    """The shape of `pit status DAG --json`; `warnings` are those of the run `dag.last`."""

    dag: DagView
    tasks: tuple[TaskView, ...]
    warnings: tuple[WarningRow, ...] = ()


# ---------------------------------------------------------------- DAGs


class KnownDags(NamedTuple):
    """What the store knows of DAGs, by name, and how they stand.

    `others` are the workspaces to which DAGs of ours belong; what is known of those is not ours.
    """

    summaries: dict[str, DagSummary]
    standings: dict[str, DagStanding]
    others: dict[str, str]


def known_dags(config: WorkspaceConfig, store: Store, ours: Collection[str]) -> KnownDags:
    """What the store knows; `ours` are the DAGs that this workspace has."""
    found = {each.dag: each for each in store.dags.summaries()}
    others = {name: owner.foreign(config, name, store) for name in found if name in ours}
    others = {name: other for name, other in others.items() if other}
    summaries = {name: each for name, each in found.items() if name not in others}
    standings = {n: dag_standing.of_dag(config, store, each) for n, each in summaries.items()}
    return KnownDags(summaries, standings, others)


def status_view(workspace: Workspace, known: KnownDags) -> StatusView:
    """Every DAG that the workspace or the store knows, by name."""
    names = sorted({*workspace.dags, *known.summaries})
    config = workspace.config
    return StatusView(
        dags=tuple(dag_view(config, name, workspace.dags.get(name), known) for name in names),
        problems=workspace.problems,
    )


def dag_view(config: WorkspaceConfig, name: str, dag: Dag | None, known: KnownDags) -> DagView:
    """One DAG; `dag` is None where the workspace has none of that name, or a broken one."""
    schedules = dag.schedules if dag else ()
    summary, standing = known.summaries.get(name), known.standings.get(name)
    return DagView(
        dag=name,
        valid=dag is not None,
        state=standing.state if standing else None,
        last=run_view(config, summary.last) if summary else None,
        success_rate=summary.success_rate if summary else None,
        recent=tuple(run.seconds for run in summary.recent) if summary else (),
        schedules=schedules,
        next_fire=cron.next_fire(schedules, dag.timezone, time.time())
        if dag and schedules
        else None,
    )


# ---------------------------------------------------------------- one DAG


def dag_status_view(
    config: WorkspaceConfig, store: Store, name: str, dag: Dag | None, known: KnownDags
) -> DagStatusView:
    """One DAG with its tasks, as far as they have run."""
    summary, view = known.summaries.get(name), dag_view(config, name, dag, known)
    tasks = () if summary is None else tuple(_task_views(config, store, summary))
    return DagStatusView(dag=view, tasks=tasks, warnings=_warnings(store, view))


def run_status_view(
    config: WorkspaceConfig, store: Store, run: RunRow, dag: Dag | None, known: KnownDags
) -> DagStatusView:
    """One DAG with its tasks as a run has left them, whatever has come since."""
    view = replace(dag_view(config, run.dag, dag, known), last=run_view(config, run))
    tasks = tuple(_tasks_of(config, store, run))
    return DagStatusView(dag=view, tasks=tasks, warnings=_warnings(store, view))


def _warnings(store: Store, view: DagView) -> tuple[WarningRow, ...]:
    return () if view.last is None else store.runs.warnings(view.last.run)


def _tasks_of(config: WorkspaceConfig, store: Store, run: RunRow) -> Iterator[TaskView]:
    found, state = RunView.of(store, run.id), liveness.state_of(run, config.runs_dir)
    rows = [liveness.task_in(state, row) for row in found.tasks.values() or tasks(store, run)]
    told = [TaskStanding(row=row, run=run.id) for row in rows]
    values = _values(store, told)
    for each in told:
        task = each.row.task
        attempts, progress = found.attempts.get(task, []), found.how_far(task)
        yield _task_view(each, attempts, values.get(task, {}), progress)


def _task_views(config: WorkspaceConfig, store: Store, summary: DagSummary) -> Iterator[TaskView]:
    found = dag_standing.of_tasks(config, store, summary)
    attempts, values = _attempts(store, found), _values(store, found)
    progress = _progress(store, found)
    for each in found:
        name = each.row.task
        yield _task_view(each, attempts.get(name, []), values.get(name, {}), progress.get(name))


def _attempts(store: Store, found: Iterable[TaskStanding]) -> dict[str, list[AttemptRow]]:
    """The attempts of tasks in the runs that told of them."""
    among: dict[str, list[str]] = {}
    for each in found:
        if each.row.attempts or each.row.state is TaskState.RUNNING:
            among.setdefault(each.run, []).append(each.row.task)
    made: dict[str, list[AttemptRow]] = {}
    for run, names in among.items():
        wanted = set(names)
        alone = len(names) <= _FEW  # of a run with many tasks only few may be told
        rows = [row for name in names for row in store.runs.attempts(run, name)] if alone else ()
        for row in rows or store.runs.attempts(run):
            if row.task in wanted:
                made.setdefault(row.task, []).append(row)
    return made


_FEW = 20


def _values(store: Store, found: Iterable[TaskStanding]) -> dict[str, dict[str, Any]]:
    """The small facts of tasks, those that skipped ones hand on among them."""
    makers = {each.row.task: each.row.made_by or each.run for each in found}
    values: dict[str, dict[str, Any]] = {}
    for maker in dict.fromkeys(filter(None, makers.values())):
        for value in store.values.of_run(maker):
            if makers.get(value.task) == maker:
                of_task = values.setdefault(value.task, {})
                of_task[value.name] = msgspec.json.decode(value.value)
    return values


def _progress(store: Store, found: Iterable[TaskStanding]) -> dict[str, ProgressRow]:
    """How far the last attempts of tasks said that they were."""
    last = {(each.run, each.row.task, each.row.attempts) for each in found if each.row.attempts}
    return {
        row.task: row
        for run in {run for run, _, _ in last}
        for row in store.runs.progress(run)
        if (run, row.task, row.attempt) in last
    }


def _task_view(
    standing: TaskStanding,
    attempts: list[AttemptRow],
    values: dict[str, Any],
    progress: ProgressRow | None,
) -> TaskView:
    row = standing.row
    cpu = [attempt.cpu_seconds for attempt in attempts if attempt.cpu_seconds is not None]
    peaks = [attempt.peak_memory for attempt in attempts if attempt.peak_memory is not None]
    return TaskView(
        task=row.task,
        run=standing.run,
        state=row.state,
        reason=row.reason,
        error=row.error,
        attempts=max(row.attempts, len(attempts)),
        started_at=row.started_at or (attempts[0].started_at if attempts else None),
        seconds=row.seconds,
        cpu_seconds=sum(cpu) if cpu else None,
        peak_memory=max(peaks, default=None),
        exit_code=attempts[-1].exit_code if attempts else None,
        why=reasons.of_task(row.reason, row.error, row.why),
        made_by=row.made_by,
        saved=row.saved,
        values=values,
        progress=progress,
        retry_at=attempts[-1].retry_at if attempts and row.state is TaskState.RUNNING else None,
    )
