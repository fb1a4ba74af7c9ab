"""`pit run --learn` in a run: has every attempt watched, and tells at the end what it taught."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from pit.engine.run import lesson
from pit.engine.run.lesson import Lacks, Seen
from pit.engine.run.lifecycle import OpenRun
from pit.engine.staleness import comparison
from pit.engine.staleness.fingerprint import Fingerprints
from pit.events import Learned
from pit.fs.files import remove_tree
from pit.model import Record, Task
from pit.order import Order, Outcome
from pit.project.runners import table
from pit.project.selection import shown
from pit.work import attempts
from pit.work.site import Invocation
from pit.work.trace import strace
from pit.work.trace.watch import Opened, Places, Watcher

if TYPE_CHECKING:
    from pit.project.python.environment import Environment

_SHOWN = 5

_FOLDER = ".learn"
"""Where in a run's folder the records are while it lasts."""


def begun(run: OpenRun, environment: Environment | None, fingerprints: Fingerprints) -> Learning:
    """Begin to learn in a run; warns of what cannot be seen."""
    folder, config = run.dir.root / _FOLDER, run.target.config
    run.held.callback(remove_tree, folder)
    tracer, why = strace.usable(run.capture, run.dir.root, os.environ)
    if why:
        run.warn(f"{why}: only Python tasks are watched, in what Python itself opens")
    prefix = None if environment is None else environment.prefix
    ours = (config.runs_dir, config.cache_dir, config.metadata_db, config.secrets_file, prefix)
    left_out = [path for path in ours if path is not None]
    places = Places(run.dir.project, run.target.dag.project, config.root, left_out)
    return Learning(run, Watcher(folder, tracer), places, fingerprints)


class _Observed(Record):
    """One task: what watched it, what was seen, and what pit.toml lacks of that."""

    by: str
    seen: Seen
    lacks: Lacks


