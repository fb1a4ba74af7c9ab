"""Past and present runs as the listings show them: read from the store, alive by their locks.

Nothing here writes. A run that the store has as `running` while nobody holds its lock is shown
as `interrupted`, which is what the next command that may write will record.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from msgspec.structs import replace

from pit.cli.options import Settings
from pit.cli.terminal.console import STATE_STYLES, Cell, duration, printable
from pit.cli.terminal.progress import told
from pit.config.workspace import discover
from pit.engine.planning import explain
from pit.errors import BadArgument, InvalidConfig, PitError, UnknownDag, UnknownRun
from pit.model import Dag, Reason, Record, RunState, TaskRecord, TaskState, WorkspaceConfig
from pit.state.rundir import RunDir
from pit.state.store.store import Store
from pit.state.store.tables.runs import RunRow, TaskRow


def folder(config: WorkspaceConfig, run: RunRow) -> RunDir | None:
    """A run's folder, also after the workspace has moved; None where the id is no folder's name."""
    try:
        here = RunDir.at(config.runs_dir, run.id)
        if here.root.is_dir() or not run.run_dir:
            return here
        return RunDir.at(Path(run.run_dir).parent, run.id)
    except UnknownRun:
        return None


def state_of(config: WorkspaceConfig, run: RunRow) -> RunState:
    """Where a run stands, by its lock while the store has it as running."""
    if run.state is not RunState.RUNNING:
        return run.state
    place = folder(config, run)
    alive = place is not None and place.is_alive()
    return RunState.RUNNING if alive else RunState.INTERRUPTED


def is_ending(place: RunDir | None, run: RunRow) -> bool:
    """Whether Pit has been killed and its guardian, alone with the lock, ends what it left.

    The number of a process says nothing of one in another container; who has the lock does.
    """
    from pit.work.process import procfs

    if place is None or not run.pid or procfs.lives(run.pid, run.pid_started, run.boot_id):
        return False
    return procfs.openers(os.path.realpath(place.lock.path)) == 1


def task_state(run: RunState, task: TaskRow) -> tuple[TaskState, str | None]:
    """Where a task stands, and why: after an interruption nothing runs or waits any more."""
    if run is RunState.INTERRUPTED:
        if task.state is TaskState.RUNNING:
            return TaskState.FAILED, Reason.INTERRUPTED
        if task.state is TaskState.PENDING:
            return TaskState.SKIPPED, Reason.INTERRUPTED
    return task.state, task.reason


def why(reason: str | None, error: str) -> str:
    """Why a run or a task ended so, in a few words."""
    known = Reason(reason) if reason in set(Reason) else None
    if reason and known is None:
        return f"{reason}: {error}" if error else reason
    return told(known, error)


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
        error="",
        attempts=0,
        started_at=None,
        ended_at=None,
        seconds=None,
        why=explain.since(record),
        made_by=record.run,
        saved=record.seconds,
    )


def task_why(task: TaskRow, reason: str | None) -> str:
    """Why a task ended so; of one that did as it should, why it ran, or needed not to."""
    if task.why and reason in (None, Reason.CURRENT):
        return printable(task.why)
    return why(reason, task.error)


def took(seconds: float | None, started_at: float | None, now: float, running: bool) -> str:
    """How long something took, or takes by now; empty if it never started."""
    if running and started_at is not None:
        return duration(now - started_at)
    return "" if seconds is None or started_at is None else duration(seconds)


class RunView(Record):
    """A run in JSON listings. Times are Unix seconds; `seconds` is null while it runs.

    `ending`: Pit was killed, and what it has left is being ended; then it is interrupted.
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


def view(config: WorkspaceConfig, run: RunRow) -> RunView:
    """A run as JSON listings show it."""
    state = state_of(config, run)
    place = folder(config, run)
    return RunView(
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
        ending=state is RunState.RUNNING and is_ending(place, run),
    )


def shown_state(run: RunView) -> Cell:
    """The state of a run in its colour; a stub run never looks like a success."""
    if run.stub and run.state is not RunState.RUNNING:
        return Cell(f"{run.state} (stub)", "yellow")
    if run.ending:
        return Cell("ending", STATE_STYLES[RunState.INTERRUPTED])
    return Cell(run.state, STATE_STYLES[run.state])


def declared(settings: Settings, config: WorkspaceConfig, name: str) -> tuple[Dag | None, str]:
    """The DAG of that name, or None and the reason why its project does not give it."""
    try:
        return discover(config).dag(name), ""
    except InvalidConfig as error:
        return None, f"its pit.toml has {error}; see: {settings.again('validate')}"
    except PitError as error:
        return None, str(error)


def require_known(settings: Settings, config: WorkspaceConfig, name: str) -> None:
    """Raise unless the workspace has the DAG; its project may be broken."""
    found = discover(config)
    if name in found.broken or name in found.dags:
        return
    if not found.projects:
        found.dag(name)
    raise UnknownDag(name, sorted(found.dags))


def run_of(
    settings: Settings, config: WorkspaceConfig, store: Store, dag: str, run_id: str | None
) -> RunRow:
    """The run that a command means: the one of that id, which must be the DAG's, or the latest."""
    if run_id is not None and store.exists:
        run = store.runs.find(run_id)
        if run.dag != dag:
            raise BadArgument(
                f'run "{run.id}" belongs to DAG "{run.dag}", not "{dag}"',
                f"List the runs with: {settings.again(f'runs {dag}')}",
            )
        return run
    latest = store.runs.last_run(dag)
    if latest is not None:
        return latest
    require_known(settings, config, dag)
    if run_id is not None:
        raise UnknownRun(run_id, dag)
    raise BadArgument(
        f'DAG "{dag}" has not run yet', f"Run it with: {settings.again(f'run {dag}')}"
    )
