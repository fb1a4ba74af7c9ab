"""A run told in events, for tests of the store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from pit.events import AttemptEnded, AttemptStarted, Event, RunEnded, RunStarted, TaskEnded
from pit.model import Output, Reason, Record, RunState, TaskState
from pit.order import Outcome

Row = TypeVar("Row", bound=Record)

EPOCH = 1_770_000_000.0


def run_id(number: int, dag: str = "sales") -> str:
    """A well-formed id; ids sort like their numbers."""
    return f"20260201_{number // 1000:06d}.{number % 1000:03d}_{dag}"


def row(kind: type[Row], **facts: object) -> Row:
    """A row of the store of which these facts alone matter; the others are None."""
    return kind(**(dict.fromkeys(kind.__struct_fields__) | facts))


def started(run: str, dag: str = "sales", at: float = EPOCH, **given: object) -> RunStarted:
    """The beginning of a run with two tasks, extract and load."""
    fields: dict[str, object] = {
        "run_dir": f"/workspace/runs/{run}",
        "project": f"/workspace/projects/{dag}",
        "tasks": ("extract", "load"),
        "params": {},
        **given,
    }
    return RunStarted(run=run, dag=dag, at=at, **fields)  # type: ignore[arg-type]


def attempted(
    run: str, task: str, attempt: int = 1, at: float = EPOCH, reason: Reason | None = None
) -> Iterator[Event]:
    """One attempt of two seconds; `reason` None is success."""
    yield AttemptStarted(run=run, at=at, task=task, attempt=attempt, attempts=3)
    outcome = Outcome(
        started_at=at,
        ended_at=at + 2,
        seconds=2.0,
        reason=reason,
        error="" if reason is None else "exit code 3",
        exit_code=0 if reason is None else 3,
        cpu_seconds=0.5,
        peak_memory=1 << 20,
    )
    yield AttemptEnded(run=run, at=at + 2, task=task, attempt=attempt, outcome=outcome)


def task_ended(
    run: str,
    task: str,
    state: TaskState = TaskState.SUCCESS,
    reason: Reason | None = None,
    at: float = EPOCH + 2,
) -> TaskEnded:
    """The end of a task after one attempt of two seconds."""
    return TaskEnded(
        run=run, at=at, task=task, state=state, reason=reason, attempts=1, started_at=at - 2,
        seconds=2.0,
    )  # fmt: skip


def ended(
    run: str,
    state: RunState = RunState.SUCCESS,
    at: float = EPOCH + 5,
    seconds: float = 5.0,
    stub: bool = False,
    outputs: tuple[Output, ...] = (),
    reason: Reason | None = None,
) -> RunEnded:
    """The end of a run."""
    return RunEnded(
        run=run, at=at, state=state, seconds=seconds, stub=stub, outputs=outputs, reason=reason
    )


def whole(run: str, dag: str = "sales", at: float = EPOCH, **end: object) -> Iterator[Event]:
    """A complete run whose two tasks succeed, unless `end` says otherwise of the run."""
    yield started(run, dag, at)
    for task in ("extract", "load"):
        yield from attempted(run, task, at=at)
        yield task_ended(run, task, at=at + 2)
    yield ended(run, at=at + 5, **end)  # type: ignore[arg-type]
