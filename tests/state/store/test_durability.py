"""Bad luck: many writers, kill -9, full, read-only and damaged disks, with real ones."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest

from pit.errors import DiskFull, PitError, StoreUnavailable
from pit.model import Reason, RunState, TaskState
from pit.state.cache.digests import DigestCache
from pit.state.store import database
from pit.state.store.reserve import RESERVE, Reserve
from pit.state.store.store import Store
from tests.state.store.disks import fill, make_read_only, public_folder, small_disk
from tests.state.store.writers import TASKS
from tests.state.story import attempted, ended, run_id, started, task_ended, whole

ROOT = Path(__file__).parents[3]


def writer(what: str, path: Path, number: int = 0) -> subprocess.Popen[str]:
    """One of the programs in `writers.py`, running."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.state.store.writers", what, str(path), str(number)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def is_sound(path: Path) -> bool:
    """Whether SQLite finds nothing wrong in the file."""
    connection = sqlite3.connect(path)
    try:
        checks = [connection.execute("PRAGMA integrity_check").fetchone()]
        return checks == [("ok",)] and not connection.execute("PRAGMA foreign_key_check").fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize("many", [20, pytest.param(50, marks=pytest.mark.slow)])
def test_many_processes_write_at_once(tmp_path: Path, many: int) -> None:
    path = tmp_path / "pit.db"
    processes = [writer("one", path, number) for number in range(many)]
    codes = []
    for process in processes:
        process.communicate(timeout=120)
        codes.append(process.returncode)
    assert codes == [0] * many
    assert is_sound(path)
    with Store.open(path) as store:
        rows = store.runs.latest(limit=None)
        assert [row.seq for row in rows] == list(range(many, 0, -1))
        assert {row.state for row in rows} == {RunState.SUCCESS}
        assert {len(store.runs.attempts(row.id)) for row in rows} == {TASKS}


def test_kill_9_of_a_writer_loses_nothing_that_was_durable(tmp_path: Path) -> None:
    path = tmp_path / "pit.db"
    chance = random.Random(20260131)
    for number in range(6):
        process = writer("forever", path, number)
        assert process.stdout is not None
        assert process.stdout.readline() == "run\n"
        time.sleep(chance.uniform(0, 0.15))
        process.kill()
        told, _ = process.communicate()
        durable = [line for line in told.splitlines(keepends=True) if line.endswith("\n")]
        with Store.open(path) as store:
            name = run_id(number)
            assert store.runs.find(name).state is RunState.RUNNING
            done = {t.task for t in store.runs.tasks(name) if t.state is TaskState.SUCCESS}
            assert done >= {line.strip() for line in durable}
            assert len(done) - len(durable) <= 1
            assert store.runs.interrupt(name, time.time())
    assert is_sound(path)


def test_readers_never_wait_for_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "pit.db"
    with Store.open(path) as store:
        for event in whole(run_id(1)):
            store.emit(event)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    blocker.execute("UPDATE runs SET state = 'failed'")
    reader = Store.open_readonly(path)
    # As long as this waits, the writer holds its lock.
    assert reader.dags.summaries()[0].last.state is RunState.SUCCESS
    reader.close()
    blocker.execute("ROLLBACK")
    blocker.close()


def test_a_writer_waits_for_another_and_then_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "pit.db"
    with Store.open(path) as store:
        blocker = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        blocker.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(1.3, lambda: blocker.execute("ROLLBACK"))
        timer.start()
        store.emit(started(run_id(1)))
        timer.join()
        blocker.close()
        assert store.runs.find(run_id(1)).seq == 1


def test_a_lost_race_for_a_place_is_tried_again() -> None:
    lost = sqlite3.OperationalError("locking protocol")
    lost.sqlite_errorcode = sqlite3.SQLITE_PROTOCOL
    answers: list[sqlite3.OperationalError | None] = [lost, lost, None]

    def call() -> str:
        if answer := answers.pop(0):
            raise answer
        return "done"

    assert database.patiently(call) == "done"


