"""Tracked tasks in a run: judged before they start, published and recorded when they succeed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from pit.engine import current, handed, provenance
from pit.engine.claims import claim_of, let_go
from pit.engine.compile import Job
from pit.engine.executors import Finished
from pit.engine.handed import Makings
from pit.engine.place import locks
from pit.engine.provenance import Provenance, Traced
from pit.engine.staleness import planner
from pit.engine.staleness.planner import Decision, Planner
from pit.errors import PitError
from pit.events import Event, TextsKept
from pit.model import (
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
from pit.project import ownership, publish
from pit.project.digest import Digests
from pit.project.places import unspelled
from pit.project.products import present
from pit.project.snapshot import inputs
from pit.project.snapshot.snapshot import Snapshot
from pit.spec import graph
from pit.spec.dataflow import OWN
from pit.spec.patterns import is_pattern
from pit.state.intents import Intent
from pit.state.locks import Lock, signature
from pit.work import operators


class Keeper(planner.Memory, provenance.Memory, Protocol):
    """The store as this module needs it."""

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
    """Publishes and records what the tasks of one run make; keeps other runs from the same task."""

    def __init__(
        self,
        scene: Scene,
        planner: Planner,
        live: Digests,
        keeper: Keeper,
        makings: Makings,
        missing: Callable[[Task], Sequence[str]] = lambda task: (),
    ) -> None:
        self._scene, self._planner, self._keeper = scene, planner, keeper
        self._dag, self._params = planner.target.dag, planner.target.params
        self._fingerprints, self._live = planner.fingerprints, live
        self._makings, self._missing = makings, missing
        self._tasks = {task.name: task for task in self._dag.tasks}
        self._provenance = Provenance(self._dag, scene.runs, keeper, scene.run)
        self._recorded = keeper.recorded(self._dag.name)
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

    def judge(self, name: str) -> Decision:
        """What is to happen with a tracked task, its dependencies having ended."""
        decision = self._planner.decide(name)
        if decision.renewed is not None:
            self._keep_texts(decision.renewed.fingerprint)
        return decision

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
        if latest != self._decision(job.name).record:
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
        lent = self._planner.lent
        if not lent:
            return
        with self._handing:
            for upstream in graph.upstream(self._dag, name) & lent.keys():
                self._hand_on_one(self._tasks[upstream], lent[upstream])
                del lent[upstream]  # not before: the next that needs it fails as well

    def _hand_on_one(self, task: Task, record: TaskRecord) -> None:
        root, marks = self._scene.root, record.fingerprint.products
        handed.hand_on(record, self._scene.runs, self._scene.data, self._live)
        # Another run may have published newer products; those of the record are where it ran.
        for source in (self._scene.project, self._scene.runs / record.run / "project"):
            with suppress(FileNotFoundError):
                publish.hand_on(source, root, marks)
            if present(task.targets, marks, str(root), self._scene.workspace, Digests()) == marks:
                return
            publish.prepare(root, publish.anchored(task.targets, self._scene.workspace))
        raise OSError(0, "its products were changed while this run was going on", task.name)

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
        if current.is_tracked(task) and self._decision(task.name).superseded:
            self._planner.ended(task.name, self._scene.run, products, beside)
            return Finished(order=order, outcome=outcome, remark=Reason.SUPERSEDED)
        self._publish(order, task, products)
        self._planner.ended(task.name, self._scene.run, products, beside)
        found = task.type is TaskType.CHECK and outcome.warning  # which a check says every time
        if not current.is_tracked(task) or found:
            return Finished(order=order, outcome=outcome)
        if self._changed_inputs(task):
            return Finished(order=order, outcome=outcome, remark=Reason.INPUT_CHANGED)
        record = self._record(task, outcome, products, beside)
        return Finished(order=order, outcome=outcome, record=record)

    def _decision(self, name: str) -> Decision:
        """What was decided about a tracked task before it began."""
        decision = self._planner.decision(name)
        assert decision is not None
        return decision

    def _changed_inputs(self, task: Task) -> list[str]:
        """The inputs read live that are not as they were, but for what this run has made."""
        made: dict[str, FileMark] = {}
        for name in task.depends_on:
            for place, mark in self._fingerprints.made(name).items():
                made[os.path.join(self._scene.project, unspelled(place))] = mark
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
        scene, made = self._scene, self._provenance.of(task)

        def check() -> bool:
            return ownership.check(
                scene.project,
                scene.root,
                order.targets,
                products,
                made,
                self._live,
                f"{self._dag.name}/{task.name}",
                self._code,
            )

        again = check()  # before anything is written down; and when all is ready to appear
        places = {place: mark.digest for place, mark in products.items()}
        self._keeper.add_intent(
            Intent(
                run=self._scene.run,
                at=time.time(),
                task=task.name,
                project=str(self._scene.project),
                places=places,
                targets=order.targets,
                params=current.params_key(task, self._params),
            )
        )
        publish.publish(scene.root, scene.project, order.targets, check if again else None)
        publish.withdraw(scene.project, task.targets, self._outdated(task, products, made))

    @cached_property
    def _code(self) -> frozenset[str]:
        """The files of the project that the DAG is made of, which no link makes a target."""
        root = os.path.realpath(self._scene.project)
        files = {*OWN, *(task.script for task in self._dag.tasks if task.script)}
        return frozenset(os.path.join(root, place) for place in files)

    def _outdated(self, task: Task, products: Mapping[str, FileMark], made: Traced) -> list[str]:
        """What the task made before and has not made now, if nobody has changed it."""
        if not any(map(is_pattern, task.targets)):
            return []
        before = made.with_params(current.params_key(task, self._params))
        return ownership.withdrawn(self._scene.project, before, products, self._live)

    def _record(
        self,
        task: Task,
        outcome: Outcome,
        products: Mapping[str, FileMark],
        beside: dict[str, FileMark],
    ) -> TaskRecord:
        seen = self._decision(task.name).fingerprint
        assert seen is not None
        fingerprint = replace(
            seen,
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
