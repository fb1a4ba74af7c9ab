"""`pit run`: what is asked for, and the short answer where there is nothing to do.

The engine is imported only when something has to run: most runs find nothing to do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from pit.cli.arguments import declared, typed, unsuccessful
from pit.cli.complete import complete_target, param_option
from pit.cli.options import Settings, command
from pit.errors import Overlapping, PitError
from pit.version import VERSION

if TYPE_CHECKING:
    from pit.config.dag.expanded import ExpandedDag
    from pit.engine.planning.nothing_to_do import NothingToDo
    from pit.engine.planning.stale_upstream import StaleUpstream
    from pit.engine.target.target import Target
    from pit.engine.target.typed import Typed
    from pit.fs.reads import Reads


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
    asked = _Asked(settings, typed(target, pairs), failed)
    if not (force or failed or learn) and _idle(settings, asked, trigger, as_json):
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
        finale = compose.perform(settings, request, as_json)
    except Overlapping as error:
        if not skip_ok or asked.target.dag.declared.overlap != "skip":
            raise
        settings.console.note(f"skipped: {error}")
        return None
    compose.conclude(finale)


class _Asked:
    """What is asked for. What that means is worked out once, and only if need be: a stamp answers
    without."""

    def __init__(self, settings: Settings, typed: Typed, failed: bool) -> None:
        self.config, self.typed, self.day = settings.config(), typed, settings.day
        self._failed = failed

    @cached_property
    def reads(self) -> Reads:
        """What has been read for the target."""
        from pit.fs.reads import Reads

        return Reads()

    @cached_property
    def target(self) -> Target:
        """The tasks that are meant, with their parameters; PitError if none are."""
        from pit.engine.target.target import resolve

        dag, words = declared(self.config, self.typed), self.typed
        if self._failed:
            words = replace(words, undone=unsuccessful(self.config, words.dag))
        return resolve(dag, words, self.config, self.day, reads=self.reads)


def _idle(settings: Settings, asked: _Asked, trigger: str, as_json: bool) -> bool:
    """Whether there was nothing to do, and has been said so."""
    from pit.engine.locks import owner, place
    from pit.engine.planning import stamp
    from pit.engine.staleness import comparison
    from pit.state.store.store import Store

    began = time.monotonic()
    config, name = asked.config, asked.typed.dag
    if not config.metadata_db.exists():
        return False
    with Store.open(config.metadata_db) as store:
        owner.require(config, name, store)
        if store.runs.running():
            return False  # alive or interrupted: the long way says which
        path, facts = stamp.place(config, asked.typed), stamp.facts(comparison.VERSION, asked.day)
        found, fresh = stamp.read(path), None
        if found is None or not stamp.holds(found, facts, store.records.mark(name)):
            fresh = _look(asked, facts, store)
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
            selection=asked.typed.selection or None,
            trigger=trigger,
            parent=os.environ.get("PIT_RUN_ID"),
            params=found.params,
            began=began,
            whole=found.whole,
            looked_at=() if fresh is None else tuple(task.name for task in asked.target.tasks),
        )
        # Where a stamp has answered, nothing is known of the rest of the DAG.
        dag = None if fresh is None else asked.target.dag
        events = empty_run.record(row, config.runs_dir, store, lambda: _complete_at(dag, store))
    if events is None:
        return False
    told: Sequence[Any] = events
    if fresh is not None and fresh.stale is not None:
        told = _told_stale(settings, fresh.stale, events, as_json)
    _say_idle(settings, name, found.tasks, time.monotonic() - began, told, as_json)
    return True


def _told_stale(
    settings: Settings, stale: StaleUpstream, events: Sequence[Any], as_json: bool
) -> Sequence[Any]:
    """The events of a run, with what it leaves stale among them, or on the screen."""
    hint = stale.hint(settings.again)
    if not as_json:
        settings.console.warning(stale.sentence, hint)
        return events
    from pit.events import Warned

    first, *rest = events
    return (first, Warned(run=first.run, at=first.at, message=stale.sentence, hint=hint), *rest)


def _complete_at(dag: ExpandedDag | None, store: Any) -> float | None:
    """Since when the whole DAG of a selection that was looked at is done, None if it is not."""
    if dag is None:
        return None
    from pit.engine.staleness import completion

    return completion.complete_at(
        dag, store.dags.standings(dag.name), store.runs.last_complete(dag.name)
    )


def _look(asked: _Asked, facts: dict[str, str], store: Any) -> NothingToDo | None:
    """What a proper look finds, where the last run promises that everything is current."""
    last = store.runs.last_run(asked.typed.dag)
    if last is None or last.state != "success" or last.stub:
        return None
    from pit.engine.planning import nothing_to_do
    from pit.work.process import launch

    began = time.time_ns()
    with suppress(PitError, OSError, ValueError):  # a real run meets it again and says it properly
        asked.reads.facts |= facts
        return nothing_to_do.answer(asked.target, asked.reads, began, store, launch.capture)
    return None


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
