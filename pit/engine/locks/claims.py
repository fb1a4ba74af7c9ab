"""Claims: who may execute a task, or change its record, with certain values of its parameters.

A claim is a lock among those of the workspace's runs. A run holds one while it executes a tracked
task; so does whoever accepts, forgets or cleans it meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pit.engine.locks.place import locks
from pit.fs.locks import Lock, lock_for

if TYPE_CHECKING:
    from pit.engine.staleness.planner import Planner
    from pit.state.store.store import Store


def claim_of(locks: Path, dag: str, task: str, params: str) -> Lock:
    """The lock, not taken yet, on a task with the parameter values of which this is the text."""
    return lock_for(locks, "\0".join((dag, task, params)))


@contextmanager
def claimed(locks: Path, dag: str, task: str, params: str) -> Iterator[bool]:
    """Holds the claim while its `with` lasts; gives False if somebody else has it."""
    lock = claim_of(locks, dag, task, params)
    held = lock.acquire()
    try:
        yield held
    finally:
        lock.release()


class Claims:
    """The claims of one run on the tasks that it executes, decided by a planner."""

    def __init__(self, run: str, runs_dir: Path, planner: Planner, store: Store) -> None:
        self._run, self._locks = run, locks(runs_dir)
        self._planner, self._store = planner, store
        self._dag = planner.target.dag.name
        self._held: dict[str, Lock] = {}
        self._seen = store.foreign_version()  # before any record is read to judge a task by

    def claim(self, task: str, params: str) -> bool:
        """Keep other runs from executing a task at the same time; False if one is at it.

        One that has ended since the task was judged has changed its record: look again.
        """
        lock = self._claim_of(task, params)
        if not lock.acquire():
            return False
        if not self._stands(task, params):
            lock.release()
            return False
        self._held[task] = lock
        return True

    def _stands(self, task: str, params: str) -> bool:
        """Whether the record is still that by which the task was judged."""
        decision = self._planner.decision(task)
        if decision is None:
            return False
        if self._store.foreign_version() == self._seen:  # nobody else has written anything
            return True
        return self._store.records.of_task(self._dag, task, params) == decision.record

    def claimant(self, task: str) -> str:
        """Which other run is at the task, as far as the store knows yet; else empty."""
        found = self._store.runs.executing(self._dag, task)
        return next((f"run {run}" for run in found if run != self._run), "")

    def _claim_of(self, task: str, params: str) -> Lock:
        return claim_of(self._locks, self._dag, task, params)

    def release(self, task: str) -> None:
        """Let other runs execute the task again."""
        lock = self._held.pop(task, None)
        if lock is not None:
            lock.release()
