"""`pit prune`: removes old runs, as retention says."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import NamedTuple

import click
from msgspec.structs import replace

from pit.cli.complete import complete_run
from pit.cli.options import Settings, command, json_option
from pit.cli.terminal.console import Column, count, size
from pit.config.workspace import discover
from pit.errors import BadArgument, DiskFull, PitError, UnknownRun
from pit.model import RunState, WorkspaceConfig
from pit.project.python import surplus
from pit.project.python.surplus import Cleared
from pit.state import liveness, retention
from pit.state.retention import Pruned, Removal
from pit.state.store.store import Store
from pit.state.store.tables.runs import RunRow
from pit.views.prune import (
    PruneView,
    RemovalView,
    RemovedEnvironment,
    both,
    done_view,
    planned_view,
    with_environments,
)


class NotPruned(PitError):
    """Some of what should go could not be removed; the rest went."""


@command("prune", short_help="Remove old runs, as retention says.")
@click.option(
    "--run",
    "run_ids",
    multiple=True,
    metavar="RUN_ID",
    help="Remove the folder of this run instead, however young it is.",
    shell_complete=complete_run,
)
@click.option("--all-finished", is_flag=True, help="The folders of all runs that have ended.")
@click.option("-n", "--dry-run", is_flag=True, help="Only show what would go.")
@json_option
def prune(
    settings: Settings,
    run_ids: Sequence[str],
    all_finished: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove old runs as retention says, and Python environments that nothing needs any more.

    Runs that are alive are never touched. The rules are [retention] and keep_artifacts in
    pit_config.toml, and keep_artifacts in a pit.toml; --run and --all-finished go beyond them
    when room is needed: snapshots, logs and data go, the history stays.
    """
    if run_ids and all_finished:
        raise BadArgument("--all-finished means every run", "Use one of --run and --all-finished")
    config = settings.config()
    wanted = Wanted(run_ids, all_finished)
    try:
        view = _prune(settings, config, wanted, dry_run)
    except DiskFull:
        made = _make_room(config, wanted)
        if not made.bytes:
            raise
        view = both(made, _prune(settings, config, wanted, dry_run))
    _say(settings, view, as_json)
    if view.problems:
        raise NotPruned("\n".join(view.problems), "The rest has been removed.")


class Wanted(NamedTuple):
    """Whose folders go: those of some runs, of all that have ended, or what retention says."""

    run_ids: Sequence[str]
    all_finished: bool

    def plan(self, config: WorkspaceConfig, store: Store) -> tuple[Removal, ...]:
        """What there is of it to remove."""
        if self.all_finished:
            return retention.plan_of_all(store, config.runs_dir)
        if self.run_ids:
            rows = [_ended(config, store, run_id) for run_id in self.run_ids]
            return retention.plan_of(store, config.runs_dir, rows)
        return retention.prune_plan(store, config.runs_dir, config.retention, _keep(config))


def _make_room(config: WorkspaceConfig, wanted: Wanted) -> PruneView:
    """Remove the folders alone, which a disk so full that nothing can be recorded needs first."""
    retention.empty(config.runs_dir)
    with Store.open_readonly(config.metadata_db) as store:
        if not store.exists:
            return done_view(planned_view((), config.runs_dir), Pruned())
        removals = tuple(replace(each, rows=False) for each in wanted.plan(config, store))
        planned = planned_view(removals, config.runs_dir)
        return done_view(planned, retention.apply(removals, store, config.runs_dir))


def _prune(settings: Settings, config: WorkspaceConfig, wanted: Wanted, dry_run: bool) -> PruneView:
    """What goes, and unless this is a dry run has gone."""
    with _store(config, dry_run) as store:
        if store.exists:
            return _pruned(settings, config, store, wanted, dry_run)
        if wanted.run_ids:
            raise UnknownRun(wanted.run_ids[0])
        view = planned_view((), config.runs_dir)
        view = view if dry_run else done_view(view, Pruned())
        return _with_environments(config, view, frozenset)


