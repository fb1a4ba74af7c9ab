"""`pit run`: what is asked for, and the short answer where there is nothing to do.

The engine is imported only when something has to run: most runs find nothing to do.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from pit.cli.arguments import declared, typed, unsuccessful
from pit.cli.complete import complete_target, param_option
from pit.cli.options import Settings, command
from pit.errors import Overlapping
from pit.version import VERSION

if TYPE_CHECKING:
    from pit.engine.run.empty_run import EmptyRun, Inquiry


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

        options = Asked(force=force, failed=failed, concurrency=concurrency)
        return show_plan(settings, target, pairs, options, as_json=as_json)
    asked = _asked(settings, target, pairs, trigger, failed)
    if not (force or failed or learn) and _idle(settings, asked, as_json):
        return None
    from pit.cli import compose
    from pit.engine.run.request import Request

    request = Request(
        target=asked.target,
        concurrency=concurrency,
        trigger=trigger,
        grace=grace,
        force=force,
        learn=learn,
        pit_version=VERSION,
    )
    try:
        result = compose.perform(settings, request, as_json)
    except Overlapping as error:
        if not skip_ok or asked.target.dag.declared.overlap != "skip":
            raise
        settings.console.note(f"skipped: {error}")
        return None
    compose.conclude(result)


def _asked(
    settings: Settings, target: str, pairs: Sequence[str], trigger: str, failed: bool
) -> Inquiry:
    """What is asked for; `failed` names the tasks that an earlier run has left undone."""
    from pit.engine.run.empty_run import Inquiry

    config, words = settings.config(), typed(target, pairs)
    read = cache(lambda: declared(config, words))
    if failed:
        words = replace(words, undone=unsuccessful(config, read().name))
    return Inquiry(config, words, settings.day, read, trigger)


def _idle(settings: Settings, asked: Inquiry, as_json: bool) -> bool:
    """Whether there was nothing to do, and has been said so."""
    from pit.engine.run.empty_run import run_empty
    from pit.state.store.store import Store

    began = time.monotonic()
    if not asked.config.metadata_db.exists():
        return False
    with Store.open(asked.config.metadata_db) as store:
        done = run_empty(asked, store, settings.again)
    if done is None:
        return False
    _say_idle(settings, asked.typed.dag, done, time.monotonic() - began, as_json)
    return True


def _say_idle(settings: Settings, dag: str, done: EmptyRun, seconds: float, as_json: bool) -> None:
    from pit.cli.terminal.console import count, duration
    from pit.events import Warned

    console, tasks = settings.console, done.tasks
    if as_json:
        import msgspec

        for event in done.events:
            console.out(msgspec.json.encode(event).decode())
        return
    for event in done.events:
        if isinstance(event, Warned):
            console.warning(event.message, event.hint)
    head = f"{console.paint(dag, 'bold')}  {console.paint('current', 'green')}"
    noun = "is" if tasks == 1 else "are"
    console.out(
        f"{head}  {duration(seconds)}  nothing to do: {count(tasks, 'task')} {noun} current"
    )
