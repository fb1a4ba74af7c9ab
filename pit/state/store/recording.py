"""What each event writes: a batch of events becomes a few statements over many rows.

Within a batch the kinds are written one after the other, not event by event, which costs a
fraction. That is sound because a run's events come in this order for each task: the run starts,
the task waits, attempts start, attempts end, the task ends, the run ends. A record dies with the
attempt's start and is written with the task's end, so in this order too; a skipped task may bring
the one that it has in today's form. What is written with a batch (`Writer.flush`) comes after it.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from pit.events import (
    AttemptEnded,
    AttemptStarted,
    EnvironmentHashed,
    Event,
    FoundCurrent,
    RunEnded,
    RunStarted,
    SecretRequested,
    TaskEnded,
    TextsKept,
    ValueSet,
    Waits,
)
from pit.model import Reason, RunState, TaskState
from pit.state.store import standing_table
from pit.state.store.tables import audit, publications, records, values
from pit.state.store.text import bounded

_SEQ = "(SELECT seq FROM runs WHERE id = ?)"

_RUN = """
    INSERT INTO runs (id, dag, state, started_at, run_dir, project, selection, whole, "trigger",
        parent, retry_of, params, concurrency, pid, pid_started, boot_id, pit_version)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_PENDING = f"INSERT INTO tasks (run, task, position, state) VALUES ({_SEQ}, ?, ?, ?)"
_ENVIRONMENT = f"""
    INSERT OR REPLACE INTO environments (run, dag, kind, digest) VALUES ({_SEQ}, ?, ?, ?)"""
_TASK_WAITS = f"UPDATE tasks SET why = ? WHERE run = {_SEQ} AND task = ?"
_TASK_RUNS = f"""
    UPDATE tasks SET state = ?, attempts = ?, started_at = coalesce(started_at, ?), why = ''
    WHERE run = {_SEQ} AND task = ?"""
_ATTEMPT = f"""
    INSERT INTO attempts (run, task, attempt, state, started_at) VALUES ({_SEQ}, ?, ?, ?, ?)"""
_ATTEMPT_ENDED = f"""
    UPDATE attempts SET state = ?, reason = ?, error = ?, started_at = ?, ended_at = ?, seconds = ?,
        exit_code = ?, signal = ?, cpu_seconds = ?, peak_memory = ?
    WHERE run = {_SEQ} AND task = ? AND attempt = ?"""
_TASK_ENDED = f"""
    UPDATE tasks SET state = ?, reason = ?, error = ?, attempts = ?,
        started_at = coalesce(?, started_at), ended_at = ?, seconds = ?,
        why = ?, made_by = ?, saved = ?
    WHERE run = {_SEQ} AND task = ?"""
_RUN_ENDED = """
    UPDATE runs SET state = ?1, reason = ?2, error = ?3, ended_at = ?4, seconds = ?5, stub = ?6,
        complete_at = iif(?1 = 'success' AND ?6 = 0, iif(whole = 1, ?4, ?8), NULL)
    WHERE id = ?7"""
# A run that could not tell the ends of its attempts, for its store or a defect, leaves none open.
_ATTEMPTS_CUT = f"""
    UPDATE attempts SET state = ?, reason = ?, ended_at = ? WHERE run = {_SEQ} AND state = ?"""
_OUTPUT = f"""
    INSERT OR REPLACE INTO outputs (run, position, name, type, location, task, extra)
    VALUES ({_SEQ}, ?, ?, ?, ?, ?, ?)"""

Rows = Sequence[tuple[Any, ...]]


def _optional(value: str | None) -> str | None:
    return None if value is None else bounded(value)


