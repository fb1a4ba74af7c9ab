"""Whether a recorded run is alive: its lock says so, wherever its folder is now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from pit.model import Reason, RunState, TaskState
from pit.state import liveness
from pit.state.rundir import RunDir
from pit.state.store.store import Store
from pit.state.store.tables.runs import RunRow
from tests.state.story import started


@pytest.fixture
def place(tmp_path: Path) -> Iterator[RunDir]:
    """The folder of a run that is alive."""
    made = RunDir.allocate(tmp_path / "old" / "runs", "sales", time.time())
    yield made
    made.lock.release()


@pytest.fixture
def run(tmp_path: Path, place: RunDir) -> RunRow:
    """The row of that run."""
    with Store.open(tmp_path / "pit.db") as store:
        store.emit(started(place.id, run_dir=str(place.root)))
        store.barrier()
        return store.runs.find(place.id)


def test_a_run_is_alive_as_long_as_its_lock_is_held(run: RunRow, place: RunDir) -> None:
    runs_dir = place.root.parent
    assert liveness.is_alive(run, runs_dir)
    assert liveness.state_of(run, runs_dir) is RunState.RUNNING
    place.lock.release()
    assert not liveness.is_alive(run, runs_dir)
    assert liveness.state_of(run, runs_dir) is RunState.INTERRUPTED
    ended = replace(run, state=RunState.CANCELLED)
    assert liveness.state_of(ended, runs_dir) is RunState.CANCELLED


def test_a_run_stays_alive_when_its_workspace_moves(
    run: RunRow, place: RunDir, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "new" / "runs"
    assert liveness.is_alive(run, elsewhere), "where it was made"
    found = liveness.folder(run, elsewhere)
    assert found is not None
    assert found.root == place.root
    (tmp_path / "old").rename(tmp_path / "new")
    assert liveness.is_alive(run, elsewhere)
    found = liveness.folder(run, elsewhere)
    assert found is not None
    assert found.root == elsewhere / run.id


def test_a_run_whose_id_is_no_folders_name_has_none(run: RunRow, place: RunDir) -> None:
    odd = replace(run, id="../7")
    assert liveness.folder(odd, place.root.parent) is None
    assert not liveness.is_alive(odd, place.root.parent)
    assert liveness.state_of(odd, place.root.parent) is RunState.INTERRUPTED


def test_after_an_interruption_nothing_runs_or_waits(tmp_path: Path, run: RunRow) -> None:
    with Store.open(tmp_path / "pit.db") as store:
        task = store.runs.tasks(run.id)[0]
    cases = {
        TaskState.PENDING: (TaskState.SKIPPED, Reason.INTERRUPTED),
        TaskState.RUNNING: (TaskState.FAILED, Reason.INTERRUPTED),
        TaskState.SUCCESS: (TaskState.SUCCESS, None),
        TaskState.FAILED: (TaskState.FAILED, None),
    }
    for state, then in cases.items():
        row = replace(task, state=state)
        seen = liveness.task_in(RunState.INTERRUPTED, row)
        assert (seen.state, seen.reason) == then
        assert liveness.task_in(RunState.RUNNING, row) == row
