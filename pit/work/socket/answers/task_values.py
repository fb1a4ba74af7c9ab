"""Small facts: values that tasks set for each other, how far they are, and what they log.

A value goes straight to the store and is durable before a dependent starts. Progress and logged
events go through the run's mailbox, so that every sink hears them from the main thread.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import msgspec

from pit.config.keys.values import NAME
from pit.errors import Refused, nearest
from pit.events import Event, Logged, Progressed, ValueSet
from pit.model import Record
from pit.work.socket.call import Call, Caller, Method

if TYPE_CHECKING:
    from pit.state.store.store import Store

LONGEST_VALUE = 64_000
"""Bytes of JSON that a value may have."""

MOST_VALUES = 1_000
"""Values that one task may set."""

LONGEST_MESSAGE = 2_000
"""Characters of a message of progress that are told on."""

LEVELS = ("debug", "info", "warning", "error")

_INTERVAL = 0.1
_BACKLOG = 1_000


# ---------------------------------------------------------------- the methods


class SetValue(Record, forbid_unknown_fields=True):
    """`value` is any JSON of up to 64 kB."""

    name: str
    value: Any


class GetValue(Record, forbid_unknown_fields=True):
    """Of one `task`, or of any that the caller depends on; `default` where nobody set it."""

    name: str
    task: str = ""
    default: Any = msgspec.UNSET


class Saved(Record, forbid_unknown_fields=True):
    """A `file` of the data folder."""

    file: str


class Progress(Record, forbid_unknown_fields=True):
    """How far the task is, in units of its own."""

    done: float
    total: float | None = None
    message: str = ""


class Log(Record, forbid_unknown_fields=True):
    """An event: a line in the task's log, and an object in `pit run --json`."""

    message: str
    level: str = "info"
    fields: dict[str, Any] = msgspec.field(default_factory=dict)


def set_value(call: Call, asked: SetValue) -> str:
    """Keep a value for the tasks downstream."""
    if not NAME.fullmatch(asked.name):
        raise Refused(
            f'"{asked.name}" is not a valid name for a value', f"A name matches {NAME.pattern}"
        )
    text = msgspec.json.encode(asked.value)
    if len(text) > LONGEST_VALUE:
        raise Refused(
            f'value "{asked.name}" has {len(text):,} bytes of JSON, more than {LONGEST_VALUE:,}',
            "Larger things are files: write them to the data folder (write_output)",
        )
    if call.reveals(asked.name) or call.reveals(text.decode()):
        raise Refused(
            f'value "{asked.name}" holds a secret, which a value must not',
            "Hand on the secret's name; the other task asks for it with get_secret",
        )
    call.facts.set_value(call.caller, asked.name, text.decode())
    return ""


def get_value(call: Call, asked: GetValue) -> str:
    """The value as JSON text, so that 42 and "42" stay apart."""
    found = call.facts.value(call.caller, asked.name, asked.task)
    if found is not None:
        return found
    if asked.default is not msgspec.UNSET:
        return msgspec.json.encode(asked.default).decode()
    who = f'task "{asked.task}"' if asked.task else f'no task that "{call.caller.task}" depends on'
    raise Refused(
        f'{who} has {"not " if asked.task else ""}set a value "{asked.name}"',
        "It is set with set_value, before the task that reads it; or give a default",
    )


def saved(call: Call, asked: Saved) -> str:
    """Count a file of the data folder among what the task hands on, also when it is skipped."""
    path = call.path(asked.file, exists=True)
    if call.reveals(asked.file):
        raise Refused(
            "the file's name holds a secret, and it would stand in the history", "Rename the file"
        )
    if not path.is_file():
        raise Refused(f'"{asked.file}" is not a file', "Name each file of a folder")
    call.facts.saved(call.caller, path)
    return ""


