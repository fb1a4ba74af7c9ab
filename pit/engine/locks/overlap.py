"""A run's place among the runs of its DAG, as `overlap` says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pit.engine.locks import owner, place
from pit.errors import Overlapping, RunNotSuccessful
from pit.fs.locks import Lock
from pit.model import Dag, Overlap, WorkspaceConfig
from pit.state.rundir import prepare
from pit.work.process import launch

if TYPE_CHECKING:
    from pit.state.store.store import Store

Say = Callable[[str], None]


@contextmanager
def held_place(config: WorkspaceConfig, dag: Dag, store: Store, say: Say) -> Iterator[Lock]:
    """The lock by which a run holds its place; `say` is told of a wait. Raises Overlapping."""
    prepare(config.runs_dir, config.settings)
    owner.claim(config, dag.name, store)
    lock = place.lock_of(config.runs_dir, dag.name)
    try:
        _take(lock, dag, store, say)
        yield lock
    finally:
        lock.release()


def _take(lock: Lock, dag: Dag, store: Store, say: Say) -> None:
    shared = dag.overlap is Overlap.ALLOW
    if lock.acquire(shared=shared):
        return
    others = ", ".join(run.id for run in store.runs.running(dag.name))
    busy = f'DAG "{dag.name}" is already running ({others or "just starting"})'
    if dag.overlap is Overlap.SKIP:
        raise Overlapping(busy, 'overlap = "skip" in its pit.toml; --skip-ok exits 0 instead')
    parent = os.environ.get("PIT_RUN_ID")
    if parent and any(run.dag == dag.name for run in store.runs.ancestry(parent)):
        raise Overlapping(
            f"{busy}, and this run was started from within it", "It would wait for itself"
        )
    _wait(lock, shared, f"{busy}; waiting for it to end", say)


def _wait(lock: Lock, shared: bool, why: str, say: Say) -> None:
    """Until the place is free; a signal ends that, and there has been no run then."""
    signals = launch.install_signals(lambda: None, lambda: None)
    try:
        say(why)
        if lock.wait(lambda: signals.received is not None, shared=shared):
            return
    finally:
        signals.restore()
    number = signals.received or 0
    ended = f"{launch.signal_name(number)} ended the wait: nothing was run"
    say(ended)
    raise RunNotSuccessful(ended, signals.exit_code or 1)
