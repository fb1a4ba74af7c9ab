"""`pit prune`: removes of old runs what retention no longer wants."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click
from msgspec.structs import replace

from pit.cli.console import Column, count, size
from pit.cli.options import Settings, command, json_option
from pit.errors import PitError
from pit.model import Record, WorkspaceConfig
from pit.spec import config as spec
from pit.state import retention
from pit.state.retention import Pruned, Removal
from pit.state.store import Store


class RemovalView(Record):
    """What goes of one run: parts of its folder, or the whole of it, and its history."""

    run: str
    dag: str
    parts: tuple[str, ...]
    whole: bool
    history: bool
    bytes: int


class PruneView(Record):
    """The shape of `pit prune --json`; `bytes` are those freed, or to be freed.

    `texts` are the sources kept for comparison that nothing needed any more.
    """

    dry_run: bool
    removals: tuple[RemovalView, ...]
    runs: int
    bytes: int
    problems: tuple[str, ...]
    texts: int = 0


class NotPruned(PitError):
    """Some of what should go could not be removed; the rest went."""


@command("prune", short_help="Remove old runs, as retention says.")
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@json_option
def prune(settings: Settings, dry_run: bool, as_json: bool) -> None:
    """Remove of old runs what retention no longer wants.

    Runs that are alive are never touched. The rules are [retention] and keep_artifacts in
    pit_config.toml, and keep_artifacts in a pit.toml.
    """
    config = settings.config()
    store = _store(config, dry_run)
    if store is None:
        _say(settings, _view((), Pruned(), dry_run), as_json)
        return
    with store:
        planned = retention.prune_plan(store, config.runs_dir, config.retention, _keep(config))
        removals = tuple(_removal(config, each) for each in planned)
        done = Pruned() if dry_run else retention.apply(planned, store, config.runs_dir)
        texts = 0 if dry_run else store.sweep()
    _say(settings, replace(_view(removals, done, dry_run), texts=texts), as_json)
    if done.problems:
        raise NotPruned("\n".join(done.problems), "The rest has been removed.")


def _store(config: WorkspaceConfig, dry_run: bool) -> Store | None:
    if dry_run or not config.metadata_db.exists():
        return Store.open_readonly(config.metadata_db)
    return Store.open(config.metadata_db)


def _keep(config: WorkspaceConfig) -> Callable[[str], Sequence[str]]:
    """What each DAG keeps of a run: its own `keep_artifacts`, else the workspace's."""
    dags = spec.discover(config).dags

    def keep(name: str) -> Sequence[str]:
        own = dags[name].keep_artifacts if name in dags else None
        return config.keep_artifacts if own is None else own

    return keep


def _removal(config: WorkspaceConfig, removal: Removal) -> RemovalView:
    return RemovalView(
        run=removal.run,
        dag=removal.dag,
        parts=removal.parts,
        whole=removal.whole,
        history=removal.rows,
        bytes=retention.size(removal, config.runs_dir),
    )


def _view(removals: tuple[RemovalView, ...], done: Pruned, dry_run: bool) -> PruneView:
    return PruneView(
        dry_run=dry_run,
        removals=removals,
        runs=len(removals) if dry_run else done.runs,
        bytes=sum(each.bytes for each in removals) if dry_run else done.bytes,
        problems=done.problems,
    )


def _say(settings: Settings, view: PruneView, as_json: bool) -> None:
    if as_json:
        settings.console.json(view)
        return
    if view.removals:
        columns = (Column("RUN"), Column("GOES"), Column("FREES", right=True))
        rows = [(each.run, _what(each), size(each.bytes)) for each in view.removals]
        settings.console.table(columns, rows)
        settings.console.out()
    verb = "would free" if view.dry_run else "freed"
    text = f"{verb} {size(view.bytes)} of {count(view.runs, 'run')}"
    settings.console.out(text if view.removals else "nothing to remove")


def _what(removal: RemovalView) -> str:
    words = ["folder"] if removal.whole else list(removal.parts)
    return ", ".join([*words, *(["history"] if removal.history else [])])
