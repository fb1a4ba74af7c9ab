"""What skipped tasks have made, put into a run before a task that needs it begins."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pit.engine import handed
from pit.engine.staleness.planner import Planner
from pit.model import FileMark, Record, Task, TaskRecord
from pit.project import publish
from pit.project.digest import Digests
from pit.project.products import present
from pit.project.snapshot.snapshot import Snapshot
from pit.spec import graph


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

    def __init__(self, scene: Scene, planner: Planner, live: Digests) -> None:
        self._scene, self._planner, self._live = scene, planner, live
        self._dag = planner.target.dag
        self._tasks = {task.name: task for task in self._dag.tasks}
        self._handing = threading.Lock()

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
        if self._has(task, marks):
            return
        # Another run may have published newer products; those of the record are where it ran.
        for source in (self._scene.project, self._scene.runs / record.run / "project"):
            # A retry has what the earlier run left, which a task that read it may have altered.
            publish.prepare(root, publish.anchored(task.targets, self._scene.workspace))
            with suppress(FileNotFoundError):
                publish.hand_on(source, root, marks)
            if self._has(task, marks):
                return
        told = f"its products were changed since run {record.run} made them; run it again"
        raise OSError(0, told, task.name)

    def _has(self, task: Task, marks: Mapping[str, FileMark]) -> bool:
        """Whether this run has the products of a task as they were made."""
        root, workspace = str(self._scene.root), self._scene.workspace
        return present(task.targets, marks, root, workspace, Digests()) == marks
