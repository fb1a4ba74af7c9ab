"""The environment and the snapshot of a run, of one moment; or those of an earlier run."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path

from pit.config.keys.movement import read_by
from pit.engine.run.lifecycle import OpenRun
from pit.engine.run.request import Continued
from pit.engine.staleness.orphaned import orphaned, rules_of
from pit.errors import SnapshotFailed
from pit.events import EnvironmentHashed
from pit.fs.files import remove_tree
from pit.model import Record
from pit.project import manifest, publish
from pit.project.digest import Digests
from pit.project.python import environment
from pit.project.python.environment import Environment
from pit.project.runners import table
from pit.project.snapshot import snapshot
from pit.project.snapshot.base import Base, Unfit
from pit.project.snapshot.snapshot import Snapshot
from pit.project.trees import Rules
from pit.state import bases, trash
from pit.work.process import procfs


class Frozen(Record):
    """What the tasks of a run are executed from.

    `environment` is None where no task runs in one. `taken_at` is when the snapshot was begun, in
    Unix seconds, and `number` its place among all snapshots; `rules` say what was left out of it.
    `own` is false for one that an earlier run has worked in.
    """

    environment: Environment | None
    snapshot: Snapshot
    rules: Rules
    taken_at: float
    number: int
    own: bool = True


# ---------------------------------------------------------------- what a retry takes over


def take_over(run: OpenRun) -> None:
    """What the run that this one continues has left: its data, and its code if wanted.

    First of all, so that whatever stops this run now, its own retry finds them.
    """
    continued = run.request.continued
    if continued is None:
        return
    if continued.project is not None:
        _move(continued.project, run.dir.project, continued.run)
        with suppress(OSError):  # an older Pit wrote none
            os.rename(continued.project.with_name("manifest"), run.dir.manifest)
    if continued.data is None:
        return
    # What records say is handed on from that run must stay there as well.
    recorded = run.services.store.records.pointed_at(run.target.dag.name)
    take = _copy if recorded.get(continued.data.parent.name) else _move
    take(continued.data, run.dir.data, continued.run)


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


# ---------------------------------------------------------------- environment and snapshot


def freeze(run: OpenRun, live: Digests) -> Frozen:
    """The environment and the snapshot; raises SnapshotFailed and what uv has to say."""
    continued = run.request.continued
    if continued is not None and continued.project is not None:
        frozen, taken_by = _thawed(run, continued), continued.taken_by
    else:
        frozen, taken_by = _frozen(run, live), run.dir.id
    _tell_hashes(run, frozen.environment, taken_by)
    return frozen


def _thawed(run: OpenRun, continued: Continued) -> Frozen:
    """The environment that belongs to a snapshot taken over, and what is read in place."""
    config, target = run.target.config, run.target
    kept = environment.kept_environment(config.cache_dir, continued.hashes)
    return Frozen(
        environment=_environment(run) if kept is None else kept,
        snapshot=snapshot.again(
            [pattern for task in target.tasks for pattern in read_by(task)],
            config.root,
            manifest.read(run.dir.manifest),
        ),
        rules=rules_of(run.target, frozenset()),
        taken_at=continued.taken_at,
        number=run.services.store.snapshots.drawn(continued.taken_by),
        own=False,
    )


def _frozen(run: OpenRun, live: Digests) -> Frozen:
    for _ in range(_ROUNDS):
        made = _environment(run)
        frozen = _snapshot(run, made, live)
        if _belong_together(run.dir.project, made):
            return frozen
        remove_tree(run.dir.project)
    raise SnapshotFailed(
        f"pyproject.toml or uv.lock of {run.target.dag.project} kept changing",
        "Wait until nothing changes it, then try again",
    )


def _environment(run: OpenRun) -> Environment | None:
    """The project's Python environment, built on first use, when a task needs it."""
    project = run.target.dag.project
    if not any(table.uses_environment(task, project) for task in run.target.tasks):
        return None
    made = environment.python_environment(
        project,
        run.target.config.cache_dir,
        run.capture,
        lambda message: run.step("environment", message),
        lambda: run.cancel.level > 0,
    )
    for path in made.unfrozen:
        run.warn(f"{path} is outside the project: its code is neither frozen nor tracked")
    return made


