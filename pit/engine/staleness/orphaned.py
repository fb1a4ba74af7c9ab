"""What tasks that no longer exist have left in the project: instances of a matrix above all.

Such a file is nobody's: no snapshot takes it and no input matches it, so that the result is that of
a clean build. It stays where it is until a person removes it; one that was edited since is his.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pit.config.dag.expanded import ExpandedDag
from pit.config.keys.movement import read_by
from pit.fs.patterns import matches
from pit.fs.reads import Reads
from pit.project.digest import Digests
from pit.project.marks import marked
from pit.project.places import unspelled
from pit.project.trees import Rules
from pit.state.secrets.identities import private_files

if TYPE_CHECKING:
    from pit.engine.target.target import Target
    from pit.state.store.store import Store


def orphaned(
    dag: ExpandedDag, store: Store, digests: Digests, reads: Reads | None = None
) -> frozenset[str]:
    """The places in the project that hold what a task made which the DAG no longer has."""
    reads = Reads() if reads is None else reads
    gone = store.records.tasks(dag.name) - dag.tasks.keys()
    left = (
        [record for record in store.records.of_dag(dag.name) if record.task in gone] if gone else ()
    )
    return frozenset(
        place
        for record in left
        for place, mark in record.fingerprint.products.items()
        if not os.path.isabs(place) and not _is_made(dag, place)
        if _mark(os.path.join(dag.project, unspelled(place)), digests, reads) == mark
    )


def rules_of(target: Target, orphans: frozenset[str]) -> Rules:
    """What of a project a run of this target has no part in: its folder of runs, what its tasks
    will make, what nobody makes any more, and private files."""
    project, config, tasks = target.dag.project, target.config, target.dag.tasks.values()
    own = [made for task in target.tasks for made in task.targets]
    return Rules(
        project,
        (config.runs_dir, *(project / place for place in (*own, *map(unspelled, orphans)))),
        private_files(config),
        [path for task in tasks for path in read_by(task)],
        [project / made for task in tasks for made in task.targets],
    )


def _is_made(dag: ExpandedDag, place: str) -> bool:
    return any(
        matches(target, place) or place.startswith(f"{target.rstrip('/')}/")
        for task in dag.tasks.values()
        for target in task.targets
    )


def _mark(path: str, digests: Digests, reads: Reads) -> object:
    try:
        return marked(path, digests, reads)
    except OSError:
        return None
