"""What a run is asked for and given: the request, the services plugged in, how it ended."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import field

from pit.engine.scheduling.event_log import Hear
from pit.engine.target.target import Target
from pit.errors import SnapshotFailed
from pit.model import Reason, Record, RunState
from pit.work.task_log import Tap

if TYPE_CHECKING:
    from pit.state.store.store import Store


class Continued(Record):
    """The run that this one continues: `done` maps its finished tasks to the run that did each.

    `project` is its snapshot, which the run `taken_by` took, begun at `taken_at` (Unix seconds);
    None asks for a new one. With the snapshot comes the Python environment that `hashes` name, and
    the run has the same tasks again: these `tasks`, or these among others if it was `cut_off`.
    """

    run: str
    done: dict[str, str]
    data: Path | None = None
    project: Path | None = None
    taken_by: str = ""
    taken_at: float = 0.0
    hashes: dict[str, str] = field(default_factory=dict)
    tasks: frozenset[str] = frozenset()
    cut_off: bool = False

    def refuse_others(self, names: Collection[str]) -> None:
        """Raise SnapshotFailed if what the run's matrices read outside the project makes other
        tasks than these.

        A run that was cut off has not told of all that it had.
        """
        gone, new = self.tasks - set(names), set(names) - self.tasks
        if self.project is not None and (gone or (new and not self.cut_off)):
            which = f"{min(gone)} is none any more" if gone else f"{min(new)} is new"
            raise SnapshotFailed(
                f"the tasks of run {self.run} are not the same any more: {which}, "
                "since its matrix reads what is outside the project",
                f"Go on with those that there are now: pit retry {self.run} --code new",
            )


class Request(Record):
    """What to run, and how; `learn` watches what the tasks open.

    `concurrency` is how many tasks run at once, None for what the DAG says.
    """

    target: Target
    continued: Continued | None = None
    concurrency: int | None = None
    trigger: str = "manual"
    grace: float = 10.0
    force: bool = False
    learn: bool = False
    pit_version: str = ""

    @property
    def slots(self) -> int:
        """How many tasks run at once."""
        return self.concurrency or self.target.dag.declared.concurrency


class Services(Record):
    """What the composition root plugs in; `hear` are those who listen, in order."""

    store: Store
    hear: tuple[Hear, ...] = ()
    tap: Tap | None = None
    waiting: Callable[[str], None] = lambda message: None


class RunResult(Record):
    """How a run ended; `signal` is the number of the one that ended it."""

    run: str
    state: RunState
    reason: Reason | None
    signal: int | None
