"""Records: they die with an attempt's start and are born with a task's success."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pit.errors import StoreUnavailable
from pit.events import AttemptStarted, TaskEnded, TextsKept
from pit.model import FileMark, Fingerprint, Reason, RunState, TaskRecord, TaskState
from pit.state.store.store import Store
from pit.state.store.tables.records import ACCEPTED, FORGOTTEN
from pit.state.store.tables.runs import LastSuccess
from tests.state.story import EPOCH, attempted, ended, run_id, started, task_ended

DAY = 86400.0
MARK = FileMark(digest="ab" * 32, size=120)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An open store in a fresh folder."""
    with Store.open(tmp_path / "pit_metadata.db") as opened:
        yield opened


def fingerprint(sources: int = 1) -> Fingerprint:
    """One with something in every part."""
    return Fingerprint(
        version=3,
        sources={f"src/m{number:02d}.py": f"{number:064x}" for number in range(sources)},
        definition={"script": '"tasks/load.py"', "env": '{"A":"ü"}'},
        environment="e" * 64,
        packages="p" * 64,
        inputs={"data/raw.csv": MARK, "/abs/x": MARK},
        upstream={"extract": {"out/e.csv": MARK}, "other": {}},
        successes={"clean": run_id(7)},
        database="duckdb:1:2",
        products={"out/claims.csv": MARK},
    )


def record(
    task: str = "load", params: str = "", run: str = "", dag: str = "sales", sources: int = 1
) -> TaskRecord:
    """A task's record."""
    return TaskRecord(
        dag=dag,
        task=task,
        params=params,
        run=run or run_id(1),
        at=EPOCH + 2,
        seconds=2.5,
        fingerprint=fingerprint(sources),
    )


def attempt(run: str, task: str = "load", forgets: str | None = "") -> AttemptStarted:
    """The start of an attempt."""
    return AttemptStarted(run=run, at=EPOCH, task=task, attempt=1, attempts=1, forgets=forgets)


def succeeded(made: TaskRecord) -> TaskEnded:
    """The end of a task with its record."""
    return msgspec.structs.replace(task_ended(made.run, made.task), record=made)


def keep(store: Store, *made: TaskRecord) -> None:
    """Writes records as a run does, which is started if it is new."""
    for run in {each.run: each for each in made}.values():
        if not store.runs.named([run.run]):
            store.emit(started(run.run, run.dag))
    for each in made:
        store.emit(succeeded(each))
    store.barrier()


def test_a_record_comes_back_as_it_was(store: Store) -> None:
    made = record()
    assert store.records.of_task("sales", "load", "") is None
    keep(store, made)
    assert store.records.of_task("sales", "load", "") == made
    assert store.records.of_dag("sales") == (made,)
    assert store.records.of_task("sales", "load", "date=1") is None
    assert store.records.of_task("sales", "extract", "") is None
    assert store.records.of_dag("tax") == ()


def test_a_success_replaces_the_record_of_the_same_parameters_alone(store: Store) -> None:
    first, other = record(), record(params="date=2026-01-31")
    keep(store, first, other)
    again = record(run=run_id(2), sources=3)
    keep(store, again)
    assert store.records.of_dag("sales") == (again, other)
    assert store.records.of_dag("sales", [""]) == (again,)
    assert store.records.of_dag("sales", ["date=2026-01-31", "date=1"]) == (other,)
    assert store.records.of_dag("sales", []) == ()


def test_records_of_several_dags_come_by_dag_and_task(store: Store) -> None:
    made = [record(task, dag=dag, run=run_id(1, dag)) for dag in "ab" for task in ("x", "y")]
    keep(store, *made, record(dag="c", run=run_id(1, "c")))
    assert store.records.of_dags(["b", "a", "none", "a"]) == tuple(made)
    assert store.records.of_dags([]) == ()


def test_a_record_dies_in_the_commit_that_marks_the_task_running(store: Store) -> None:
    keep(store, record(), record(params="p=1"), record("extract"))
    two = run_id(2)
    store.emit(started(two))
    store.emit(attempt(two))
    reader = Store.open_readonly(store.path)
    with reader:
        # Another process sees both or neither, whenever it looks.
        deadline = time.monotonic() + 60
        while reader.runs.tasks(two)[1].state is TaskState.PENDING and time.monotonic() < deadline:
            time.sleep(0.002)
        assert reader.runs.tasks(two)[1].state is TaskState.RUNNING
        assert reader.records.of_task("sales", "load", "") is None
    assert [(r.task, r.params) for r in store.records.of_dag("sales")] == [
        ("extract", ""),
        ("load", "p=1"),
    ]


