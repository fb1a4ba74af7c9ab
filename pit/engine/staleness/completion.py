"""Whether a run of some tasks has left nothing undone in its DAG, and how fresh that is.

`[dag.requires]` asks for a DAG that is done as a whole. The success of a whole run is that. Runs of
some tasks are together when each task of the DAG has succeeded, or been found current, after the
last attempt of everything that it depends on; that is as old as the oldest of these facts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pit.config.dag.expanded import ExpandedDag

if TYPE_CHECKING:
    from pit.state.store.tables.dags import StandingRow
    from pit.state.store.tables.runs import RunRow


def complete_at(
    dag: ExpandedDag, standings: Iterable[StandingRow], before: RunRow | None = None
) -> float | None:
    """Since when all tasks of a DAG, with the dependencies that inputs imply, are known to be done;
    None if one is not."""
    known = {each.task: each for each in standings}
    if any(name not in known for name in dag.tasks):
        return None
    done = {name: _done(each, before) for name, each in known.items()}
    for name, needs in dag.needs.items():
        needed = max((known[each].seq for each in needs), default=0)
        if done[name][0] < max(1, known[name].seq, needed):
            return None
    return min((done[name][1] for name in dag.tasks), default=None)


def _done(standing: StandingRow, before: RunRow | None) -> tuple[int, float]:
    """The last run that knew a task to be done, by its number, and when."""
    own = (standing.done_seq, standing.done_at or 0.0)
    if before is None or before.seq < standing.done_seq:
        return own
    return (before.seq, max(own[1], before.complete_at or 0.0))
