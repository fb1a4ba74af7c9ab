"""The store as a sink and as a memory: what events write and what can be read back."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from pit.errors import BadArgument, StoreUnavailable, UnknownRun
from pit.events import AttemptStarted, EnvironmentHashed, Event, TaskEnded, Warned
from pit.model import Fingerprint, Output, Reason, RunState, TaskRecord, TaskState
from pit.state.cache.digests import DigestCache
from pit.state.store.store import Store
from pit.state.store.tables.audit import SecretChange
from pit.state.store.tables.publications import Intent
from tests.state.story import EPOCH, attempted, ended, run_id, started, task_ended, whole


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An open store in a fresh folder."""
    with Store.open(tmp_path / "pit_metadata.db") as opened:
        yield opened


def tell(store: Store, events: Iterator[object]) -> None:
    """Emits a story and waits until it is durable."""
    for event in events:
        store.emit(event)  # type: ignore[arg-type]
    store.barrier()


def test_a_run_is_recorded_at_once_with_all_its_tasks_pending(store: Store) -> None:
    one = run_id(1)
    store.emit(
        started(
            one,
            params={"date": "2026-01-31"},
            selection="load",
            trigger="cron",
            parent=run_id(0, "outer"),
            retry_of=run_id(9),
            pid=4711,
            pid_started=12.5,
            boot_id="b00t",
            concurrency=3,
            pit_version="1.2.3",
        )
    )
    row = store.runs.find(one)
    assert (row.seq, row.id, row.dag, row.state) == (1, one, "sales", RunState.RUNNING)
    assert (row.started_at, row.ended_at, row.seconds) == (EPOCH, None, None)
    assert (row.params, row.selection, row.trigger) == ({"date": "2026-01-31"}, "load", "cron")
    assert (row.parent, row.retry_of) == (run_id(0, "outer"), run_id(9))
    assert (row.pid, row.pid_started, row.boot_id) == (4711, 12.5, "b00t")
    assert (row.concurrency, row.pit_version, row.stub) == (3, "1.2.3", False)
    tasks = store.runs.tasks(one)
    assert [(task.task, task.state, task.attempts) for task in tasks] == [
        ("extract", TaskState.PENDING, 0),
        ("load", TaskState.PENDING, 0),
    ]


def test_a_whole_run_can_be_read_back(store: Store) -> None:
    one = run_id(1)
    outputs = (
        Output(name="claims", type="table", location="db.claims", extra={"owner": "ops", "n": 3}),
        Output(name="claims"),
    )
    tell(store, whole(one, outputs=outputs))
    row = store.runs.find(one)
    assert (row.state, row.reason, row.error) == (RunState.SUCCESS, None, "")
    assert (row.ended_at, row.seconds) == (EPOCH + 5, 5.0)
    extract, load = store.runs.tasks(one)
    assert (extract.task, extract.state, extract.attempts) == ("extract", TaskState.SUCCESS, 1)
    assert (extract.started_at, extract.ended_at, extract.seconds) == (EPOCH, EPOCH + 2, 2.0)
    assert load.position == 1
    (attempt,) = store.runs.attempts(one, "load")
    assert (attempt.state, attempt.exit_code, attempt.signal) == (TaskState.SUCCESS, 0, None)
    assert (attempt.cpu_seconds, attempt.peak_memory) == (0.5, 1 << 20)
    assert [(o.name, o.location, o.extra) for o in store.dags.outputs()] == [
        ("claims", "db.claims", {"owner": "ops", "n": 3}),
        ("claims", "", {}),
    ]


def test_failures_keep_their_reason_and_each_attempt(store: Store) -> None:
    one = run_id(1)
    store.emit(started(one))
    for attempt in (1, 2):
        tell(store, attempted(one, "extract", attempt, reason=Reason.EXIT))
    store.emit(task_ended(one, "extract", TaskState.FAILED, Reason.EXIT))
    store.emit(task_ended(one, "load", TaskState.UPSTREAM_FAILED, Reason.UPSTREAM_FAILED))
    store.emit(ended(one, RunState.FAILED, reason=Reason.EXIT))
    store.barrier()
    assert [(a.attempt, a.state, a.reason, a.exit_code) for a in store.runs.attempts(one)] == [
        (1, TaskState.FAILED, "exit", 3),
        (2, TaskState.FAILED, "exit", 3),
    ]
    assert [task.reason for task in store.runs.tasks(one)] == ["exit", "upstream_failed"]
    assert store.runs.find(one).reason == Reason.EXIT


def test_an_attempt_under_way_shows_as_running(store: Store) -> None:
    one = run_id(1)
    store.emit(started(one))
    store.emit(AttemptStarted(run=one, at=EPOCH + 1, task="extract", attempt=2, attempts=3))
    store.barrier()
    task = store.runs.tasks(one)[0]
    assert (task.state, task.attempts, task.started_at) == (TaskState.RUNNING, 2, EPOCH + 1)


