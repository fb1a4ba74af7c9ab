"""The small facts that the tasks of a run set for those after them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from pit.events import ValueSet
from pit.model import Record
from pit.state.store.database import Database
from pit.state.store.text import unbroken

_VALUE = """
    INSERT OR REPLACE INTO task_values (run, task, name, attempt, value, at)
    VALUES ((SELECT seq FROM runs WHERE id = ?), ?, ?, ?, ?, ?)"""


class ValueRow(Record, frozen=True):
    """A small fact that a task set in a run; `value` is JSON text."""

    task: str
    name: str
    value: str
    at: float


class Values:
    """The part of a store that knows the values which tasks have set."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_run(self, run_id: str, task: str | None = None) -> tuple[ValueRow, ...]:
        """The small facts of a run, or of one of its tasks, by task in the order of pit.toml."""
        found = self._database.query(
            """SELECT task, name, value, at FROM task_values AS fact JOIN tasks USING (run, task)
            WHERE run = (SELECT seq FROM runs WHERE id = ?1) AND (?2 IS NULL OR task = ?2)
                AND fact.attempt IN (0, tasks.attempts)
            ORDER BY tasks.position, name""",
            (run_id, task),
        )
        return tuple(
            ValueRow(task=by, name=name, value=value, at=at) for by, name, value, at in found
        )

    def handed(self, run_id: str, name: str, left_out: Mapping[str, str]) -> dict[str, str]:
        """The values of a name, by task, that skipped tasks of a run hand on from earlier ones.

        `left_out` names the runs that did the work of tasks which this run leaves out.
        """
        found = self._database.query(
            """SELECT handed.task, fact.value
            FROM tasks AS handed JOIN runs AS maker ON maker.id = handed.made_by
                JOIN task_values AS fact ON fact.run = maker.seq AND fact.task = handed.task
                JOIN tasks AS made ON made.run = maker.seq AND made.task = handed.task
            WHERE handed.run = (SELECT seq FROM runs WHERE id = ?) AND handed.made_by <> ''
                AND fact.name = ? AND fact.attempt IN (0, made.attempts)""",
            (run_id, name),
        )
        handed: dict[str, str] = dict(found)
        for task, maker in left_out.items():
            if task not in handed:
                rows = self.of_run(maker, task)
                handed.update((task, row.value) for row in rows if row.name == name)
        return handed


def write_values(connection: sqlite3.Connection, events: Sequence[ValueSet]) -> None:
    """Keeps small facts whole, the later in place of the earlier, within the transaction."""
    rows = [(e.run, e.task, unbroken(e.name), e.attempt, unbroken(e.value), e.at) for e in events]
    connection.executemany(_VALUE, rows)
