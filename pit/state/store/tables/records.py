"""Records: what each tracked task's last success read and made, and what else that takes.

A fingerprint is msgpack, keyed by the names of its parts, so that a later Pit reads an earlier
one's. Where its `sources` are many, they are kept apart, once for all the tasks that have the
same: ten thousand instances of one script share one set of files, which is read once. Texts of
sources are kept by digest, compressed. Notes are the lines that people left: accepted, forgotten.
"""

from __future__ import annotations

import json
import sqlite3
import time
import zlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from pit.model import Fingerprint, Record, TaskRecord
from pit.state.store.database import Database
from pit.state.store.tables import publications
from pit.state.store.text import unbroken

ACCEPTED = "accepted"
FORGOTTEN = "forgotten"

# How much older a text's time may be than the run that kept it last: see `keep_texts`.
_SLACK = 86400.0
_CHUNK = 500
# Fewer are not worth a row of their own.
_MANY_SOURCES = 8

Value = TypeVar("Value")

_COLUMNS = """dag, task, params, run, at, seconds, note, snapshot, fingerprint, sources"""
_INSERT = f"""
    INSERT OR REPLACE INTO records ({_COLUMNS}, version, saves)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_SOURCES = "INSERT OR IGNORE INTO sources (digest, files) VALUES (?, ?)"
_DIES = """
    DELETE FROM records
    WHERE dag = (SELECT dag FROM runs WHERE id = ?) AND task = ? AND params = ?"""
_UNUSED_SOURCES = """
    DELETE FROM sources
    WHERE digest NOT IN (SELECT sources FROM records WHERE sources IS NOT NULL)"""
_TEXT = """
    INSERT INTO texts (digest, at, text) VALUES (?, ?, ?)
    ON CONFLICT (digest) DO UPDATE SET at = excluded.at"""
_NOTE = "INSERT INTO notes (at, dag, task, what, note) VALUES (?, ?, ?, ?, ?)"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Fingerprint).decode
_decode_sources = msgspec.msgpack.Decoder(dict[str, str]).decode


class NoteRow(Record, frozen=True):
    """A line in the history of a task: `what` was done to its record, and why."""

    at: float
    dag: str
    task: str
    what: str
    note: str


class Records:
    """The part of a store that knows what each tracked task's last success read and made."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_task(self, dag: str, task: str, params: str) -> TaskRecord | None:
        """The record of a task for these values of its parameters ("" for none)."""
        key = (dag, task, unbroken(params))
        where = "dag = ? AND task = ? AND params = ?"
        return next(iter(self._found(where, key)), None)

    def of_dag(self, dag: str, params: Collection[str] | None = None) -> tuple[TaskRecord, ...]:
        """The records of a DAG, by task; only those for some texts of parameters if given."""
        if params is None:
            return tuple(self._found("dag = ?", (dag,)))
        where = f"dag = ? AND params IN ({_marks(params)})"
        return tuple(self._found(where, (dag, *map(unbroken, params))))

    def of_dags(self, dags: Iterable[str]) -> tuple[TaskRecord, ...]:
        """The records of several DAGs, by DAG and task."""
        return tuple(record for dag in sorted(set(dags)) for record in self.of_dag(dag))

    def of_tasks(self, dag: str, wanted: Mapping[str, str]) -> dict[str, TaskRecord]:
        """The records of several tasks of a DAG; `wanted` has the text of each one's parameters."""
        found: dict[str, TaskRecord] = {}
        for tasks in _chunks(wanted):
            keys = [(task, unbroken(wanted[task])) for task in tasks]
            values = ", ".join(["(?, ?)"] * len(keys))
            where = f"dag = ? AND (task, params) IN (VALUES {values})"
            given = (dag, *(text for key in keys for text in key))
            found |= {each.task: each for each in self._found(where, given)}
        return found

    def _found(self, where: str, given: Collection[str]) -> list[TaskRecord]:
        # In one snapshot: a sweep in between must not take sources away under our hands.
        with self._database.snapshot():
            rows = self._database.query(
                f"SELECT {_COLUMNS} FROM records WHERE {where}", tuple(given)
            )
            wanted = {row[-1] for row in rows if row[-1] is not None}
            sets = self._sets(wanted)
        return [_task_record(row, sets) for row in rows]

    def _sets(self, wanted: Collection[bytes]) -> dict[bytes, dict[str, str]]:
        sets: dict[bytes, dict[str, str]] = {}
        for digests in _chunks(wanted):
            found = self._database.query(
                f"SELECT digest, files FROM sources WHERE digest IN ({_marks(digests)})", digests
            )
            sets |= {digest: _unpacked_sources(files) for digest, files in found}
        return sets

    def tasks(self, dag: str) -> frozenset[str]:
        """The tasks of a DAG that have records."""
        found = self._database.query("SELECT DISTINCT task FROM records WHERE dag = ?", (dag,))
        return frozenset(task for (task,) in found)

    def outdated(self, dag: str, version: int) -> tuple[tuple[str, str], ...]:
        """Task and parameters of the records of a DAG whose fingerprints are of another version."""
        where = "dag = ? AND version <> ?"
        found = self._database.query(
            f"SELECT task, params FROM records WHERE {where}", (dag, version)
        )
        return tuple((task, params) for task, params in found)

    def mark(self, dag: str) -> tuple[int, int]:
        """Numbers that grow with every run of a DAG that did more than look, and every note."""
        run = self._database.query(
            "SELECT max(seq) FROM runs WHERE dag = ? AND coalesce(reason, '') <> 'current'", (dag,)
        )
        note = self._database.query("SELECT max(seq) FROM notes")
        return (run[0][0] or 0, note[0][0] or 0)

    def text(self, digest: str) -> bytes | None:
        """A source by its digest, if a record or a recent run kept it."""
        found = self._database.query("SELECT text FROM texts WHERE digest = ?", (digest,))
        return zlib.decompress(found[0][0]) if found else None

    def pointed_at(self, dag: str) -> dict[str, bool]:
        """The runs that records of a DAG name, and whether products lie in their data folders."""
        found = self._database.query(
            "SELECT run, max(saves) FROM records WHERE dag = ? GROUP BY run", (dag,)
        )
        return {run: bool(saves) for run, saves in found}

    def notes(
        self, dag: str | None = None, task: str | None = None, limit: int = 50
    ) -> tuple[NoteRow, ...]:
        """What was noted, of one DAG or task if given, the latest first."""
        found = self._database.query(
            """SELECT at, dag, task, what, note FROM notes
            WHERE (?1 IS NULL OR dag = ?1) AND (?2 IS NULL OR task = ?2)
            ORDER BY seq DESC LIMIT ?3""",
            (dag, task, limit),
        )
        return tuple(
            NoteRow(at=at, dag=dag, task=task, what=what, note=note)
            for at, dag, task, what, note in found
        )

    def renew(self, renewed: Iterable[TaskRecord]) -> int:
        """Keeps today's form of records, durably, where they still are those of the same run.

        Returns how many were; none of a task that has started since.
        """
        with self._database.transaction() as connection:
            return renew(connection, renewed)

    def accept(self, record: TaskRecord, note: str = "") -> None:
        """Keeps a record that a person vouches for, durably, with a line in the history."""
        noted = msgspec.structs.replace(record, note=note)
        with self._database.transaction() as connection:
            write(connection, (noted,))
            publications.vouch(connection, record)
            _write_note(connection, record.dag, record.task, ACCEPTED, note)

    def forget(self, dag: str, task: str, params: str | None = None, note: str = "") -> int:
        """Drops a task's record, or those for all its parameters, with a line in the history.

        Returns how many went.
        """
        test, given = ("", ()) if params is None else (" AND params = ?", (unbroken(params),))
        with self._database.transaction() as connection:
            gone = connection.execute(
                f"DELETE FROM records WHERE dag = ? AND task = ?{test}", (dag, task, *given)
            ).rowcount
            if gone:
                _write_note(connection, dag, task, FORGOTTEN, note)
        return gone

    def sweep(self) -> int:
        """Drops the sources and texts that no record needs, nor a run under way; how many texts."""
        with self._database.transaction() as connection:
            connection.execute(_UNUSED_SOURCES)
            oldest = connection.execute(
                "SELECT min(started_at) FROM runs WHERE state = 'running'"
            ).fetchone()[0]
            before = min(time.time(), oldest or time.time()) - _SLACK
            old = connection.execute("SELECT digest FROM texts WHERE at < ?", (before,))
            orphans = {digest for (digest,) in old} - _needed_texts(connection)
            connection.executemany("DELETE FROM texts WHERE digest = ?", [(d,) for d in orphans])
        return len(orphans)