def _pruned(
    settings: Settings, config: WorkspaceConfig, store: Store, wanted: Wanted, dry_run: bool
) -> PruneView:
    """What goes of what the store knows, and of environments."""
    if (wanted.run_ids or wanted.all_finished) and not dry_run:
        from pit.cli.compose import report_interrupted

        report_interrupted(settings, config, store)
    removals = wanted.plan(config, store)
    view = planned_view(removals, config.runs_dir)
    if not dry_run:
        done = retention.apply(removals, store, config.runs_dir)
        retention.empty(config.runs_dir)
        view = done_view(view, done, store.records.sweep())
    return _with_environments(
        config, view, partial(retention.environments, store, config.runs_dir, removals)
    )


def _ended(config: WorkspaceConfig, store: Store, run_id: str) -> RunRow:
    run = store.runs.find(run_id)
    if run.state is RunState.RUNNING and liveness.is_alive(run, config.runs_dir):
        raise BadArgument(f"run {run.id} is still running", "Wait until it has ended")
    return run


def _with_environments(
    config: WorkspaceConfig, view: PruneView, named: Callable[[], Collection[str]]
) -> PruneView:
    """With the Python environments that nothing needs any more."""
    found = surplus.surplus(config.cache_dir, named, config.retention.days, time.time())
    cleared = Cleared(removed=found) if view.dry_run else surplus.remove(found)
    return with_environments(view, cleared)


def _store(config: WorkspaceConfig, dry_run: bool) -> Store:
    if dry_run or not config.metadata_db.exists():
        return Store.open_readonly(config.metadata_db)
    return Store.open(config.metadata_db)


def _keep(config: WorkspaceConfig) -> Callable[[str], Sequence[str]]:
    """What each DAG keeps of a run: its own `keep_artifacts`, else the workspace's."""
    dags = discover(config).dags

    def keep(name: str) -> Sequence[str]:
        own = dags[name].keep_artifacts if name in dags else None
        return config.keep_artifacts if own is None else own

    return keep


def _say(settings: Settings, view: PruneView, as_json: bool) -> None:
    if as_json:
        settings.console.json(view)
        return
    out = settings.console.out
    if view.removals:
        columns = (Column("RUN"), Column("GOES"), Column("FREES", right=True))
        rows = [(each.run, _what(each), size(each.bytes)) for each in view.removals]
        settings.console.table(columns, rows)
        out()
    if view.environments:
        titles = ("ENVIRONMENT", "PROJECT", "WHY")
        heads = (*map(Column, titles), Column("FREES", right=True))
        settings.console.table(heads, [_environment_row(each) for each in view.environments])
        out()
    verb = "would free" if view.dry_run else "freed"
    what = [count(view.runs, "run")] if view.removals else []
    what += [count(len(view.environments), "environment")] if view.environments else []
    out(f"{verb} {size(view.bytes)} of {' and '.join(what)}" if what else "nothing to remove")
    if not view.dry_run and (advice := heavy(*retention.snapshots(settings.config().runs_dir))):
        settings.console.prose(advice)


def heavy(snapshots: int, taken: int) -> str:
    """What to do about snapshots that stay, where they take many bytes together; else empty."""
    if taken < _HEAVY:
        return ""
    return (
        f"{count(snapshots, 'snapshot')} that retention keeps: {size(taken)}. A .pitignore in the "
        "project leaves large files out of the next; what `inputs` name of them is linked."
    )


_HEAVY = 1_000_000_000
"""Bytes from which on it is worth a word that snapshots stay."""


def _environment_row(view: RemovedEnvironment) -> tuple[str, ...]:
    name = os.path.basename(view.project) or "-"
    return view.environment, name, view.why, size(view.bytes)


def _what(removal: RemovalView) -> str:
    words = ["folder"] if removal.whole else list(removal.parts)
    return ", ".join([*words, *(["history"] if removal.history else [])])