def _snapshot(run: OpenRun, made: Environment | None, live: Digests) -> Frozen:
    """The frozen copy that every task runs from, beside the environment that was made."""
    target, project = run.target, run.target.dag.project
    run.step("snapshot", "copying the project")
    publish.sweep(project, [made for task in target.dag.tasks.values() for made in task.targets])
    number = run.services.store.snapshots.draw(run.dir.id)
    taken_at = run.clock.now()
    patterns = {pattern for task in target.tasks for pattern in read_by(task)}
    rules = rules_of(run.target, _orphans(run, live))
    taken = _taken(run, tuple(sorted(patterns)), rules)
    if taken.manifest is not None:
        manifest.write(taken.manifest, run.dir.manifest)
    for message in taken.warnings:
        run.warn(message)
    return Frozen(environment=made, snapshot=taken, rules=rules, taken_at=taken_at, number=number)


def _taken(run: OpenRun, patterns: tuple[str, ...], rules: Rules) -> Snapshot:
    """The snapshot: made of one that an earlier run has left, or else copied anew."""
    project, into, root = run.target.dag.project, run.dir.project, run.target.config.root
    base = _base(run)
    try:
        if base is not None:
            return snapshot.take(project, into, patterns, root, rules, run.checkpoint, base)
    except Unfit:
        _set_aside(run)
    finally:
        if base is not None:
            trash.empty_meanwhile(into.parent.parent)
    return snapshot.take(project, into, patterns, root, rules, run.checkpoint)


def _base(run: OpenRun) -> Base | None:
    """What an earlier run of the DAG has left, in the place of the snapshot; None if that is of no
    use: whatever did not end well, or before a restart of the machine, or may still be looked at.
    """
    into, runs_dir = run.dir.project, run.target.config.runs_dir
    try:
        empty = os.lstat(into)
    except OSError:
        return None
    ended = bases.claim(runs_dir, run.target.dag.name, into)
    if ended is None:
        return None
    left = manifest.read(into / bases.MANIFEST)
    if left is None or ended.boot != procfs.boot_id() or procfs.in_use(str(into)):
        _set_aside(run)
        return None
    return Base(
        left, ended.began, empty, lambda path: trash.set_aside(path, runs_dir), run.checkpoint
    )


def _set_aside(run: OpenRun) -> None:
    """Rids the place of the snapshot of what was to become it."""
    if not trash.set_aside(run.dir.project, run.target.config.runs_dir):
        remove_tree(run.dir.project)
    run.dir.project.mkdir(0o700)


def _orphans(run: OpenRun, live: Digests) -> frozenset[str]:
    """What tasks that the DAG no longer has have left; no part of the project any more."""
    orphans = orphaned(run.target.dag, run.services.store, live)
    for left in sorted(orphans)[:_NAMED]:
        run.warn(f"{left} was made by a task that no longer exists: ignored")
    return orphans


def _belong_together(project: Path, made: Environment | None) -> bool:
    """Whether the environment is the one that the snapshot's files ask for."""
    known = made.hashes if made is not None else {}
    files = {"pyproject": "pyproject.toml", "uv_lock": "uv.lock"}
    return all(
        hashlib.sha256(path.read_bytes()).hexdigest() == known[kind]
        for kind, name in files.items()
        if kind in known and (path := project / name).is_file()
    )


def _tell_hashes(run: OpenRun, made: Environment | None, taken_by: str) -> None:
    """What the run executes with; only now is its snapshot known to be whole."""
    toml = (run.dir.project / "pit.toml").read_bytes()
    hashes = {"pit_toml": hashlib.sha256(toml).hexdigest(), "snapshot": taken_by}
    hashes |= made.hashes if made is not None else {}
    for kind, digest in hashes.items():
        run.emit(EnvironmentHashed, dag=run.target.dag.name, kind=kind, digest=digest)


_ROUNDS = 3
"""How often a project that changes under our hands is looked at again."""

_NAMED = 5
"""How many left-over files a run names."""