# ------------------------------------------------------------- within the caller's transaction


def write(connection: sqlite3.Connection, records: Iterable[TaskRecord]) -> None:
    """Puts records in the place of those of the same task and parameters."""
    sets: dict[bytes, bytes] = {}
    connection.executemany(_INSERT, [_row(record, sets) for record in records])
    connection.executemany(_SOURCES, sets.items())


def _row(record: TaskRecord, sets: dict[bytes, bytes]) -> tuple[Any, ...]:
    import hashlib  # only those who write

    fingerprint, sources = record.fingerprint, None
    if len(fingerprint.sources) >= _MANY_SOURCES:
        files = _packed(dict(sorted(fingerprint.sources.items())))
        sources = hashlib.blake2b(files, digest_size=16).digest()
        sets[sources] = files
        fingerprint = msgspec.structs.replace(fingerprint, sources={})
    return (
        record.dag,
        record.task,
        unbroken(record.params),
        record.run,
        record.at,
        record.seconds,
        unbroken(record.note),
        record.snapshot,
        _packed(fingerprint),
        sources,
        fingerprint.version,
        int(_saves(record)),
    )


def renew(connection: sqlite3.Connection, records: Iterable[TaskRecord]) -> int:
    """Replaces records that are still those of the same run and time; returns how many."""
    standing = [record for record in records if _stands(connection, record)]
    write(connection, standing)
    return len(standing)


