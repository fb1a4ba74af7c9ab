"""Recovery: dead runs become interrupted, living ones never."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pit.model import RunState, TaskState
from pit.state.recover import recover
from pit.state.rundir import RunDir
from pit.state.store.store import Store
from tests.state.story import EPOCH, ended, run_id, started

RUN = """
import sys, time
from pathlib import Path
from pit.events import AttemptStarted
from pit.state.rundir import RunDir
from pit.state.store.store import Store
from tests.state.story import started
workspace = Path(sys.argv[1])
folder = RunDir.allocate(workspace / "runs", "sales", time.time())
store = Store.open(workspace / "pit.db")
store.emit(started(folder.id, run_dir=str(folder.root)))
store.emit(AttemptStarted(run=folder.id, at=time.time(), task="extract", attempt=1, attempts=1))
store.barrier()
print(folder.id, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An open store in a fresh workspace."""
    with Store.open(tmp_path / "pit.db") as opened:
        yield opened


def test_a_killed_run_is_interrupted_and_a_living_one_is_not(store: Store, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert recover(store, runs) == ()
        process.kill()
        process.wait()
        assert [row.id for row in recover(store, runs)] == [name]
    assert store.runs.find(name).state is RunState.INTERRUPTED
    assert [(t.task, t.state, t.reason) for t in store.runs.tasks(name)] == [
        ("extract", TaskState.FAILED, "interrupted"),
        ("load", TaskState.SKIPPED, "interrupted"),
    ]
    assert recover(store, runs) == ()


def test_a_run_whose_folder_is_gone_is_dead(store: Store, tmp_path: Path) -> None:
    store.emit(started(run_id(1)))
    assert [row.id for row in recover(store, tmp_path / "runs")] == [run_id(1)]


def test_who_dies_while_burying_leaves_it_to_the_next(store: Store, tmp_path: Path) -> None:
    store.emit(started(run_id(1)))

    def die(row: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recover(store, tmp_path / "runs", die)
    assert store.runs.find(run_id(1)).state is RunState.RUNNING
    buried: list[object] = []
    assert len(recover(store, tmp_path / "runs", buried.append)) == len(buried) == 1


def test_a_run_in_a_folder_that_was_configured_before_is_still_alive(
    store: Store, tmp_path: Path
) -> None:
    folder = RunDir.allocate(tmp_path / "old-runs", "sales", EPOCH)
    store.emit(started(folder.id, run_dir=str(folder.root)))
    assert recover(store, tmp_path / "runs") == ()
    folder.lock.release()
    assert len(recover(store, tmp_path / "runs")) == 1


def test_a_run_that_ends_while_we_look_is_never_called_interrupted(tmp_path: Path) -> None:
    path, runs = tmp_path / "pit.db", tmp_path / "runs"
    Store.open(path).close()
    stop = threading.Event()
    wrong: list[object] = []

    def look() -> None:
        with Store.open(path) as mine:
            while not stop.is_set():
                wrong.extend(recover(mine, runs))

    looker = threading.Thread(target=look)
    looker.start()
    with Store.open(path) as store:
        for _ in range(100):
            folder = RunDir.allocate(runs, "sales", EPOCH)
            store.emit(started(folder.id, run_dir=str(folder.root)))
            store.emit(ended(folder.id))
            store.barrier()
            folder.lock.release()
    stop.set()
    looker.join()
    assert wrong == []


def test_a_row_with_a_strange_id_is_dead(store: Store, tmp_path: Path) -> None:
    store.emit(started("no-run-id"))
    assert [row.id for row in recover(store, tmp_path / "runs")] == ["no-run-id"]