@pytest.mark.slow
def test_a_writer_outlasts_what_sqlite_itself_gives_up(tmp_path: Path) -> None:
    path = tmp_path / "pit.db"
    hold = (
        "import fcntl, sys, time; file = open(sys.argv[1], 'r+b'); "
        "fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 123); "  # every place of a reader
        "print('held', flush=True); time.sleep(13)"
    )
    with Store.open(path) as store:
        with closing(sqlite3.connect(path)) as other:
            other.execute("SELECT count(*) FROM runs").fetchone()
        words = (sys.executable, "-c", hold, f"{path}-shm")
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            store.emit(started(run_id(1)))
        assert store.runs.find(run_id(1)).seq == 1


def test_a_writer_that_waited_too_long_says_why_and_keeps_its_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pit.db"
    monkeypatch.setattr(database, "PATIENCE", 0.1)
    with Store.open(path) as store:
        store.emit(started(run_id(1)))
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        store.emit(ended(run_id(1)))
        with pytest.raises(StoreUnavailable, match="locked by another process") as caught:
            store.barrier()
        assert "fuser" in caught.value.hint
        blocker.execute("ROLLBACK")
        blocker.close()
        store.barrier()
        assert store.runs.find(run_id(1)).state is RunState.SUCCESS


def test_what_kept_events_back_and_has_passed_is_no_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pit.db"
    monkeypatch.setattr(database, "PATIENCE", 0.05)
    with Store.open(path) as store:
        store.emit(started(run_id(1)))
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        store.emit(ended(run_id(1)))
        assert store._writer is not None
        writer = store._writer
        until(lambda: writer._alarm is not None)  # the background has tried, and could not
        blocker.execute("ROLLBACK")
        blocker.close()
        store.barrier()
        assert store.runs.find(run_id(1)).state is RunState.SUCCESS
        store.emit(started(run_id(2)))
        store.barrier()


def test_what_keeps_events_back_is_an_alarm_while_it_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pit.db"
    monkeypatch.setattr(database, "PATIENCE", 0.05)
    with Store.open(path) as store:
        store.emit(started(run_id(1)))
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        store.emit(ended(run_id(1)))
        assert store._writer is not None
        writer = store._writer
        until(lambda: writer._alarm is not None)
        with pytest.raises(StoreUnavailable, match="locked by another process"):
            store.barrier()
        blocker.execute("ROLLBACK")
        blocker.close()
        store.barrier()


def until(done: Callable[[], bool]) -> None:
    """Wait until something is so, which it must be within a minute."""
    late = time.monotonic() + 60
    while not done():
        assert time.monotonic() < late
        time.sleep(0.01)


# ---------------------------------------------------------------------------- gone from its place


@pytest.mark.parametrize(
    "suffixes",
    [("", "-wal", "-shm"), ("",), ("-wal",)],
    ids=["with all of it", "the file alone", "its log alone"],
)
@pytest.mark.parametrize("replaced", [False, True], ids=["removed", "replaced"])
@pytest.mark.parametrize("linked", [False, True], ids=["its own path", "by a link"])
def test_a_store_that_is_gone_from_its_place_is_told_at_the_next_barrier(
    tmp_path: Path, suffixes: Sequence[str], replaced: bool, linked: bool
) -> None:
    real = tmp_path / "real.db"
    path = tmp_path / "pit.db" if linked else real
    if linked:
        real.touch()
        path.symlink_to(real)
    store = Store.open(path)
    store.emit(started(run_id(1)))
    store.barrier()
    for suffix in suffixes:
        place = Path(f"{real}{suffix}")
        if replaced:
            other = tmp_path / "other"
            other.write_bytes(place.read_bytes())
            os.replace(other, place)
        else:
            place.unlink()
    store.emit(ended(run_id(1)))
    with pytest.raises(StoreUnavailable, match="removed or replaced while it was in use"):
        store.barrier()
    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        store.barrier()
    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        store.emit(started(run_id(2)))
    store.close()


def test_a_link_that_leads_to_another_store_is_told(tmp_path: Path) -> None:
    path, link = tmp_path / "pit.db", tmp_path / "link.db"
    Store.open(tmp_path / "other.db").close()
    path.touch()
    link.symlink_to(path)
    with Store.open(link) as store:
        store.emit(started(run_id(1)))
        link.unlink()
        link.symlink_to(tmp_path / "other.db")
        with pytest.raises(StoreUnavailable, match=r"another file stands at .*/link\.db"):
            store.barrier()


