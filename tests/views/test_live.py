"""A run that is under way, seen from another process: by the store and the run's lock alone."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pit.config.settings import load_workspace_config
from pit.config.workspace import discover
from pit.model import Reason, RunState, TaskState, WorkspaceConfig
from pit.state.store.store import Store
from pit.views.logs import LogsView, RunLogs, log_list
from pit.views.runs import RunView, latest_runs
from pit.views.status import DagStatusView, dag_status_view, known_dags, status_view
from tests.builder import Pit

SLOW = """
[[tasks]]
name = "load"
script = "load.sh"
[[tasks]]
name = "wait"
script = "wait.sh"
depends_on = ["load"]
[[tasks]]
name = "mail"
script = "load.sh"
depends_on = ["wait"]
"""
FINISHED = TaskState.SUCCESS, None
SECONDS = 60.0


class Onlooker:
    """Another process than that of the run, with nothing but the workspace's configuration."""

    def __init__(self, root: Path) -> None:
        self.config: WorkspaceConfig = load_workspace_config(root)

    def asks(self, question: Callable[[Store], Any]) -> Any:
        """An answer from the store as it is now; nothing is written."""
        with Store.open_readonly(self.config.metadata_db) as store:
            return question(store)

    def run(self) -> RunView:
        """The last run."""
        (run,) = self.asks(lambda store: latest_runs(self.config, store, "slow", 1, None))
        return run

    def status(self) -> DagStatusView:
        """The DAG with its tasks."""
        dag = discover(self.config).dag("slow")

        def view(store: Store) -> DagStatusView:
            known = known_dags(self.config, store, {"slow"})
            return dag_status_view(self.config, store, "slow", dag, known)

        return self.asks(view)

    def tasks(self) -> dict[str, tuple[TaskState, str | None]]:
        """Where each task stands, and why."""
        return {task.task: (task.state, task.reason) for task in self.status().tasks}

    def logs(self) -> LogsView:
        """What the last run has written."""
        return self.asks(
            lambda store: RunLogs(self.config, store, store.runs.last_run("slow"), "").view(None)
        )

    def until(self, is_so: Callable[[], bool]) -> None:
        """Look again and again until something is so."""
        end = time.monotonic() + SECONDS
        while not is_so():
            assert time.monotonic() < end, f"{self.run()} {self.tasks()}"
            time.sleep(0.05)


@pytest.fixture
def slow(tmp_path: Path) -> Pit:
    """A DAG whose second task waits for a file."""
    pit = Pit(tmp_path).project("slow").toml(SLOW).file("load.sh", "echo loaded\n")
    return pit.file("wait.sh", f"echo waits; until [ -e {tmp_path}/go ]; do sleep 0.05; done\n")


@contextmanager
def begun(pit: Pit) -> Iterator[subprocess.Popen[bytes]]:
    """A run that is on its way, and is gone when the test ends."""
    with pit.start("run", "slow") as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_run_is_seen_while_it_lives_and_as_interrupted_once_it_was_killed(slow: Pit) -> None:
    onlooker = Onlooker(slow.root)
    with begun(slow) as process:
        onlooker.until(lambda: bool(onlooker.status().tasks))
        onlooker.until(lambda: onlooker.tasks()["wait"][0] is TaskState.RUNNING)
        run, status = onlooker.run(), onlooker.status()
        assert (run.state, run.seconds, run.ending) == (RunState.RUNNING, None, False)
        assert status.dag.last == run
        assert status.dag.state is RunState.RUNNING
        assert onlooker.tasks()["load"] == FINISHED
        assert onlooker.tasks()["mail"] == (TaskState.PENDING, None)
        onlooker.until(lambda: "waits\n" in [each.text for each in onlooker.logs().logs])
        assert [(each.task, each.state) for each in onlooker.logs().logs] == [
            ("load", TaskState.SUCCESS),
            ("wait", TaskState.RUNNING),
        ]

        process.kill()
        onlooker.until(lambda: onlooker.run().state is RunState.INTERRUPTED)

    run, status = onlooker.run(), onlooker.status()
    assert (run.reason, run.ending) == (Reason.INTERRUPTED, False)
    assert status.dag.state is RunState.INTERRUPTED
    assert onlooker.tasks() == {
        "load": FINISHED,
        "wait": (TaskState.FAILED, Reason.INTERRUPTED),
        "mail": (TaskState.SKIPPED, Reason.INTERRUPTED),
    }
    assert onlooker.logs().run == run
    assert onlooker.logs().logs[1].state is TaskState.FAILED
    assert onlooker.asks(lambda s: latest_runs(onlooker.config, s, None, 9, RunState.RUNNING)) == []
    (kept,) = onlooker.asks(lambda store: store.runs.running("slow"))
    assert kept.state is RunState.RUNNING, "looking has written nothing"


def test_a_run_that_ends_is_seen_as_it_ended(slow: Pit) -> None:
    onlooker = Onlooker(slow.root)
    with begun(slow) as process:
        onlooker.until(lambda: bool(onlooker.status().tasks))
        (slow.root / "go").touch()
        assert process.wait(60) == 0
    run = onlooker.run()
    assert (run.state, run.ending) == (RunState.SUCCESS, False)
    assert set(onlooker.tasks().values()) == {FINISHED}
    (listed,) = onlooker.asks(lambda store: log_list(onlooker.config, store, "slow", 5))
    assert listed.run == run
    assert listed.size
    whole = onlooker.asks(
        lambda store: status_view(
            discover(onlooker.config), known_dags(onlooker.config, store, {"slow"})
        )
    )
    assert [each.last for each in whole.dags] == [run]
