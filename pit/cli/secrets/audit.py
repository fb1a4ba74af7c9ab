"""`pit secrets audit`: who asked for which secret, and who changed the file."""

from __future__ import annotations

import re
import time
from datetime import datetime

import click

from pit.cli.options import Settings, command, json_option
from pit.cli.terminal.console import Cell, Column
from pit.errors import BadArgument
from pit.model import Verdict
from pit.state.store.store import Store
from pit.state.store.tables.audit import RequestRow, SecretChange
from pit.text import durations
from pit.text.times import moment
from pit.views.secrets import AuditFilter, AuditView, audit_view

_STYLES = {Verdict.REFUSED: "red", Verdict.UNKNOWN: "yellow", Verdict.GRANTED: ""}
_DAYS = re.compile(r"(\d+)d")


@command("audit", short_help="Show who asked for what, and who changed it.")
@click.option("--dag", metavar="DAG", help="Only what concerns this DAG.")
@click.option("--key", metavar="KEY", help="Only the secret of this name.")
@click.option("--run", metavar="RUN", help="Only what this run asked for.")
@click.option("--task", metavar="TASK", help="Only what tasks of this name asked for.")
@click.option("--since", metavar="WHEN", help="A date, or how long ago: 2026-01-31, 12h, 30d.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    metavar="N",
    help="How many lines.",
)
@json_option
def audit(
    settings: Settings,
    dag: str | None,
    key: str | None,
    run: str | None,
    task: str | None,
    since: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show which task asked for which secret and what became of it, and who changed the file.

    The latest come first. Names and times are kept, never values.
    """
    began = None if since is None else _since(since, time.time())
    config = settings.config()
    with Store.open_readonly(config.metadata_db) as store:
        wanted = AuditFilter(dag=dag, key=key, run=run, task=task, since=began, limit=limit)
        found = audit_view(store, wanted) if store.exists else AuditView()
    if as_json:
        settings.console.json(found)
    elif found.requests or found.changes:
        _show(settings, found)
    else:
        settings.console.note("nothing in the audit")


def _show(settings: Settings, found: AuditView) -> None:
    rows = [(each.at, _request(each)) for each in found.requests]
    rows += [(each.at, _change(each)) for each in found.changes]
    rows.sort(key=lambda row: -row[0])
    columns = [
        Column("TIME"),
        Column("WHO", flexible=True),
        Column("WHAT"),
        Column("SECRET", flexible=True),
        Column("RUN OR FILE", flexible=True),
    ]
    settings.console.table(columns, [row for _, row in rows])


def _request(row: RequestRow) -> list[Cell]:
    who = f"{row.dag}/{row.task}" if row.task else row.dag
    times = f" ×{row.count}" if row.count > 1 else ""
    what = Cell(f"{row.verdict}{times}", _STYLES[row.verdict])
    return [Cell(moment(row.at)), Cell(who), what, Cell(row.key), Cell(row.run)]


def _change(row: SecretChange) -> list[Cell]:
    secret = f"{row.scope}.{row.name}" if row.scope else row.note or row.name
    what = row.what.replace("_", " ")
    return [Cell(moment(row.at)), Cell(row.who or "?"), Cell(what), Cell(secret), Cell(row.file)]


def _since(text: str, now: float) -> float:
    """The time that `--since` means, in Unix seconds."""
    days = _DAYS.fullmatch(text)
    if days:
        return now - int(days[1]) * 86400.0
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        pass
    try:
        return now - durations.parse(text)
    except ValueError:
        raise BadArgument(
            f'--since "{text}" is neither a date nor a duration',
            "Write 2026-01-31, 2026-01-31T06:00, 12h or 30d",
        ) from None
