"""What the ends of its tasks make of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pit.events import TaskEnded
from pit.model import Reason, Record, RunState, TaskState

_NAMED = 5
"""How many failed tasks the run's error names."""


class Tally(Record):
    """How the tasks of a run ended, and what that makes of the run."""

    state: RunState
    reason: Reason | None
    error: str
    counts: dict[TaskState, int]
    stub: bool


def tally(ended: Sequence[TaskEnded], stopping: Reason | None) -> Tally:
    """The sum of all final states; `stopping` is why the run was stopped, if it was."""
    state, reason, error = _run_state(ended, stopping)
    return Tally(
        state=state,
        reason=reason,
        error=error,
        counts=dict(Counter(task.state for task in ended)),
        stub=any(task.reason is Reason.NO_SECRETS for task in ended),
    )


def _run_state(
    ended: Sequence[TaskEnded], stopping: Reason | None
) -> tuple[RunState, Reason | None, str]:
    unfinished = [task for task in ended if task.state is not TaskState.SUCCESS]
    if stopping is not None and any(task.reason is stopping for task in unfinished):
        if stopping is Reason.TIMEOUT:
            return RunState.FAILED, Reason.TIMEOUT, "the run exceeded dag.timeout"
        return RunState.CANCELLED, stopping, ""
    failed = [task for task in ended if task.state is TaskState.FAILED]
    if not failed:
        return RunState.SUCCESS, None, ""
    full = [task for task in failed if task.reason is Reason.DISK_FULL]
    first = (full or failed)[0]
    more = " …" if len(failed) > _NAMED else ""
    names = ", ".join(task.task for task in failed[:_NAMED]) + more
    return RunState.FAILED, first.reason if full else None, f"failed: {names}"
