"""A run's place among others: the lock of its DAG, and what must have succeeded before it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pit.errors import RequirementNotMet
from pit.fs.locks import Lock
from pit.text import durations

if TYPE_CHECKING:
    from pit.state.store.store import Store


def locks(runs_dir: Path) -> Path:
    """The folder of the locks that runs take on DAGs and tasks."""
    return runs_dir / ".locks"


def lock_of(runs_dir: Path, dag: str) -> Lock:
    """The lock by which the runs of a DAG keep their places: shared for `allow`, else exclusive."""
    return Lock(locks(runs_dir) / f"{dag.lower()}.lock")


def check_requirements(dag: str, requires: Mapping[str, float], store: Store, now: float) -> None:
    """Raises RequirementNotMet unless each DAG succeeded within its number of seconds.

    A run of some tasks is a success of its DAG if it left nothing undone in it.
    """
    for name, max_age in requires.items():
        success = store.runs.last_success(name)
        if success is None:
            raise RequirementNotMet(
                f'DAG "{dag}" requires "{name}", which never succeeded as a whole',
                f"Run it first: pit run {name}",
            )
        age = now - (success.complete_at or 0.0)
        if age > max_age:
            raise RequirementNotMet(
                f'DAG "{dag}" requires a success of the whole "{name}" within '
                f"{durations.format(max_age)}; the last was {durations.format(round(age))} ago",
                f"Run it again: pit run {name}",
            )
