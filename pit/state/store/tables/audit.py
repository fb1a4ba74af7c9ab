"""Who asked for which secret, and who changed the secrets file: names and times, never a value.

Requests go with the history of their run, changes stay.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from pit.events import SecretRequested
from pit.model import Record, Verdict
from pit.state.store.database import Database
from pit.state.store.text import unbroken

_REQUEST = """
    INSERT INTO secret_requests (run, task, attempt, "key", verdict, at, last_at, count)
    VALUES ((SELECT seq FROM runs WHERE id = ?1), ?2, ?3, ?4, ?5, ?6, ?6, ?7)
    ON CONFLICT DO UPDATE SET count = count + excluded.count, last_at = excluded.last_at"""
_CHANGE = """
    INSERT INTO secret_changes (at, who, what, scope, name, file, note)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""

_LONGEST_KEY = 500


class RequestRow(Record, frozen=True):
    """A secret that an attempt asked for: first at `at`, `count` times, last at `last_at`."""

    run: str
    dag: str
    task: str
    attempt: int
    key: str
    verdict: Verdict
    at: float
    last_at: float
    count: int


class SecretChange(Record, frozen=True):
    """What a person did to the secrets: `who` is the user of the operating system.

    `what` is created, updated, deleted, read, edited, encrypted, decrypted, rotated, key_made,
    recipient_added or recipient_removed. `scope` is a DAG, global, or nothing for the whole file.
    """

    at: float
    who: str
    what: str
    scope: str = ""
    name: str = ""
    file: str = ""
    note: str = ""


class Audit:
    """The part of a store that knows who has done what with secrets."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def requests(
        self,
        *,
        run: str | None = None,
        dag: str | None = None,
        task: str | None = None,
        key: str | None = None,
        since: float | None = None,
        limit: int | None = 50,
    ) -> tuple[RequestRow, ...]:
        """Who asked for which secret, the latest first; `limit` None means all."""
        given = {
            "runs.id = ?": run,
            "runs.dag = ?": dag,
            "asked.task = ?": task,
            'asked."key" = ?': key,
            "asked.last_at >= ?": since,
        }
        where, values = _where(given)
        found = self._database.query(
            f"""SELECT runs.id, dag, task, attempt, "key", verdict, at, last_at, count
            FROM secret_requests AS asked JOIN runs ON runs.seq = asked.run {where}
            ORDER BY at DESC LIMIT ?""",
            (*values, -1 if limit is None else limit),
        )
        return tuple(
            RequestRow(
                run=run_id,
                dag=of,
                task=by,
                attempt=attempt,
                key=name,
                verdict=Verdict(verdict),
                at=at,
                last_at=last_at,
                count=count,
            )
            for run_id, of, by, attempt, name, verdict, at, last_at, count in found
        )

    def changes(
        self,
        *,
        scope: str | None = None,
        name: str | None = None,
        since: float | None = None,
        limit: int | None = 50,
    ) -> tuple[SecretChange, ...]:
        """What people did to secrets, the latest first; `limit` None means all."""
        where, values = _where({"scope = ?": scope, "name = ?": name, "at >= ?": since})
        found = self._database.query(
            f"""SELECT at, who, what, scope, name, file, note FROM secret_changes {where}
            ORDER BY seq DESC LIMIT ?""",
            (*values, -1 if limit is None else limit),
        )
        return tuple(
            SecretChange(at=at, who=who, what=what, scope=of, name=entry, file=file, note=note)
            for at, who, what, of, entry, file, note in found
        )

    def add_changes(self, changes: Sequence[SecretChange]) -> None:
        """Keeps what a person did to a secrets file, durably."""
        rows = [
            (c.at, unbroken(c.who), c.what, *map(unbroken, (c.scope, c.name, c.file, c.note)))
            for c in changes
        ]
        with self._database.transaction() as connection:
            connection.executemany(_CHANGE, rows)


def _where(given: Mapping[str, object]) -> tuple[str, tuple[object, ...]]:
    wanted = {test: value for test, value in given.items() if value is not None}
    return (f"WHERE {' AND '.join(wanted)}" if wanted else "", tuple(wanted.values()))


def write_requests(connection: sqlite3.Connection, events: Sequence[SecretRequested]) -> None:
    """Keeps requests, within the caller's transaction."""
    rows = [(e.run, e.task, e.attempt, _key(e.key), e.verdict.value, e.at, e.count) for e in events]
    connection.executemany(_REQUEST, rows)


def _key(key: str) -> str:
    # Whoever asks chooses the text.
    return unbroken(key if len(key) <= _LONGEST_KEY else f"{key[: _LONGEST_KEY - 2]} …")
