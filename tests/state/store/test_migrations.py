"""The layout: recognised, brought up to date, refused when it is not ours to touch."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from pit.errors import StoreUnavailable
from pit.model import TaskState
from pit.state.store import migrations
from pit.state.store.store import Store
from tests.histories import as_before
from tests.state.story import run_id, started


def test_a_new_database_carries_its_name_and_version(tmp_path: Path) -> None:
    path = tmp_path / "pit.db"
    Store.open(path).close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA application_id").fetchone() == (migrations.APPLICATION,)
    assert connection.execute("PRAGMA user_version").fetchone() == (migrations.VERSION,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


@pytest.mark.parametrize("opening", [Store.open, Store.open_readonly])
def test_a_newer_layout_is_refused(tmp_path: Path, opening: object) -> None:
    path = tmp_path / "pit.db"
    Store.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {migrations.VERSION + 1}")
    connection.close()
    with pytest.raises(StoreUnavailable, match="newer version of Pit") as caught:
        opening(path)  # type: ignore[operator]
    assert "Upgrade" in caught.value.hint


@pytest.mark.parametrize("opening", [Store.open, Store.open_readonly])
def test_the_database_of_another_program_stays_untouched(tmp_path: Path, opening: object) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE runs (marathon TEXT)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreUnavailable, match="another program"):
        opening(path)  # type: ignore[operator]
    assert path.read_bytes() == before


def test_opening_a_new_database_many_times_at_once_makes_it_once(tmp_path: Path) -> None:
    path = tmp_path / "pit.db"
    gate = threading.Barrier(8)
    troubles: list[Exception] = []

    def open_and_write(number: int) -> None:
        gate.wait()
        try:
            with Store.open(path) as store:
                store.emit(started(run_id(number)))
        except StoreUnavailable as error:
            troubles.append(error)

    threads = [threading.Thread(target=open_and_write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
    with Store.open(path) as store:
        assert len(store.runs.latest()) == 8


def test_a_migration_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pit.db"
    with Store.open(path) as store:
        store.emit(started(run_id(1)))
    broken = (*migrations.MIGRATIONS, ("ALTER TABLE runs ADD COLUMN extra TEXT", "nonsense"))
    monkeypatch.setattr(migrations, "MIGRATIONS", broken)
    monkeypatch.setattr(migrations, "VERSION", len(broken))
    with pytest.raises(StoreUnavailable, match="nonsense"):
        Store.open(path)
    monkeypatch.undo()
    with Store.open(path) as store:
        assert store.runs.find(run_id(1)).seq == 1


def test_an_older_layout_is_migrated_and_readable_without_being_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pit.db"
    with Store.open(path) as store:
        store.emit(started(run_id(1)))
    later = (*migrations.MIGRATIONS, ("CREATE TABLE leases (name TEXT)",))
    monkeypatch.setattr(migrations, "MIGRATIONS", later)
    monkeypatch.setattr(migrations, "VERSION", len(later))
    before = path.read_bytes()
    reader = Store.open_readonly(path)
    assert reader.runs.find(run_id(1)).dag == "sales"
    assert reader.database.query("SELECT * FROM leases") == []
    reader.close()
    assert path.read_bytes() == before
    with Store.open(path) as store:
        assert store.runs.find(run_id(1)).dag == "sales"
        assert store.database.query("PRAGMA user_version") == [(len(later),)]


def test_a_database_without_records_gets_them_and_keeps_its_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pit.db"
    monkeypatch.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:1])
    monkeypatch.setattr(migrations, "VERSION", 1)
    connection = sqlite3.connect(path)
    migrations.migrate(connection)
    connection.execute(
        "INSERT INTO runs (id, dag, state, started_at, run_dir) "
        "VALUES (?, 'sales', 'success', 1, '/r')",
        (run_id(1),),
    )
    connection.execute(
        "INSERT INTO tasks (run, task, position, state) VALUES (1, 'load', 0, 'success')"
    )
    connection.commit()
    connection.close()
    monkeypatch.undo()
    for opening in (Store.open_readonly, Store.open):
        store = opening(path)
        assert store is not None
        (task,) = store.runs.tasks(run_id(1))
        assert (task.task, task.why, task.made_by, task.saved) == ("load", "", "", 0.0)
        assert store.records.of_dag("sales") == ()
        assert store.publications.pending() == ()
        store.close()


def test_a_store_without_a_revision_gets_one_that_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pit.db"
    monkeypatch.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:6])
    monkeypatch.setattr(migrations, "VERSION", 6)
    with closing(sqlite3.connect(path)) as connection:
        migrations.migrate(connection)
        connection.execute(
            "INSERT INTO runs (id, dag, state, started_at, run_dir) "
            "VALUES (?, 'sales', 'success', 1, '/r')",
            (run_id(1),),
        )
        connection.commit()
    monkeypatch.undo()
    with Store.open_readonly(path) as reader, Store.open(path) as store:
        assert reader.revision == store.revision
        assert store.runs.find(run_id(1)).seq == 1
        before = store.revision
        store.emit(started(run_id(2)))
        assert store.revision > before


def test_a_later_migration_makes_the_revision_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pit.db"
    with Store.open(path) as store:
        before = store.revision
    later = (*migrations.MIGRATIONS, ("CREATE TABLE leases (name TEXT)",))
    monkeypatch.setattr(migrations, "MIGRATIONS", later)
    monkeypatch.setattr(migrations, "VERSION", len(later))
    with Store.open(path) as store:
        assert store.revision > before


def test_what_was_cancelled_in_an_earlier_layout_is_shown_so(tmp_path: Path) -> None:
    path = tmp_path / "pit.db"
    with Store.open(path) as store:
        store.emit(started(run_id(1)))
        store.barrier()
        with store.database.transaction() as connection:
            for task, reason in (("a", "cancelled"), ("b", "exit"), ("c", "timeout")):
                values = (task, "failed", reason)
                connection.execute(
                    "INSERT INTO tasks (run, position, task, state, reason) VALUES (1, 9, ?, ?, ?)",
                    values,
                )
                connection.execute(
                    "INSERT INTO attempts (run, attempt, started_at, task, state, reason) "
                    "VALUES (1, 1, 1, ?, ?, ?)",
                    values,
                )
    as_before(path)
    wanted = {"a": TaskState.CANCELLED, "b": TaskState.FAILED, "c": TaskState.FAILED}
    reader = Store.open_readonly(path)
    with reader, Store.open(path) as store:
        for each in (reader, store):
            states = {row.task: row.state for row in each.runs.tasks(run_id(1))}
            assert states | wanted == states
            assert {row.task: row.state for row in each.runs.attempts(run_id(1))} == wanted
