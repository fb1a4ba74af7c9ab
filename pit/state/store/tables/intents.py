"""Intents: what a run is about to publish, so that a crash in the middle can be finished.

An intent is durable before the first rename and goes in the commit that ends its task, which keeps
what it says as what the task has made (`makings.py`). One that
is left names a task that had succeeded: whoever recovers its run finishes the renames and ends it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from pit.events import Fact
from pit.state.store.database import Database
from pit.state.store.tables import makings
from pit.state.store.tables.records import unbroken

_INSERT = """
    INSERT OR REPLACE INTO intents (run, task, at, publishing, params)
    VALUES ((SELECT seq FROM runs WHERE id = ?), ?, ?, ?, ?)"""
_OUTRUN = """
    UPDATE intents SET outrun = 1 WHERE task = ?2 AND run IN (
        SELECT seq FROM runs WHERE id <> ?1 AND dag = (SELECT dag FROM runs WHERE id = ?1))"""
_DELETE = "DELETE FROM intents WHERE run = (SELECT seq FROM runs WHERE id = ?) AND task = ?"


class Intent(Fact, tag="intent"):
    """The places that a task's products are about to take, each with the digest of its content.

    `project` is the folder that they are relative to, `targets` are what was declared, `params` is
    the text of the parameters that the task got. `dag` is known when it is read back.
    """

    task: str
    project: str
    places: dict[str, str]
    targets: tuple[str, ...] = ()
    params: str = ""
    dag: str = ""


def write(connection: sqlite3.Connection, intents: Sequence[Intent]) -> None:
    """Keeps intents, within the caller's transaction."""
    rows = [(e.run, e.task, e.at, _json(e), unbroken(e.params)) for e in intents]
    connection.executemany(_INSERT, rows)


def _json(intent: Intent) -> str:
    # The standard library's: it has escapes for file names that are not UTF-8.
    facts = {"project": intent.project, "places": intent.places, "targets": intent.targets}
    return json.dumps(facts)


def outrun(connection: sqlite3.Connection, tasks: Iterable[tuple[str, str]]) -> None:
    """Notes that a run (run id, task) has been at what another is publishing at this moment."""
    if connection.execute("SELECT 1 FROM intents LIMIT 1").fetchone():
        connection.executemany(_OUTRUN, tasks)


def end(connection: sqlite3.Connection, ended: Sequence[tuple[str, str, bool]]) -> None:
    """Turns the intents of tasks (run id, task, whether it ended well) into makings, within the
    caller's transaction."""
    makings.keep(connection, ended)
    connection.executemany(_DELETE, [(run, task) for run, task, _ in ended])


def left(database: Database, dag: str | None = None) -> tuple[Intent, ...]:
    """The intents that are there, of living runs too, in the order of their runs."""
    found = database.query(
        """SELECT runs.id, intents.at, runs.dag, task, intents.params, publishing
        FROM intents JOIN runs ON runs.seq = intents.run
        WHERE ?1 IS NULL OR runs.dag = ?1 ORDER BY runs.seq, intents.at""",
        (dag,),
    )
    return tuple(
        msgspec.convert(
            {"run": run, "at": at, "dag": of, "task": task, "params": params, "event": "intent"}
            | json.loads(publishing),
            Intent,
        )
        for run, at, of, task, params, publishing in found
    )
