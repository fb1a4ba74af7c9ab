"""`pit run`: the composition root, where the engine meets the store, the terminal and the files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack

import click

from pit.cli import progress
from pit.cli.complete import complete_target
from pit.cli.main import version
from pit.cli.options import Settings, command
from pit.cli.summary import Summary
from pit.engine.request import Finale, Request, Services
from pit.engine.run import execute
from pit.errors import BadArgument, DiskFull, Overlapping, RunNotSuccessful
from pit.model import Dag, Reason, RunState, TaskState, WorkspaceConfig
from pit.spec import config as spec
from pit.spec import durations
from pit.state import recover, retention
from pit.state.history import TaskRow
from pit.state.store import Store
from pit.work import process

_EXIT_FAILED, _EXIT_TIMEOUT, _EXIT_SIGNAL, _SIGINT = 1, 124, 128, 2


def _seconds(ctx: click.Context, param: click.Parameter, value: str) -> float:
    """A duration on the command line, such as "10s", in seconds."""
    try:
        return durations.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error


@command("run", short_help="Run a DAG, or one task of it.")
@click.argument("target", metavar="DAG[/TASK]", shell_complete=complete_target)
@click.option(
    "-p", "--param", "pairs", multiple=True, metavar="NAME=VALUE", help="Set a run parameter."
)
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    metavar="N",
    help="Tasks at once (default: dag.concurrency, else 4).",
)
@click.option(
    "--grace",
    default="10s",
    callback=_seconds,
    metavar="DURATION",
    help="Time between asking a task to end and killing it (default: 10s).",
)
@click.option("--force", is_flag=True, help="Run everything, current or not.")
@click.option("--failed", is_flag=True, help="Only what did not succeed, and what follows.")
@click.option("--dry-run", is_flag=True, help="Start nothing; the same as pit plan.")
@click.option("--skip-ok", is_flag=True, help='Exit 0 when overlap = "skip" skips this run.')
@click.option("--json", "as_json", is_flag=True, help="Write one event per line as JSON.")
@click.option("--trigger", default="manual", hidden=True)
def run(
    settings: Settings,
    target: str,
    pairs: Sequence[str],
    concurrency: int | None,
    grace: float,
    force: bool,
    failed: bool,
    dry_run: bool,
    skip_ok: bool,
    as_json: bool,
    trigger: str,
) -> None:
    """Run a DAG, or some of its tasks, as far as they are not current.

    Tasks run in parallel as soon as what they depend on has succeeded, from a frozen copy of the
    project. A task that declares its inputs is skipped when nothing that it reads has changed.
    DAG/+TASK takes what the task needs as well, DAG/TASK+ what depends on it. Exit code 0 means
    that every task succeeded or is current, 1 that one failed.
    """
    if dry_run:
        from pit.cli.plan import show_plan

        return show_plan(settings, target, pairs, as_json=as_json, force=force)
    config = settings.config()
    dag, only = chosen(config, target)
    request = Request(
        dag=dag,
        config=config,
        only=only,
        given=parameters(pairs),
        concurrency=concurrency,
        trigger=trigger,
        grace=grace,
        force=force,
        failed=unsuccessful(config, dag) if failed else None,
        pit_version=version(),
    )
    try:
        finale = perform(settings, request, as_json)
    except Overlapping as error:
        if not skip_ok or dag.overlap != "skip":
            raise
        settings.console.note(f"skipped: {error}")
        return
    conclude(finale)


def conclude(finale: Finale) -> None:
    """Raise what gives `pit` its exit code, unless the run succeeded."""
    code = exit_code(finale)
    if code:
        raise RunNotSuccessful(f"run {finale.run} {finale.state}", code)


def unsuccessful(config: WorkspaceConfig, dag: Dag) -> tuple[str, ...]:
    """The tasks of the last run that did not succeed; UsageError if all did."""
    store = Store.open_readonly(config.metadata_db)
    if store is not None:
        with store:
            last = store.last_run(dag.name)
            tasks = store.tasks(last.id) if last else ()
    else:
        tasks = ()
    found = tuple(
        task.task for task in tasks if not is_done(task) and task.reason != Reason.SINGLE_TASK
    )
    if not found:
        raise BadArgument(f'the last run of DAG "{dag.name}" left nothing undone', "Nothing failed")
    return found


def is_done(task: TaskRow) -> bool:
    """Whether a run has a task's products: it succeeded, or they were handed on."""
    return task.state is TaskState.SUCCESS or bool(task.made_by)


def chosen(config: WorkspaceConfig, target: str) -> tuple[Dag, str | None]:
    """The DAG, and the selection of its tasks, that `dag` or `dag/selection` names."""
    name, slash, task = target.partition("/")
    if not name or (slash and not task):
        raise BadArgument(
            f'"{target}" names no {"task" if name else "DAG"}', "Write DAG or DAG/TASK"
        )
    return spec.discover_one(config, name), task or None


def parameters(pairs: Sequence[str]) -> dict[str, str]:
    """`-p name=value` as a mapping."""
    given: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise BadArgument(f'"-p {pair}" is not NAME=VALUE', "Write it like: -p date=2026-01-31")
        if name in given:
            raise BadArgument(f'parameter "{name}" is given twice')
        given[name] = value
    return given


def perform(settings: Settings, request: Request, as_json: bool) -> Finale:
    """Run it with the store, the view and the summary plugged in; then apply retention."""
    console, config = settings.console, request.config
    with ExitStack() as stack:
        store = Store.open(config.metadata_db)
        stack.callback(store.close)
        report_interrupted(settings, config, store)
        view = progress.view_for(console, as_json=as_json, verbose=settings.verbose)
        summary = Summary(console, again=settings.again)
        try:
            finale = execute(
                request,
                Services(
                    history=store,
                    sinks=(view,) if as_json else (view, summary),
                    tap=view.output if settings.verbose else None,
                    waiting=console.note,
                ),
            )
        finally:
            view.close()
            if not as_json:
                summary.close()
        tidy(settings, request, store, finale)
    return finale


def report_interrupted(settings: Settings, config: WorkspaceConfig, store: Store) -> None:
    """Give an end to runs whose process was killed, end what they left, and say so."""
    for past in recover.recover(store, config.runs_dir):
        ended = process.end_marked(past.id)
        left = f"; ended {ended} of its processes" if ended else ""
        settings.console.warning(
            f"run {past.id} was interrupted{left}",
            f"See it with: {settings.again(f'status {past.dag}')}",
        )


def tidy(settings: Settings, request: Request, store: Store, finale: Finale) -> None:
    """Remove what `keep_artifacts` and retention no longer want."""
    keep = request.dag.keep_artifacts
    keep = request.config.keep_artifacts if keep is None else keep
    config = request.config
    done = retention.after_run(
        store, config.runs_dir, finale.run, config.retention, keep, time.time()
    )
    for problem in done.problems:
        settings.console.warning(problem)


def exit_code(finale: Finale) -> int:
    """0 success, 1 failed, 25 disk full, 124 timed out, 129, 130 or 143 ended by a signal."""
    match finale.state, finale.reason:
        case RunState.SUCCESS, _:
            return 0
        case RunState.CANCELLED, _:
            return _EXIT_SIGNAL + (finale.signal or _SIGINT)
        case _, Reason.TIMEOUT:
            return _EXIT_TIMEOUT
        case _, Reason.DISK_FULL:
            return DiskFull.exit_code
    return _EXIT_FAILED
