"""After a success: what a task has made appears in the project, and its record is written."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pit.config.dag.dataflow import OWN
from pit.engine.scheduling.executor import Finished
from pit.engine.staleness import comparison, handed
from pit.engine.staleness.handed import Makings
from pit.engine.staleness.planner import Decision, Planner
from pit.engine.staleness.products import Scene
from pit.engine.staleness.provenance import Provenance, Traced
from pit.errors import PitError
from pit.events import TextsKept
from pit.fs.patterns import is_pattern
from pit.model import FileMark, Fingerprint, Reason, Task, TaskRecord, TaskType
from pit.order import Order, Outcome
from pit.project import ownership, publish
from pit.project.databases import database_mark
from pit.project.digest import Digests
from pit.project.places import unspelled
from pit.project.snapshot import inputs
from pit.state.store.tables.publications import Intent
from pit.work import attempts

if TYPE_CHECKING:
    from pit.state.store.store import Store


class Recorder:
    """Publishes and records what the tasks of one run make.

    `missing` tells which of the tables that a task promises are not there.
    """

    def __init__(
        self,
        scene: Scene,
        planner: Planner,
        live: Digests,
        store: Store,
        makings: Makings,
        missing: Callable[[Task], Sequence[str]],
    ) -> None:
        self._scene, self._planner, self._store = scene, planner, store
        self._target, self._dag = planner.target, planner.target.dag
        self._fingerprints, self._live = planner.fingerprints, live
        self._makings, self._missing = makings, missing
        self._provenance = Provenance(self._dag, scene.runs, store, scene.run)

    def keep_texts(self, fingerprint: Fingerprint) -> None:
        """Have the store keep what the next comparison of meaning will need."""
        texts = self._fingerprints.texts(fingerprint)
        if texts:
            self._store.emit(TextsKept(run=self._scene.run, at=time.time(), texts=texts))

    def conclude(self, order: Order, outcome: Outcome) -> Finished:
        """Publish what a task has made, and write its record; its outcome may become a failure."""
        task = self._dag.tasks[order.task]
        if outcome.reason is not None:
            return Finished(order=order, outcome=outcome)
        try:
            return self._concluded(order, outcome, task)
        except OSError as error:
            return Finished(order=order, outcome=attempts.unpublished(outcome, error))
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
        if comparison.is_tracked(task) and self._decision(task.name).superseded:
            self._planner.ended(task.name, self._scene.run, products, beside)
            return Finished(order=order, outcome=outcome, remark=Reason.SUPERSEDED)
        self._publish(task, products)
        self._planner.ended(task.name, self._scene.run, products, beside)
        found = task.type is TaskType.CHECK and outcome.warning  # which a check says every time
        if not comparison.is_tracked(task) or found:
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
        needs = self._dag.needs[task.name]
        for name in needs:
            for place, mark in self._fingerprints.made(name).items():
                made[os.path.join(self._scene.project, unspelled(place))] = mark
        changed = inputs.changed(self._scene.snapshot.links, task.inputs)
        return [
            *(path for path in changed if not self._is_ours(path, made)),
            *(path for name in needs for path in self._written_over(name)),
        ]

    def _written_over(self, upstream: str) -> Sequence[str]:
        """The files saved by a task that another one has changed in this run's data folder."""
        marks = self._fingerprints.handed(upstream)
        return handed.altered(marks, self._scene.data, self._live) if marks else ()

    def _is_ours(self, path: str, made: Mapping[str, FileMark]) -> bool:
        """Whether what stands at a path is what this run has made there, or the way to that."""
        if path not in made:
            return any(place.startswith(f"{path}/") for place in made)
        try:
            return database_mark(path, self._live) == made[path]
        except OSError:
            return False

    def _publish(self, task: Task, products: Mapping[str, FileMark]) -> None:
        if not task.targets:
            return
        scene, made = self._scene, self._provenance.of(task)
        targets = publish.anchored(task.targets, scene.workspace)

        def check() -> bool:
            return ownership.check(
                scene.project,
                scene.root,
                targets,
                products,
                made,
                self._live,
                f"{self._dag.name}/{task.name}",
                self._code,
            )

        again = check()  # before anything is written down; and when all is ready to appear
        places = {place: mark.digest for place, mark in products.items()}
        self._store.publications.add(
            Intent(
                run=self._scene.run,
                at=time.time(),
                task=task.name,
                project=str(self._scene.project),
                places=places,
                targets=targets,
                params=self._target.key(task),
            )
        )
        publish.publish(scene.root, scene.project, targets, check if again else None)
        publish.withdraw(scene.project, task.targets, self._outdated(task, products, made))

    @cached_property
    def _code(self) -> frozenset[str]:
        """The files of the project that the DAG is made of, which no link makes a target."""
        root = os.path.realpath(self._scene.project)
        files = {*OWN, *(task.script for task in self._dag.tasks.values() if task.script)}
        return frozenset(os.path.join(root, place) for place in files)

    def _outdated(self, task: Task, products: Mapping[str, FileMark], made: Traced) -> list[str]:
        """What the task made before and has not made now, if nobody has changed it."""
        if not any(map(is_pattern, task.targets)):
            return []
        before = made.with_params(self._target.key(task))
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
        self.keep_texts(fingerprint)
        return TaskRecord(
            dag=self._dag.name,
            task=task.name,
            params=self._target.key(task),
            run=self._scene.run,
            at=self._scene.taken_at,
            snapshot=self._scene.number,
            seconds=outcome.seconds,
            fingerprint=fingerprint,
        )