def test_a_task_that_never_started_has_no_times(store: Store) -> None:
    one = run_id(1)
    store.emit(started(one))
    store.emit(
        TaskEnded(
            run=one, at=EPOCH, task="load", state=TaskState.SKIPPED, reason=Reason.SINGLE_TASK
        )
    )
    store.barrier()
    load = store.runs.tasks(one)[1]
    assert (load.state, load.reason, load.attempts, load.started_at) == (
        TaskState.SKIPPED,
        "single_task",
        0,
        None,
    )


def test_digests_of_a_run_are_kept_by_kind(store: Store) -> None:
    one = run_id(1)
    store.emit(started(one))
    for kind, digest in (("uv_lock", "aa"), ("pit_toml", "bb"), ("uv_lock", "cc")):
        store.emit(EnvironmentHashed(run=one, at=EPOCH, dag="sales", kind=kind, digest=digest))
    store.barrier()
    assert store.runs.environments(one) == {"pit_toml": "bb", "uv_lock": "cc"}


def test_events_that_are_for_people_write_nothing(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "pit.db")
    store.emit(Warned(run="x", at=EPOCH, message="big snapshot"))
    assert not [t for t in threading.enumerate() if t.name == "store"]
    store.close()


def test_events_become_durable_without_a_barrier(store: Store, tmp_path: Path) -> None:
    one = run_id(1)
    store.emit(started(one))
    store.emit(ended(one))
    reader = Store.open_readonly(tmp_path / "pit_metadata.db")
    deadline = time.monotonic() + 60
    while reader.runs.find(one).state is RunState.RUNNING and time.monotonic() < deadline:
        time.sleep(0.01)
    assert reader.runs.find(one).state is RunState.SUCCESS
    reader.close()


def test_closing_makes_everything_durable(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "pit.db")
    tell(store, iter([started(run_id(1))]))
    store.emit(ended(run_id(1)))
    store.close()
    with Store.open(tmp_path / "pit.db") as again:
        assert again.runs.find(run_id(1)).state is RunState.SUCCESS


