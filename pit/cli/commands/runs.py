"""`pit runs` and `pit outputs`: what ran, and what there is for others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import click

from pit.cli import past
from pit.cli.complete import complete_dag
from pit.cli.options import Settings, command, json_option
from pit.cli.terminal.console import Cell, Column, ago, moment
from pit.config.dag.outputs import makers
from pit.config.workspace import discover
from pit.model import Output, Record, RunState, WorkspaceConfig
from pit.state.store.store import Store
from pit.state.store.tables.dags import OutputRow

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
        found = _found(config, store, dag, limit, state)
        if dag is not None and store.runs.last_run(dag) is None:
            past.require_known(settings, config, dag)
    if as_json:
        settings.console.json(found)
    elif found:
        _runs_table(settings, found)
    else:
        settings.console.note("no such runs" if state else "no runs yet")


def _found(
    config: WorkspaceConfig, store: Store, dag: str | None, limit: int, state: str | None
) -> list[past.RunView]:
    """The runs to show; those that died unrecorded count as interrupted, not as running."""
    wanted = None if state is None else RunState(state)
    rows = store.runs.latest(dag=dag, limit=limit, state=wanted)
    if wanted is RunState.INTERRUPTED:
        rows = tuple(sorted((*store.runs.running(dag), *rows), key=lambda row: -row.seq))
    views = [past.view(config, row) for row in rows]
    return [view for view in views if wanted in (None, view.state)][:limit]


def _runs_table(settings: Settings, found: list[past.RunView]) -> None:
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
            past.shown_state(run),
            past.took(run.seconds, run.started_at, now, run.state is RunState.RUNNING),
            f"{moment(run.started_at)}  {ago(run.started_at, now):>8}"
            if wide
            else ago(run.started_at, now),
            _remark(run),
        )
        for run in found
    ]
    console.table(columns, rows)


def _remark(run: past.RunView) -> str:
    parts = [past.why(run.reason, run.error)]
    if parts[0] in (run.state, "exit"):
        parts = []
    if run.selection:
        parts.append(f"only {run.selection}")
    parts += [f"{name}={value}" for name, value in run.params.items()]
    return "  ".join(part for part in parts if part)


# ---------------------------------------------------------------- outputs


class OutputView(Record):
    """One declared output. `made_at` and `run` are those of the last success of the `task` that
    makes it, or, where that is not known, of its whole DAG; null before it.
    """

    dag: str
    name: str
    type: str
    location: str
    task: str | None
    extra: dict[str, Any]
    made_at: float | None
    run: str | None


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
        past.require_known(settings, config, project)
    with Store.open_readonly(config.metadata_db) as store:
        found = _outputs(config, store)
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


def _outputs(config: WorkspaceConfig, store: Store) -> list[OutputView]:
    """What pit.toml declares now, with what the store knows of each.

    A project that cannot be read just now still shows what its last success declared.
    """
    dags = discover(config).dags
    rows = store.dags.outputs()
    whole = {row.dag: row for row in rows}
    found = []
    for dag in dags.values():
        for output in dag.outputs:
            among = makers(dag, output, config.root)
            found.append(_output_view(dag.name, output, among, whole.get(dag.name), store))
    for row in rows:
        if row.dag not in dags:
            output = Output(
                name=row.name, type=row.type, location=row.location, task=row.task, extra=row.extra
            )
            among = (row.task,) if row.task else ()
            found.append(_output_view(row.dag, output, among, row, store))
    return sorted(found, key=lambda each: each.dag)


def _output_view(
    dag: str, output: Output, among: Sequence[str], whole: OutputRow | None, store: Store
) -> OutputView:
    """An output with the last success of the tasks that make it, else that of the `whole` DAG."""
    made_at, run = (None, None) if whole is None else (whole.made_at, whole.run)
    task = among[0] if len(among) == 1 else None
    if among:
        made = [each for name in among if (each := store.dags.last_made(dag, name)) is not None]
        last = max(made, key=lambda each: each.at or 0.0, default=None)
        made_at, run = (None, None) if last is None else (last.at, last.run)
        task = task if last is None else last.task
    return OutputView(
        dag=dag,
        name=output.name,
        type=output.type,
        location=output.location,
        task=task,
        extra=output.extra,
        made_at=made_at,
        run=run,
    )


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
