"""What became of a task without a record: its first run is no news, a failure or a drop is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from pit.config.dag.params import earlier_key
from pit.model import Reason, Task, TaskState

if TYPE_CHECKING:
    from pit.state.store.store import Store
    from pit.state.store.tables.runs import TriedRow

FIRST, FAILED, FORGOTTEN = "first", "failed", "forgotten"
"""It has never been tried; it failed the last time; somebody dropped its record."""

_ENDS = (Reason.TIMEOUT, Reason.CANCELLED, Reason.INTERRUPTED)
_UNRECORDED = (Reason.INPUT_CHANGED, Reason.WARNED)
_RUNS = 20


class Earlier:
    """The last runs of a DAG, read when the first task without a record comes up."""

    def __init__(self, dag: str, store: Store) -> None:
        self._dag, self._store = dag, store
        self._keys: dict[tuple[int, Sequence[str] | None], str | None] = {}

    @cached_property
    def _runs(self) -> Sequence[TriedRow]:
        return self._store.runs.tried(self._dag)

    def became(self, task: Task, params: str) -> str:
        """What became of a task when it was last tried with parameters of this text.

        `FIRST`, `FAILED`, `FORGOTTEN`, or the reason that says more; empty if that is not known.
        """
        for at, run in enumerate(self._runs):
            if task.name in run.tasks and self._key(task, at) == params:
                return self._said(task.name, *run.tasks[task.name])
        return FIRST if len(self._runs) < _RUNS else ""

    def _key(self, task: Task, at: int) -> str | None:
        """The text of a task's parameters in one of the runs; most tasks have the same."""
        known = (at, task.params)
        if known not in self._keys:
            self._keys[known] = earlier_key(task, self._runs[at].params)
        return self._keys[known]

    def _said(self, task: str, state: TaskState, reason: str | None) -> str:
        if state in (TaskState.FAILED, TaskState.CANCELLED):
            return reason if reason is not None and reason in _ENDS else FAILED
        if reason is not None and reason in _UNRECORDED:
            return reason
        note = next(iter(self._store.records.notes(self._dag, task, 1)), None)
        return FORGOTTEN if note is not None and note.what == FORGOTTEN else ""
