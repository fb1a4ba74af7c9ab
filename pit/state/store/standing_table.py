"""How each task of a DAG stands: its own last attempt, whatever runs of other tasks came since.

A run of some tasks says nothing of the others, and a run may be forgotten before the task is tried
again. So this is kept by DAG and task, written in the commits that write the run's own rows:

run, seq, state …   the last attempt, by when it started; `state` is NULL if there never was one
made_by, made_at    the last success that reached the project, of another run where the last
                    attempt failed
done_seq, done_at   the last run that knew it to be done: it succeeded there, or was found current
left_…              what became of it in a later run that was to do it and did not come to it

`seq` is a run's number in the history, 0 for none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pit.model import Reason, TaskState
from pit.state.store.text import bounded

if TYPE_CHECKING:
    from pit.events import AttemptStarted, FoundCurrent, TaskEnded

TABLES = (
    """CREATE TABLE standings (
        dag TEXT NOT NULL,
        task TEXT NOT NULL,
        run TEXT NOT NULL DEFAULT '',
        seq INTEGER NOT NULL DEFAULT 0,
        state TEXT,
        reason TEXT,
        error TEXT NOT NULL DEFAULT '',
        why TEXT NOT NULL DEFAULT '',
        attempts INTEGER NOT NULL DEFAULT 0,
        started_at REAL,
        ended_at REAL,
        seconds REAL,
        made_by TEXT NOT NULL DEFAULT '',
        made_at REAL,
        done_seq INTEGER NOT NULL DEFAULT 0,
        done_at REAL,
        left_seq INTEGER NOT NULL DEFAULT 0,
        left_run TEXT NOT NULL DEFAULT '',
        left_state TEXT,
        left_reason TEXT,
        left_error TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (dag, task)
    ) WITHOUT ROWID""",
    "CREATE INDEX standings_unsuccessful ON standings (dag) WHERE state <> 'success'",
)


# ----------------------------------------------------------------------------------- writing

_NOTHING_LEFT = (
    "left_seq = 0, left_run = '', left_state = NULL, left_reason = NULL, left_error = ''"
)
_STARTED = f"""
    INSERT INTO standings (dag, task, run, seq, state, attempts, started_at)
    SELECT dag, ?2, id, seq, 'running', ?3, ?4 FROM runs WHERE id = ?1
    ON CONFLICT DO UPDATE SET
        started_at = iif(run = excluded.run, started_at, excluded.started_at),
        run = excluded.run, seq = excluded.seq, state = 'running', reason = NULL, error = '',
        why = '', attempts = excluded.attempts, ended_at = NULL, seconds = NULL, {_NOTHING_LEFT}"""
# Where another run has begun with the task since, its attempt is the last one.
_ENDED = f"""
    INSERT INTO standings (
        dag, task, run, seq, state, reason, error, why, attempts, started_at, ended_at, seconds)
    SELECT dag, ?2, id, seq, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 FROM runs WHERE id = ?1
    ON CONFLICT DO UPDATE SET
        run = excluded.run, seq = excluded.seq, state = excluded.state, reason = excluded.reason,
        error = excluded.error, why = excluded.why, attempts = excluded.attempts,
        started_at = excluded.started_at, ended_at = excluded.ended_at, seconds = excluded.seconds,
        {_NOTHING_LEFT}
    WHERE run = excluded.run OR excluded.attempts = 0"""
_MADE = """
    UPDATE standings SET made_by = ?1, made_at = ?3
    WHERE dag = (SELECT dag FROM runs WHERE id = ?1) AND task = ?2"""
_DONE = f"""
    INSERT INTO standings (dag, task, made_by, done_seq, done_at)
    SELECT dag, ?2, ?4, seq, ?3 FROM runs WHERE id = ?1
    ON CONFLICT DO UPDATE SET
        made_by = iif(made_by = '', excluded.made_by, made_by),
        done_seq = excluded.done_seq, done_at = excluded.done_at, {_NOTHING_LEFT}
    WHERE excluded.done_seq >= done_seq"""
_LEFT = """
    INSERT INTO standings (dag, task, left_seq, left_run, left_state, left_reason, left_error)
    SELECT dag, ?2, seq, id, ?3, ?4, ?5 FROM runs WHERE id = ?1
    ON CONFLICT DO UPDATE SET
        left_seq = excluded.left_seq, left_run = excluded.left_run,
        left_state = excluded.left_state, left_reason = excluded.left_reason,
        left_error = excluded.left_error"""


def started(connection: sqlite3.Connection, events: Iterable[AttemptStarted]) -> None:
    """Attempts have begun."""
    connection.executemany(_STARTED, [(e.run, e.task, e.attempt, e.at) for e in events])


def ended(connection: sqlite3.Connection, events: Sequence[TaskEnded]) -> None:
    """Tasks have reached their final states: tried, found current, or not come to.

    A task that could not even begin an attempt, such as for want of an input, was tried as well.
    """
    tried = [e for e in events if e.attempts or e.state is TaskState.FAILED]
    connection.executemany(
        _ENDED,
        [
            (
                e.run, e.task, e.state, e.reason, bounded(e.error), bounded(e.why), e.attempts,
                e.started_at, e.at, e.seconds,
            )
            for e in tried
        ],
    )  # fmt: skip
    good = [e for e in tried if e.state is TaskState.SUCCESS]
    made = [(e.run, e.task, e.at) for e in good if e.reason is not Reason.SUPERSEDED]
    connection.executemany(_MADE, made)
    current = [e for e in events if not e.attempts and e.reason is Reason.CURRENT]
    done = [*((e, "") for e in good), *((e, e.made_by) for e in current)]
    connection.executemany(_DONE, [(e.run, e.task, e.at, made_by) for e, made_by in done])
    left = [e for e in events if _is_left(e)]
    connection.executemany(
        _LEFT, [(e.run, e.task, e.state, e.reason, bounded(e.error)) for e in left]
    )


def _is_left(event: TaskEnded) -> bool:
    """Whether a run was to do a task and did not come to it."""
    return not (
        event.attempts
        or event.made_by
        or event.state in (TaskState.SUCCESS, TaskState.FAILED)
        or event.reason is Reason.SINGLE_TASK
    )


def found_current(connection: sqlite3.Connection, events: Iterable[FoundCurrent]) -> None:
    """A run of some tasks had nothing to do."""
    done = [(e.run, task, e.at, "") for e in events for task in e.tasks]
    connection.executemany(_DONE, done)


INTERRUPT = (
    """UPDATE standings SET state = 'failed', reason = 'interrupted', ended_at = :at
        WHERE dag = (SELECT dag FROM runs WHERE seq = :seq) AND seq = :seq AND state = 'running'""",
    # Of a run of some tasks nobody knows which of those that wait it was to do.
    """INSERT INTO standings (dag, task, left_seq, left_run, left_state, left_reason)
        SELECT dag, task, seq, id, 'skipped', 'interrupted'
        FROM runs JOIN tasks ON tasks.run = runs.seq
        WHERE runs.seq = :seq AND runs.whole = 1 AND tasks.state = 'pending'
        ON CONFLICT DO UPDATE SET
            left_seq = excluded.left_seq, left_run = excluded.left_run,
            left_state = excluded.left_state, left_reason = excluded.left_reason,
            left_error = ''""",
)
"""What becomes of the tasks of a run whose holder died, before its own rows say so."""


# ------------------------------------------------------------------------ an earlier layout

_WHOLE = (
    """UPDATE runs SET whole = 0 WHERE selection IS NOT NULL
        OR EXISTS (SELECT 1 FROM tasks WHERE run = seq AND reason = 'single_task')""",
    # The predecessor kept the tasks alone that a run had started, and no selection.
    """UPDATE runs SET whole = 0 WHERE pit_version = 'go'
        AND (SELECT count(*) FROM tasks WHERE run = seq) = 1
        AND dag IN (SELECT dag FROM runs AS other JOIN tasks ON tasks.run = other.seq
            WHERE other.pit_version = 'go' GROUP BY other.seq HAVING count(*) > 1)""",
    """UPDATE runs SET complete_at = ended_at
        WHERE whole = 1 AND state = 'success' AND stub = 0""",
)
_TRIED = """
    INSERT OR REPLACE INTO standings (
        dag, task, run, seq, state, reason, error, why, attempts, started_at, ended_at, seconds)
    SELECT runs.dag, task, id, seq, tasks.state, tasks.reason, tasks.error, why, attempts,
        tasks.started_at, tasks.ended_at, tasks.seconds
    FROM (SELECT seq, id, dag FROM runs WHERE dag = ? ORDER BY seq DESC LIMIT 1000) AS runs
    JOIN tasks ON tasks.run = runs.seq
    WHERE attempts > 0 OR tasks.state = 'failed' ORDER BY seq"""
_SUCCEEDED = """
    INSERT INTO standings (dag, task, made_by, made_at, done_seq, done_at)
    SELECT runs.dag, task, id, coalesce(tasks.ended_at, runs.ended_at), seq,
        coalesce(tasks.ended_at, runs.ended_at)
    FROM (SELECT seq, id, dag, ended_at FROM runs WHERE dag = ? ORDER BY seq DESC LIMIT 1000)
        AS runs JOIN tasks ON tasks.run = runs.seq
    WHERE tasks.state = 'success' ORDER BY seq
    ON CONFLICT DO UPDATE SET made_by = excluded.made_by, made_at = excluded.made_at,
        done_seq = excluded.done_seq, done_at = excluded.done_at"""


def fill(connection: sqlite3.Connection) -> None:
    """What the runs of an earlier layout tell of whole runs, and the last ones of each task."""
    for statement in _WHOLE:
        connection.execute(statement)
    for (dag,) in connection.execute("SELECT DISTINCT dag FROM runs").fetchall():
        connection.execute(_TRIED, (dag,))
        connection.execute(_SUCCEEDED, (dag,))