def test_an_attempt_that_forgets_nothing_leaves_the_record(store: Store) -> None:
    keep(store, record())
    store.emit(attempt(run_id(1), forgets=None))
    store.barrier()
    assert store.records.of_task("sales", "load", "") == record()


def test_within_one_commit_the_record_that_a_success_brings_outlives_its_attempts(
    store: Store,
) -> None:
    keep(store, record())
    two = record(run=run_id(2))
    store.emit(started(two.run))
    store.emit(attempt(two.run))
    store.emit(msgspec.structs.replace(attempt(two.run), attempt=2))
    store.emit(succeeded(two))
    store.barrier()
    assert store.records.of_task("sales", "load", "") == two


def test_a_failure_and_an_interruption_bring_no_record_back(store: Store) -> None:
    keep(store, record(), record("extract"))
    two = run_id(2)
    store.emit(started(two))
    store.emit(attempt(two))
    store.barrier()
    assert store.runs.interrupt(two, EPOCH + 9)
    assert store.records.of_dag("sales") == (record("extract"),)


def test_a_skipped_task_renews_the_record_that_it_has(store: Store) -> None:
    keep(store, record())
    renewed = record(sources=3)
    two = run_id(2)
    store.emit(started(two))
    skipped = TaskEnded(run=two, at=EPOCH, task="load", state=TaskState.SKIPPED, record=renewed)
    store.emit(skipped)
    store.barrier()
    assert store.records.of_dag("sales") == (renewed,)
    assert store.records.renew([record(sources=4), record("extract")]) == 1
    assert store.records.of_dag("sales") == (record(sources=4),)


def test_renewing_brings_no_dead_record_back_and_takes_no_newer_one_away(store: Store) -> None:
    keep(store, record(), record("extract"))
    newer = record("extract", run=run_id(2))
    keep(store, newer)
    store.emit(attempt(run_id(2)))
    store.barrier()
    assert store.records.renew([record(), record("extract")]) == 0
    for task in ("load", "extract"):
        skipped = TaskEnded(
            run=run_id(2), at=EPOCH, task=task, state=TaskState.SKIPPED, record=record(task)
        )
        store.emit(skipped)
    store.barrier()
    assert store.records.of_dag("sales") == (newer,)


def test_tasks_with_many_sources_share_them(store: Store) -> None:
    many = [record(f"t{number}", sources=50) for number in range(20)]
    few, others = record("few", sources=2), record("others", sources=51)
    keep(store, *many, few, others)
    assert store.database.query("SELECT count(*) FROM sources") == [(2,)]
    found = {each.task: each for each in store.records.of_dag("sales")}
    assert found == {each.task: each for each in (*many, few, others)}
    assert found["t0"].fingerprint.sources is found["t19"].fingerprint.sources
    assert store.records.of_task("sales", "t3", "") == many[3]


@pytest.mark.parametrize("sources", [1, 50])
def test_names_that_are_not_utf8_survive(store: Store, sources: int) -> None:
    odd = os.fsdecode(b"in/caf\xe9.csv")
    made = record(sources=sources)
    made.fingerprint.inputs[odd] = MARK
    made.fingerprint.sources[odd] = "0" * 64
    keep(store, made)
    assert store.records.of_dag("sales") == (made,)
    assert store.records.sweep() == 0


def test_parameters_that_are_not_utf8_are_found_again(store: Store) -> None:
    params = os.fsdecode(b"name=caf\xe9")
    keep(store, record(params=params))
    assert store.records.of_task("sales", "load", params) is not None
    assert len(store.records.of_dag("sales", [params])) == 1
    store.emit(attempt(run_id(1), forgets=params))
    store.barrier()
    assert store.records.of_dag("sales") == ()


def test_long_parameters_are_told_apart_in_the_middle(store: Store) -> None:
    keep(store, *(record(params=f"{'x' * 30_000}{middle}{'x' * 30_000}") for middle in "ab"))
    assert len(store.records.of_dag("sales")) == 2