def _json(value: dict[str, Any]) -> str:
    if not value:
        return "{}"
    # Dates and times of TOML become ISO texts.
    builtin = msgspec.to_builtins(value, str_keys=True)
    return msgspec.json.encode(_clean(builtin)).decode()


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return bounded(value)
    if isinstance(value, dict):
        return {bounded(key): _clean(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_clean(each) for each in value]
    return value


def _run_started(connection: sqlite3.Connection, events: Sequence[RunStarted]) -> None:
    connection.executemany(_RUN, [_run_row(event) for event in events])
    pending = (
        (event.run, bounded(task), position, TaskState.PENDING.value)
        for event in events
        for position, task in enumerate(event.tasks)
    )
    connection.executemany(_PENDING, pending)


def _run_row(event: RunStarted) -> tuple[Any, ...]:
    return (
        event.run,
        event.dag,
        RunState.RUNNING.value,
        event.at,
        bounded(event.run_dir),
        bounded(event.project),
        _optional(event.selection),
        int(event.whole),
        bounded(event.trigger),
        event.parent,
        event.retry_of,
        _json(event.params),
        event.concurrency,
        event.pid,
        event.pid_started,
        event.boot_id,
        event.pit_version,
    )


def _environment_hashed(
    connection: sqlite3.Connection, events: Sequence[EnvironmentHashed]
) -> None:
    rows = [(e.run, e.dag, e.kind, e.digest) for e in events]
    connection.executemany(_ENVIRONMENT, rows)


def _waits(connection: sqlite3.Connection, events: Sequence[Waits]) -> None:
    rows = [(bounded(f"waiting: {e.why}"), e.run, e.task) for e in events]
    connection.executemany(_TASK_WAITS, rows)


def _attempt_started(connection: sqlite3.Connection, events: Sequence[AttemptStarted]) -> None:
    running = TaskState.RUNNING.value
    connection.executemany(_TASK_RUNS, [(running, e.attempt, e.at, e.run, e.task) for e in events])
    connection.executemany(_ATTEMPT, [(e.run, e.task, e.attempt, running, e.at) for e in events])
    dying = [(e.run, e.task, e.forgets) for e in events if e.forgets is not None]
    records.die(connection, dying)
    publications.outrun(connection, [(e.run, e.task) for e in events])
    standing_table.started(connection, events)


def _texts_kept(connection: sqlite3.Connection, events: Sequence[TextsKept]) -> None:
    for event in events:
        records.keep_texts(connection, event.texts, event.at)


def _attempt_ended(connection: sqlite3.Connection, events: Sequence[AttemptEnded]) -> None:
    connection.executemany(_ATTEMPT_ENDED, [_attempt_row(event) for event in events])
    publications.outrun(connection, [(e.run, e.task) for e in events])


def _attempt_state(reason: Reason | None) -> TaskState:
    if reason is None:
        return TaskState.SUCCESS
    return TaskState.CANCELLED if reason is Reason.CANCELLED else TaskState.FAILED


def _attempt_row(event: AttemptEnded) -> tuple[Any, ...]:
    outcome = event.outcome
    return (
        _attempt_state(outcome.reason).value,
        outcome.reason,
        bounded(outcome.error),
        outcome.started_at,
        outcome.ended_at,
        outcome.seconds,
        outcome.exit_code,
        outcome.signal,
        outcome.cpu_seconds,
        outcome.peak_memory,
        event.run,
        event.task,
        event.attempt,
    )


def _task_ended(connection: sqlite3.Connection, events: Sequence[TaskEnded]) -> None:
    rows = [
        (
            event.state,
            event.reason,
            bounded(event.error),
            event.attempts,
            event.started_at,
            event.at,
            event.seconds,
            bounded(event.why),
            event.made_by,
            event.saved,
            event.run,
            event.task,
        )
        for event in events
    ]
    connection.executemany(_TASK_ENDED, rows)
    standing_table.ended(connection, events)
    brought = [(e.record, e.state is TaskState.SUCCESS) for e in events if e.record is not None]
    records.write(connection, [record for record, succeeded in brought if succeeded])
    records.renew(connection, [record for record, succeeded in brought if not succeeded])
    # Only what was attempted can have been published.
    succeeded = TaskState.SUCCESS
    publications.end(
        connection, [(e.run, e.task, e.state is succeeded) for e in events if e.attempts]
    )


def _run_ended(connection: sqlite3.Connection, events: Sequence[RunEnded]) -> None:
    rows = [
        (e.state, e.reason, bounded(e.error), e.at, e.seconds, int(e.stub), e.run, e.complete_at)
        for e in events
    ]
    connection.executemany(_RUN_ENDED, rows)
    cut, running = _attempt_state(Reason.CANCELLED).value, TaskState.RUNNING.value
    open_ones = [(cut, Reason.CANCELLED, e.at, e.run, running) for e in events]
    connection.executemany(_ATTEMPTS_CUT, open_ones)
    outputs = (
        (
            e.run,
            place,
            bounded(o.name),
            bounded(o.type),
            bounded(o.location),
            o.task,
            _json(o.extra),
        )
        for e in events
        for place, o in enumerate(e.outputs)
    )
    connection.executemany(_OUTPUT, outputs)


# In the order in which they are written.
_WRITERS: dict[type[Event], Callable[[sqlite3.Connection, Any], None]] = {
    RunStarted: _run_started,
    EnvironmentHashed: _environment_hashed,
    Waits: _waits,
    AttemptStarted: _attempt_started,
    AttemptEnded: _attempt_ended,
    TextsKept: _texts_kept,
    SecretRequested: audit.write_requests,
    ValueSet: values.write_values,
    TaskEnded: _task_ended,
    FoundCurrent: standing_table.found_current,
    RunEnded: _run_ended,
}


def is_recorded(event: Event) -> bool:
    """Whether the store keeps anything of such an event."""
    return type(event) in _WRITERS


def record(connection: sqlite3.Connection, events: Iterable[Event]) -> None:
    """Writes a batch of events within the caller's transaction."""
    kinds: defaultdict[type[Event], list[Event]] = defaultdict(list)
    for event in events:
        kinds[type(event)].append(event)
    for kind, write in _WRITERS.items():
        if kind in kinds:
            write(connection, kinds[kind])
