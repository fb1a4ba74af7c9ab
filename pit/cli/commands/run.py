"""`pit run`: what is asked for, and the short answer where there is nothing to do.

The engine is imported only when something has to run: most runs find nothing to do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from pit.cli.arguments import chosen, parameters, split, unsuccessful
from pit.cli.complete import complete_target, param_option
from pit.cli.options import Settings, command
from pit.errors import Overlapping
from pit.model import Dag, WorkspaceConfig
from pit.version import VERSION

if TYPE_CHECKING:
    from pit.engine.planning.nothing_to_do import NothingToDo
    from pit.engine.planning.stale_upstream import StaleUpstream


def _seconds(ctx: click.Context, param: click.Parameter, value: str) -> float:
    """A duration on the command line, such as "10s", in seconds."""
    from pit.text import durations

    try:
        return durations.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error


@command("run", short_help="Run a DAG, or some of its tasks.")
@click.argument("target", metavar="DAG[/TASK]", shell_complete=complete_target)
@param_option
@click.option(
    "-j",
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
@click.option("-f", "--force", is_flag=True, help="Run everything, current or not.")
@click.option("--failed", is_flag=True, help="Only what did not succeed, and what follows.")
@click.option("--learn", is_flag=True, help="Watch what tasks open; say what pit.toml lacks.")
@click.option("-n", "--dry-run", is_flag=True, help="Start nothing; the same as pit plan.")
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
    learn: bool,
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
        from pit.cli.commands.plan import Asked, show_plan

        asked = Asked(force=force, failed=failed, concurrency=concurrency)
        return show_plan(settings, target, pairs, asked, as_json=as_json)
    config, given = settings.config(), parameters(pairs)
    declared = cache(lambda: chosen(config, target)[0])  # read once, and only if need be
    typed = Typed(target, given, trigger)
    if not (force or failed or learn) and _idle(settings, config, typed, declared, as_json):
        return None
    from pit.cli import compose
    from pit.engine.run.request import Request

    dag, only = declared(), split(target)[1]
    request = Request(
        dag=dag,
        config=config,
        only=only,
        given=given,
        concurrency=concurrency,
        trigger=trigger,
        grace=grace,
        force=force,
        failed=unsuccessful(config, dag) if failed else None,
        learn=learn,
        pit_version=VERSION,
    )
    try:
        finale = compose.perform(settings, request, as_json)
    except Overlapping as error:
        if not skip_ok or dag.overlap != "skip":
            raise
        settings.console.note(f"skipped: {error}")
        return None
    compose.conclude(finale)


class Typed(NamedTuple):
    """What the command line says to run; `given` are the parameters as typed."""

    target: str
    given: Mapping[str, str]
    trigger: str


def _idle(
    settings: Settings,
    config: WorkspaceConfig,
    typed: Typed,
    declared: Callable[[], Dag],
    as_json: bool,
) -> bool:
    """Whether there was nothing to do, and has been said so."""
    from pit.engine.locks import owner, place
    from pit.engine.planning import stamp
    from pit.engine.staleness import comparison
    from pit.state.store.store import Store

    began = time.monotonic()
    given = typed.given
    name, selection = split(typed.target)
    if not config.metadata_db.exists():
        return False
    with Store.open(config.metadata_db) as store:
        owner.require(config, name, store)
        if store.runs.running():
            return False  # alive or interrupted: the long way says which
        path = stamp.place(config, name, selection or "", given)
        found, fresh = stamp.read(path), None
        if found is None or not stamp.holds(
            found, stamp.facts(comparison.VERSION), store.records.mark(name)
        ):
            fresh = _look(config, typed, declared, store)
            if fresh is None:
                return False
            found = fresh.stamp
            if fresh.kept:
                stamp.write(path, found)
        for required in found.requires:
            owner.require(config, required, store)
        place.check_requirements(name, found.requires, store, time.time())
        from pit.engine.run import empty_run
        from pit.state.rundir import prepare

        prepare(config.runs_dir, config.settings)
        row = empty_run.Row(
            dag=name,
            project=found.project,
            selection=selection,
            trigger=typed.trigger,
            parent=os.environ.get("PIT_RUN_ID"),
            params=found.params,
            began=began,
            whole=found.whole,
            looked_at=() if fresh is None else fresh.chosen,
            warning=None if fresh is None else _warning(settings, fresh.stale),
        )
        events = empty_run.record(row, config.runs_dir, store, lambda: _complete_at(fresh, store))
    if events is None:
        return False
    if row.warning is not None and not as_json:
        settings.console.warning(*row.warning)
    _say_idle(settings, name, found.tasks, time.monotonic() - began, events, as_json)
    return True


def _warning(settings: Settings, stale: StaleUpstream | None) -> tuple[str, str] | None:
    """What a run says that leaves something stale above its tasks."""
    return None if stale is None else (stale.sentence, stale.hint(settings.again))


def _complete_at(fresh: NothingToDo | None, store: Any) -> float | None:
    """Since when the whole DAG of a selection that was looked at is done, None if it is not."""
    if fresh is None:
        return None
    from pit.engine.staleness import completion

    name = fresh.dag.name
    return completion.complete_at(
        fresh.dag, store.dags.standings(name), store.runs.last_complete(name)
    )


def _look(
    config: WorkspaceConfig, typed: Typed, declared: Callable[[], Dag], store: Any
) -> NothingToDo | None:
    """What a proper look finds, where the last run promises that everything is current."""
    name, selection = split(typed.target)
    last = store.runs.last_run(name)
    if last is None or last.state != "success" or last.stub:
        return None
    from pit.engine.planning import nothing_to_do
    from pit.work.process import launch

    began = time.time_ns()
    question = nothing_to_do.Question(
        dag=declared(), config=config, selection=selection, given=typed.given, began=began
    )
    return nothing_to_do.answer(question, store, launch.capture)


def _say_idle(
    settings: Settings, dag: str, tasks: int, seconds: float, events: Sequence[Any], as_json: bool
) -> None:
    from pit.cli.terminal.console import count, duration

    console = settings.console
    if as_json:
        import msgspec

        for event in events:
            console.out(msgspec.json.encode(event).decode())
        return
    head = f"{console.paint(dag, 'bold')}  {console.paint('current', 'green')}"
    noun = "is" if tasks == 1 else "are"
    console.out(
        f"{head}  {duration(seconds)}  nothing to do: {count(tasks, 'task')} {noun} current"
    )