def progress(call: Call, asked: Progress) -> str:
    """Show how far the task is."""
    if not all(map(math.isfinite, (asked.done, asked.total or 0.0))):
        raise Refused("progress is reported in finite numbers", "progress(done, total, message)")
    call.facts.progress(call.caller, asked.done, asked.total, asked.message[:LONGEST_MESSAGE])
    return ""


def log(call: Call, asked: Log) -> str:
    """Log an event."""
    level = _LEVEL.get(asked.level.lower())
    if level is None:
        raise Refused(f'there is no level "{asked.level}"', f"Levels: {', '.join(LEVELS)}")
    call.log(line(level, asked.message, asked.fields))
    call.facts.logged(call.caller, level, asked.message, asked.fields)
    return ""


_LEVEL = {level: level for level in LEVELS} | {"warn": "warning", "critical": "error"}


def line(level: str, message: str, fields: dict[str, Any]) -> str:
    """A logged event as a line of the task's log: `[info] two files late  count=2`."""
    return f"[{level}] {told(message, fields)}"


def told(message: str, fields: dict[str, Any]) -> str:
    """A message with its fields: `two files late  count=2`."""
    named = " ".join(f"{name}={_shown(value)}" for name, value in fields.items())
    return f"{message}  {named}" if named else message


def _shown(value: Any) -> str:
    if isinstance(value, str) and value.isprintable() and value and " " not in value:
        return value
    return msgspec.json.encode(value).decode()


METHODS: dict[str, Method] = {
    "set_value": Method(params=SetValue, serve=set_value, doc="Keep a small fact for other tasks."),
    "get_value": Method(params=GetValue, serve=get_value, doc="A small fact, as JSON text."),
    "saved": Method(params=Saved, serve=saved, doc="Say that a file is for other tasks."),
    "progress": Method(
        params=Progress, serve=progress, doc="Report how far the task is.", quick=True
    ),
    "log": Method(params=Log, serve=log, doc="Log an event with fields."),
}


# ---------------------------------------------------------------- the facts of a run


