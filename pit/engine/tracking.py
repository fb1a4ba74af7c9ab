"""Tracked tasks in a run: judged before they start, published and recorded when they succeed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from pit.engine import current, earlier, handed
from pit.engine.claims import claim_of, let_go
from pit.engine.compile import Job
from pit.engine.current import Change, Kind, Records, Verdict
from pit.engine.earlier import Earlier
from pit.engine.executors import Finished
from pit.engine.fingerprint import Fingerprints, present
from pit.engine.handed import Makings
from pit.engine.place import locks
from pit.engine.verdict import verdict_of
from pit.errors import PitError
from pit.events import Event, TextsKept
from pit.model import (
    Dag,
    FileMark,
    Fingerprint,
    Order,
    Outcome,
    Reason,
    Record,
    Task,
    TaskRecord,
    TaskType,
)
from pit.project import publish, selection
from pit.project.snapshot import inputs
from pit.project.snapshot.digest import Digests
from pit.project.snapshot.snapshot import Snapshot
from pit.spec import graph
from pit.spec.movement import may_be_handed_on
from pit.spec.patterns import is_pattern
from pit.state.intents import Intent
from pit.state.locks import Lock, signature
from pit.work import operators


class Keeper(Records, handed.Values, earlier.Memory, Protocol):
    """The store as this module needs it."""

    def records_for(self, dag: str, wanted: Mapping[str, str]) -> Mapping[str, TaskRecord]:
        """The records of several tasks at once; `wanted` has the text of each one's parameters."""

    def recorded(self, dag: str) -> frozenset[str]:
        """The tasks of a DAG that have records."""

    def emit(self, event: Event) -> None:
        """Keep an event."""

    def add_intent(self, intent: Intent) -> None:
        """Make it durable that products are about to be published."""


class Scene(Record):
    """Where a run works: its id, the project, its snapshot, when that was taken and its number."""

    run: str
    workspace: Path
    project: Path
    root: Path
    data: Path
    runs: Path
    snapshot: Snapshot
    taken_at: float
    number: int


