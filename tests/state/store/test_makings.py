"""What tasks are known to have published, whatever became of their records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pit.events import AttemptStarted
from pit.model import TaskState
from pit.state.store import migrations
from pit.state.store.store import Store
from pit.state.store.tables.publications import Intent
from tests.histories import as_before
from tests.state.store.test_records import record
from tests.state.story import EPOCH, run_id, started, task_ended


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