def test_a_store_in_its_place_is_taken_for_it(tmp_path: Path) -> None:
    path = tmp_path / "pit.db"
    with Store.open(path) as store:
        store.emit(started(run_id(1)))
        with closing(sqlite3.connect(path)) as other:  # which folds the log into the database
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        with Store.open(path) as second:
            second.emit(started(run_id(2)))
        os.utime(path)
        path.chmod(0o640)
        store.emit(ended(run_id(1)))
        store.barrier()


# ------------------------------------------------------------------------------------ full disk


def test_a_run_ends_properly_on_a_disk_that_a_task_keeps_full() -> None:
    with small_disk(megabytes=32) as disk:
        path = disk / "pit.db"
        store = Store.open(path)
        store.emit(started(run_id(1), tasks=tuple(f"t{place}" for place in range(100))))
        filler = writer("fill", disk)
        assert filler.stdout is not None
        assert filler.stdout.readline() == "full\n"
        for place in range(100):
            for event in attempted(run_id(1), f"t{place}", reason=Reason.DISK_FULL):
                store.emit(event)
            store.emit(task_ended(run_id(1), f"t{place}", TaskState.FAILED, Reason.DISK_FULL))
            store.barrier()
        store.emit(ended(run_id(1), RunState.FAILED, reason=Reason.DISK_FULL))
        store.close()
        filler.kill()
        filler.communicate()
        assert os.statvfs(disk).f_bavail * 4096 < RESERVE
        reader = Store.open_readonly(path)
        assert reader.runs.find(run_id(1)).reason == Reason.DISK_FULL
        assert len(reader.runs.attempts(run_id(1))) == 100
        reader.close()
        assert is_sound(path)


def test_the_reserve_is_spent_when_even_the_log_is_full_and_comes_back() -> None:
    # 8 MB: too small a disk to allocate the log's own room beforehand.
    with small_disk(megabytes=8) as disk:
        path = disk / "pit.db"
        store = Store.open(path)
        store.emit(started(run_id(1)))
        filler = fill(disk)
        with pytest.raises(DiskFull, match="is full"):
            _write_until_it_fails(store)
        assert not Reserve(path).path.exists()
        store.emit(ended(run_id(1), RunState.FAILED, reason=Reason.DISK_FULL))
        store.barrier()
        store.close()
        filler.unlink()
        with Store.open(path) as again:
            assert again.runs.find(run_id(1)).reason == Reason.DISK_FULL
            assert Reserve(path).path.stat().st_size == RESERVE
        assert is_sound(path)


def test_a_disk_without_any_room_is_named_and_the_store_recovers() -> None:
    with small_disk(megabytes=8) as disk:
        path = disk / "pit.db"
        store = Store.open(path)
        store.emit(started(run_id(1), tasks=tuple(f"t{place}" for place in range(20_000))))
        Reserve(path).path.unlink()
        filler = fill(disk)
        for place in range(20_000):
            _emit_regardless(store, place)
        with pytest.raises(DiskFull):
            store.barrier()
        filler.unlink()
        _flush_after_alarm(store)
        assert all(task.state is TaskState.SUCCESS for task in store.runs.tasks(run_id(1)))
        store.close()
        assert is_sound(path)


def _write_until_it_fails(store: Store) -> None:
    for at in range(200):
        store.emit(task_ended(run_id(1), "extract", reason=Reason.DISK_FULL, at=float(at)))
        store.barrier()


def _emit_regardless(store: Store, place: int) -> None:
    with suppress(PitError):
        store.emit(task_ended(run_id(1), f"t{place}"))


def _flush_after_alarm(store: Store) -> None:
    try:
        store.barrier()
    except DiskFull:
        store.barrier()


def test_a_run_cannot_begin_on_a_full_disk() -> None:
    with small_disk(megabytes=4) as disk:
        fill(disk)
        with pytest.raises(DiskFull) as caught:
            Store.open(disk / "pit.db").emit(started(run_id(1)))
        assert caught.value.hint


# -------------------------------------------------------------------------------- read-only disk


