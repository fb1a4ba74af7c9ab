"""What tasks that no longer exist have left in the project: instances of a matrix above all.

Such a file is nobody's: no snapshot takes it and no input matches it, so that the result is that of
a clean build. It stays where it is until a person removes it; one that was edited since is his.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Protocol

from pit.model import Dag, TaskRecord
from pit.project.snapshot.digest import Digests
from pit.spec.patterns import matches


class Recorded(Protocol):
    """The store as this module needs it."""

    def recorded(self, dag: str) -> frozenset[str]:
        """The tasks of a DAG that have records."""

    def records(self, dag: str) -> Iterable[TaskRecord]:
        """The records of a DAG."""


def orphaned(dag: Dag, store: Recorded, digests: Digests) -> frozenset[str]:
    """The places in the project that hold what a task made which the DAG no longer has."""
    gone = store.recorded(dag.name) - {task.name for task in dag.tasks}
    left = [record for record in store.records(dag.name) if record.task in gone] if gone else ()
    return frozenset(
        place
        for record in left
        for place, mark in record.fingerprint.products.items()
        if not os.path.isabs(place) and not _is_made(dag, place)
        if _mark(os.path.join(dag.project, place), digests) == mark
    )


def _is_made(dag: Dag, place: str) -> bool:
    return any(
        matches(target, place) or place.startswith(f"{target.rstrip('/')}/")
        for task in dag.tasks
        for target in task.targets
    )


def _mark(path: str, digests: Digests) -> object:
    try:
        return digests.of(path)
    except OSError:
        return None
