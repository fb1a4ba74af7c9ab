"""What a killed run was publishing is published: its task had succeeded.

The run's own folder still holds what was made. Where that is not what the intent says, or where
another run has been at the task since, nothing is touched; nor where a stranger's file stands now.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pit.errors import PitError
from pit.project import ownership, publish
from pit.project.digest import Digests
from pit.project.products import products_below
from pit.state.rundir import RunDir
from pit.state.store.tables.publications import Intent, Making

if TYPE_CHECKING:
    from pit.state.store.store import Store


def finish(intent: Intent, runs_dir: Path, store: Store) -> bool:
    """Publish what a dead run was about to publish; whether it did. The intent is dropped."""
    done = False
    with suppress(OSError, PitError):  # then the next run makes the targets anew
        done = _finished(intent, runs_dir, store)
    store.publications.end(intent.run, intent.task, done)
    return done


def _finished(intent: Intent, runs_dir: Path, store: Store) -> bool:
    if store.publications.is_outrun(intent.run, intent.task):
        return False
    root = RunDir.at(runs_dir, intent.run).project
    made = products_below(root, intent.targets, Digests())
    if {place: mark.digest for place, mark in made.items()} != intent.places:
        return False
    explained = _Earlier(store.publications.makings(intent.dag, intent.task, intent.run))
    project, targets, digests = Path(intent.project), intent.targets, Digests()

    def check() -> bool:
        name = f"{intent.dag}/{intent.task}"
        return ownership.check(project, root, targets, made, explained, digests, name)

    publish.publish(root, project, targets, check)
    return True


class _Earlier:
    """What a task has made before."""

    def __init__(self, makings: Sequence[Making]) -> None:
        self._makings = makings

    def digests(self, place: str) -> Collection[str]:
        """The digests of what was made at a place; none if nothing is known to have been."""
        return {each.places[place] for each in self._makings if place in each.places}
