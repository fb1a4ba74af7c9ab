"""Makings: what the tasks of a DAG are known to have published, whatever became of their records.

A record dies when an attempt starts; what its task had made stands in the project all the same, and
only who knows that can tell it from a stranger's file. So an intent, once its task has ended,
becomes a making: that of a success takes the place of all before it. Where a publication was cut
short, or two runs published at once, nobody knows which files stand, and each keeps a making of its
own until a later success is alone. Tasks that are not tracked have makings too.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

import msgspec

from pit.model import FileMark, Record, TaskRecord
from pit.state.store.database import Database

_PENDING = """
    SELECT runs.id, dag, task, intents.params, outrun, intents.run
    FROM intents JOIN runs ON runs.seq = intents.run"""
_KEEP = """
    INSERT OR REPLACE INTO makings (dag, task, params, run, places)
    SELECT ?, task, params, ?, publishing FROM intents WHERE run = ? AND task = ?"""
_OUTRUN = "UPDATE intents SET outrun = 1 WHERE run = ? AND task = ?"
_OF_TASK = "dag = ? AND task = ? AND params = ?"


class Making(Record):
    """What a task once published, with some parameters: the digest of each place."""

    task: str
    params: str
    places: dict[str, str]


class _Recorded(Record):
    """The part of a fingerprint that says what was made."""

    products: dict[str, FileMark] = msgspec.field(default_factory=dict)


_decode = msgspec.msgpack.Decoder(_Recorded).decode


# ---------------------------------------------------------------------------------------- writing


def keep(connection: sqlite3.Connection, ended: Sequence[tuple[str, str, bool]]) -> None:
    """Turns the intents of tasks (run id, task, whether it ended well) into makings."""
    if not ended:
        return
    pending = {(row[0], row[2]): row[1:] for row in connection.execute(_PENDING)}
    for run, task, well in ended:
        if (run, task) not in pending:
            continue
        dag, _, params, outrun, number = pending.pop((run, task))
        others = [row for row in pending.values() if row[:3] == (dag, task, params)]
        whole = well and not outrun and not others
        connection.execute(_KEEP, (dag, "" if whole else run, number, task))
        if whole:
            of_task = (dag, task, params)
            connection.execute(f"DELETE FROM makings WHERE {_OF_TASK} AND run <> ''", of_task)
        connection.executemany(_OUTRUN, [(row[4], task) for row in others])


def vouch(connection: sqlite3.Connection, record: TaskRecord, params: str) -> None:
    """What a record that a person vouches for says was made is what the task has made."""
    drop(connection, record.dag, record.task, params)
    places = {place: mark.digest for place, mark in record.fingerprint.products.items()}
    connection.execute(
        "INSERT INTO makings (dag, task, params, run, places) VALUES (?, ?, ?, '', ?)",
        (record.dag, record.task, params, json.dumps({"places": places})),
    )


def drop(connection: sqlite3.Connection, dag: str, task: str, params: str) -> None:
    """Forgets what a task is known to have made."""
    connection.execute(f"DELETE FROM makings WHERE {_OF_TASK}", (dag, task, params))


# ---------------------------------------------------------------------------------------- reading


def makings(
    database: Database, dag: str, task: str | None = None, besides: str = ""
) -> tuple[Making, ...]:
    """What the tasks of a DAG, or one of them, are known to have made.

    What is being published at this moment counts too, but for what run `besides` publishes.
    """
    test, given = ("", (dag,)) if task is None else (" AND task = ?", (dag, task))
    with database.snapshot():
        kept = database.query(
            f"SELECT task, params, places FROM makings WHERE dag = ?{test}", given
        )
        pending = database.query(
            f"""SELECT task, intents.params, publishing
            FROM intents JOIN runs ON runs.seq = intents.run
            WHERE dag = ?{test} AND runs.id <> ?""",
            (*given, besides),
        )
    return tuple(
        Making(task=of, params=params, places=_places(packed))
        for of, params, packed in (*kept, *pending)
    )


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
