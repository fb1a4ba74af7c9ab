"""Why a task has no record: it never succeeded, failed the last time, or somebody dropped it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pit.config.dag.params import earlier_key
from pit.engine.planning.causes import Cause
from pit.model import Reason, Task

if TYPE_CHECKING:
    from pit.state.store.store import Store
    from pit.state.store.tables.runs import AttemptRow, TaskRow

_RUNS = 50
_OTHERS = 5

_LEFT_NONE: Mapping[str, str] = {
    Reason.INPUT_CHANGED: "an input changed while it ran, so its success was not recorded",
    Reason.WARNED: "it came with a warning, so its success was not recorded",
    Reason.SUPERSEDED: "a newer run had recorded it meanwhile",
    Reason.INTERRUPTED: "Pit was killed while it ran",
    Reason.CANCELLED: "the run was cancelled while it ran",
}


def reasons(task: Task, dag: str, params: str, store: Store) -> tuple[Cause, ...]:
    """What became of the record of a task with parameters of this text, the first thing first."""
    told = [
        cause
        for cause in (_forgotten(task, dag, store), _last_attempt(task, dag, params, store))
        if cause is not None
    ]
    latest = max(told, key=lambda cause: cause.at or 0.0, default=None)
    if latest is None:
        never = "it has never run with these parameters" if params else "it has never run"
        latest = Cause(task=task.name, kind="never", sentence=never)
    others = _others(task, dag, params, store)
    return (latest, others) if others else (latest,)


def _forgotten(task: Task, dag: str, store: Store) -> Cause | None:
    note = next(iter(store.records.notes(dag, task.name, 1)), None)
    if note is None or note.what != "forgotten":
        return None
    said = f": {note.note}" if note.note else ""
    return Cause(
        task=task.name, kind="forgotten", sentence=f"its record was dropped{said}", at=note.at
    )


def _last_attempt(task: Task, dag: str, params: str, store: Store) -> Cause | None:
    for run in store.runs.latest(dag, _RUNS):
        if earlier_key(task, run.params) != params:
            continue
        attempts = store.runs.attempts(run.id, task.name)
        if attempts:
            return _became(task, run.id, attempts[-1], store)
    return None


def _became(task: Task, run: str, last: AttemptRow, store: Store) -> Cause:
    row = next((row for row in store.runs.tasks(run) if row.task == task.name), None)
    then = [row.why] if row is not None and row.why else []
    return Cause(
        task=task.name,
        kind="last_time",
        sentence=_outcome(row, last),
        run=run,
        at=last.started_at,
        causes=tuple(
            Cause(task=task.name, kind="ran", sentence=f"it ran because {why}") for why in then
        ),
    )


def _outcome(row: TaskRow | None, last: AttemptRow) -> str:
    reason = (row.reason if row is not None else None) or last.reason
    if reason is not None and reason in _LEFT_NONE:
        return f"the last time, {_LEFT_NONE[reason]}"
    if last.state == "running":
        return "it is running now"
    if last.state == "success":
        return "it succeeded, but left no record: it was not tracked then"
    error = last.error.strip().partition("\n")[0]
    return f"it failed the last time: {error or reason}"


def _others(task: Task, dag: str, params: str, store: Store) -> Cause | None:
    found = [r for r in store.records.of_dag(dag) if r.task == task.name and r.params != params]
    if not found:
        return None
    latest = sorted(found, key=lambda record: (record.snapshot, record.at), reverse=True)
    names = "; ".join(parameters(record.params) for record in latest[:_OTHERS])
    more = f"; and {len(found) - _OTHERS} more" if len(found) > _OTHERS else ""
    return Cause(
        task=task.name,
        kind="other_parameters",
        sentence=f"on record are {names}{more}",
        at=latest[0].at,
    )


def parameters(text: str) -> str:
    """The text of parameter values as people write them: `date=2026-01-31 region=eu`."""
    if not text:
        return "no parameters"
    return " ".join(f"{name}={value}" for name, value in json.loads(text).items())
