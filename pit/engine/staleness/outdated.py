"""Records that an earlier release of Pit made, which compared less: said before anything runs.

Such a record cannot tell whether its task is current, so the task is stale. That must not come as a
surprise: whoever upgrades hears first how many tasks run for that alone, and what else to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pit.engine.staleness import comparison
from pit.model import Task

if TYPE_CHECKING:
    from pit.state.store.store import Store


def outdated(
    dag: str, tasks: Iterable[Task], params: Mapping[str, str], store: Store
) -> tuple[str, ...]:
    """Those of the tasks that are stale because their records are of another version."""
    found = set(store.records.outdated(dag, comparison.VERSION))
    return tuple(
        task.name
        for task in (tasks if found else ())
        if comparison.is_tracked(task) and (task.name, comparison.params_key(task, params)) in found
    )


def announcement(dag: str, count: int) -> tuple[str, str]:
    """The sentence, and what to do, for so many tasks."""
    tasks = "1 task is" if count == 1 else f"{count:,} tasks are"
    return (
        f"this version of Pit compares more than the one that recorded them: {tasks} stale by that",
        f"Let them run once; or, if all is as it should be: pit accept {dag}/'*' -m 'new Pit'",
    )