@pytest.mark.parametrize("ending", ["closed", "killed"])
def test_history_is_read_from_a_read_only_disk(ending: str) -> None:
    with small_disk(megabytes=32) as disk:
        path = disk / "pit.db"
        process = writer("forever" if ending == "killed" else "one", path, 1)
        assert process.stdout is not None
        if ending == "killed":
            for _ in range(5):
                process.stdout.readline()
            process.kill()
        process.communicate()
        make_read_only(disk)
        reader = Store.open_readonly(path)
        done = [t for t in reader.runs.tasks(run_id(1)) if t.state is TaskState.SUCCESS]
        assert len(done) >= 4
        assert reader.dags.summaries()[0].dag == "sales"
        DigestCache(reader.database).save({"/w/a": (1, 1, 1, 1, 1, "d")})
        assert DigestCache(reader.database).load() == {}
        reader.close()
        with pytest.raises(StoreUnavailable) as caught:
            Store.open(path)
        assert caught.value.hint


def test_a_log_without_its_index_is_read_through_a_private_copy() -> None:
    with small_disk(megabytes=32) as disk:
        path = disk / "pit.db"
        process = writer("forever", path, 1)
        assert process.stdout is not None
        assert process.stdout.readline() == "run\n"
        process.kill()
        process.communicate()
        (disk / "pit.db-shm").unlink()
        make_read_only(disk)
        reader = Store.open_readonly(path)
        assert reader.runs.find(run_id(1)).state is RunState.RUNNING
        reader.close()
        assert not list(Path(os.environ.get("TMPDIR", "/tmp")).glob("pit-*/copy.db"))


def test_a_missing_database_on_a_read_only_disk_is_no_error() -> None:
    with small_disk(megabytes=1) as disk:
        make_read_only(disk)
        with Store.open_readonly(disk / "pit.db") as reader:
            assert not reader.exists
        with pytest.raises(StoreUnavailable, match="read-only"):
            Store.open(disk / "deeper" / "pit.db")


# ---------------------------------------------------------------------------------- damaged file


@pytest.mark.parametrize("content", [b"this is a text\n" * 100, os.urandom(8192)])
@pytest.mark.parametrize("opening", [Store.open, Store.open_readonly])
def test_a_file_that_is_no_database_stays_as_it_is(
    tmp_path: Path, content: bytes, opening: object
) -> None:
    path = tmp_path / "pit.db"
    path.write_bytes(content)
    with pytest.raises(StoreUnavailable, match="damaged or not a SQLite database") as caught:
        opening(path)  # type: ignore[operator]
    assert f"mv {path}" in caught.value.hint
    assert path.read_bytes() == content


@pytest.mark.parametrize("opening", [Store.open, Store.open_readonly])
def test_a_damaged_database_is_named(tmp_path: Path, opening: object) -> None:
    path = tmp_path / "pit.db"
    with Store.open(path) as store:
        for number in range(50):
            for event in whole(run_id(number)):
                store.emit(event)
    with path.open("r+b") as file:
        for page in range(1, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(os.urandom(2000))
    with pytest.raises(StoreUnavailable, match="damaged"):
        _ask_everything(opening(path))  # type: ignore[operator]


def _ask_everything(store: Store) -> None:
    with store:
        store.dags.summaries()
        store.runs.latest(limit=None)
        store.runs.tasks(run_id(1))


def test_a_truncated_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pit.db"
    with Store.open(path) as store:
        for event in whole(run_id(1)):
            store.emit(event)
    os.truncate(path, 5000)
    with pytest.raises(StoreUnavailable, match="damaged"):
        _ask_everything(Store.open(path))


def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.db")
    (tmp_path / "folder.db").mkdir()
    for name in ("fifo.db", "folder.db"):
        for opening in (Store.open, Store.open_readonly):
            with pytest.raises(StoreUnavailable, match="not a regular file"):
                opening(tmp_path / name)


OPEN_AS_NOBODY = """
import os, sys
from pathlib import Path
from pit.errors import StoreUnavailable
from pit.state.store.store import Store
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
for opening in (Store.open, Store.open_readonly):
    try:
        opening(Path(sys.argv[1]))
    except StoreUnavailable as error:
        assert error.hint, error
    else:
        sys.exit("it opened")
"""


def test_a_database_that_may_not_be_opened_says_so() -> None:
    with public_folder() as folder:
        path = folder / "pit.db"
        Store.open(path).close()
        path.chmod(0)
        subprocess.run([sys.executable, "-c", OPEN_AS_NOBODY, str(path)], check=True)