def test_a_record_of_a_later_pit_with_more_parts_can_be_read(store: Store) -> None:
    keep(store, record())
    later = msgspec.to_builtins(fingerprint()) | {"version": 9, "weather": {"a": 1}}
    with store.database.transaction() as connection:
        connection.execute("UPDATE records SET fingerprint = ?", (msgspec.msgpack.encode(later),))
    found = store.records.of_task("sales", "load", "")
    assert found is not None
    assert found.fingerprint == msgspec.structs.replace(fingerprint(), version=9)


def test_an_accepted_record_stands_with_its_note_in_the_history(store: Store) -> None:
    store.records.accept(record(), "numbers checked by hand")
    found = store.records.of_task("sales", "load", "")
    assert found is not None
    assert found.note == "numbers checked by hand"
    assert found.fingerprint == fingerprint()
    (note,) = store.records.notes("sales", "load")
    assert (note.dag, note.task, note.what) == ("sales", "load", ACCEPTED)
    assert note.note == "numbers checked by hand"
    assert abs(note.at - time.time()) < 60


def test_forgetting_takes_one_record_or_those_of_all_parameters(store: Store) -> None:
    keep(store, record(), record(params="p=1"), record(params="p=2"), record("extract"))
    assert store.records.forget("sales", "load", "p=1") == 1
    assert store.records.forget("sales", "load", "p=1") == 0
    assert store.records.forget("sales", "load", note="bad data") == 2
    assert store.records.of_dag("sales") == (record("extract"),)
    assert [(n.what, n.note) for n in store.records.notes()] == [
        (FORGOTTEN, "bad data"),
        (FORGOTTEN, ""),
    ]
    assert store.records.notes("sales", "extract") == ()
    assert len(store.records.notes(limit=1)) == 1


def test_a_store_opened_for_reading_changes_no_record(store: Store) -> None:
    keep(store, record())
    reader = Store.open_readonly(store.path)
    with reader:
        assert reader.records.of_dag("sales") == (record(),)
        with pytest.raises(StoreUnavailable):
            reader.records.accept(record(), "")
        with pytest.raises(StoreUnavailable):
            reader.records.forget("sales", "load")


# ------------------------------------------------------------------------------------------ texts


def kept(at: float, *digests: str, run: str = "") -> TextsKept:
    """Texts that repeat their digest."""
    return TextsKept(run=run or run_id(1), at=at, texts={d: d.encode() * 100 for d in digests})


def test_texts_are_kept_compressed_by_digest_and_once(store: Store) -> None:
    store.emit(kept(EPOCH, "a", "b"))
    store.emit(kept(EPOCH + 1, "b", "c"))
    store.emit(TextsKept(run=run_id(1), at=EPOCH, texts={"raw": b"\x00\xff" * 9, "": b""}))
    store.emit(TextsKept(run=run_id(1), at=EPOCH, texts={}))
    store.barrier()
    assert [store.records.text(digest) for digest in ("a", "b", "c", "d")] == [
        b"a" * 100,
        b"b" * 100,
        b"c" * 100,
        None,
    ]
    assert store.records.text("raw") == b"\x00\xff" * 9
    assert store.records.text("") == b""
    (packed,) = store.database.query("SELECT text FROM texts WHERE digest = 'a'")
    assert zlib.decompress(packed[0]) == b"a" * 100


def test_more_texts_than_a_statement_takes_at_once(store: Store) -> None:
    digests = [f"{number:064x}" for number in range(1201)]
    for at in (EPOCH, EPOCH + 9 * DAY):
        store.emit(kept(at, *digests))
    store.barrier()
    assert store.records.text(digests[-1]) == digests[-1].encode() * 100


def test_a_sweep_takes_old_texts_that_no_record_needs(store: Store) -> None:
    few, many = record("few", sources=2), record("many", sources=50)
    needed = [f"{0:064x}", f"{49:064x}", "p" * 64]
    store.emit(kept(EPOCH, *needed, "orphan"))
    store.emit(kept(time.time(), "young"))
    keep(store, few, many)
    store.emit(ended(run_id(1)))
    store.barrier()
    assert store.records.sweep() == 1
    assert store.records.text("orphan") is None
    assert all(store.records.text(digest) for digest in (*needed, "young"))
    assert store.records.forget("sales", "many") == 1
    assert store.records.sweep() == 1
    assert [store.records.text(digest) is not None for digest in needed] == [True, False, True]
    assert store.database.query("SELECT count(*) FROM sources") == [(0,)]
    assert store.records.sweep() == 0


