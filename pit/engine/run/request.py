"""What a run is asked for and given: the request, the services plugged in, how it ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import field

from pit.engine.scheduling.event_log import nobody
from pit.events import Event
from pit.model import Dag, Reason, Record, RunState, WorkspaceConfig
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


class Request(Record):
    """What to run; `given` are the parameters as typed, `only` selects tasks.

    `failed` are the tasks of an earlier run that `--failed` selects, with what depends on them.
    `learn` watches what the tasks open.
    """

    dag: Dag
    config: WorkspaceConfig
    only: str | None = None
    failed: tuple[str, ...] | None = None
    continued: Continued | None = None
    given: dict[str, str] = field(default_factory=dict)
    concurrency: int | None = None
    trigger: str = "manual"
    grace: float = 10.0
    force: bool = False
    learn: bool = False
    pit_version: str = ""


class Services(Record):
    """What the composition root plugs in; `hear` is called by the main thread alone."""

    store: Store
    hear: Callable[[Event], None] = nobody
    tap: Tap | None = None
    waiting: Callable[[str], None] = lambda message: None


class RunResult(Record):
    """How a run ended; `signal` is the number of the one that ended it."""

    run: str
    state: RunState
    reason: Reason | None
    signal: int | None
