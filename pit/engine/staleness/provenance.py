"""Where what stands in a project comes from, as far as the store and the folders of runs tell.

Asked only where a folder or pattern among the targets meets something that stands, so it reads as
late and as little as it can: first what the task itself has made, whatever its parameters; then
what other tasks have made that make it no more, such as those that were renamed; at last, for what
an older release of Pit made and did not write down, the folder of the run that last did its work.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pit.config.dag.dataflow import makes
from pit.config.dag.expanded import ExpandedDag
from pit.errors import PitError
from pit.model import Task
from pit.project import selection
from pit.project.digest import Digests
from pit.project.products import products_below
from pit.state.rundir import RunDir
from pit.state.store.tables.publications import Making

if TYPE_CHECKING:
    from pit.state.store.store import Store
    from pit.state.store.tables.runs import LastSuccess

Digested = Mapping[str, Collection[str]]
"""The digests of what was made, by place."""


class Provenance:
    """What the tasks of a DAG have made; `run` is the one that asks, if any."""

    def __init__(self, dag: ExpandedDag, runs: Path, store: Store, run: str = "") -> None:
        self._dag, self._runs, self._store, self._run = dag, runs, store, run

    def of(self, task: Task) -> Traced:
        """What explains the files at the targets of one task."""
        return Traced(self, task)

    def made_by(self, task: str) -> Sequence[Making]:
        """What one task is known to have made, whatever its parameters were."""
        return self._store.publications.makings(self._dag.name, task, self._run)

    @cached_property
    def abandoned(self) -> Digested:
        """What tasks have made that make it no more."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for making in self._store.publications.makings(self._dag.name, None, self._run):
            task = self._dag.tasks.get(making.task)
            for place, made in making.places.items():
                if task is None or not makes(task, place):
                    found[place].add(made)
        return found

    def kept(self, task: Task) -> dict[str, str]:
        """What the last run that did a task's work still has at its targets."""
        success = self._last_successes.get(task.name)
        if success is None or success.run == self._run:
            return {}
        with suppress(OSError, PitError):
            root = RunDir.at(self._runs, success.run).project
            inside = [target for target in task.targets if not _is_outside(target)]
            made = products_below(root, inside, Digests())
            return {place: mark.digest for place, mark in made.items()}
        return {}

    @cached_property
    def _last_successes(self) -> Mapping[str, LastSuccess]:
        return self._store.runs.last_successes(self._dag.name)


class Traced:
    """What is known to have been made at the places of one task's targets."""

    def __init__(self, known: Provenance, task: Task) -> None:
        self._known, self._task = known, task

    def digests(self, place: str) -> Collection[str]:
        """The digests of what was made at a place; none if nothing is known to have been."""
        return (
            self._own.get(place)
            or self._known.abandoned.get(place)
            or ({self._kept[place]} if place in self._kept else ())
        )

    def with_params(self, params: str) -> Digested:
        """What the task itself has made with parameters of this text."""
        return _by_place(making for making in self._rows if making.params == params)

    @cached_property
    def _rows(self) -> Sequence[Making]:
        return self._known.made_by(self._task.name)

    @cached_property
    def _own(self) -> Digested:
        return _by_place(self._rows)

    @cached_property
    def _kept(self) -> Mapping[str, str]:
        return {} if self._rows else self._known.kept(self._task)


def _is_outside(target: str) -> bool:
    return target.startswith(("/", selection.WORKSPACE))


def _by_place(makings: Iterable[Making]) -> dict[str, set[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for making in makings:
        for place, made in making.places.items():
            found[place].add(made)
    return dict(found)
