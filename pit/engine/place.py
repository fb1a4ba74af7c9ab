"""A run's place among others: the lock of its DAG, and what must have succeeded before it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from pit.errors import RequirementNotMet
from pit.spec import durations
from pit.state.locks import Lock


class Success(Protocol):
    """A run that succeeded."""

    @property
    def ended_at(self) -> float | None:
        """Unix seconds."""


class Successes(Protocol):
    """What is known of earlier successes."""

    def last_success(self, dag: str) -> Success | None:
        """The newest real (not stubbed) success of a DAG."""


def locks(runs_dir: Path) -> Path:
    """The folder of the locks that runs take on DAGs and tasks."""
    return runs_dir / ".locks"


def lock_of(runs_dir: Path, dag: str) -> Lock:
    """The lock by which the runs of a DAG keep their places: shared for `allow`, else exclusive."""
    return Lock(locks(runs_dir) / f"{dag.lower()}.lock")


def check_requirements(
    dag: str, requires: Mapping[str, float], successes: Successes, now: float
) -> None:
    """Raises RequirementNotMet unless each DAG succeeded within its number of seconds."""
    for name, max_age in requires.items():
        success = successes.last_success(name)
        if success is None:
            raise RequirementNotMet(
                f'DAG "{dag}" requires "{name}", which never succeeded',
                f"Run it first: pit run {name}",
            )
        age = now - (success.ended_at or 0.0)
        if age > max_age:
            raise RequirementNotMet(
                f'DAG "{dag}" requires a success of "{name}" within '
                f"{durations.format(max_age)}; the last was {durations.format(round(age))} ago",
                f"Run it again: pit run {name}",
            )
