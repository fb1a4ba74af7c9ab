"""`pit runs` and `pit outputs`: what ran, and what there is for others."""

from __future__ import annotations

import time
from fnmatch import fnmatchcase

import click

from pit.cli.arguments import require_known
from pit.cli.complete import complete_dag
from pit.cli.options import Settings, command, json_option
from pit.cli.terminal.console import Cell, Column
from pit.cli.terminal.states import run_took, shown_state
from pit.model import RunState
from pit.state.store.store import Store
from pit.text.times import ago, moment
from pit.views import reasons
from pit.views.outputs import OutputView, declared_outputs
from pit.views.runs import RunView, latest_runs

_WIDE = 110


# ---------------------------------------------------------------- runs


@command("runs", short_help="List runs, the latest first.")
@click.argument("dag", required=False, shell_complete=complete_dag)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    metavar="N",
    help="How many runs.",
)
@click.option(
    "--state",
    type=click.Choice([str(state) for state in RunState]),
    metavar="STATE",
    help=f"Only runs in this state: {', '.join(RunState)}.",
)
@json_option
def runs(settings: Settings, dag: str | None, limit: int, state: str | None, as_json: bool) -> None:
    """List runs, the latest first; of one DAG, or of all."""
    config = settings.config()
    with Store.open_readonly(config.metadata_db) as store:
        found = latest_runs(config, store, dag, limit, RunState(state) if state else None)
        if dag is not None and store.runs.last_run(dag) is None:
            require_known(config, dag)
    if as_json:
        settings.console.json(found)
    elif found:
        _runs_table(settings, found)
    else:
        settings.console.note("no such runs" if state else "no runs yet")


def _runs_table(settings: Settings, found: list[RunView]) -> None:
    console, now = settings.console, time.time()
    wide = console.width is None or console.width >= _WIDE
    columns = (
        Column("RUN"),
        Column("STATE"),
        Column("TOOK", right=True),
        Column("STARTED", right=not wide),
        Column("WHY", flexible=True),
    )
    rows = [
        (
            run.run,
            shown_state(run),
            run_took(run, now),
            f"{moment(run.started_at)}  {ago(run.started_at, now):>8}"
            if wide
            else ago(run.started_at, now),
            _remark(run),
        )
        for run in found
    ]
    console.table(columns, rows)


def _remark(run: RunView) -> str:
    parts = [reasons.sentence(run.reason, run.error)]
    if parts[0] in (run.state, "exit"):
        parts = []
    if run.selection:
        parts.append(f"only {run.selection}")
    parts += [f"{name}={value}" for name, value in run.params.items()]
    return "  ".join(part for part in parts if part)


# ---------------------------------------------------------------- outputs


@command("outputs", short_help="List what the projects declare to produce.")
@click.option("--project", metavar="DAG", shell_complete=complete_dag, help="Only of this DAG.")
@click.option("--type", "kind", metavar="TYPE", help="Only outputs of this type.")
@click.option(
    "--location", metavar="GLOB", help="Only outputs whose location matches, e.g. 'warehouse.*'."
)
@json_option
def outputs(
    settings: Settings, project: str | None, kind: str | None, location: str | None, as_json: bool
) -> None:
    """List what the projects declare in [[outputs]], when it was last made, and by which task."""
    config = settings.config()
    if project is not None:
        require_known(config, project)
    with Store.open_readonly(config.metadata_db) as store:
        found = declared_outputs(config, store)
    found = [
        each
        for each in found
        if (project is None or each.dag == project)
        and (kind is None or each.type == kind)
        and (location is None or fnmatchcase(each.location, location))
    ]
    if as_json:
        settings.console.json(found)
    elif found:
        _outputs_table(settings, found)
    else:
        settings.console.note("no outputs found")


def _when(output: OutputView, now: float) -> str:
    if output.made_at is not None:
        return ago(output.made_at, now)
    return "never" if output.run is None else f"in run {output.run}"


def _outputs_table(settings: Settings, found: list[OutputView]) -> None:
    now = time.time()
    columns = [
        Column("DAG", flexible=True),
        Column("NAME", flexible=True),
        Column("TYPE"),
        Column("LOCATION", flexible=True),
        Column("MADE", right=True),
        Column("BY", flexible=True),
    ]
    if any(each.extra for each in found):
        columns.append(Column("MORE", flexible=True))
    rows = [
        (
            each.dag,
            Cell(each.name, "bold"),
            each.type,
            each.location,
            _when(each, now),
            each.task or "",
            "  ".join(f"{name}={value}" for name, value in each.extra.items()),
        )[: len(columns)]
        for each in found
    ]
    settings.console.table(columns, rows)