class Learning:
    """What one run learns."""

    def __init__(
        self, run: OpenRun, watcher: Watcher, places: Places, fingerprints: Fingerprints
    ) -> None:
        self._run, self._params = run, run.target.params
        self._tasks = run.target.dag.tasks
        self._watcher, self._places = watcher, places
        self._fingerprints = fingerprints
        self._outcomes: dict[str, Outcome] = {}

    def perform(self, order: Order, tools: attempts.Tools) -> Outcome:
        """Carry out one attempt, watched as far as its kind allows."""
        outcome = attempts.perform(order, replace(tools, watch=self._watched))
        self._outcomes[order.task] = outcome
        return outcome

    def _watched(self, order: Order, program: Invocation) -> Invocation:
        return self._watcher.watched(order, program, table.named(order.runner).is_python)

    # ------------------------------------------------------------------ what was learned

    @cached_property
    def _observed(self) -> dict[str, _Observed]:
        """What was seen of each task that ran and was watched; asked for when all have ended."""
        found = {}
        for name in self._outcomes:
            opened = self._watcher.opened(name)
            if opened is not None:
                seen = self._seen(self._tasks[name], opened)
                lacks = self._lacks(self._tasks[name], seen)
                found[name] = _Observed(by=opened.by, seen=seen, lacks=lacks)
        return found

    def tell(self) -> None:
        """Emit what was learned, when all tasks have ended."""
        for name, places in self._undeclared():
            message = f'task "{name}" read {places}, which its inputs do not name'
            hint = "While they do not, a change there leaves the task current"
            self._run.warn(message, hint, task=name)
        for facts in self._lessons():
            self._run.emit(Learned, **facts)

    def _lessons(self) -> Iterator[dict[str, Any]]:
        """The facts of a Learned event for each task of pit.toml that ran, in its order."""
        for written in self._run.target.dag.declared.tasks:
            names = [
                task.name
                for task in self._tasks.values()
                if written.name in (task.name, task.instance_of) and task.name in self._outcomes
            ]
            if names:
                yield self._lesson(written, names)

    def _lesson(self, written: Task, names: list[str]) -> dict[str, Any]:
        seen = [self._observed[name] for name in names if name in self._observed]
        if not seen:
            return {"task": written.name}
        found = lesson.together([each.lacks for each in seen])
        done = all(self._outcomes[name].reason is None for name in names)
        return {
            "task": written.name,
            "by": seen[0].by,
            "inputs": _line(written.inputs, found.inputs),
            "targets": _line(written.targets, found.targets),
            "unread": found.unread if done and len(seen) == len(names) else (),
            "remarks": tuple(_remarks(done, [each.seen for each in seen])),
        }

    def _undeclared(self) -> Iterator[tuple[str, str]]:
        """The tracked tasks that read files of the project which their inputs do not name."""
        for name, observed in self._observed.items():
            found = [each for each in observed.lacks.inputs if each[0] not in "/{"]
            if found and comparison.is_tracked(self._tasks[name]):
                yield name, shortened(found)

    # ------------------------------------------------------------------ from paths to places

    def _seen(self, task: Task, opened: Opened) -> Seen:
        """The places behind the paths; what is there no longer was only a passing thing."""
        places = self._places
        read: dict[str | None, None] = {}
        written: dict[str, None] = {}
        changed: dict[str, None] = {}
        for path, kinds in opened.kinds.items():
            if kinds == "R":
                read[places.read(path)] = None
            elif (place := places.written(path)) is not None:
                anew = kinds[0] == "W" or (kinds[0] == "A" and not places.stands_live(place))
                (written if anew else changed)[place] = None
        return Seen(
            read=tuple(place for place in read if place is not None),
            written=tuple(written),
            changed=tuple(changed),
            code=self._code(task),
            opened=frozenset(map(places.spelled, opened.kinds)),
        )

    def _code(self, task: Task) -> frozenset[str]:
        """What counts for the task without being declared."""
        found = {task.script} - {""}
        with suppress(OSError):  # what it is made of is gone by now: then its script alone
            fingerprint = self._fingerprints.of(task)
            found.update(fingerprint.sources, *fingerprint.upstream.values())
        return frozenset(found)

    def _lacks(self, task: Task, seen: Seen) -> Lacks:
        """What the task lacks, with the names of its parameters for their values."""
        declared = tuple(map(self._places.spelled, task.inputs or ()))
        targets = tuple(map(self._places.spelled, task.targets))
        found = lesson.lacks(declared, targets, seen, self._places.matching)
        wanted = self._params if task.params is None else task.params
        values = {name: self._params[name] for name in wanted} | task.values

        def general(places: Iterable[str]) -> tuple[str, ...]:
            said = filter(lesson.speakable, places)
            return tuple(dict.fromkeys(lesson.generalised(each, values) for each in said))

        return Lacks(
            inputs=general(found.inputs),
            targets=general(found.targets),
            unread=tuple(lesson.generalised(each, values) for each in found.unread),
        )


def _remarks(done: bool, seen: list[Seen]) -> Iterator[str]:
    """What else there is to say, in sentences."""
    if not done:
        yield "it did not succeed, so this need not be all"
    if changed := sorted({place for each in seen for place in each.changed}):
        yield (
            f"{shortened(changed)}: changed where it stands, so neither an input nor a target; "
            "have the task write the new version to a file of its own"
        )
    places = {place for each in seen for place in (*each.read, *each.written)}
    if mute := sorted(place for place in places if not lesson.speakable(place)):
        yield f"{shortened(mute)}: pit.toml cannot name this"


def _line(declared: tuple[str, ...] | None, missing: tuple[str, ...]) -> tuple[str, ...] | None:
    """The whole list that pit.toml should have; None if it lacks nothing."""
    return (*(declared or ()), *missing) if missing else None


def shortened(places: Iterable[str]) -> str:
    """A list of places for a sentence, cut where it gets long."""
    every = list(places)
    first = ", ".join(map(shown, every[:_SHOWN]))
    return first if len(every) <= _SHOWN else f"{first} and {len(every) - _SHOWN} more"