def test_many_threads_may_emit_at_once(store: Store) -> None:
    one = run_id(1)
    names = tuple(f"t{number}" for number in range(200))
    store.emit(started(one, tasks=names))

    def work(mine: tuple[str, ...]) -> None:
        for name in mine:
            tell(store, attempted(one, name))
            store.emit(task_ended(one, name))

    threads = [threading.Thread(target=work, args=(names[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.barrier()
    assert all(task.state is TaskState.SUCCESS for task in store.runs.tasks(one))
    assert len(store.runs.attempts(one)) == 200


def test_text_that_is_no_text_is_taken_too(store: Store) -> None:
    one = run_id(1)
    error = "cannot open 'caf\udce9.csv': \x00 " + "x" * 100_000
    store.emit(started(one, params={"file": "caf\udce9"}, run_dir="/w/\udcff"))
    store.emit(TaskEnded(run=one, at=EPOCH, task="extract", state=TaskState.FAILED, error=error))
    store.barrier()
    kept = store.runs.tasks(one)[0].error
    assert kept.startswith("cannot open 'caf?.csv'")
    assert len(kept) < 21_000
    assert store.runs.find(one).params == {"file": "caf?"}


def test_dates_of_toml_in_an_output_are_kept_as_text(store: Store) -> None:
    outputs = (Output(name="o", extra={"since": date(2026, 1, 31), "tags": ["a", "ü"]}),)
    tell(store, whole(run_id(1), outputs=outputs))
    assert store.dags.outputs()[0].extra == {"since": "2026-01-31", "tags": ["a", "ü"]}


def test_a_run_id_is_never_used_twice(store: Store) -> None:
    store.emit(started(run_id(1)))
    with pytest.raises(StoreUnavailable, match="UNIQUE"):
        store.emit(started(run_id(1), tasks=()))
    tell(store, iter([ended(run_id(1))]))
    assert len(store.runs.tasks(run_id(1))) == 2
    assert store.runs.find(run_id(1)).state is RunState.SUCCESS


def test_runs_are_found_by_a_unique_beginning(store: Store) -> None:
    for number in (1, 2, 1001):
        store.emit(started(run_id(number)))
    assert store.runs.find("20260201_000001").id == run_id(1001)
    with pytest.raises(BadArgument, match="more than one run") as caught:
        store.runs.find("20260201_000000")
    assert run_id(1) in caught.value.hint
    for missing in ("", "2025", "%", run_id(5)):
        with pytest.raises((UnknownRun, BadArgument)):
            store.runs.find(missing)
    assert store.runs.ids("20260201_000000", limit=5) == (run_id(2), run_id(1))


def test_files_are_private(store: Store, tmp_path: Path) -> None:
    store.emit(started(run_id(1)))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"pit_metadata.db{end}" for end in ("", "-wal", "-shm", "-reserve")}
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_database_open_to_others_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "pit.db"
    Store.open(path).close()
    path.chmod(0o644)
    Store.open(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_store_opened_for_reading_takes_no_events(tmp_path: Path) -> None:
    path = tmp_path / "pit.db"
    Store.open(path).close()
    reader = Store.open_readonly(path)
    with reader, pytest.raises(StoreUnavailable, match="for reading only"):
        reader.emit(started(run_id(1)))


def test_a_store_that_is_not_there_reads_as_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "pit.db"
    with Store.open_readonly(path) as store:
        assert not store.exists
        assert (store.path, store.dags.names(), store.runs.last_run("sales")) == (path, (), None)
        with pytest.raises(UnknownRun):
            store.runs.find(run_id(1))
        with pytest.raises(StoreUnavailable):
            store.dags.take("sales", "/w", lambda other: True)
        DigestCache(store.database).save({"/w/a": (1, 1, 1, 1, 1, "d")})
    assert not path.exists()


def test_an_empty_file_is_no_database_yet(tmp_path: Path) -> None:
    path = tmp_path / "pit.db"
    path.write_bytes(b"")
    with Store.open_readonly(path) as reader:
        assert not reader.exists
    with Store.open(path) as store:
        store.emit(started(run_id(1)))
        assert store.runs.find(run_id(1)).seq == 1


def test_paths_with_odd_characters_work(tmp_path: Path) -> None:
    path = tmp_path / "what? 100% #1 ü" / "pit.db"
    with Store.open(path) as store:
        store.emit(started(run_id(1)))
    reader = Store.open_readonly(path)
    assert reader.runs.find(run_id(1)).dag == "sales"
    reader.close()


def test_the_layout_is_what_a_person_with_sqlite3_expects(store: Store) -> None:
    tell(store, whole(run_id(1)))
    with sqlite3.connect(store.path) as connection:
        rows = connection.execute(
            "SELECT runs.dag, tasks.task, tasks.state FROM runs JOIN tasks ON tasks.run = runs.seq"
        ).fetchall()
    connection.close()
    assert rows == [("sales", "extract", "success"), ("sales", "load", "success")]


# ---------------------------------------------------------------- revision


def test_the_revision_grows_with_every_kind_of_commit(store: Store) -> None:
    one, two = run_id(1), run_id(2)
    record = TaskRecord(
        dag="sales", task="load", params="", run=one, at=EPOCH, seconds=1.0,
        fingerprint=Fingerprint(version=1),
    )  # fmt: skip
    intent = Intent(run=one, at=EPOCH, task="load", project="/w/projects/sales", places={})
    change = SecretChange(at=EPOCH, who="me", what="created")

    def emitted(event: Event) -> None:
        store.emit(event)
        store.barrier()

    commits: list[tuple[str, Callable[[], object]]] = [
        ("a run starts", lambda: store.emit(started(one))),
        ("an event", lambda: emitted(task_ended(one, "load"))),
        ("a number is drawn", lambda: store.snapshots.draw(one)),
        ("about to publish", lambda: store.publications.add(intent)),
        ("a publication ends", lambda: store.publications.end(one, "load", True)),
        ("a publication is forgotten", lambda: store.publications.forget("sales", "load", "")),
        ("a record is accepted", lambda: store.records.accept(record, "fine")),
        ("a record is renewed", lambda: store.records.renew([record])),
        ("a record is forgotten", lambda: store.records.forget("sales", "load")),
        ("a secret is changed", lambda: store.audit.add_changes([change])),
        ("a DAG is taken", lambda: store.dags.take("sales", "/w", lambda other: True)),
        ("a run is interrupted", lambda: store.runs.interrupt(one, EPOCH + 9)),
        ("a run is forgotten", lambda: store.runs.forget([one])),
        ("another run starts", lambda: store.emit(started(two))),
    ]
    before = store.revision
    for what, commit in commits:
        commit()
        after = store.revision
        assert after > before, what
        before = after


def test_what_changes_nothing_leaves_the_revision(store: Store) -> None:
    store.emit(started(run_id(1)))
    store.dags.take("sales", "/w", lambda other: True)
    before = store.revision
    assert not store.runs.interrupt(run_id(9), EPOCH)
    assert store.runs.forget([run_id(9)]) == 0
    assert store.records.forget("sales", "load") == 0
    assert store.records.sweep() == 0
    assert store.dags.take("sales", "/v", lambda other: False) == "/w"
    store.barrier()
    assert store.revision == before


def test_a_commit_that_fails_leaves_the_revision(store: Store) -> None:
    store.emit(started(run_id(1)))
    before = store.revision
    with pytest.raises(StoreUnavailable):
        store.emit(started(run_id(1)))
    assert store.revision == before


def test_the_revision_is_the_same_in_another_process_and_when_opened_again(
    store: Store,
) -> None:
    store.emit(started(run_id(1)))
    told = "import sys; from pathlib import Path; from pit.state.store.store import Store; "
    told += "print(Store.open_readonly(Path(sys.argv[1])).revision)"
    call = [sys.executable, "-c", told, str(store.path)]
    assert int(subprocess.check_output(call)) == store.revision
    with Store.open_readonly(store.path) as reader, Store.open(store.path) as again:
        again.emit(started(run_id(2)))
        assert reader.revision == again.revision == store.revision
