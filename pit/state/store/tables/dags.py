"""The DAGs of a store at a glance: their last runs, how each task stands, whose they are.

Every question is answered through an index: a million runs make no difference. How tasks stand is
written by `standing_table.py`.

Two workspaces may keep their history in one database. What is current is known by the names of DAGs
and tasks, so that each name is one workspace's at a time: the last that ran it, by its real path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from pit.model import Record, RunState, TaskState
from pit.state.store.database import Database
from pit.state.store.tables.rows import columns, rows
from pit.state.store.tables.runs import RECENT, RunRow, Runs


class StandingRow(Record, frozen=True):
    """How one task stands: see `standing_table.py`."""

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


class LastMade(Record, frozen=True):
    """The last success of a task, or of one of its instances, that reached the project."""

    task: str
    run: str
    at: float | None


class OutputRow(Record, frozen=True):
    """One output as the last success of its whole DAG declared it; `run` is the last such success
    in which any task did some work."""

    dag: str
    run: str
    made_at: float | None
    name: str
    type: str
    location: str
    task: str
    extra: dict[str, Any]


class Finished(Record, frozen=True):
    """How a run ended, in brief."""

    state: RunState
    seconds: float


class DagSummary(Record, frozen=True):
    """One DAG at a glance: its last run; the last `whole` one; and the last `complete` one, after
    which nothing was left undone. `recent` are the last whole runs that ended, without stubs,
    oldest first. `failing` are the tasks whose last attempt did not succeed, or is under way.
    """

    dag: str
    last: RunRow
    recent: tuple[Finished, ...]
    whole: RunRow | None = None
    complete: RunRow | None = None
    failing: tuple[StandingRow, ...] = ()

    @property
    def success_rate(self) -> float | None:
        """The share of successes among the recent runs, 0 to 1; None if there are none."""
        if not self.recent:
            return None
        return sum(run.state is RunState.SUCCESS for run in self.recent) / len(self.recent)


# SELECT DISTINCT would read the whole index; this jumps from name to name.
_DAGS = """
    WITH RECURSIVE dags(dag) AS (
        SELECT min(dag) FROM runs
        UNION ALL
        SELECT (SELECT min(dag) FROM runs WHERE dag > dags.dag) FROM dags WHERE dag IS NOT NULL)"""
_MADE = "whole = 1 AND state = 'success' AND stub = 0 AND reason IS NOT 'current'"
_STANDING = columns(StandingRow, "standings")
_OWNER = "SELECT workspace FROM owners WHERE dag = ?"
_TAKE = "INSERT OR REPLACE INTO owners (dag, workspace) VALUES (?, ?)"


class Dags:
    """The part of a store that knows its DAGs."""

    def __init__(self, database: Database, runs: Runs) -> None:
        self._database = database
        self._runs = runs

    def names(self) -> tuple[str, ...]:
        """Every DAG that has a run, by name."""
        found = self._database.query(f"{_DAGS} SELECT dag FROM dags WHERE dag IS NOT NULL")
        return tuple(name for (name,) in found)

    def summaries(self) -> tuple[DagSummary, ...]:
        """Every DAG that has a run, at a glance, by name."""
        found = self._database.query(
            f"""{_DAGS}
            SELECT (SELECT json_group_array(json_object('state', state, 'seconds', seconds)) FROM (
                    SELECT state, coalesce(seconds, 0.0) AS seconds
                    FROM runs INDEXED BY runs_finished
                    WHERE dag = dags.dag AND whole = 1 AND stub = 0 AND state <> 'running'
                    ORDER BY seq DESC LIMIT {RECENT})),
                {columns(RunRow, "runs")}
            FROM dags JOIN runs ON runs.seq = (SELECT max(seq) FROM runs WHERE dag = dags.dag)
            ORDER BY dags.dag"""
        )
        lasts = rows(RunRow, (row[1:] for row in found))
        return tuple(
            DagSummary(
                dag=last.dag,
                last=last,
                recent=_oldest_first(row[0]),
                whole=last if last.whole else self._runs.last_whole(last.dag),
                complete=last if last.complete_at else self._runs.last_complete(last.dag),
                failing=() if last.complete_at else self._failing(last.dag),
            )
            for last, row in zip(lasts, found, strict=True)
        )

    def _failing(self, dag: str) -> tuple[StandingRow, ...]:
        """The tasks whose last attempt did not succeed, since the DAG was last complete; those that
        its last run did not have any more are forgotten."""
        found = self._database.query(
            f"""SELECT {_STANDING}
            FROM standings INDEXED BY standings_unsuccessful
            JOIN tasks ON tasks.task = standings.task AND tasks.run = (
                SELECT max(seq) FROM runs INDEXED BY runs_worked
                WHERE dag = ?1 AND reason IS NOT 'current')
            WHERE standings.dag = ?1 AND standings.state <> 'success'
                AND standings.done_seq <= standings.seq AND standings.seq > coalesce((
                SELECT max(seq) FROM runs INDEXED BY runs_complete
                WHERE dag = ?1 AND complete_at IS NOT NULL), 0)
            ORDER BY tasks.position""",
            (dag,),
        )
        return rows(StandingRow, found)

    def outputs(self) -> tuple[OutputRow, ...]:
        """What the last success of each whole DAG declared to make, by DAG and in the order of
        pit.toml."""
        found = self._database.query(
            f"""{_DAGS}
            SELECT dags.dag, made.id, made.ended_at, name, type, location, outputs.task, extra
            FROM dags
            JOIN outputs ON outputs.run = (
                SELECT max(seq) FROM runs INDEXED BY runs_made WHERE dag = dags.dag AND {_MADE})
            JOIN runs AS made ON made.seq = coalesce((
                SELECT seq FROM (
                    SELECT seq FROM runs INDEXED BY runs_made WHERE dag = dags.dag AND {_MADE}
                    ORDER BY seq DESC LIMIT 1000)
                WHERE EXISTS (SELECT 1 FROM tasks WHERE run = seq AND attempts > 0)
                ORDER BY seq DESC LIMIT 1), outputs.run)
            ORDER BY dags.dag, outputs.position"""
        )
        return rows(OutputRow, found)

    def standings(self, dag: str) -> tuple[StandingRow, ...]:
        """How each task stands that a DAG has or had, by its own last attempt, by name."""
        found = self._database.query(
            f"SELECT {_STANDING} FROM standings WHERE dag = ? ORDER BY task", (dag,)
        )
        return rows(StandingRow, found)

    def last_made(self, dag: str, task: str) -> LastMade | None:
        """The last success of a task, or of one of its instances, that reached the project."""
        found = self._database.query(
            """SELECT task, made_by, made_at FROM standings
                WHERE dag = ?1 AND task = ?2 AND made_by <> ''
            UNION ALL SELECT task, made_by, made_at FROM standings
                WHERE dag = ?1 AND task >= ?2 || ':' AND task < ?2 || ';' AND made_by <> ''
            ORDER BY made_at DESC LIMIT 1""",
            (dag, task),
        )
        return next(iter(rows(LastMade, found)), None)

    def owner(self, dag: str) -> str:
        """The real path of the workspace that a DAG belongs to; empty if it is nobody's yet."""
        found = self._database.query(_OWNER, (dag,))
        return str(found[0][0]) if found else ""

    def take(self, dag: str, workspace: str, is_free: Callable[[str], bool]) -> str:
        """Makes a DAG that of a workspace, durably, if `is_free` says so of the one that has it.

        Returns whose it is then. Of two who ask at once, one is the second.
        """
        if self.owner(dag) == workspace:
            return workspace
        with self._database.transaction() as connection:
            found = connection.execute(_OWNER, (dag,)).fetchone()
            if found is not None and not is_free(str(found[0])):
                return str(found[0])
            connection.execute(_TAKE, (dag, workspace))
        return workspace


def _oldest_first(recent: str) -> tuple[Finished, ...]:
    return tuple(reversed(msgspec.json.decode(recent, type=list[Finished])))
