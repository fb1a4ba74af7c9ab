"""Claims: who may execute a task, or change its record, with certain values of its parameters.

A claim is a lock among those of the workspace's runs. A run holds one while it executes a tracked
task, and signs it for those who wait; so does whoever accepts, forgets or cleans it meanwhile,
without a signature.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pit.engine.locks.place import locks
from pit.fs.locks import Lock, signature

if TYPE_CHECKING:
    from pit.engine.staleness.planner import Planner
    from pit.state.store.store import Store


def claim_of(locks: Path, dag: str, task: str, params: str) -> Lock:
    """The lock, not taken yet, on a task with the parameter values of which this is the text."""
    name = hashlib.sha256("\0".join((dag, task, params)).encode("utf-8", "replace")).hexdigest()
    return Lock(locks / f"{name[:24]}.lock")


def let_go(lock: Lock) -> None:
    """Releases a claim that is held; its file goes first, so that nobody waits on a dead one."""
    lock.path.unlink(missing_ok=True)
    lock.release()


@contextmanager
def claimed(locks: Path, dag: str, task: str, params: str) -> Iterator[bool]:
    """Holds the claim while its `with` lasts; gives False if somebody else has it."""
    lock = claim_of(locks, dag, task, params)
    held = lock.acquire()
    try:
        yield held
    finally:
        if held:
            let_go(lock)


class Claims:
    """The claims of one run on the tasks that it executes, decided by a planner."""

    def __init__(self, run: str, runs_dir: Path, planner: Planner, store: Store) -> None:
        self._run, self._locks = run, locks(runs_dir)
        self._planner, self._store = planner, store
        self._dag = planner.target.dag.name
        self._held: dict[str, Lock] = {}

    def claim(self, task: str, params: str) -> bool:
        """Keep other runs from executing a task at the same time; False if one is at it.

        One that has ended since the task was judged has changed its record: look again.
        """
        lock = self._claim_of(task, params)
        if not lock.acquire():
            return False
        latest = self._store.records.of_task(self._dag, task, params)
        decision = self._planner.decision(task)
        if decision is None or latest != decision.record:
            lock.release()
            return False
        lock.sign(f"run {self._run}")
        self._held[task] = lock
        return True

    def claimant(self, task: str, params: str) -> str:
        """Which other run is at the task; empty where none says so."""
        return signature(self._claim_of(task, params).path)

    def _claim_of(self, task: str, params: str) -> Lock:
        return claim_of(self._locks, self._dag, task, params)

    def release(self, task: str) -> None:
        """Let other runs execute the task again."""
        lock = self._held.pop(task, None)
        if lock is not None:
            let_go(lock)