class Tracking:
    """Decides, for the tasks of one run, what is skipped, published and recorded."""

    def __init__(
        self,
        dag: Dag,
        params: Mapping[str, str],
        scene: Scene,
        fingerprints: Fingerprints,
        live: Digests,
        keeper: Keeper,
        makings: Makings,
        forced_by: str = "",
        missing: Callable[[Task], Sequence[str]] = lambda task: (),
    ) -> None:
        self._dag, self._params, self._scene = dag, params, scene
        self._fingerprints, self._live, self._keeper = fingerprints, live, keeper
        self._makings, self._forced_by, self._missing = makings, forced_by, missing
        self._tasks = {task.name: task for task in dag.tasks}
        self._earlier = Earlier(dag.name, keeper)
        self._recorded = keeper.recorded(dag.name)
        self._recalled: dict[str, TaskRecord | None] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._to_hand_on: dict[str, TaskRecord] = {}
        self._claims: dict[str, Lock] = {}
        self._handing = threading.Lock()

    # ------------------------------------------------------------------ before a task starts

    def params_of(self, task: Task) -> str | None:
        """The text of a task's parameter values; None where no record is concerned.

        A task that is not tracked any more, and runs, makes its old record a lie.
        """
        if not current.is_tracked(task) and task.name not in self._recorded:
            return None
        return current.params_key(task, self._params)

    def recall(self, names: Sequence[str]) -> None:
        """Fetch the records of tasks that are judged next, which is much faster together."""
        wanted = {name: current.params_key(self._tasks[name], self._params) for name in names}
        found = self._keeper.records_for(self._dag.name, wanted)
        self._recalled |= {name: found.get(name) for name in names}

    def judge(self, name: str) -> Verdict:
        """Whether a tracked task is current, its dependencies having ended."""
        task = self._tasks[name]
        verdict = verdict_of(
            task,
            self._dag.name,
            self._params,
            self._fingerprints,
            self,
            self._standing,
            self._earlier.became,
        )
        if verdict.record is not None and self._is_newer(verdict.record):
            verdict = replace(verdict, superseded=not verdict.current, renewed=None)
        elif self._forced_by:
            forced = Change(kind=Kind.FORCED, subject=self._forced_by)
            verdict = replace(verdict, changes=(forced,), renewed=None)
        self._verdicts[name] = verdict
        if verdict.renewed is not None:
            self._keep_texts(verdict.renewed.fingerprint)
        if verdict.current and verdict.record is not None:
            self._note_record(name, verdict.record)
        return verdict

    def record(self, dag: str, task: str, params: str) -> TaskRecord | None:
        """The record of a task, the one that was just recalled if it was."""
        if task in self._recalled:
            return self._recalled.pop(task)
        return self._keeper.record(dag, task, params)

    def text(self, digest: str) -> bytes | None:
        """A source by its digest, if it was kept."""
        return self._keeper.text(digest)

    def _is_newer(self, record: TaskRecord) -> bool:
        """Whether a record is of a later snapshot, by their numbers: a clock may be set back."""
        return record.snapshot > self._scene.number

    def done_before(self, name: str, run: str) -> None:
        """A task that an earlier run, which this one continues, has done."""
        task = self._tasks[name]
        record = self._keeper.record(self._dag.name, name, current.params_key(task, self._params))
        if record is not None and record.run == run and current.is_tracked(task):
            self._note_record(name, record)
        else:
            self._fingerprints.note(name, run)

    def left_out(self, name: str, run: str, needed: bool) -> None:
        """A task that last succeeded in `run` and is no part of this run.

        What it has made, if it stands as recorded, is handed on to those that need it: a snapshot
        lacks some of it, such as databases. Else they get what the snapshot has.
        """
        task = self._tasks.get(name)
        values = handed.values_of(run, name, self._keeper) if needed else {}
        self._fingerprints.note(name, run, handed=values)
        if task is None or not needed or not current.is_tracked(task):
            return
        record = self._keeper.record(self._dag.name, name, current.params_key(task, self._params))
        if record is None:
            return
        left = record.fingerprint.products | record.fingerprint.handed
        if left and self._standing(task, record) == left:
            self._note_record(name, record)

    def _note_record(self, name: str, record: TaskRecord) -> None:
        """What a record says a task has made is what this run takes it to have made."""
        left = record.fingerprint
        self._fingerprints.note(name, record.run, left.products, left.handed)
        self._to_hand_on[name] = record

    def _standing(self, task: Task, record: TaskRecord) -> dict[str, FileMark]:
        scene, made = self._scene, record.fingerprint.products
        there = present(task, made, scene.project, scene.workspace, self._live)
        return there | handed.standing(record, scene.runs, self._keeper, self._live)

    def _keep_texts(self, fingerprint: Fingerprint) -> None:
        """Have the store keep what the next comparison of meaning will need."""
        texts = self._fingerprints.texts(fingerprint)
        if texts:
            self._keeper.emit(TextsKept(run=self._scene.run, at=time.time(), texts=texts))

    def claim(self, job: Job) -> bool:
        """Keep other runs from executing the task at the same time; False if one is at it.

        One that has ended since the task was judged has changed its record: look again.
        """
        lock = self._claim_of(job)
        if not lock.acquire():
            return False
        latest = self._keeper.record(self._dag.name, job.name, job.params or "")
        if latest != self._verdicts[job.name].record:
            lock.release()
            return False
        lock.sign(f"run {self._scene.run}")
        self._claims[job.name] = lock
        return True

    def claimant(self, job: Job) -> str:
        """Which other run is at the task; empty where none says so."""
        return signature(self._claim_of(job).path)

    def _claim_of(self, job: Job) -> Lock:
        return claim_of(locks(self._scene.runs), self._dag.name, job.name, job.params or "")

    def release(self, job: Job) -> None:
        """Let other runs execute the task again."""
        lock = self._claims.pop(job.name, None)
        if lock is not None:
            let_go(lock)

    def hand_on(self, name: str) -> None:
        """Put what skipped tasks upstream of `name` had made into this run.

        OSError if it was changed meanwhile and the run that made it keeps it no more.
        """
        if not self._to_hand_on:
            return
        with self._handing:
            for upstream in graph.upstream(self._dag, name) & self._to_hand_on.keys():
                self._hand_on_one(self._tasks[upstream], self._to_hand_on[upstream])
                del self._to_hand_on[upstream]  # not before: the next that needs it fails as well

    def _hand_on_one(self, task: Task, record: TaskRecord) -> None:
        root, marks = self._scene.root, record.fingerprint.products
        handed.hand_on(record, self._scene.runs, self._scene.data, self._live)
        # Another run may have published newer products; those of the record are where it ran.
        for source in (self._scene.project, self._scene.runs / record.run / "project"):
            with suppress(FileNotFoundError):
                publish.hand_on(source, root, marks)
            if self._fingerprints.standing(task, marks) == marks:
                return
            publish.prepare(root, publish.anchored(task.targets, self._scene.workspace))
        raise OSError(0, "its products were changed while this run was going on", task.name)

    def lacking(self, name: str) -> list[str]:
        """The files and folders among a task's inputs that are not there, now that it may start;
        what skipped tasks have made is, though it has not been handed on yet."""
        task = self._tasks[name]
        literal = [
            path
            for path in task.inputs or ()
            if not is_pattern(path) and not may_be_handed_on(task, path)
        ]
        if not literal:
            return []
        places = publish.anchored(literal, self._scene.workspace)
        return [
            path
            for path, place in zip(literal, places, strict=True)
            if not self._is_there(place)
            and not self._is_coming(name, path.rstrip("/"))
            and not self._is_there(place)  # another thread may just have handed it on
        ]

    def _is_there(self, place: str) -> bool:
        # A database is looked at in the project, for no snapshot takes one.
        roots = (self._scene.root, self._scene.project)[: 1 + selection.is_database(place)]
        return any(os.path.lexists(root / place) for root in roots)

    def _is_coming(self, name: str, path: str) -> bool:
        """Whether a skipped task upstream has made something at a place or in it."""
        records = map(self._to_hand_on.get, graph.upstream(self._dag, name))
        made = (place for record in records if record for place in record.fingerprint.products)
        return any(place == path or place.startswith(f"{path}/") for place in made)

    # ------------------------------------------------------------------ after a success

    def conclude(self, order: Order, outcome: Outcome) -> Finished:
        """Publish what a task has made, and write its record; its outcome may become a failure."""
        task = self._tasks[order.task]
        if outcome.reason is not None:
            return Finished(order=order, outcome=outcome)
        try:
            return self._concluded(order, outcome, task)
        except OSError as error:
            return Finished(order=order, outcome=operators.unpublished(outcome, error))
        except PitError as error:
            failed = replace(outcome, reason=Reason.INTERNAL, error=str(error), retryable=False)
            return Finished(order=order, outcome=failed)

    def _concluded(self, order: Order, outcome: Outcome, task: Task) -> Finished:
        if missing := self._missing(task):
            names = ", ".join(f"table:{name}" for name in missing)
            error = f"ended well but did not make {names}"
            failed = replace(outcome, reason=Reason.MISSING_TARGET, error=error)
            return Finished(order=order, outcome=failed)
        products = self._fingerprints.products(task) if task.targets else {}
        beside = handed.made(task.name, self._makings, self._scene.data, self._live)
        if current.is_tracked(task) and self._verdicts[task.name].superseded:
            self._fingerprints.note(task.name, self._scene.run, products, beside)
            return Finished(order=order, outcome=outcome, remark=Reason.SUPERSEDED)
        self._publish(order, task, products)
        self._fingerprints.note(task.name, self._scene.run, products, beside)
        found = task.type is TaskType.CHECK and outcome.warning  # which a check says every time
        if not current.is_tracked(task) or found:
            return Finished(order=order, outcome=outcome)
        if self._changed_inputs(task):
            return Finished(order=order, outcome=outcome, remark=Reason.INPUT_CHANGED)
        record = self._record(task, outcome, products, beside)
        return Finished(order=order, outcome=outcome, record=record)

    def _changed_inputs(self, task: Task) -> list[str]:
        """The inputs read live that are not as they were, but for what this run has made."""
        made: dict[str, FileMark] = {}
        for name in task.depends_on:
            for place, mark in self._fingerprints.made(name).items():
                made[os.path.join(self._scene.project, place)] = mark
        changed = inputs.changed(self._scene.snapshot.links, task.inputs)
        return [
            *(path for path in changed if not self._holds(path, made.get(path))),
            *(path for name in task.depends_on for path in self._written_over(name)),
        ]

    def _written_over(self, upstream: str) -> Sequence[str]:
        """The files saved by a task that another one has changed in this run's data folder."""
        marks = self._fingerprints.handed(upstream)
        return handed.altered(marks, self._scene.data, self._live) if marks else ()

    def _holds(self, path: str, mark: FileMark | None) -> bool:
        try:
            return mark is not None and self._live.of(path) == mark
        except OSError:
            return False

    def _publish(self, order: Order, task: Task, products: Mapping[str, FileMark]) -> None:
        if not task.targets:
            return
        places = {place: mark.digest for place, mark in products.items()}
        self._keeper.add_intent(
            Intent(
                run=self._scene.run,
                at=time.time(),
                task=task.name,
                project=str(self._scene.project),
                places=places,
                targets=order.targets,
            )
        )
        publish.publish(self._scene.root, self._scene.project, order.targets)
        publish.withdraw(self._scene.project, task.targets, self._outdated(task, products))

    def _outdated(self, task: Task, products: Mapping[str, FileMark]) -> list[str]:
        """What the task's last success had made and this one has not, if nobody has changed it."""
        verdict = self._verdicts.get(task.name)
        if verdict is None or verdict.record is None:
            return []
        recorded = verdict.record.fingerprint.products
        standing = self._standing(task, verdict.record)
        return [
            place
            for place in recorded.keys() - products.keys()
            if standing.get(place) == recorded[place]
        ]

    def _record(
        self,
        task: Task,
        outcome: Outcome,
        products: Mapping[str, FileMark],
        beside: dict[str, FileMark],
    ) -> TaskRecord:
        fingerprint = replace(
            self._verdicts[task.name].fingerprint,
            products=dict(products),
            handed=beside,
            database=self._fingerprints.database(task),
            databases=self._fingerprints.databases(task),
        )
        self._keep_texts(fingerprint)
        return TaskRecord(
            dag=self._dag.name,
            task=task.name,
            params=current.params_key(task, self._params),
            run=self._scene.run,
            at=self._scene.taken_at,
            snapshot=self._scene.number,
            seconds=outcome.seconds,
            fingerprint=fingerprint,
        )
