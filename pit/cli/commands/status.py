"""`pit status`: how every DAG stands, or one of them with its tasks."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import click
import msgspec

from pit.cli.complete import complete_dag
from pit.cli.options import Settings, command, json_option
from pit.cli.terminal.console import (
    STATE_STYLES,
    Cell,
    Column,
    cells,
    count,
    duration,
    size,
    together,
)
from pit.cli.terminal.folding import folded
from pit.cli.terminal.states import run_took, shown_state, took
from pit.config.workspace import discover, no_projects
from pit.engine.locks import owner
from pit.engine.staleness import comparison
from pit.engine.staleness.outdated import announcement
from pit.errors import InvalidConfig, PitError, UnknownRun
from pit.model import Dag, RunState, TaskState, WorkspaceConfig
from pit.state.rundir import RunDir
from pit.state.store.store import Store
from pit.text.control import printable
from pit.text.times import ago, moment, until
from pit.views import dag_standing, reasons
from pit.views.dag_standing import DagStanding
from pit.views.runs import RunView, run_view
from pit.views.status import DagView, StatusView, TaskView, dag_status_view, known_dags, status_view

_WIDE = 110
_SPARKS_NARROW = 10
_REMARKS = 12
_LONGEST_SHOWN = 200
_TASK_LINES = 50
_WORST_FIRST = (
    TaskState.FAILED,
    TaskState.RUNNING,
    TaskState.UPSTREAM_FAILED,
    TaskState.CANCELLED,
    TaskState.PENDING,
    TaskState.SUCCESS,
    TaskState.SKIPPED,
)
_IN_FULL = 3
_ALWAYS = "always runs"


@command("status", short_help="Show how each DAG stands, or one with its tasks.")
@click.argument("dag", required=False, shell_complete=complete_dag)
@json_option
def status(settings: Settings, dag: str | None, as_json: bool) -> None:
    """Show how each DAG stands, or one with its tasks.

    A task is shown by its own last attempt. The success rate and the bars of durations are those of
    the last 20 finished runs of a whole DAG.
    """
    config = settings.config()
    with Store.open_readonly(config.metadata_db) as store:
        if dag is None:
            _all(settings, config, store, as_json)
        else:
            _one(settings, config, store, dag, as_json)


# ---------------------------------------------------------------- every DAG


def _all(settings: Settings, config: WorkspaceConfig, store: Store, as_json: bool) -> None:
    workspace = discover(config)
    known = known_dags(config, store, {*workspace.dags, *workspace.broken})
    if not workspace.projects and not known.summaries:
        raise no_projects(config.root)
    view = status_view(workspace, known)
    if as_json:
        settings.console.json(view)
        return
    if view.dags:
        _table(settings, view.dags)
    remarks = list(_remarks(settings, config, view, known.standings))
    remarks += [str(owner.shared(config, name, other)) for name, other in known.others.items()]
    if remarks:
        settings.console.out()
    for remark in remarks:
        settings.console.prose(remark, "  ")


def _table(settings: Settings, views: Iterable[DagView]) -> None:
    console, now = settings.console, time.time()
    wide = console.width is None or console.width >= _WIDE
    columns = (
        Column("DAG", flexible=True),
        Column("LAST RUN", right=not wide),
        Column("STATE"),
        Column("TOOK", right=True),
        Column("SUCCESS", right=True),
        Column("DURATIONS"),
        Column("NEXT", right=True),
    )
    rows = []
    for view in views:
        last = view.last
        bars = view.recent if wide else view.recent[-_SPARKS_NARROW:]
        rows.append(
            (
                Cell(view.dag, "bold"),
                "never" if last is None else _when(last.started_at, now, wide),
                "" if last is None else _state(view, last),
                "" if last is None else run_took(last, now),
                "" if view.success_rate is None else f"{view.success_rate:.0%}",
                console.sparkline(bars),
                _next(view, now),
            )
        )
    console.table(columns, rows)


def _state(view: DagView, last: RunView) -> Cell:
    """The state of a DAG in its colour; a run of some tasks alone is no success of it."""
    if view.state is None:
        return Cell("in part", "yellow")
    return shown_state(last) if view.state is last.state else _painted(view.state)


def _painted(state: RunState) -> Cell:
    return Cell(state, STATE_STYLES[state])


def _when(at: float, now: float, wide: bool) -> str:
    return f"{moment(at)}  {ago(at, now):>8}" if wide else ago(at, now)


def _next(view: DagView, now: float) -> Cell:
    if not view.valid:
        return Cell("no project", "dim")
    return Cell("" if view.next_fire is None else until(view.next_fire, now))


def _remarks(
    settings: Settings,
    config: WorkspaceConfig,
    view: StatusView,
    standings: Mapping[str, DagStanding],
) -> Iterator[str]:
    """What needs attention, each with the command that tells more."""
    bad = [each for one in view.dags if (each := standings.get(one.dag)) and _is_bad(each)]
    for standing in bad[:_REMARKS]:
        yield from _failures(settings, config, standing)
    if len(bad) > _REMARKS:
        yield f"… and {len(bad) - _REMARKS} more; see: {settings.again('runs --state failed')}"
    stubs = [one.dag for one in view.dags if one.last and one.last.stub]
    if stubs:
        yield f"Stub runs executed no SQL, for want of a secrets file: {', '.join(stubs)}"
    paths = list(dict.fromkeys(problem.path for problem in view.problems))
    if paths:
        have = "has problems" if len(paths) == 1 else "have problems"
        yield f"{', '.join(paths)} {have}; see: {settings.again('validate')}"


def _is_bad(standing: DagStanding) -> bool:
    return standing.state in dag_standing.BAD or bool(standing.failed)


def _failures(settings: Settings, config: WorkspaceConfig, standing: DagStanding) -> Iterator[str]:
    """What a run of a DAG as a whole came to, and which tasks failed the last time."""
    run, failed = run_view(config, standing.blamed), standing.failed
    of_run = any(told.run == run.run for told in failed)
    if run.state is RunState.CANCELLED or (run.state in dag_standing.BAD and not of_run):
        text = reasons.sentence(run.reason, run.error).removeprefix(run.state).removeprefix(": ")
        told = f"{run.state}: {text}" if text else run.state
        if run.run != standing.last and not failed:
            told += f" in run {run.run}, and has not been finished since"
        yield f"{run.dag} {told}; see: {settings.again(f'status {run.dag}')}"
        failed = tuple(each for each in failed if each.run != run.run)
    if failed:
        task = failed[0].row
        others = f" (and {count(len(failed) - 1, 'other task')})" if len(failed) > 1 else ""
        target = f"{run.dag}/{task.task}"
        told = f"{target} {task.state}: {reasons.sentence(task.reason, task.error)}{others}"
        see = f"logs {target}" if task.started_at else f"status {run.dag}"
        yield f"{told}; see: {settings.again(see)}"


# ---------------------------------------------------------------- one DAG


def _one(
    settings: Settings, config: WorkspaceConfig, store: Store, name: str, as_json: bool
) -> None:
    known = known_dags(config, store, {name})
    dag, problem = _declared(settings, config, name)
    if dag is None and name not in known.summaries:
        discover(config).dag(name)
    view = dag_status_view(config, store, name, dag, known)
    if as_json:
        settings.console.json(view)
        return
    _head(settings, dag, view.dag, problem)
    if name in known.others:
        error = owner.shared(config, name, known.others[name])
        settings.console.warning(str(error), error.hint)
    last = view.dag.last
    if last is None:
        settings.console.out(f"\nIt has not run yet. Run it with: {settings.again(f'run {name}')}")
    elif view.tasks:
        settings.console.out()
        _task_table(settings, view.tasks, last.run)
        _value_table(settings, view.tasks)
    if last is not None:
        _hints(settings, config, view.dag, view.tasks)
    stale = len(store.records.outdated(name, comparison.VERSION))
    if stale:
        settings.console.warning(*announcement(name, stale))


def _declared(settings: Settings, config: WorkspaceConfig, name: str) -> tuple[Dag | None, str]:
    """The DAG of that name, or None and the reason why its project does not give it."""
    try:
        return discover(config).dag(name), ""
    except InvalidConfig as error:
        return None, f"its pit.toml has {error}; see: {settings.again('validate')}"
    except PitError as error:
        return None, str(error)


def _head(settings: Settings, dag: Dag | None, view: DagView, problem: str) -> None:
    console, now = settings.console, time.time()
    title = console.paint(view.dag, "bold")
    console.out(f"{title}  {dag.description}" if dag and dag.description else title)
    if problem:
        console.warning(problem)
    if dag is not None:
        about = {
            "project": _relative(settings, dag),
            "owner": dag.owner,
            "tags": ", ".join(dag.tags),
            "schedule": _schedule(dag, view.next_fire, now),
        }
        for label, text in about.items():
            if text:
                console.out(f"  {label:<9} {text}")
    if view.success_rate is not None:
        rate = f"{view.success_rate:.0%} of the last {count(len(view.recent), 'whole run')}"
        console.out(f"  {'success':<9} {rate}   {console.sparkline(view.recent)}")
    if view.last is not None:
        if view.state is not view.last.state:
            state = _state(view, view.last)
            console.out(f"  {'state':<9} {console.paint(state.text, state.style)}")
        _last_run(settings, view.last, now)


def _relative(settings: Settings, dag: Dag) -> str:
    inside = dag.project.is_relative_to(settings.root)
    return str(dag.project.relative_to(settings.root) if inside else dag.project)


def _schedule(dag: Dag, next_fire: float | None, now: float) -> str:
    if not dag.schedules:
        return ""
    zone = f" ({dag.timezone})" if dag.timezone else ""
    fire = "" if next_fire is None else f", next {moment(next_fire)} ({until(next_fire, now)})"
    return f"{' and '.join(dag.schedules)}{zone}{fire}"


def _last_run(settings: Settings, run: RunView, now: float) -> None:
    out, paint = settings.console.out, settings.console.paint
    cell = shown_state(run)
    seconds = run_took(run, now)
    since = f"{moment(run.started_at)} ({ago(run.started_at, now)})"
    preposition = "for" if run.state is RunState.RUNNING and not run.ending else "after"
    out(f"  {'last run':<9} {run.run}")
    out(f"  {'':<9} {paint(cell.text, cell.style)} {preposition} {seconds or '?'}, started {since}")
    if run.selection:
        out(f"  {'':<9} only {run.selection}")
    if run.params:
        pairs = " ".join(f"{name}={value}" for name, value in run.params.items())
        out(f"  {'':<9} with {pairs}")
    text = reasons.sentence(run.reason, run.error).removeprefix(run.state).removeprefix(": ")
    if text and text != "exit":
        if run.state is RunState.FAILED and not run.reason:
            text = f"because of {text}"  # the names of tasks
        settings.console.prose(f"  {'':<9} {text}", " " * 12)


def _task_table(settings: Settings, tasks: Sequence[TaskView], last: str) -> None:
    """The tasks; `last` is the last run, and of those that another one tried it is said when."""
    console = settings.console
    lines = [(task.task, [task]) for task in tasks]
    if not settings.verbose:
        times = "×" if console.unicode else "x"
        folds = folded([(task.task, _said(task)) for task in tasks], times)
        lines = _worst([(line.name, [tasks[at] for at in line.of]) for line in folds])
    columns = (
        Column("TASK", flexible=True),
        Column("STATE"),
        Column("TOOK", right=True),
        Column("CPU", right=True),
        Column("MEMORY", right=True),
        Column("TRIES", right=True),
        Column("WHEN", right=True),
        Column("WHY", flexible=True),
    )
    now = time.time()
    always = _ALWAYS if any(task.why for task in tasks) else ""
    told = _telling(
        columns, [_row(name, of, now, always, last) for name, of in lines], console.width
    )
    console.table(*told)
    _in_full(settings, told[1], [task for task in tasks if task.state is TaskState.FAILED])
    shown = sum(len(of) for _, of in lines)
    if len(lines) < len(tasks):
        more = f"… and {count(len(tasks) - shown, 'more task')} " if shown < len(tasks) else ""
        console.out(f"\n{more}(--verbose shows each task)")
    saved = sum(task.saved for task in tasks)
    if saved >= 0.05:
        settings.console.out(f"\nSkipping what is current saved {duration(saved)}.")


def _worst(lines: list[tuple[str, list[TaskView]]]) -> list[tuple[str, list[TaskView]]]:
    """Of more lines than anybody reads those that matter most, what went wrong first."""
    if len(lines) <= _TASK_LINES:
        return lines
    return sorted(lines, key=lambda line: _WORST_FIRST.index(line[1][0].state))[:_TASK_LINES]


def _said(task: TaskView) -> Hashable:
    """What is said of a task; of some it matters which one it is."""
    if task.state in (TaskState.FAILED, TaskState.RUNNING):
        return None
    return task.state, task.why, task.run


def _row(name: str, tasks: Sequence[TaskView], now: float, always: str, last: str) -> list[Cell]:
    """One line, for one task or for several of which the same is to be said; `always` is why one
    ran that keeps no reason."""
    first = tasks[0]
    span = took(first.seconds, first.started_at, now, first.state is TaskState.RUNNING)
    known = [task.seconds for task in tasks if task.seconds is not None]
    cpu = [task.cpu_seconds for task in tasks if task.cpu_seconds is not None]
    peaks = [task.peak_memory for task in tasks if task.peak_memory is not None]
    tries = max(task.attempts for task in tasks)
    return [
        Cell(name),
        Cell(first.state, STATE_STYLES[first.state]),
        Cell(span if len(tasks) == 1 or not span else together(known)),
        Cell(duration(sum(cpu)) if cpu else ""),
        Cell(size(max(peaks)) if peaks else ""),
        Cell(str(tries) if tries > 1 else ""),
        Cell(ago(first.started_at, now) if first.started_at and first.run != last else "", "dim"),
        Cell(
            first.why or (always if first.attempts else ""),
            "dim" if first.state is TaskState.SKIPPED or not first.why else "",
        ),
    ]


def _telling(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int | None
) -> tuple[list[Column], list[list[Cell]]]:
    """The table without columns that are empty, and in a narrow window without CPU and MEMORY
    where the reasons would be cut for their sake."""
    kept = [at for at in range(len(columns)) if at < 2 or any(row[at].text for row in rows)]
    if width is not None and _room([[row[at] for at in kept] for row in rows]) > width:
        kept = [at for at in kept if columns[at].title not in ("CPU", "MEMORY")]
    return [columns[at] for at in kept], [[row[at] for at in kept] for row in rows]


def _room(rows: Sequence[Sequence[Cell]]) -> int:
    """Cells that a table takes if nothing of it is cut."""
    return sum(max(cells(cell.text) for cell in column) + 2 for column in zip(*rows, strict=True))


def _in_full(
    settings: Settings, rows: Sequence[Sequence[Cell]], failed: Sequence[TaskView]
) -> None:
    """What the window has cut of why tasks failed."""
    width = settings.console.width
    if width is None or _room(rows) <= width + 2:
        return
    for task in failed[:_IN_FULL]:
        settings.console.out(f"\n{settings.console.paint(task.task, 'bold')}")
        settings.console.prose(f"  {task.why}", "  ")


def _value_table(settings: Settings, tasks: Iterable[TaskView]) -> None:
    rows = [(task.task, name, _shown(v)) for task in tasks for name, v in task.values.items()]
    if rows:
        settings.console.out()
        columns = (Column("TASK", flexible=True), Column("VALUE"), Column("IS", flexible=True))
        settings.console.table(columns, rows)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return printable(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…")


def _hints(
    settings: Settings, config: WorkspaceConfig, view: DagView, tasks: Iterable[TaskView]
) -> None:
    out, run = settings.console.out, view.last
    if run is None:
        return
    failed = [task for task in tasks if task.state is TaskState.FAILED]
    if run.stub:
        out("\nThis was a stub run: it executed no SQL, for want of a secrets file (--secrets).")
    if run.state is RunState.RUNNING:
        out(f"\nNext: {settings.again(f'logs {run.dag} --follow')}")
    elif run.state is RunState.CANCELLED:
        part = f"/{run.selection}" if run.selection else ""
        out(f"\nNext: {settings.again(f'run {run.dag}{part}')}")
    elif run.state is RunState.INTERRUPTED:
        out(f"\nNext: {settings.again(f'retry {run.dag}')}")
    elif failed:
        out(f"\nNext: {_step(settings, config, run, failed)}")
    elif view.state in dag_standing.BAD and view.state is not run.state:
        out(f"\nNext: {settings.again(f'run {run.dag}')}")


def _step(
    settings: Settings, config: WorkspaceConfig, run: RunView, failed: Sequence[TaskView]
) -> str:
    """The log to read, if one of those that failed has something to say there."""
    from pit.cli.terminal.summary import own_words  # a run's own screen, which few look at here

    with suppress(UnknownRun):  # the id of an older store need not be a folder's name
        for task in failed:
            place = RunDir.at(config.runs_dir, task.run)
            if task.attempts and own_words(place.log_file(task.task)):
                return settings.again(f"logs {run.dag}/{task.task}")
    if any(task.run == run.run for task in failed):
        return f"fix it, then {settings.again(f'retry {run.dag} --code new')}"
    return f"fix it, then {settings.again(f'run {run.dag} --failed')}"
