"""What a run is asked for and given: the request, the services plugged in, how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import field

from pit.engine.run.publish_record import Keeper
from pit.engine.scheduling.sinks import Durable, Sink
from pit.engine.staleness import planner
from pit.engine.staleness.completion import Complete, Standing
from pit.model import Dag, Reason, Record, RunState, TaskRecord, WorkspaceConfig
from pit.state.store.tables.digests import Seen
from pit.work.task_log import Tap


class PastRun(Protocol):
    """What the engine asks about another run."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def dag(self) -> str:
        """Its DAG."""

    @property
    def ended_at(self) -> float | None:
        """Unix seconds, None while it runs."""


class CompleteRun(Complete, PastRun, Protocol):
    """A run after which a whole DAG was known to be done."""


class History(Durable, planner.Memory, Keeper, Protocol):
    """The store as the engine sees it: a durable sink that also remembers other runs."""

    def last_success(self, dag: str) -> CompleteRun | None:
        """The run after which a whole DAG was known to be done most lately."""

    def last_complete(self, dag: str) -> CompleteRun | None:
        """The latest run after which no task of a DAG was left undone."""

    def standings(self, dag: str) -> Sequence[Standing]:
        """How each task stands that a DAG has or had."""

    def ancestry(self, run: str) -> Sequence[PastRun]:
        """The run and those that it was started from, innermost first."""

    def take(self, dag: str, workspace: str, is_free: Callable[[str], bool]) -> str:
        """Make a DAG that of a workspace, if it is free; whose it is then."""

    def owner(self, dag: str) -> str:
        """The workspace that a DAG belongs to; empty if it is nobody's yet."""

    def draw(self, run_id: str = "") -> int:
        """The number of the snapshot that a run is about to take, later than all so far."""

    def drawn(self, run_id: str) -> int:
        """The number of the snapshot that a run took; 0 if it is forgotten."""

    def open_runs(self, dag: str | None = None) -> Sequence[PastRun]:
        """Runs that have not ended."""

    def recorded(self, dag: str) -> frozenset[str]:
        """The tasks of a DAG that have records."""

    def records(self, dag: str) -> Sequence[TaskRecord]:
        """The records of a DAG."""

    def outdated(self, dag: str, version: int) -> Iterable[tuple[str, str]]:
        """Task and parameters of the records whose fingerprints are of another version."""

    def pointed_at(self, dag: str) -> Mapping[str, bool]:
        """The runs that records of a DAG name, and whether products lie in their data folders."""

    def handed_values(
        self, run_id: str, name: str, left_out: Mapping[str, str]
    ) -> Mapping[str, str]:
        """The small facts of a name, by task, that skipped tasks of a run hand on."""

    def digests(self, *folders: str) -> Mapping[str, Seen]:
        """The digest cache."""

    def save_digests(self, changes: Mapping[str, Seen | None]) -> None:
        """Bring the digest cache up to date."""


class Again(Record):
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
    again: Again | None = None
    given: dict[str, str] = field(default_factory=dict)
    concurrency: int | None = None
    trigger: str = "manual"
    grace: float = 10.0
    force: bool = False
    learn: bool = False
    pit_version: str = ""


class Services(Record):
    """What the composition root plugs in."""

    history: History
    sinks: tuple[Sink, ...] = ()
    tap: Tap | None = None
    waiting: Callable[[str], None] = lambda message: None


class Finale(Record):
    """How a run ended, as the caller sees it."""

    run: str
    state: RunState
    reason: Reason | None
    signal: int | None