def _stands(connection: sqlite3.Connection, record: TaskRecord) -> bool:
    found = connection.execute(
        "SELECT run, at FROM records WHERE dag = ? AND task = ? AND params = ?",
        (record.dag, record.task, unbroken(record.params)),
    ).fetchone()
    return bool(found == (record.run, record.at))


def _saves(record: TaskRecord) -> bool:
    """Whether any product lies in the data folder of the run that made it."""
    return any(name.startswith("data:") for name in record.fingerprint.handed)


def _packed(value: Any) -> bytes:
    """msgpack; JSON, whose escapes can say it, where a file name is not UTF-8."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(value)).encode("ascii")


def _unpacked(packed: bytes) -> Fingerprint:
    if packed.startswith(b"{"):
        return msgspec.convert(json.loads(packed), Fingerprint)
    return _decode(packed)


def _unpacked_sources(packed: bytes) -> dict[str, str]:
    if packed.startswith(b"{"):
        return msgspec.convert(json.loads(packed), dict[str, str])
    return _decode_sources(packed)


def die(connection: sqlite3.Connection, runs: Iterable[tuple[str, str, str]]) -> None:
    """Deletes the records of tasks that are about to run: run id, task, parameters."""
    connection.executemany(_DIES, [(run, task, unbroken(params)) for run, task, params in runs])


def keep_texts(connection: sqlite3.Connection, texts: Mapping[str, bytes], at: float) -> None:
    """Keeps texts by digest; one that is there already only has its time renewed, at most daily.

    The time protects it from `sweep` until the run that kept it has written its records.
    """
    fresh: set[str] = set()
    for digests in _chunks(texts):
        found = connection.execute(
            f"SELECT digest FROM texts WHERE digest IN ({_marks(digests)}) AND at > ?",
            (*digests, at - _SLACK),
        )
        fresh.update(digest for (digest,) in found)
    rows = ((d, at, zlib.compress(text, 1)) for d, text in texts.items() if d not in fresh)
    connection.executemany(_TEXT, rows)


def _chunks(values: Iterable[Value]) -> Iterable[list[Value]]:
    listed = list(values)
    return (listed[start : start + _CHUNK] for start in range(0, len(listed), _CHUNK))


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))


def _write_note(connection: sqlite3.Connection, dag: str, task: str, what: str, note: str) -> None:
    connection.execute(_NOTE, (time.time(), dag, task, what, unbroken(note)))


def _needed_texts(connection: sqlite3.Connection) -> set[str]:
    needed: set[str] = set()
    for (files,) in connection.execute("SELECT files FROM sources"):
        needed.update(_unpacked_sources(files).values())
    for (packed,) in connection.execute("SELECT fingerprint FROM records"):
        fingerprint = _unpacked(packed)
        needed.update(fingerprint.sources.values(), (fingerprint.packages,))
    return needed


def _task_record(row: tuple[Any, ...], sets: dict[bytes, dict[str, str]]) -> TaskRecord:
    dag, task, params, run, at, seconds, note, snapshot, packed, sources = row
    fingerprint = _unpacked(packed)
    if sources is not None:
        # Fresh, so nobody else's yet; a copy of it for each record would cost more than reading it.
        msgspec.structs.force_setattr(fingerprint, "sources", sets[sources])
    return TaskRecord(
        dag=dag,
        task=task,
        params=params,
        run=run,
        at=at,
        seconds=seconds,
        note=note,
        snapshot=snapshot,
        fingerprint=fingerprint,
    )
