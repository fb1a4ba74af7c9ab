"""Publications: what a run is about to publish, and what tasks are known to have published.

An intent is durable before the first rename and goes in the commit that ends its task. One that is
left names a task that had succeeded: whoever recovers its run finishes the renames and ends it.

A record dies when an attempt starts; what its task had made stands in the project all the same, and
only who knows that can tell it from a stranger's file. So an intent, once its task has ended,
becomes a making: that of a success takes the place of all before it. Where a publication was cut
short, or two runs published at once, nobody knows which files stand, and each keeps a making of its
own until a later success is alone. Tasks that are not tracked have makings too.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence

import msgspec

from pit.model import FileMark, Record, TaskRecord
from pit.state.store.database import Database, Write
from pit.state.store.text import unbroken

_INSERT = """
    INSERT OR REPLACE INTO intents (run, task, at, publishing, params)
    VALUES ((SELECT seq FROM runs WHERE id = ?), ?, ?, ?, ?)"""
_OUTRUN_BY = """
    UPDATE intents SET outrun = 1 WHERE task = ?2 AND run IN (
        SELECT seq FROM runs WHERE id <> ?1 AND dag = (SELECT dag FROM runs WHERE id = ?1))"""
_DELETE = "DELETE FROM intents WHERE run = (SELECT seq FROM runs WHERE id = ?) AND task = ?"
_PENDING = """
    SELECT runs.id, dag, task, intents.params, outrun, intents.run
    FROM intents JOIN runs ON runs.seq = intents.run"""
_KEEP = """
    INSERT OR REPLACE INTO makings (dag, task, params, run, places)
    SELECT ?, task, params, ?, publishing FROM intents WHERE run = ? AND task = ?"""
_OUTRUN = "UPDATE intents SET outrun = 1 WHERE run = ? AND task = ?"
_OF_TASK = "dag = ? AND task = ? AND params = ?"


class Intent(Record):
    """The places that a task's products are about to take, each with the digest of its content.

    `project` is the folder that they are relative to, `targets` are what was declared, `params` is
    the text of the parameters that the task got. `dag` is known when it is read back.
    """

    run: str
    at: float
    task: str
    project: str
    places: dict[str, str]
    targets: tuple[str, ...] = ()
    params: str = ""
    dag: str = ""


class Making(Record):
    """What a task once published, with some parameters: the digest of each place."""

    task: str
    params: str
    places: dict[str, str]


class _Recorded(Record):
    """The part of a fingerprint that says what was made."""

    products: dict[str, FileMark] = msgspec.field(default_factory=dict)


_decode = msgspec.msgpack.Decoder(_Recorded).decode


class Publications:
    """The part of a store that knows what is being published, and what has been.

    `flush` makes everything emitted durable, and in the same commit what it is given to write.
    """

    def __init__(self, database: Database, flush: Callable[[Write], None]) -> None:
        self._database = database
        self._flush = flush

    def add(self, intent: Intent) -> None:
        """Makes it durable that a task of a run is about to publish, with all emitted before.

        Raises as `Store.barrier` does, and then the task must not publish. The commit that ends
        the task drops the intent.
        """
        self._flush(lambda connection: _write(connection, intent))

    def pending(self, dag: str | None = None) -> tuple[Intent, ...]:
        """What is being published, in the order of runs: `recover.stranded` tells which is dead."""
        found = self._database.query(
            """SELECT runs.id, intents.at, runs.dag, task, intents.params, publishing
            FROM intents JOIN runs ON runs.seq = intents.run
            WHERE ?1 IS NULL OR runs.dag = ?1 ORDER BY runs.seq, intents.at""",
            (dag,),
        )
        return tuple(
            msgspec.convert(
                {"run": run, "at": at, "dag": of, "task": task, "params": params}
                | json.loads(publishing),
                Intent,
            )
            for run, at, of, task, params, publishing in found
        )

    def end(self, run_id: str, task: str, done: bool = False) -> None:
        """Drops the intent of a dead run, durably, once it has been finished, or cannot be."""
        with self._database.transaction() as connection:
            end(connection, [(run_id, task, done)])

    def is_outrun(self, run_id: str, task: str) -> bool:
        """Whether another run of the same DAG has been at a task since a run was about to publish
        what it had made, or still is."""
        found = self._database.query(
            """SELECT 1 FROM intents JOIN runs ON runs.seq = intents.run
            WHERE runs.id = ?1 AND task = ?2 AND outrun
            UNION ALL SELECT 1 FROM attempts JOIN runs ON runs.seq = attempts.run
            WHERE runs.dag = (SELECT dag FROM runs WHERE id = ?1) AND runs.id <> ?1
                AND attempts.task = ?2 AND attempts.state = 'running' LIMIT 1""",
            (run_id, task),
        )
        return bool(found)

    def makings(self, dag: str, task: str | None = None, besides: str = "") -> tuple[Making, ...]:
        """What the tasks of a DAG, or one of them, are known to have made.

        What is being published at this moment counts too, but for what run `besides` publishes.
        """
        test, given = ("", (dag,)) if task is None else (" AND task = ?", (dag, task))
        with self._database.snapshot():
            kept = self._database.query(
                f"SELECT task, params, places FROM makings WHERE dag = ?{test}", given
            )
            pending = self._database.query(
                f"""SELECT task, intents.params, publishing
                FROM intents JOIN runs ON runs.seq = intents.run
                WHERE dag = ?{test} AND runs.id <> ?""",
                (*given, besides),
            )
        return tuple(
            Making(task=of, params=params, places=_places(packed))
            for of, params, packed in (*kept, *pending)
        )

    def forget(self, dag: str, task: str, params: str) -> None:
        """Forgets what a task is known to have published: it has been removed."""
        with self._database.transaction() as connection:
            _drop(connection, dag, task, unbroken(params))


def _places(packed: str | bytes) -> dict[str, str]:
    """The digests by place, from what an intent said, or from a record of before there were
    makings."""
    if isinstance(packed, str):
        return dict(json.loads(packed)["places"])
    if packed.startswith(b"{"):
        made = msgspec.convert(json.loads(packed), _Recorded)
    else:
        made = _decode(packed)
    return {place: mark.digest for place, mark in made.products.items()}


# ------------------------------------------------------------- within the caller's transaction


def _write(connection: sqlite3.Connection, intent: Intent) -> None:
    # The standard library's: it has escapes for file names that are not UTF-8.
    facts = {"project": intent.project, "places": intent.places, "targets": intent.targets}
    params = unbroken(intent.params)
    connection.execute(_INSERT, (intent.run, intent.task, intent.at, json.dumps(facts), params))


def outrun(connection: sqlite3.Connection, tasks: Iterable[tuple[str, str]]) -> None:
    """Notes that a run (run id, task) has been at what another is publishing at this moment."""
    if connection.execute("SELECT 1 FROM intents LIMIT 1").fetchone():
        connection.executemany(_OUTRUN_BY, tasks)


def end(connection: sqlite3.Connection, ended: Sequence[tuple[str, str, bool]]) -> None:
    """Turns the intents of tasks (run id, task, whether it ended well) into makings."""
    if not ended:
        return
    pending = {(row[0], row[2]): row[1:] for row in connection.execute(_PENDING)}
    for run, task, well in ended:
        if (run, task) not in pending:
            continue
        dag, _, params, was_outrun, number = pending.pop((run, task))
        others = [row for row in pending.values() if row[:3] == (dag, task, params)]
        whole = well and not was_outrun and not others
        connection.execute(_KEEP, (dag, "" if whole else run, number, task))
        if whole:
            of_task = (dag, task, params)
            connection.execute(f"DELETE FROM makings WHERE {_OF_TASK} AND run <> ''", of_task)
        connection.executemany(_OUTRUN, [(row[4], task) for row in others])
    connection.executemany(_DELETE, [(run, task) for run, task, _ in ended])


def vouch(connection: sqlite3.Connection, record: TaskRecord) -> None:
    """What a record that a person vouches for says was made is what the task has made."""
    params = unbroken(record.params)
    _drop(connection, record.dag, record.task, params)
    places = {place: mark.digest for place, mark in record.fingerprint.products.items()}
    connection.execute(
        "INSERT INTO makings (dag, task, params, run, places) VALUES (?, ?, ?, '', ?)",
        (record.dag, record.task, params, json.dumps({"places": places})),
    )


def _drop(connection: sqlite3.Connection, dag: str, task: str, params: str) -> None:
    connection.execute(f"DELETE FROM makings WHERE {_OF_TASK}", (dag, task, params))
