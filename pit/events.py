"""What a run tells: events, which sinks (store, console, log) receive in order."""

from __future__ import annotations

from typing import Any

import msgspec

from pit.model import Output, Reason, Record, RunState, TaskRecord, TaskState, Verdict
from pit.order import Outcome


class Event(Record, tag_field="event", tag=str.lower):
    """Something that happened in a run; sinks (store, console, log) receive them in order."""

    run: str
    at: float


class RunStarted(Event, tag="run_started"):
    """A run exists: its folder is made and its lock is held, nothing else has happened yet.

    `whole` says that it is about every task of its DAG, `stub` that it has SQL which it will not
    execute, as there is no secrets file.
    """

    dag: str
    run_dir: str
    project: str
    tasks: tuple[str, ...]
    params: dict[str, str]
    selection: str | None = None
    whole: bool = True
    trigger: str = "manual"
    parent: str | None = None
    retry_of: str | None = None
    pid: int = 0
    pid_started: float = 0.0
    boot_id: str = ""
    concurrency: int = 1
    pit_version: str = ""
    stub: bool = False


class SetupStep(Event, tag="setup_step"):
    """A step of the run itself, for people who wait: "snapshot", "environment", "ending"."""

    step: str
    message: str


class Warned(Event, tag="warning"):
    """Something that the user should know and that stops nothing."""

    message: str
    hint: str = ""


class EnvironmentHashed(Event, tag="environment"):
    """What a run executed with: `kind` is pit_toml, uv_lock, pyproject or environment.

    With the kind snapshot, `digest` is the id of the run that took the snapshot.
    """

    dag: str
    kind: str
    digest: str


class Waits(Event, tag="waiting"):
    """A task could begin, but for another run: `why` says which, and what it has or does."""

    task: str
    why: str


class AttemptStarted(Event, tag="attempt_started"):
    """An attempt holds a slot and is about to start its work.

    `forgets` names the record (its parameters' text) that dies in the same commit.
    """

    task: str
    attempt: int
    attempts: int
    forgets: str | None = None


class TextsKept(Event, tag="texts"):
    """Sources by digest, kept for comparing meaning and showing differences later."""

    texts: dict[str, bytes]


class AttemptEnded(Event, tag="attempt_ended"):
    """An attempt is over; `retry_in` is the delay before the next, None when it was the last."""

    task: str
    attempt: int
    outcome: Outcome
    retry_in: float | None = None


class SecretRequested(Event, tag="secret_requested"):
    """An attempt asked for a secret, `count` times; repeats are counted, not listed."""

    dag: str
    task: str
    attempt: int
    key: str
    verdict: Verdict
    count: int = 1


class ValueSet(Event, tag="value_set"):
    """An attempt set a small fact for others; `value` is JSON text, the last one stands.

    With `attempt`, it stands only as long as that is the task's last one; 0 says that it always
    does.
    """

    task: str
    name: str
    value: str
    attempt: int = 0


class Progressed(Event, tag="progress"):
    """How far an attempt says that it is: `done` of `total`, in units of its own.

    Not every one that a task tells is told on: the last of each tenth of a second is.
    """

    task: str
    done: float
    total: float | None = None
    message: str = ""


class Logged(Event, tag="log"):
    """An attempt tells an event, as a line of its log and for programs; `level` is lower case."""

    task: str
    level: str
    message: str
    fields: dict[str, Any] = msgspec.field(default_factory=dict)


class TaskEnded(Event, tag="task_ended"):
    """A task reached its final state; `barrier` returns only when that is durable.

    `why` is why it ran, or since when it is current. A skipped task hands on the products of run
    `made_by`, which saves `saved` seconds. A tracked task that succeeded brings its `record`.
    """

    task: str
    state: TaskState
    reason: Reason | None = None
    error: str = ""
    attempts: int = 0
    started_at: float | None = None
    seconds: float = 0.0
    why: str = ""
    made_by: str = ""
    saved: float = 0.0
    record: TaskRecord | None = None


class FoundCurrent(Event, tag="found_current"):
    """A run of some tasks had nothing to do: these were looked at and are current."""

    tasks: tuple[str, ...]


class Learned(Event, tag="learned"):
    """What `pit run --learn` saw of a task of pit.toml.

    `inputs` and `targets` are the whole lists that it should have, None where they are complete;
    `unread` are inputs that it never opened. `by` is what watched: "strace", "python" (which sees
    only what Python itself opens), or nothing.
    """

    task: str
    by: str = ""
    inputs: tuple[str, ...] | None = None
    targets: tuple[str, ...] | None = None
    unread: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


class RunEnded(Event, tag="run_ended"):
    """A run is over and its processes are gone.

    `complete_at` is since when each task of the DAG has been known to be done, where a run of some
    of them has seen to that; a success of a whole run always has.
    """

    state: RunState
    reason: Reason | None = None
    error: str = ""
    seconds: float = 0.0
    stub: bool = False
    outputs: tuple[Output, ...] = ()
    complete_at: float | None = None
