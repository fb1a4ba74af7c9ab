"""The planner: what a run does with each task of a DAG, and why. Nobody else decides that.

It looks at one view of the project: the live one for `plan`, `why`, doit and "nothing to do", the
snapshot in a run. A look is a run in which nobody tells how a task ended: what depends on something
that would be made anew is deferred there, where a run asks again once it has been made.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pit.config.dag import graph
from pit.config.dag.dataflow import makes
from pit.config.keys.movement import may_be_handed_on
from pit.engine.staleness import comparison, handed
from pit.engine.staleness.comparison import Change, Kind
from pit.engine.staleness.earlier import Earlier
from pit.engine.staleness.fingerprint import Databases, Fingerprints
from pit.engine.staleness.verdict import compared
from pit.engine.target.target import Target
from pit.fs.patterns import is_pattern
from pit.model import FileMark, Fingerprint, Record, Task, TaskRecord
from pit.project.python.environment import Environment
from pit.project.view import ProjectView

if TYPE_CHECKING:
    from pit.state.store.store import Store
    from pit.state.store.tables.runs import LastSuccess

_MANY = 256
"""How many records are fetched at once."""


class Action(StrEnum):
    """What a run does with a task."""

    RUN = "run"
    SKIP = "skip"
    DEFER = "defer"


class Gap(Record):
    """A literal input that is not there, and that nothing in the run will make.

    `maker` is the task that could: `load` of this DAG, or `raw/extract` of another. `meant` is a
    file of a like name, where nobody could.
    """

    task: str
    input: str
    maker: str = ""
    meant: str = ""


class Decision(Record):
    """What a run does with one task.

    `changes` are the reasons why it is not current, `after` the tasks upstream that will run first.
    `record` is that of its last success, `fingerprint` what it would read now, None where that was
    not looked at; `renewed` is the record with today's texts where only their form has changed.
    `superseded` says that the record is of a newer snapshot than the one looked at: what runs now,
    for its own dependants, neither publishes nor records. `seconds` is how long it took the last
    time, `gaps` are the inputs that it will lack.
    """

    task: str
    action: Action
    changes: tuple[Change, ...] = ()
    after: tuple[str, ...] = ()
    record: TaskRecord | None = None
    fingerprint: Fingerprint | None = None
    renewed: TaskRecord | None = None
    superseded: bool = False
    seconds: float | None = None
    gaps: tuple[Gap, ...] = ()

    @property
    def current(self) -> bool:
        """Whether the task is skipped."""
        return self.action is Action.SKIP


class Planner:
    """Decides for the tasks of one target; threads may share it.

    `number` is that of the snapshot in a run, None in a look that only tells what a run would do.
    `forced` says what asks for everything, such as `--force`.
    """

    def __init__(
        self,
        target: Target,
        view: ProjectView,
        store: Store,
        databases: Databases,
        environment: Environment | None,
        *,
        forced: str = "",
        number: int | None = None,
    ) -> None:
        self.target, self.view = target, view
        self._store, self._forced, self._number = store, forced, number
        self._dag = target.dag
        self._tasks, self._needs = target.dag.tasks, target.dag.needs
        self.fingerprints = Fingerprints(target, view, environment, databases)
        self._earlier = Earlier(self._dag.name, store)
        self._recalled: dict[str, TaskRecord | None] = {}
        self._pending: dict[str, Action] = {}
        self._decisions: dict[str, Decision] = {}
        self._lock = threading.Lock()
        self.lent: dict[str, TaskRecord] = {}
        self.unrecorded: dict[str, str] = {}  # done before without a record, by which run

    # ------------------------------------------------------------------ what does not run

    def leave_out_unselected(self) -> Mapping[str, str]:
        """Tasks that are not chosen are as they last were; the runs in which each succeeded."""
        chosen = self.target.chosen
        found = {
            name: success.run for name, success in self._successes().items() if name not in chosen
        }
        needed = self._dag.upstream(*chosen) if chosen else self._tasks.keys()
        for name, run in found.items():
            self.leave_out(name, run, needed=name in needed)
        return found

    def leave_out_all(self) -> None:
        """Every task is as it last was."""
        for name, success in self._successes().items():
            self.leave_out(name, success.run)

    def leave_out(self, name: str, run: str, *, needed: bool = True) -> None:
        """A task that last succeeded in `run` and is not to run now.

        What it has made, if it stands as recorded, is handed on to those that need it; else they
        get what stands there.
        """
        values = handed.values_of(run, name, self._store) if needed else {}
        self.fingerprints.note(name, run, handed=values)
        task = self._tasks.get(name)
        if task is None or not needed or not comparison.is_tracked(task):
            return
        record = self._record(name, self.target.key(task))
        if record is None:
            return
        left = record.fingerprint.products | record.fingerprint.handed
        if left and self.standing(task, record) == left:
            self._lend(record)
            if any(map(is_pattern, task.targets)):  # whoever reads by it meets strangers as well
                stands = self.fingerprints.products(task) | record.fingerprint.products
                self.fingerprints.note(name, run, stands, record.fingerprint.handed)

    def done_before(self, name: str, run: str) -> None:
        """A task that an earlier run, which this one continues, has done."""
        task = self._tasks[name]
        key = self.target.key(task)
        record = self._record(name, key)
        if record is not None and record.run == run and comparison.is_tracked(task):
            self._lend(record)
        else:
            self.unrecorded[name] = run
            self.fingerprints.note(name, run)

    def _lend(self, record: TaskRecord) -> None:
        """What a record says a task has made is what others take it to have made."""
        left = record.fingerprint
        self.fingerprints.note(record.task, record.run, left.products, left.handed)
        self.lent[record.task] = record

    def ended(
        self,
        name: str,
        run: str,
        products: Mapping[str, FileMark] | None = None,
        beside: Mapping[str, FileMark] | None = None,
    ) -> None:
        """A task has succeeded in this run, with these products and what it hands on beside."""
        self._pending.pop(name, None)
        self.fingerprints.note(name, run, products, beside)

    # ------------------------------------------------------------------ records

    def recall(self, names: Sequence[str]) -> None:
        """Fetch the records of tasks that are decided next, which is much faster together."""
        wanted = {name: self.target.key(self._tasks[name]) for name in names}
        found = self._store.records.of_tasks(self._dag.name, wanted)
        self._recalled |= {name: found.get(name) for name in names}

    def _record(self, task: str, params: str) -> TaskRecord | None:
        """The record of a task, the one that was just recalled if it was."""
        if task in self._recalled:
            return self._recalled.pop(task)
        return self._store.records.of_task(self._dag.name, task, params)

    def text(self, digest: str) -> bytes | None:
        """A source by its digest, if it was kept or met."""
        return self.fingerprints.text(digest) or self._store.records.text(digest)

    def _successes(self) -> Mapping[str, LastSuccess]:
        return self._store.runs.last_successes(self._dag.name)

    def standing(self, task: Task, record: TaskRecord) -> dict[str, FileMark]:
        """What is still there of what a recorded success has made and handed on."""
        there = self.view.published(task.targets, record.fingerprint.products)
        runs, digests = self.target.config.runs_dir, self.view.live_digests
        return there | handed.standing(record, runs, self._store, digests)

    # ------------------------------------------------------------------ deciding

    def decide_all(self, until_stale: bool = False) -> tuple[Decision, ...]:
        """What a run would do with the chosen tasks, in topological order.

        With `until_stale` the first task that is not current is the last that is looked at.
        """
        self.leave_out_unselected()
        took = self._successes()
        found = []
        for name in self._recalling(self._dag.order):
            decision = self.decide(name)
            success = took.get(name)
            seconds = None if success is None else success.seconds
            gaps = () if decision.current else self.missing(name)
            found.append(replace(decision, seconds=seconds, gaps=gaps))
            if until_stale and not decision.current:
                break
        return tuple(found)

    def _recalling(self, order: Iterable[str]) -> Iterator[str]:
        chosen = [name for name in order if name in self.target.chosen]
        for at in range(0, len(chosen), _MANY):
            batch = chosen[at : at + _MANY]
            self.recall([name for name in batch if comparison.is_tracked(self._tasks[name])])
            yield from batch

    def decide(self, name: str) -> Decision:
        """What happens with a task; all upstream of it has been decided, and in a run has ended."""
        task = self._tasks[name]
        after = tuple(each for each in self._needs[name] if each in self._pending)
        decision = self._decided(task, after)
        with self._lock:
            self._decisions[name] = decision
            if not decision.current:
                self._pending[name] = decision.action
        if decision.current and decision.record is not None:
            self._lend(decision.record)
        return decision

    def decision(self, name: str) -> Decision | None:
        """What was decided about a task, if it was."""
        return self._decisions.get(name)

    def _decided(self, task: Task, after: tuple[str, ...]) -> Decision:
        if self._forced and self._number is None:
            changes: tuple[Change, ...] = (Change(kind=Kind.FORCED),)
            return Decision(task=task.name, action=Action.RUN, changes=changes, after=after)
        if not comparison.is_tracked(task):
            kind = Kind.ALWAYS if task.always else Kind.UNTRACKED
            changes = (Change(kind=kind),)
            return Decision(task=task.name, action=Action.RUN, changes=changes, after=after)
        found = self._compared(task)
        record, number = found.record, self._number
        if number is not None and record is not None and record.snapshot > number:
            # By their numbers, for a clock may be set back.
            return replace(found, superseded=not found.current, renewed=None)
        if self._forced:
            changes = (Change(kind=Kind.FORCED, subject=self._forced),)
            return replace(found, action=Action.RUN, changes=changes, renewed=None)
        return self._deferred(task, replace(found, after=after))

    def _compared(self, task: Task) -> Decision:
        key = self.target.key(task)
        verdict = compared(
            task,
            key,
            self._record(task.name, key),
            self.fingerprints,
            self.text,
            self.standing,
            self._earlier.became,
        )
        return Decision(
            task=task.name,
            action=Action.RUN if verdict.changes else Action.SKIP,
            changes=verdict.changes,
            record=verdict.record,
            fingerprint=verdict.fingerprint,
            renewed=verdict.renewed,
        )

    def _deferred(self, task: Task, found: Decision) -> Decision:
        """With what is not known before something upstream has been made anew, or at all."""
        unknown = tuple(each for each in found.changes if each.kind is Kind.UNKNOWN)
        known = tuple(
            each
            for each in found.changes
            if each.kind is not Kind.UNKNOWN and not _is_unmade(each, found.after)
        )
        if any(not self._may_pass(change, found.after) for change in known):
            return replace(found, changes=known)
        sure = [
            Change(kind=Kind.SUCCESS, subject=name)
            for name in found.after
            if not self._tasks[name].targets and self._pending[name] is Action.RUN
        ]
        if sure:
            return replace(found, action=Action.RUN, changes=tuple(sure))
        if self._number is not None:
            return found
        if found.after or unknown:
            if found.record is not None:
                self._lend(found.record)
            return replace(found, action=Action.DEFER, changes=unknown)
        return found

    def _may_pass(self, change: Change, after: Sequence[str]) -> bool:
        """Whether what differs now will be made anew before, and may be the same again then."""
        if change.kind is Kind.UPSTREAM:
            return change.maker in after
        makers = (self._tasks[name] for name in after)
        return change.kind is Kind.INPUT and any(makes(task, change.subject) for task in makers)

    # ------------------------------------------------------------------ missing inputs

    def missing(self, name: str) -> tuple[Gap, ...]:
        """The literal inputs of a task that are not there, and that nothing makes before it."""
        task = self._tasks[name]
        literal = [
            path
            for path in task.inputs or ()
            if not is_pattern(path) and not may_be_handed_on(task, path, self._needs[name])
        ]
        return tuple(
            Gap(task=name, input=path, maker=self._maker(task, path))
            for path in literal
            if not self.view.is_there(path) and not self._is_coming(name, path.rstrip("/"))
        )

    def _is_coming(self, task: str, path: str) -> bool:
        """Whether a task upstream will make something at a place or in it, or has made it."""
        places = {path, self.view.real_place(path)}
        upstream = graph.walk({task}, self._needs)
        return any(self._comes_from(name, place) for name in upstream for place in places)

    def _comes_from(self, name: str, path: str) -> bool:
        if name in self._pending and self._number is None:
            task = self._tasks[name]
            return makes(task, path) or _holds(task.targets, path)
        lent = self.lent.get(name)
        if lent is not None:
            return _holds(lent.fingerprint.products, path)
        return name not in self.target.chosen and _holds(self.fingerprints.made(name), path)

    def _maker(self, task: Task, path: str) -> str:
        makers = (self._tasks[name] for name in self._needs[task.name])
        return next((each.name for each in makers if makes(each, path.rstrip("/"))), "")


def _is_unmade(change: Change, after: Sequence[str]) -> bool:
    """Whether a value or a saved file is lacking only because its maker has not run yet."""
    is_gone = change.kind is Kind.UPSTREAM and not change.now
    return is_gone and change.maker in after and handed.is_beside(change.subject)


def _holds(made: Iterable[str], path: str) -> bool:
    return any(place == path or place.startswith(f"{path}/") for place in made)
