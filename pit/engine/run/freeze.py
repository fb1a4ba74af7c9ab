"""The ground of a run: the Python environment and the snapshot, both of the same moment."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path

from pit.config.keys.movement import read_by
from pit.engine.run.lifecycle import Lifetime
from pit.engine.run.request import Again
from pit.engine.staleness.orphaned import orphaned, rules_of
from pit.errors import SnapshotFailed
from pit.events import EnvironmentHashed
from pit.fs.files import remove_tree
from pit.project import manifest, publish
from pit.project.digest import Digests
from pit.project.python import environment
from pit.project.runners import table
from pit.project.snapshot import snapshot


class Ground:
    """What the tasks of a run stand on, laid by `lay` or taken over from an earlier run.

    `env` is None where no task runs in one; `taken_at` is when the snapshot was begun, in Unix
    seconds, and `number` its place among all snapshots; `rules` say what was left out of it.
    """

    def __init__(self, life: Lifetime, live: Digests) -> None:
        self._life, self._live = life, live
        self._target, self._config = life.target, life.target.config
        self._project = life.target.dag.project
        self._store = life.services.store
        self.env: environment.Environment | None = None
        self.rules = rules_of(self._target, frozenset())

    # ------------------------------------------------------------------ what a retry takes over

    def take_over(self) -> None:
        """What the run that this one continues has left: its data, and its code if wanted.

        First of all, so that whatever stops this run now, its own retry finds them.
        """
        again = self._life.request.again
        if again is None:
            return
        if again.project is not None:
            _move(again.project, self._life.dir.project, again.run)
            with suppress(OSError):  # an older Pit wrote none
                os.rename(again.project.with_name("manifest"), self._life.dir.manifest)
        if again.data is None:
            return
        # What records say is handed on from that run must stay there as well.
        recorded = self._store.records.pointed_at(self._target.dag.name)
        take = _copy if recorded.get(again.data.parent.name) else _move
        take(again.data, self._life.dir.data, again.run)

    # ------------------------------------------------------------------ environment and snapshot

    def lay(self) -> None:
        """The environment and the snapshot; raises SnapshotFailed and what uv has to say."""
        again = self._life.request.again
        if again is not None and again.project is not None:
            self._thaw(again)
            self._tell_hashes(again.taken_by)
            return
        for _ in range(_ROUNDS):
            self._make_environment()
            self._take_snapshot()
            if self._belong_together():
                break
            remove_tree(self._life.dir.project)
        else:
            raise SnapshotFailed(
                f"pyproject.toml or uv.lock of {self._project} kept changing",
                "Wait until nothing changes it, then try again",
            )
        self._tell_hashes(self._life.dir.id)

    def _thaw(self, again: Again) -> None:
        """The environment that belongs to a snapshot taken over, and what is read in place."""
        self.env = environment.kept_environment(self._config.cache_dir, again.hashes)
        if self.env is None:
            self._make_environment()
        self.snapshot = snapshot.again(
            [pattern for task in self._target.tasks for pattern in read_by(task)],
            self._config.root,
            manifest.read(self._life.dir.manifest),
        )
        self.taken_at = again.taken_at
        self.number = self._store.snapshots.drawn(again.taken_by)

    def _belong_together(self) -> bool:
        """Whether the environment is the one that the snapshot's files ask for."""
        known = self.env.hashes if self.env is not None else {}
        files = {"pyproject": "pyproject.toml", "uv_lock": "uv.lock"}
        return all(
            hashlib.sha256(path.read_bytes()).hexdigest() == known[kind]
            for kind, name in files.items()
            if kind in known and (path := self._life.dir.project / name).is_file()
        )

    def _tell_hashes(self, taken_by: str) -> None:
        """What the run executes with; only now is its snapshot known to be whole."""
        toml = (self._life.dir.project / "pit.toml").read_bytes()
        hashes = {"pit_toml": hashlib.sha256(toml).hexdigest(), "snapshot": taken_by}
        hashes |= self.env.hashes if self.env is not None else {}
        for kind, digest in hashes.items():
            self._life.emit(EnvironmentHashed, dag=self._target.dag.name, kind=kind, digest=digest)

    def _make_environment(self) -> None:
        """The project's Python environment, built on first use, when a task needs it."""
        tasks = self._target.tasks
        if not any(table.uses_environment(task, self._project) for task in tasks):
            return
        self.env = environment.python_environment(
            self._project,
            self._config.cache_dir,
            self._life.capture,
            lambda message: self._life.step("environment", message),
            lambda: self._life.cancel.level > 0,
        )
        for path in self.env.unfrozen:
            self._life.warn(
                f"{path} is outside the project: its code is neither frozen nor tracked"
            )

    def _take_snapshot(self) -> None:
        """The frozen copy that every task runs from."""
        life, tasks = self._life, self._target.tasks
        life.step("snapshot", "copying the project")
        publish.sweep(
            self._project, [t for task in self._target.dag.tasks.values() for t in task.targets]
        )
        self.number = self._store.snapshots.draw(life.dir.id)
        self.taken_at = life.clock.now()
        patterns = {pattern for task in tasks for pattern in read_by(task)}
        self.rules = rules_of(self._target, self._orphans())
        self.snapshot = snapshot.take(
            self._project,
            life.dir.project,
            tuple(sorted(patterns)),
            self._config.root,
            self.rules,
            checkpoint=life.checkpoint,
        )
        if self.snapshot.manifest is not None:
            manifest.write(self.snapshot.manifest, life.dir.manifest)
        for message in self.snapshot.warnings:
            life.warn(message)

    def _orphans(self) -> frozenset[str]:
        """What tasks that the DAG no longer has have left; no part of the project any more."""
        orphans = orphaned(self._target.dag, self._store, self._live)
        for left in sorted(orphans)[:_NAMED]:
            self._life.warn(f"{left} was made by a task that no longer exists: ignored")
        return orphans


def _copy(there: Path, here: Path, run: str) -> None:
    try:
        shutil.copytree(there, here, symlinks=True, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise SnapshotFailed(f"cannot take over {there} of run {run}: {error}") from error


def _move(there: Path, here: Path, run: str) -> None:
    try:
        os.rename(there, here)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SnapshotFailed(
            f"cannot take over {there} of run {run}: {reason}",
            "Another retry of it may have come first; see: pit runs",
        ) from error


_ROUNDS = 3
"""How often a project that changes under our hands is looked at again."""

_NAMED = 5
"""How many left-over files a run names."""