def test_a_sweep_leaves_what_a_run_under_way_kept_before_its_records(store: Store) -> None:
    now = time.time()
    store.emit(kept(now - 9 * DAY, "again", "never"))
    store.emit(started(run_id(1), at=now - 5 * DAY))
    store.emit(kept(now - 5 * DAY, "again", "first"))
    store.barrier()
    assert store.records.sweep() == 1
    assert [store.records.text(d) is not None for d in ("again", "first", "never")] == [
        True,
        True,
        False,
    ]
    store.emit(ended(run_id(1)))
    store.barrier()
    assert store.records.sweep() == 2


# ------------------------------------------------------------------------- what the history tells


def test_a_skipped_task_tells_whose_products_it_hands_on(store: Store) -> None:
    two = run_id(2)
    store.emit(started(two))
    skipped = TaskEnded(
        run=two,
        at=EPOCH,
        task="load",
        state=TaskState.SKIPPED,
        why="current since yesterday",
        made_by=run_id(1),
        saved=12.5,
    )
    store.emit(skipped)
    store.emit(msgspec.structs.replace(task_ended(two, "extract"), why="data/raw.csv changed"))
    store.barrier()
    extract, load = store.runs.tasks(two)
    assert (load.why, load.made_by, load.saved) == ("current since yesterday", run_id(1), 12.5)
    assert (extract.why, extract.made_by, extract.saved) == ("data/raw.csv changed", "", 0.0)


def test_the_last_successes_are_found_through_skipped_and_failed_runs(store: Store) -> None:
    assert store.runs.last_successes("sales") == {}
    one, two, three, idle = (run_id(number) for number in (1, 2, 3, 4))
    store.emit(started(one))
    for event in attempted(one, "extract"):
        store.emit(event)
    store.emit(task_ended(one, "extract"))
    store.emit(started(two))
    store.emit(
        TaskEnded(
            run=two,
            at=EPOCH,
            task="load",
            state=TaskState.SKIPPED,
            made_by=run_id(0),
            saved=7.0,
        )
    )
    store.emit(task_ended(two, "extract", TaskState.FAILED))
    store.emit(started(three))
    store.emit(started(idle, tasks=()))
    store.emit(ended(idle, RunState.SUCCESS))
    store.emit(started(run_id(5, "other"), "other"))
    store.barrier()
    assert store.runs.last_successes("sales") == {
        "extract": LastSuccess(task="extract", run=one, seconds=2.0),
        "load": LastSuccess(task="load", run=run_id(0), seconds=7.0),
    }


def test_what_a_retry_took_over_took_as_long_as_it_did(store: Store) -> None:
    one, again = run_id(1), run_id(2)
    store.emit(started(one))
    store.emit(task_ended(one, "extract"))
    store.emit(started(again))
    skipped = TaskState.SKIPPED
    store.emit(
        TaskEnded(
            run=again,
            at=EPOCH,
            task="extract",
            state=skipped,
            reason=Reason.SUCCEEDED_BEFORE,
            made_by=one,
        )
    )
    store.barrier()
    extract = LastSuccess(task="extract", run=one, seconds=2.0)
    assert store.runs.last_successes("sales") == {"extract": extract}


# ------------------------------------------------------------------------------------- in numbers


def test_ten_thousand_records_are_read_at_once(store: Store) -> None:
    """The bound is generous: it takes 40 ms, and less than 1 ms, of processor time."""
    made = [record(f"t{number}") for number in range(10_000)]
    with store.database.transaction() as connection:
        from pit.state.store.tables import records

        records.write(connection, made)
    begun = time.process_time()
    found = store.records.of_dag("sales")
    seconds = time.process_time() - begun
    assert len(found) == 10_000
    assert seconds < 2
    begun = time.process_time()
    assert set(store.records.pointed_at("sales")) == {run_id(1)}
    assert time.process_time() - begun < 0.5
