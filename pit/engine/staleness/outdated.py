"""Records that an earlier release of Pit made, which compared less: said before anything runs.

Such a record cannot tell whether its task is current, so the task is stale. That must not come as a
surprise: whoever upgrades hears first how many tasks run for that alone, and what else to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pit.engine.staleness import comparison

if TYPE_CHECKING:
    from pit.engine.target.target import Target
    from pit.state.store.store import Store


def outdated(target: Target, store: Store) -> tuple[str, ...]:
    """The chosen tasks that are stale because their records are of another version."""
    found = set(store.records.outdated(target.dag.name, comparison.VERSION))
    return tuple(
        task.name
        for task in (target.tasks if found else ())
        if comparison.is_tracked(task) and (task.name, target.key(task)) in found
    )


def announcement(dag: str, count: int) -> tuple[str, str]:
    """The sentence, and what to do, for so many tasks."""
    tasks = "1 task is" if count == 1 else f"{count:,} tasks are"
    return (
        f"this version of Pit compares more than the one that recorded them: {tasks} stale by that",
        f"Let them run once; or, if all is as it should be: pit accept {dag}/'*' -m 'new Pit'",
    )
