"""What skipped tasks have made, put into a run before a task that needs it begins."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from pit.engine.staleness import handed
from pit.engine.staleness.planner import Planner
from pit.engine.staleness.provenance import Provenance
from pit.model import FileMark, Record, Task, TaskRecord
from pit.project import publish
from pit.project.digest import Digests
from pit.project.products import present
from pit.project.snapshot.snapshot import Snapshot


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


class Products:
    """Hands on in one run what the planner says that skipped tasks have made."""

    def __init__(self, scene: Scene, planner: Planner, live: Digests, made: Provenance) -> None:
        self._scene, self._planner, self._live, self._made = scene, planner, live, made
        self._dag = planner.target.dag
        self._tasks = self._dag.tasks
        self._handing = threading.Lock()
        self._altered = self._written_over()

    def hand_on(self, name: str) -> None:
        """Put what skipped tasks upstream of `name` had made into this run.

        OSError if it was changed meanwhile and the run that made it keeps it no more.
        """
        lent, unrecorded = self._planner.lent, self._planner.unrecorded
        if not lent and not unrecorded:
            return
        with self._handing:
            above = self._dag.upstream(name)
            for upstream in above & lent.keys():
                self._hand_on_one(self._tasks[upstream], lent[upstream])
                del lent[upstream]  # not before: the next that needs it fails as well
            for upstream in above & unrecorded.keys():
                self._restore(self._tasks[upstream], unrecorded[upstream])
                del unrecorded[upstream]

    def _hand_on_one(self, task: Task, record: TaskRecord) -> None:
        marks = record.fingerprint.products
        if path := self._altered.get(task.name):
            raise self._changed(task, record.run, f"{path}, which it saved, was changed")
        handed.hand_on(record, self._scene.runs, self._scene.data, self._live)
        if self._now(task, marks) == marks:
            return
        # Another run may have published newer products; those of the record are where it ran.
        for source in (self._scene.project, self._scene.runs / record.run / "project"):
            self._put(task, marks, source)
            if self._now(task, marks) == marks:
                return
        raise self._changed(task, record.run, "its products were changed")

    def _restore(self, task: Task, run: str) -> None:
        """Rid what a task that is not tracked has made of what a later one did to it."""
        params = self._planner.target.key(task)
        made = self._made.of(task).with_params(params)
        marks = {place: FileMark(digest=min(digests), size=0) for place, digests in made.items()}
        now = self._now(task, marks)
        if all(place in now and now[place].digest in made[place] for place in made):
            return
        self._put(task, marks, self._scene.project)  # where a person may have changed it
        if not self._now(task, marks).keys() >= marks.keys():
            raise self._changed(task, run, "its products were changed")

    def _put(self, task: Task, places: Iterable[str], source: Path) -> None:
        """Take over the products of a task from where they may still be as they were made.

        A retry has what the earlier run left, which a task that only read it may have altered.
        """
        publish.prepare(self._scene.root, publish.anchored(task.targets, self._scene.workspace))
        with suppress(FileNotFoundError):
            publish.hand_on(source, self._scene.root, places)

    def _now(self, task: Task, marks: Mapping[str, FileMark]) -> dict[str, FileMark]:
        """What this run has of the products of a task."""
        root, workspace = str(self._scene.root), self._scene.workspace
        return present(task.targets, marks, root, workspace, Digests())

    def _written_over(self) -> dict[str, str]:
        """By task, a file that it saved and that is not as it, or another done task, saved it."""
        data = self._scene.data
        saved = {name: record.fingerprint.handed for name, record in self._planner.lent.items()}
        altered = {
            name: set(handed.altered(marks, data, self._live)) for name, marks in saved.items()
        }
        right = {
            path
            for name, marks in saved.items()
            for path, _ in handed.files(marks)
            if path not in altered[name]
        }
        return {
            name: path
            for name, paths in altered.items()
            for path in paths - right
            if (data / path).exists()
        }

    def _changed(self, task: Task, run: str, what: str) -> OSError:
        return OSError(
            0, f"{what} since run {run}; run it again: pit run {self._dag.name}", task.name
        )
