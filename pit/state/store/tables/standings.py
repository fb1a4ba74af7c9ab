"""How each task of a DAG stands, as the store tells it: see standing_table.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from pit.model import Record, TaskState
from pit.state.store.database import Database


class StandingRow(Record, frozen=True):
    """How one task stands; see above."""

    task: str
    run: str
    seq: int
    state: TaskState | None
    reason: str | None
    error: str
    why: str
    attempts: int
    started_at: float | None
    ended_at: float | None
    seconds: float | None
    made_by: str
    made_at: float | None
    done_seq: int
    done_at: float | None
    left_seq: int
    left_run: str
    left_state: TaskState | None
    left_reason: str | None
    left_error: str


COLUMNS = ", ".join(f"standings.{name}" for name in StandingRow.__struct_fields__)


def rows(found: Iterable[Sequence[Any]]) -> tuple[StandingRow, ...]:
    """Rows of `COLUMNS` as records."""
    names = StandingRow.__struct_fields__
    dicts = [dict(zip(names, row, strict=True)) for row in found]
    return tuple(msgspec.convert(dicts, list[StandingRow]))


def standings(database: Database, dag: str) -> tuple[StandingRow, ...]:
    """How each task stands that a DAG has or had, by name."""
    found = database.query(f"SELECT {COLUMNS} FROM standings WHERE dag = ? ORDER BY task", (dag,))
    return rows(found)


class LastMade(Record, frozen=True):
    """The last success of a task, or of one of its instances, that reached the project."""

    task: str
    run: str
    at: float | None


def made(database: Database, dag: str, task: str) -> LastMade | None:
    """The last success of a task, of all instances if it has a matrix; None if there is none."""
    found = database.query(
        """SELECT task, made_by, made_at FROM standings
            WHERE dag = ?1 AND task = ?2 AND made_by <> ''
        UNION ALL SELECT task, made_by, made_at FROM standings
            WHERE dag = ?1 AND task >= ?2 || ':' AND task < ?2 || ';' AND made_by <> ''
        ORDER BY made_at DESC LIMIT 1""",
        (dag, task),
    )
    return next((LastMade(task=name, run=run, at=at) for name, run, at in found), None)
