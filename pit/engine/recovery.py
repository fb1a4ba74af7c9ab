"""What a killed run was publishing is published: its task had succeeded.

The run's own folder still holds what was made. Where that is not what the intent says, or where
another run has been at the task since, nothing is touched.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Protocol

from pit.errors import PitError
from pit.project import publish
from pit.project.digest import Digests
from pit.project.view import products_below
from pit.state.intents import Intent
from pit.state.rundir import RunDir


class Keeper(Protocol):
    """The store as this module needs it."""

    def is_outrun(self, run_id: str, task: str) -> bool:
        """Whether another run has been at a task since a run was about to publish, or still is."""

    def end_intent(self, run_id: str, task: str) -> None:
        """Drop an intent."""


def finish(intent: Intent, runs_dir: Path, keeper: Keeper) -> bool:
    """Publish what a dead run was about to publish; whether it did. The intent is dropped."""
    done = False
    with suppress(OSError, PitError):  # then the next run makes the targets anew
        done = _finished(intent, runs_dir, keeper)
    keeper.end_intent(intent.run, intent.task)
    return done


def _finished(intent: Intent, runs_dir: Path, keeper: Keeper) -> bool:
    if keeper.is_outrun(intent.run, intent.task):
        return False
    root = RunDir.at(runs_dir, intent.run).project
    made = products_below(root, intent.targets, Digests())
    if {place: mark.digest for place, mark in made.items()} != intent.places:
        return False
    publish.publish(root, Path(intent.project), intent.targets)
    return True
