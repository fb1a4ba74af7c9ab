"""How every DAG stands, or one of them with its tasks."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from pit.config.keys import cron
from pit.config.workspace import Workspace
from pit.engine.locks import owner
from pit.model import Dag, Problem, Record, RunState, TaskState, WorkspaceConfig
from pit.state.store.store import Store
from pit.state.store.tables.dags import DagSummary
from pit.state.store.tables.runs import AttemptRow
from pit.views import dag_standing, reasons
from pit.views.dag_standing import DagStanding, TaskStanding
from pit.views.runs import RunView, run_view


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
    last: RunView | None
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
    or hands on. `run` is the one of which this is told, empty if there is none.
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


class DagStatusView(Record):
    """The shape of `pit status DAG --json`."""

    dag: DagView
    tasks: tuple[TaskView, ...]


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
    summary = known.summaries.get(name)
    tasks = () if summary is None else tuple(_task_views(config, store, summary))
    return DagStatusView(dag=dag_view(config, name, dag, known), tasks=tasks)


def _task_views(config: WorkspaceConfig, store: Store, summary: DagSummary) -> Iterator[TaskView]:
    found = dag_standing.of_tasks(config, store, summary)
    attempts, values = _attempts(store, found), _values(store, found)
    for each in found:
        name = each.row.task
        yield _task_view(each, attempts.get(name, []), values.get(name, {}))


def _attempts(store: Store, found: Iterable[TaskStanding]) -> dict[str, list[AttemptRow]]:
    """The attempts of tasks in the runs that told of them."""
    among: dict[str, list[str]] = {}
    for each in found:
        if each.row.attempts or each.row.state is TaskState.RUNNING:
            among.setdefault(each.run, []).append(each.row.task)
    made: dict[str, list[AttemptRow]] = {}
    for run, tasks in among.items():
        wanted = set(tasks)
        alone = len(tasks) <= _FEW  # of a run with many tasks only few may be told
        rows = [row for t in tasks for row in store.runs.attempts(run, t)] if alone else ()
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


def _task_view(
    standing: TaskStanding, attempts: list[AttemptRow], values: dict[str, Any]
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
    )