class RunFacts:
    """The facts of one run; any thread may call anything.

    `emit` passes an event to the store, `mailbox` leads to the main thread. `tasks` are those of
    the DAG, `above` gives those that a task depends on, directly or through others; `left_out` the
    runs that last did the work of the tasks which this run leaves out.
    """

    def __init__(
        self,
        run: str,
        *,
        emit: Callable[[Event], None],
        mailbox: SimpleQueue[Any],
        store: Store,
        tasks: Collection[str],
        above: Callable[[str], Collection[str]],
        left_out: Mapping[str, str] | None = None,
    ) -> None:
        self._run, self._emit, self._mailbox, self._store = run, emit, mailbox, store
        self._tasks, self._above = tasks, above
        self._left_out = {} if left_out is None else left_out  # filled as the run finds out
        self._lock = threading.Lock()
        self._values: dict[str, tuple[int, dict[str, str]]] = {}
        self._files: dict[str, tuple[int, set[str]]] = {}
        self._held: dict[str, Progressed] = {}
        self._something = threading.Event()
        self._closed = threading.Event()
        self._teller: threading.Thread | None = None

    # ------------------------------------------------------------------ values

    def set_value(self, caller: Caller, name: str, value: str) -> None:
        """Keep a JSON text under a name of the caller's task; the last one stands."""
        with self._lock:
            values = self._of(caller)
            if name not in values and len(values) >= MOST_VALUES:
                raise Refused(
                    f'task "{caller.task}" has set {MOST_VALUES:,} values already',
                    "Many facts are one value, or a file in the data folder",
                )
            values[name] = value
            self._emit(
                ValueSet(
                    run=self._run,
                    at=time.time(),
                    task=caller.task,
                    name=name,
                    value=value,
                    attempt=caller.attempt,
                )
            )

    def _of(self, caller: Caller) -> dict[str, str]:
        """The values of the caller's attempt; those of an earlier attempt are forgotten."""
        attempt, values = self._values.get(caller.task, (0, {}))
        if attempt != caller.attempt:
            values = {}
            self._values[caller.task] = (caller.attempt, values)
        return values

    def values(self, task: str) -> dict[str, str]:
        """What the last attempt of a task has set in this run, as JSON texts."""
        with self._lock:
            return dict(self._values.get(task, (0, {}))[1])

    def saved(self, caller: Caller, path: Path) -> None:
        """Note that the caller has written a file of the data folder for others."""
        place = os.path.relpath(path, os.path.realpath(caller.data))
        with self._lock:
            attempt, files = self._files.get(caller.task, (0, set()))
            if attempt != caller.attempt:
                files = set()
                self._files[caller.task] = (caller.attempt, files)
            files.add(place)

    def files(self, task: str) -> frozenset[str]:
        """The files that the last attempt of a task has saved, relative to the data folder."""
        with self._lock:
            return frozenset(self._files.get(task, (0, set()))[1])

    def value(self, caller: Caller, name: str, task: str) -> str | None:
        """The JSON text that a task has set, "" for any that the caller's depends on; or None."""
        if task:
            self._check(task)
            return self._found(name, (task,)).get(task)
        own = self.values(caller.task).get(name)
        if own is not None:
            return own
        found = self._found(name, self._above(caller.task))
        if len(found) > 1:
            raise Refused(
                f'several tasks have set a value "{name}": {", ".join(sorted(found))}',
                "Say which is meant: task=…",
            )
        return next(iter(found.values()), None)

    def _check(self, task: str) -> None:
        if task in self._tasks:
            return
        instances = [name for name in self._tasks if name.startswith(f"{task}:")]
        near = instances[0] if instances else nearest(task, self._tasks)
        hint = f'Did you mean "{near}"?' if near else ""
        raise Refused(f'there is no task "{task}" in this run', hint)

    def _found(self, name: str, tasks: Collection[str]) -> dict[str, str]:
        """The values of a name, set in this run or handed on by what it skipped, by task."""
        with self._lock:
            here = {
                task: self._values[task][1][name]
                for task in tasks
                if task in self._values and name in self._values[task][1]
            }
        if tasks and len(here) == len(tasks):
            return here
        left_out = {task: run for task, run in self._left_out.items() if task in tasks}
        handed = self._store.values.handed(self._run, name, left_out)
        return {task: text for task, text in handed.items() if task in tasks} | here

    # ------------------------------------------------------------------ progress and events

    def progress(self, caller: Caller, done: float, total: float | None, message: str) -> None:
        """Tell how far the caller is: ten times a second, the last one of each tenth."""
        event = Progressed(
            run=self._run,
            at=time.time(),
            task=caller.task,
            done=done,
            total=total,
            message=message,
        )
        with self._lock:
            self._held[caller.task] = event
            if self._teller is None:
                self._teller = threading.Thread(target=self._tell, name="facts", daemon=True)
                self._teller.start()
        self._something.set()

    def _tell(self) -> None:
        while not self._closed.is_set():
            self._something.wait()
            self._something.clear()
            with self._lock:
                held, self._held = self._held, {}
                for event in held.values():
                    self._mailbox.put(event)
            self._closed.wait(_INTERVAL)

    def settle(self, task: str) -> None:
        """Tell what is still held back of a task, before its attempt ends."""
        with self._lock:
            event = self._held.pop(task, None)
            if event is not None:
                self._mailbox.put(event)

    def logged(self, caller: Caller, level: str, message: str, fields: dict[str, Any]) -> None:
        """Tell an event; one who tells faster than it can be shown is made to wait a little."""
        if self._mailbox.qsize() > _BACKLOG:
            self._closed.wait(_INTERVAL)
        self._mailbox.put(
            Logged(
                run=self._run,
                at=time.time(),
                task=caller.task,
                level=level,
                message=message,
                fields=fields,
            )
        )

    def close(self) -> None:
        """End the thread, if there was anything for it to tell."""
        self._closed.set()
        self._something.set()
        if self._teller is not None:
            self._teller.join()
