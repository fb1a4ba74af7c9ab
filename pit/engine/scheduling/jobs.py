"""A DAG as a run schedules it: one job for each task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pit.engine.scheduling.attempt import Policy
from pit.model import Reason, Record, Task


class Refusal(Record):
    """Why a task cannot be attempted at all, known before it starts."""

    reason: Reason
    error: str


class Job(Record):
    """One task of this run, as far as the scheduler must know it.

    `stub` is the SQL script that is shown instead of being executed. A `tracked` task is judged
    before it is attempted. `params` is the text of its parameter values, by which its records are
    kept; an untracked task has it where a record is left of when it was tracked. `done` skips the
    task because an earlier run, which this one continues, has done it.
    """

    name: str
    depends_on: tuple[str, ...]
    policy: Policy
    stub: str | None = None
    tracked: bool = False
    params: str | None = None
    done: str = ""


def policy(task: Task) -> Policy:
    """How often and how patiently pit.toml wants the task tried."""
    return Policy(
        attempts=task.retries + 1,
        delay=task.retry_delay,
        backoff=task.retry_backoff,
        max_delay=task.retry_max_delay,
    )


def ordered(jobs: Mapping[str, Job], topological: Iterable[str]) -> list[Job]:
    """The jobs in the order of `topological`, which may name tasks that are not among them."""
    return [jobs[name] for name in topological if name in jobs]
