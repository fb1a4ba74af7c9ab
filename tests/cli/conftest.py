"""A workspace with projects and runs that are recorded as a run records them, without running."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pit.events import AttemptEnded, AttemptStarted, RunEnded, RunStarted, TaskEnded
from pit.model import Output, Reason, RunState, TaskState
from pit.order import Outcome
from pit.state.rundir import RunDir
from pit.state.store.store import Store
from tests.builder import Pit

SALES = """
[dag]
description = "Sales of the day"
owner = "team"
schedule = "0 6 * * *"
[[tasks]]
name = "extract"
script = "extract.sh"
[[tasks]]
name = "load"
script = "load.sh"
depends_on = ["extract"]
[[outputs]]
name = "totals"
type = "table"
location = "warehouse.staging.totals"
audience = "finance"
"""

Record = Callable[..., RunDir]


class Terminal:
    """Text that says that it is a terminal."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError("no file")


@pytest.fixture
def sales(pit: Pit) -> Pit:
    """A workspace with the project `sales`."""
    return pit.project("sales").toml(SALES).file("extract.sh", "").file("load.sh", "")


def success(run: str, at: float, task: str) -> list[object]:
    """The events of a task that took two seconds and succeeded."""
    outcome = Outcome(
        started_at=at,
        ended_at=at + 2,
        seconds=2.0,
        exit_code=0,
        cpu_seconds=1.5,
        peak_memory=50_000_000,
    )
    return [
        AttemptStarted(run=run, at=at, task=task, attempt=1, attempts=1),
        AttemptEnded(run=run, at=at + 2, task=task, attempt=1, outcome=outcome),
        TaskEnded(
            run=run,
            at=at + 2,
            task=task,
            state=TaskState.SUCCESS,
            attempts=1,
            started_at=at,
            seconds=2.0,
        ),
    ]


def failure(run: str, at: float, task: str) -> list[object]:
    """The events of a task that took two seconds and failed."""
    outcome = Outcome(
        started_at=at,
        ended_at=at + 2,
        seconds=2.0,
        exit_code=3,
        reason=Reason.EXIT,
        error="exit code 3",
    )
    return [
        AttemptStarted(run=run, at=at, task=task, attempt=1, attempts=1),
        AttemptEnded(run=run, at=at + 2, task=task, attempt=1, outcome=outcome),
        TaskEnded(
            run=run,
            at=at + 2,
            task=task,
            state=TaskState.FAILED,
            reason=Reason.EXIT,
            error="exit code 3",
            attempts=1,
            started_at=at,
            seconds=2.0,
        ),
    ]


@pytest.fixture
def record(sales: Pit) -> Record:
    """Record a run of `sales`; returns its folder, whose lock is held with `alive`."""

    def make(
        state: RunState = RunState.SUCCESS,
        *,
        at: float | None = None,
        dag: str = "sales",
        stub: bool = False,
        ended: bool = True,
        alive: bool = False,
        logs: dict[str, bytes] | None = None,
        params: dict[str, str] | None = None,
    ) -> RunDir:
        at = time.time() - 3600 if at is None else at
        folder = RunDir.allocate(sales.root / "runs", dag, at)
        written = {"extract": b"one\ntwo\n", "load": b"three\n"} if logs is None else logs
        for task, data in written.items():
            folder.log_file(task).write_bytes(data)
        with Store.open(sales.root / "pit_metadata.db") as store:
            for event in _events(sales.root, folder, at, dag, state, stub, ended, params or {}):
                store.emit(event)  # type: ignore[arg-type]
        assert folder.lock is not None
        if not alive:
            folder.lock.release()
        return folder

    return make


def _events(
    root: Path,
    folder: RunDir,
    at: float,
    dag: str,
    state: RunState,
    stub: bool,
    ended: bool,
    params: dict[str, str],
) -> list[object]:
    run = folder.id
    events: list[object] = [
        RunStarted(
            run=run,
            at=at,
            dag=dag,
            run_dir=str(folder.root),
            project=str(root / "projects" / dag),
            tasks=("extract", "load"),
            params=params,
        ),
        *success(run, at, "extract"),
    ]
    if not ended:
        started = AttemptStarted(run=run, at=at + 2, task="load", attempt=1, attempts=1)
        return [*events, started]
    second = failure if state is RunState.FAILED else success
    made = Output(
        name="totals",
        type="table",
        location="warehouse.staging.totals",
        extra={"audience": "finance"},
    )
    return [
        *events,
        *second(run, at + 2, "load"),
        RunEnded(
            run=run,
            at=at + 4,
            state=state,
            seconds=4.0,
            stub=stub,
            reason=Reason.EXIT if state is RunState.FAILED else None,
            outputs=(made,) if state is RunState.SUCCESS else (),
        ),
    ]
