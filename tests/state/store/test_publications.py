"""What is being published, durable before it is, and what tasks are known to have published."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from pit.errors import StoreUnavailable
from pit.events import AttemptStarted
from pit.model import Reason, TaskState
from pit.state.recover import recover, stranded
from pit.state.rundir import RunDir
from pit.state.store import database, migrations
from pit.state.store.store import Store
from pit.state.store.tables.publications import Intent
from tests.histories import as_before
from tests.state.store.test_records import record
from tests.state.story import EPOCH, ended, run_id, started, task_ended


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An open store in a fresh workspace."""
    with Store.open(tmp_path / "pit.db") as opened:
        yield opened


def publish(store: Store, run: str, *places: str, task: str = "load", params: str = "") -> None:
    """Say that a task of a run is about to publish these places."""
    store.publications.add(
        Intent(
            run=run,
            at=EPOCH,
            task=task,
            project="/w/projects/sales",
            places=dict.fromkeys(places, "ab" * 32),
            params=params,
        )
    )


def end(store: Store, run: str, state: TaskState = TaskState.SUCCESS) -> None:
    """End the task `load` of a run."""
    store.emit(task_ended(run, "load", state))
    store.barrier()


def known(store: Store, besides: str = "") -> list[tuple[str, list[str]]]:
    """The parameters and places of what `load` is known to have made."""
    made = store.publications.makings("sales", "load", besides)
    return sorted((each.params, sorted(each.places)) for each in made)


@pytest.fixture
def runs(store: Store) -> list[str]:
    """Three runs of one DAG that have started."""
    ids = [run_id(number) for number in (1, 2, 3)]
    for run in ids:
        store.emit(started(run))
    return ids


def test_a_success_takes_the_place_of_what_was_made_before(store: Store, runs: list[str]) -> None:
    for run, place in zip(runs, "abc", strict=True):
        publish(store, run, place)
        end(store, run)
        assert known(store) == [("", [place])]


def test_every_value_of_the_parameters_has_its_own(store: Store, runs: list[str]) -> None:
    for run, place in zip(runs, "abc", strict=True):
        publish(store, run, place, params=place)
        end(store, run)
    assert known(store) == [("a", ["a"]), ("b", ["b"]), ("c", ["c"])]
    store.publications.forget("sales", "load", "b")
    assert known(store) == [("a", ["a"]), ("c", ["c"])]


def test_what_was_cut_short_stands_beside_the_last_success(store: Store, runs: list[str]) -> None:
    first, second, third = runs
    publish(store, first, "a")
    end(store, first)
    publish(store, second, "b")
    end(store, second, TaskState.FAILED)
    assert known(store) == [("", ["a"]), ("", ["b"])]
    publish(store, third, "c")
    assert known(store, besides=third) == [("", ["a"]), ("", ["b"])]
    assert known(store) == [("", ["a"]), ("", ["b"]), ("", ["c"])]
    end(store, third)
    assert known(store) == [("", ["c"])]


@pytest.mark.parametrize("last", [0, 1])
def test_of_two_that_publish_at_once_neither_is_forgotten(
    store: Store, runs: list[str], last: int
) -> None:
    first, second, third = runs
    publish(store, first, "a")
    publish(store, second, "b")
    for run in (first, second) if last else (second, first):
        end(store, run)
    assert known(store) == [("", ["a"]), ("", ["b"])]
    publish(store, third, "c")
    end(store, third)
    assert known(store) == [("", ["c"])]


def test_it_outlives_the_record_and_the_run(store: Store, runs: list[str]) -> None:
    publish(store, runs[0], "a")
    end(store, runs[0])
    store.emit(
        AttemptStarted(run=runs[1], at=EPOCH, task="load", attempt=1, attempts=1, forgets="")
    )
    store.barrier()
    store.records.forget("sales", "load")
    store.runs.interrupt(runs[0], EPOCH)
    store.runs.forget([runs[0]])
    assert known(store) == [("", ["a"])]


def test_records_of_an_older_layout_say_what_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pit.db"
    with Store.open(path) as store:
        store.records.accept(record("load"))
        before = sorted(known(store))
    as_before(path)
    with Store.open(path) as store:
        assert known(store) == before
        assert store.database.query("PRAGMA user_version") == [(migrations.VERSION,)]


# ---------------------------------------------------------------- intents


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


def test_an_intent_that_could_not_be_kept_is_not_kept_later_either(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = run_id(1)
    store.emit(started(one))
    monkeypatch.setattr(database, "PATIENCE", 0.1)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store.emit(task_ended(one, "extract"))
        with pytest.raises(StoreUnavailable, match="locked"):
            store.publications.add(intent(one))
    store.barrier()
    assert store.publications.pending() == ()
    assert store.runs.tasks(one)[0].state is TaskState.SUCCESS


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
