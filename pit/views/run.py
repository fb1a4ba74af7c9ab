"""One run as there is to see of it: folded from its events as they come, or read from the store.

Both ways lead to the same: after every fact that is kept, the fold is what the rows say. So what
watches a run from another process sees what its own terminal shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from pit.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    Progressed,
    RunEnded,
    RunStarted,
    TaskEnded,
    Waits,
    Warned,
)
from pit.model import Reason, RunState, TaskState
from pit.state.store.recording import WAITING, attempt_state, retry_at
from pit.state.store.store import Store
from pit.state.store.tables.runs import AttemptRow, ProgressRow, RunRow, TaskRow, WarningRow
from pit.state.store.text import bounded


class Wait(NamedTuple):
    """A task that waits for another run: since when, and for what."""

    task: str
    since: float
    why: str


class Active(NamedTuple):
    """What goes on in a run: the attempts under way, the tasks that wait for another run, and the
    attempts after which there will be another one; each from the first to the last."""

    running: list[AttemptRow]
    waiting: list[Wait]
    retrying: list[AttemptRow]


class RunView(msgspec.Struct, kw_only=True):
    """A run, its tasks in the order of pit.toml, their attempts in order, what it warned of.

    There is no `run` before it has started; its `seq` is the affair of the store, and 0 here.
    Whether it still lives, its lock alone can tell.
    """

    run: RunRow | None = None
    tasks: dict[str, TaskRow] = {}
    attempts: dict[str, list[AttemptRow]] = {}
    progress: dict[str, ProgressRow] = {}
    warnings: list[WarningRow] = []

    @classmethod
    def of(cls, store: Store, run_id: str) -> RunView:
        """The run of this id, by its rows; UnknownRun if there is none."""
        with store.one_state():
            run = store.runs.find(run_id)
            attempts: dict[str, list[AttemptRow]] = {}
            for each in sorted(store.runs.attempts(run.id), key=lambda row: row.attempt):
                attempts.setdefault(each.task, []).append(each)
            return cls(
                run=replace(run, seq=0),
                tasks={each.task: each for each in store.runs.tasks(run.id)},
                attempts=attempts,
                progress={each.task: each for each in store.runs.progress(run.id)},
                warnings=list(store.runs.warnings(run.id)),
            )

    # ------------------------------------------------------------------ questions

    def attempt(self, task: str) -> AttemptRow | None:
        """The last attempt of a task."""
        attempts = self.attempts.get(task)
        return attempts[-1] if attempts else None

    def how_far(self, task: str) -> ProgressRow | None:
        """How far the last attempt of a task said that it was."""
        found, last = self.progress.get(task), self.attempt(task)
        return found if found and last and found.attempt == last.attempt else None

    def active(self, among: Iterable[str] | None = None) -> Active:
        """What goes on at this moment; `among` are the only tasks that can be meant, if known."""
        running: list[AttemptRow] = []
        waiting: list[Wait] = []
        retrying: list[AttemptRow] = []
        for row in map(self.tasks.__getitem__, list(self.tasks if among is None else among)):
            if row.waits_since is not None:
                why = row.why.removeprefix(WAITING)
                waiting.append(Wait(row.task, row.waits_since, why))
            elif row.state is TaskState.RUNNING and (last := self.attempt(row.task)) is not None:
                if last.state is TaskState.RUNNING:
                    running.append(last)
                elif last.retry_at is not None:
                    retrying.append(last)
        running.sort(key=lambda attempt: attempt.started_at)
        waiting.sort(key=lambda wait: wait.since)
        retrying.sort(key=lambda attempt: attempt.ended_at or 0.0)
        return Active(running, waiting, retrying)

    # ------------------------------------------------------------------ events

    def apply(self, event: Event) -> None:
        """Take in what the run tells; of signals, and of facts about other things, nothing."""
        match event:
            case AttemptStarted():
                self._attempt_started(event)
            case AttemptEnded():
                self._attempt_ended(event)
            case TaskEnded():
                self._task_ended(event)
            case Progressed():
                self._progressed(event)
            case Waits():
                self._waits(event)
            case Warned():
                self.warnings.append(_warning(event))
            case RunStarted():
                self.run = _begun(event)
                self.tasks = {row.task: row for row in _pending(event)}
            case RunEnded():
                self._run_ended(event)

    def _waits(self, event: Waits) -> None:
        row = self.tasks[event.task]
        since = event.at if row.waits_since is None else row.waits_since
        self.tasks[event.task] = replace(row, why=bounded(WAITING + event.why), waits_since=since)

    def _attempt_started(self, event: AttemptStarted) -> None:
        row = self.tasks[event.task]
        self.tasks[event.task] = replace(
            row,
            state=TaskState.RUNNING,
            attempts=event.attempt,
            started_at=event.at if row.started_at is None else row.started_at,
            why="",
            waits_since=None,
        )
        attempts = self.attempts.setdefault(event.task, [])
        if attempts and attempts[-1].attempt == event.attempt:
            attempts.pop()  # it was lost
        attempts.append(_attempt(event))

    def _attempt_ended(self, event: AttemptEnded) -> None:
        attempts, outcome = self.attempts[event.task], event.outcome
        attempts[-1] = replace(
            attempts[-1],
            state=attempt_state(outcome.reason),
            reason=outcome.reason,
            error=bounded(outcome.error),
            started_at=outcome.started_at,
            ended_at=outcome.ended_at,
            seconds=outcome.seconds,
            exit_code=outcome.exit_code,
            signal=outcome.signal,
            cpu_seconds=outcome.cpu_seconds,
            peak_memory=outcome.peak_memory,
            retry_at=retry_at(event),
        )

    def _progressed(self, event: Progressed) -> None:
        self.progress[event.task] = ProgressRow(
            task=event.task,
            attempt=event.attempt,
            at=event.at,
            done=event.done,
            total=event.total,
            message=bounded(event.message),
        )

    def _task_ended(self, event: TaskEnded) -> None:
        row = self.tasks[event.task]
        self.tasks[event.task] = TaskRow(
            task=row.task,
            position=row.position,
            state=event.state,
            reason=event.reason,
            error=bounded(event.error),
            attempts=event.attempts,
            started_at=row.started_at if event.started_at is None else event.started_at,
            ended_at=event.at,
            seconds=event.seconds,
            why=bounded(event.why),
            made_by=event.made_by,
            saved=event.saved,
        )

    def _run_ended(self, event: RunEnded) -> None:
        if self.run is None:
            return
        self.run = replace(
            self.run,
            state=event.state,
            reason=event.reason,
            error=bounded(event.error),
            ended_at=event.at,
            seconds=event.seconds,
            stub=event.stub,
            complete_at=_complete_at(self.run, event),
        )
        cut = attempt_state(Reason.CANCELLED)
        for attempts in self.attempts.values():
            last = attempts[-1]
            if last.state is TaskState.RUNNING:
                attempts[-1] = replace(last, state=cut, reason=Reason.CANCELLED, ended_at=event.at)


def _begun(event: RunStarted) -> RunRow:
    return RunRow(
        seq=0,
        id=event.run,
        dag=event.dag,
        state=RunState.RUNNING,
        reason=None,
        error="",
        started_at=event.at,
        ended_at=None,
        seconds=None,
        run_dir=bounded(event.run_dir),
        project=bounded(event.project),
        selection=None if event.selection is None else bounded(event.selection),
        trigger=bounded(event.trigger),
        parent=event.parent,
        retry_of=event.retry_of,
        params={bounded(name): bounded(value) for name, value in event.params.items()},
        stub=False,
        concurrency=event.concurrency,
        pid=event.pid,
        pid_started=event.pid_started,
        boot_id=event.boot_id,
        pit_version=event.pit_version,
        whole=event.whole,
        complete_at=None,
    )


def _pending(event: RunStarted) -> Iterator[TaskRow]:
    for position, task in enumerate(event.tasks):
        yield TaskRow(task=bounded(task), position=position, state=TaskState.PENDING)


def _attempt(event: AttemptStarted) -> AttemptRow:
    return AttemptRow(
        task=event.task,
        attempt=event.attempt,
        allowed=event.attempts,
        state=TaskState.RUNNING,
        started_at=event.at,
    )


def _warning(event: Warned) -> WarningRow:
    return WarningRow(
        at=event.at, task=event.task, message=bounded(event.message), hint=bounded(event.hint)
    )


def _complete_at(run: RunRow, event: RunEnded) -> float | None:
    if event.state is not RunState.SUCCESS or event.stub:
        return None
    return event.at if run.whole else event.complete_at
