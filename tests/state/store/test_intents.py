"""Intents: durable before publishing, gone with the end of the task, left by a crash alone."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pit.events import AttemptStarted
from pit.model import Reason, TaskState
from pit.state.recover import recover, stranded
from pit.state.rundir import RunDir
from pit.state.store.store import Store
from pit.state.store.tables.publications import Intent
from tests.state.story import EPOCH, ended, run_id, started, task_ended


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An open store in a fresh workspace."""
    with Store.open(tmp_path / "pit.db") as opened:
        yield opened


def intent(run: str, task: str = "load", dag: str = "") -> Intent:
    """Two places, one with a name that is not UTF-8."""
    places = {"out/a.csv": "ab" * 32, os.fsdecode(b"out/\xe9.csv"): "cd" * 32}
    return Intent(
        run=run, at=EPOCH + 1, task=task, project="/w/projects/sales", places=places, dag=dag
    )


def test_an_intent_is_durable_at_once_with_all_that_was_emitted_before(store: Store) -> None:
    one = run_id(1)
    store.emit(started(one))
    store.emit(AttemptStarted(run=one, at=EPOCH, task="load", attempt=1, attempts=1))
    store.publications.add(intent(one))
    with sqlite3.connect(store.path) as other:
        assert other.execute("SELECT task FROM intents").fetchall() == [("load",)]
        found = other.execute("SELECT state FROM tasks WHERE task = 'load'").fetchall()
        assert found == [("running",)]
    other.close()
    assert store.publications.pending() == (intent(one, dag="sales"),)
    assert store.publications.pending("sales") == store.publications.pending()
    assert store.publications.pending("tax") == ()


@pytest.mark.parametrize("state", [TaskState.SUCCESS, TaskState.FAILED])
def test_the_end_of_the_task_ends_its_intent_alone(store: Store, state: TaskState) -> None:
    one = run_id(1)
    store.emit(started(one))
    for task in ("extract", "load"):
        store.publications.add(intent(one, task))
    store.emit(task_ended(one, "load", state))
    store.barrier()
    assert [each.task for each in store.publications.pending()] == ["extract"]


def test_an_intent_and_the_end_of_its_task_in_one_commit_leave_none(store: Store) -> None:
    one = run_id(1)
    store.emit(started(one))
    store.emit(task_ended(one, "load"))
    store.publications.add(intent(one))
    assert store.publications.pending() == ()


def test_a_second_intent_of_a_task_replaces_the_first(store: Store) -> None:
    one = run_id(1)
    store.emit(started(one))
    store.publications.add(intent(one))
    again = msgspec.structs.replace(intent(one, dag="sales"), places={"out/b": "00" * 32})
    store.publications.add(again)
    assert store.publications.pending() == (again,)


def test_a_dead_runs_intents_are_stranded_until_they_are_ended(
    store: Store, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    dead, alive = (RunDir.allocate(runs, "sales", EPOCH) for _ in range(2))
    for folder in (dead, alive):
        store.emit(started(folder.id, run_dir=str(folder.root)))
        store.publications.add(intent(folder.id))
    assert stranded(store, runs) == ()
    dead.lock.release()
    (found,) = stranded(store, runs)
    assert found == intent(dead.id, dag="sales")
    # Whether its run has been called interrupted already makes no difference.
    recover(store, runs)
    assert stranded(store, runs) == (found,)
    task = store.runs.tasks(dead.id)[1]
    assert (task.state, task.reason) == (TaskState.SKIPPED, Reason.INTERRUPTED)
    store.publications.end(found.run, found.task)
    assert stranded(store, runs) == ()
    assert [each.run for each in store.publications.pending()] == [alive.id]
    alive.lock.release()


def test_a_forgotten_run_takes_its_intents_with_it(store: Store) -> None:
    one = run_id(1)
    store.emit(started(one))
    store.publications.add(intent(one))
    store.emit(ended(one))
    store.barrier()
    assert store.runs.forget([one]) == 1
    assert store.publications.pending() == ()
