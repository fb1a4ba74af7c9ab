"""A DAG compiled: doit tasks for the dispatcher and, beside each, the job that it stands for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from doit.control import TaskControl, TaskDispatcher
from doit.task import Task as DoitTask

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


def doit_tasks(dag: str, jobs: Iterable[Job]) -> list[DoitTask]:
    """One doit task per job, named `<dag>:<task>`; dependencies outside the jobs are left out.

    Jobs must come in topological order: doit walks a reversed chain in quadratic time.
    """
    jobs = list(jobs)
    names = {job.name for job in jobs}
    return [
        DoitTask(
            f"{dag}:{job.name}",
            None,
            task_dep=[f"{dag}:{name}" for name in job.depends_on if name in names],
            meta={"job": job},
        )
        for job in jobs
    ]


def dispatcher(tasks: list[DoitTask]) -> TaskDispatcher:
    """doit's dispatcher over all of `tasks`."""
    control = TaskControl(tasks)
    control.process(None)
    return control.task_dispatcher()


def ordered(jobs: Mapping[str, Job], topological: Iterable[str]) -> list[Job]:
    """The jobs in the order of `topological`, which may name tasks that are not among them."""
    return [jobs[name] for name in topological if name in jobs]
