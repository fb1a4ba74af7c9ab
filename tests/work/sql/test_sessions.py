"""SQL sessions with real SQL processes and real DuckDB files."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest
from msgspec.structs import replace

from pit.model import Reason
from pit.order import Order, Outcome
from pit.work.process import launch, procfs
from pit.work.site import Site
from pit.work.sql.filelock import FileLocks
from pit.work.sql.orders import for_sql
from pit.work.sql.sessions import Sessions

LONG = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range % 7 = b.range % 13"

LAKE = "duckdb://w.duckdb"


class Bench:
    """A project folder, its sessions, and the logs of the tasks that ran on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.project = root / "project"
        self.project.mkdir()
        self.stderr = root / "sql.log"
        self.pids: list[int] = []
        self.logs: dict[str, list[str]] = {}
        self.cancel = launch.Cancel()
        self.sessions = Sessions(
            spawn=self._spawn,
            cwd=self.project,
            env={"PATH": os.environ["PATH"]},
            stderr=self.stderr,
            workspace=root,
        )
        self.site = Site(
            "r",
            "d",
            workspace=root,
            live=self.project,
            project=self.project,
            data=root / "data",
            logs=root,
        )
        self._pool = ThreadPoolExecutor(8)

    def _spawn(self, *args: object, **kwargs: object) -> launch.Child:
        child = launch.spawn_session(*args, **kwargs)  # type: ignore[arg-type]
        self.pids.append(child.pid)
        return child

    def order(self, text: str | bytes, task: str = "t", grace: float = 5.0) -> Order:
        script = self.project / f"{task}.sql"
        script.write_bytes(text if isinstance(text, bytes) else text.encode())
        return Order(
            run="r",
            dag="d",
            task=task,
            attempt=1,
            attempts=1,
            marker="",
            log=f"{task}.log",
            runner="sql",
            script=script.name,
            env={"PIT_PARAM_DATE": "2026-01-31", "HOME": "/"},
            grace=grace,
        )

    def start(self, order: Order, timeout: float | None = None, url: str = LAKE) -> Future[Outcome]:
        log = self.logs.setdefault(order.task, [])
        perform = self.sessions.perform
        return self._pool.submit(perform, order, self.site, url, log.append, self.cancel, timeout)

    def run(
        self, text: str | bytes, timeout: float | None = None, task: str = "t", url: str = LAKE
    ) -> Outcome:
        return self.start(self.order(text, task), timeout, url).result(60)

    def log(self, task: str = "t") -> str:
        return "\n".join(self.logs.get(task, []))

    def until(self, words: str, task: str = "t") -> None:
        deadline = time.monotonic() + 60
        while words not in self.log(task):
            assert time.monotonic() < deadline, self.log(task)
            time.sleep(0.01)

    def close(self) -> None:
        self.cancel.request(2)
        self._pool.shutdown()
        self.sessions.close()
        self.cancel.close()

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with duckdb.connect(str(self.root / "w.duckdb")) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    before = set(os.listdir("/proc/self/fd")) if sys.platform == "linux" else set()
    made = Bench(tmp_path)
    yield made
    made.close()
    assert [pid for pid in made.pids if procfs.stat(pid)] == []
    if before:
        assert len(os.listdir("/proc/self/fd")) <= len(before)


def test_a_script_succeeds(bench: Bench) -> None:
    outcome = bench.run(
        "CREATE TABLE t AS SELECT getvariable('pit_param_date') AS d;\nFROM t;\nCOPY t TO 'out.csv'"
    )
    assert outcome.reason is None
    assert outcome.error == ""
    assert outcome.seconds > 0
    assert outcome.ended_at >= outcome.started_at
    assert outcome.cpu_seconds is not None
    assert "  2026-01-31" in bench.log()
    assert (bench.project / "out.csv").read_text() == "d\n2026-01-31\n"
    assert bench.rows("FROM t") == [("2026-01-31",)]


def test_one_process_serves_all_tasks_of_a_database(bench: Bench) -> None:
    starts = [
        bench.start(bench.order(f"CREATE TABLE t{i} AS SELECT {i} AS n", f"t{i}")) for i in range(8)
    ]
    assert [start.result(60).reason for start in starts] == [None] * 8
    assert bench.run("SELECT 1", url=str(bench.root / "w.duckdb")).reason is None
    assert len(bench.pids) == 1
    assert bench.run("SELECT 1", url=":memory:").reason is None
    assert len(bench.pids) == 2
    assert len(bench.rows("SHOW TABLES")) == 8


def test_a_failure_names_script_and_line(bench: Bench) -> None:
    outcome = bench.run("SELECT 1;\n\nSELECT *\nFROM nope")
    assert outcome.reason is Reason.SQL_ERROR
    assert outcome.error.startswith("t.sql:4: Catalog Error: Table with name nope does not exist!")
    assert "\n" not in outcome.error
    assert not outcome.retryable
    assert not bench.run("SELECT error('later')").retryable


def test_a_task_may_want_every_failure_retried(bench: Bench) -> None:
    order = replace(bench.order("SELECT error('later')"), retry_any=True)
    assert bench.start(order).result(60).retryable


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("oracle://me:hunter2@db/x", 'connection with the unknown scheme "oracle://"'),
        ("postgres://me:hun?ter2@db/x", "the connection's port is not a number up to 65535"),
        ("Server=db;Pwd=hunter2", "the connection names no database that Pit knows"),
        ("", "the connection is empty"),
    ],
)
def test_a_connection_that_cannot_be_used(bench: Bench, url: str, words: str) -> None:
    outcome = bench.run("SELECT 1", url=url)
    assert outcome.reason is Reason.SQL_ERROR
    assert words in outcome.error
    assert "hunter2" not in outcome.error
    assert not outcome.retryable
    assert bench.pids == []


def test_scripts_that_cannot_be_read(bench: Bench) -> None:
    latin = bench.run("SELECT 1;\nSELECT 'caf\xe9'".encode("latin-1"))
    assert latin.error == "t.sql:2: the script is not UTF-8 text (byte 0xe9)"
    assert not latin.retryable
    order = bench.order("SELECT 1")
    os.unlink(bench.project / order.script)
    missing = bench.start(order).result(60)
    assert missing.reason is Reason.NOT_FOUND
    assert missing.error == "t.sql cannot be read: no such file or directory"


def test_a_script_as_windows_tools_save_it(bench: Bench) -> None:
    outcome = bench.run("SELECT 1".encode("utf-16"))
    assert outcome.reason is Reason.SQL_ERROR
    assert outcome.error.endswith("the script is UTF-16; save it as UTF-8")
    assert not outcome.retryable


def test_byte_order_mark_and_windows_lines(bench: Bench) -> None:
    assert bench.run(b"\xef\xbb\xbfSELECT 1;\r\nSELECT 'x' AS y;\r\n").reason is None
    assert "line 2: SELECT 'x' AS y" in bench.log()
    assert bench.run(b"SELECT 1;\r\nSELEC 2;\r\n").error.startswith("t.sql:2: Parser Error")


def test_a_time_out_interrupts_and_rolls_back(bench: Bench) -> None:
    assert bench.run("CREATE TABLE t (a INT)").reason is None
    outcome = bench.run(f"BEGIN;\nINSERT INTO t VALUES (1);\n{LONG};\nCOMMIT", timeout=1.5)
    assert outcome.reason is Reason.TIMEOUT
    assert outcome.error == "ended after its time-out of 1.5 s"
    assert outcome.retryable
    assert bench.rows("FROM t") == []
    assert bench.run("SELECT 1").reason is None
    assert len(bench.pids) == 1


def test_a_cancel_interrupts(bench: Bench) -> None:
    start = bench.start(bench.order(LONG))
    bench.until("line 1")
    bench.cancel.request(1, Reason.CANCELLED)
    outcome = start.result(60)
    assert outcome.reason is Reason.CANCELLED
    assert not outcome.retryable


def test_a_process_that_hears_no_interrupt_is_ended(bench: Bench) -> None:
    sibling = bench.start(bench.order(LONG, "sibling"))
    bench.until("line 1", "sibling")
    deaf = bench.start(bench.order(LONG, "deaf", grace=0.2), timeout=2.5)
    bench.until("line 1", "deaf")
    os.kill(bench.pids[0], signal.SIGSTOP)
    outcome, other = deaf.result(60), sibling.result(60)
    assert outcome.reason is Reason.TIMEOUT
    assert not outcome.lost
    assert other.lost
    assert other.reason is Reason.INTERNAL
    again = bench.run("SELECT 1", task="sibling")
    assert again.reason is None
    assert len(bench.pids) == 2


def test_a_stopped_process_does_not_stop_the_clock(bench: Bench) -> None:
    assert bench.run("SELECT 1").reason is None
    os.kill(bench.pids[0], signal.SIGSTOP)
    big = "SELECT 1; -- " + "x" * 1_000_000
    outcome = bench.start(bench.order(big, grace=0.1), timeout=0.3).result(60)
    assert outcome.reason is Reason.TIMEOUT
    assert bench.run("SELECT 2").reason is None


def test_an_urgent_cancel_grants_no_grace(bench: Bench) -> None:
    start = bench.start(bench.order(LONG, grace=60.0))
    bench.until("line 1")
    os.kill(bench.pids[0], signal.SIGSTOP)
    bench.cancel.request(2)
    outcome = start.result(50)
    assert outcome.reason is Reason.CANCELLED


def test_a_process_killed_in_mid_query(bench: Bench) -> None:
    start = bench.start(bench.order(LONG))
    bench.until("line 1")
    os.kill(bench.pids[0], signal.SIGKILL)
    outcome = start.result(60)
    assert outcome.reason is Reason.SIGNAL
    assert outcome.signal == 9
    assert outcome.error == "the SQL process ended by signal 9"
    assert outcome.retryable
    assert not outcome.lost
    assert bench.run("SELECT 1").reason is None


def test_a_task_that_comes_right_after_a_death_is_not_blamed_for_it(bench: Bench) -> None:
    for _ in range(3):
        assert bench.run("SELECT 1").reason is None
        os.kill(bench.pids[-1], signal.SIGKILL)
        outcome = bench.run("SELECT 1", task="next")
        assert outcome.reason is None or outcome.lost, outcome.error


def test_last_words_reach_the_log(bench: Bench) -> None:
    start = bench.start(bench.order(LONG))
    bench.until("line 1")
    os.kill(bench.pids[0], signal.SIGSEGV)
    assert start.result(60).signal == 11
    assert "the SQL process ended by signal 11; its last words:\nFatal Python error" in bench.log()


def test_after_a_crash_with_many_suspects_each_runs_by_itself(bench: Bench) -> None:
    starts = {task: bench.start(bench.order(LONG, task)) for task in ("a", "b")}
    for task in starts:
        bench.until("line 1", task)
    os.kill(bench.pids[0], signal.SIGSEGV)
    outcomes = [start.result(60) for start in starts.values()]
    assert all(outcome.lost and outcome.reason is Reason.INTERNAL for outcome in outcomes)
    bench.logs.clear()
    guilty = bench.start(bench.order(LONG, "a"))
    bench.until("line 1: SELECT count(*) FROM", "a")
    innocent = bench.start(bench.order("CREATE TABLE done AS SELECT 1 AS n", "b"))
    bench.until("waiting for", "b")
    os.kill(bench.pids[1], signal.SIGKILL)
    assert guilty.result(60).reason is Reason.SIGNAL
    assert innocent.result(60).reason is None
    assert bench.rows("FROM done") == [(1,)]


def test_a_process_that_died_between_tasks_is_replaced(bench: Bench) -> None:
    bench.run("SELECT 1")
    os.kill(bench.pids[0], signal.SIGKILL)
    noticed = _within(lambda: "sql-read" not in {one.name for one in threading.enumerate()}, 60)
    assert noticed, "who reads from it has heard of its end"
    assert bench.run("SELECT 1").reason is None
    assert len(bench.pids) == 2


def test_a_full_disk_under_the_log_ends_the_script(bench: Bench) -> None:
    def full(_text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    outcome = bench.sessions.perform(bench.order(LONG), bench.site, LAKE, full, bench.cancel, None)
    assert outcome.reason is Reason.DISK_FULL
    assert not outcome.retryable
    assert bench.run("SELECT 1").reason is None


def test_a_full_disk_under_the_database(bench: Bench) -> None:
    outcome = bench.run("COPY (FROM range(100000)) TO '/dev/full' (FORMAT csv)")
    assert outcome.reason is Reason.DISK_FULL
    assert not outcome.retryable


def test_waiting_for_a_file_is_bounded_by_the_time_out(bench: Bench) -> None:
    assert bench.run("SELECT 1").reason is None, "from now on there is a process"
    with duckdb.connect(str(bench.root / "w.duckdb")):
        outcome = bench.run("SELECT 1", timeout=1.0)
    assert outcome.reason is Reason.TIMEOUT
    assert f"(pid {os.getpid()})" in bench.log()


def test_two_scripts_that_attach_each_others_database(bench: Bench) -> None:
    text = (
        "ATTACH '{0}' AS other; CREATE TABLE {1} AS SELECT 1 AS a; CREATE TABLE other.{1}_o (a INT)"
    )
    a, b = bench.root / "a.duckdb", bench.root / "b.duckdb"
    starts = [
        bench.start(bench.order(text.format(b, "x"), "x"), 25, str(a)),
        bench.start(bench.order(text.format(a, "y"), "y"), 25, str(b)),
    ]
    assert [start.result(60).error for start in starts] == ["", ""]


def test_many_statements_with_much_to_log(bench: Bench) -> None:
    outcome = bench.run("SELECT range AS a, 'x' AS b FROM range(30);\n" * 300)
    assert outcome.reason is None
    assert bench.log().count("first 20 of 30 rows") == 300


def test_a_process_that_cannot_be_started(bench: Bench, tmp_path: Path) -> None:
    def spawn(*_args: object, **_kwargs: object) -> launch.Child:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    with Sessions(
        spawn=spawn, cwd=tmp_path, env={}, stderr=tmp_path / "err", workspace=tmp_path
    ) as sessions:
        order = bench.order("SELECT 1")
        outcome = sessions.perform(order, bench.site, LAKE, print, bench.cancel)
    assert outcome.reason is Reason.INTERNAL
    assert "could not be started" in outcome.error


def test_databases_in_use_share_the_machine(bench: Bench) -> None:
    half = str(max(1, (os.cpu_count() or 1) // 2))
    query = "SELECT current_setting('memory_limit'), current_setting('threads') AS n"

    def limits(task: str, url: str) -> list[str]:
        assert bench.run(query, task=task, url=url).reason is None
        return bench.log(task).splitlines()[-2].split()

    held = [bench.start(bench.order(LONG, task="first"))]
    bench.until("SELECT count", task="first")
    assert limits("second", "other.duckdb")[-1] == half
    own = "duckdb://other.duckdb?memory_limit=300MiB&threads=1"
    assert limits("third", own) == ["300.0", "MiB", "1"]
    alone = float(limits("fourth", "w.duckdb")[0])
    held.append(bench.start(bench.order(LONG, task="fifth"), url="other.duckdb"))
    bench.until("SELECT count", task="fifth")
    size, _, threads = limits("sixth", "w.duckdb")  # on the file that was open before
    assert (threads, float(size) < alone) == (half, True)
    bench.cancel.request(1, Reason.CANCELLED)
    for each in held:
        each.result(60)


def test_a_database_that_is_done_with_takes_no_share(bench: Bench) -> None:
    query = "SELECT current_setting('memory_limit'), current_setting('threads') AS n"
    for number in range(3):
        assert bench.run(query, task=f"t{number}", url=f"{number}.duckdb").reason is None
        threads = bench.log(f"t{number}").splitlines()[-2].split()[-1]
        assert threads == str(os.cpu_count() or 1)


def test_a_database_without_a_file_is_nobodys_alone(bench: Bench) -> None:
    with bench.sessions.alone("sqlite://w.sqlite", bench.cancel) as entered:
        assert entered
        assert bench.run("SELECT 1", url="sqlite://w.sqlite").reason is None


def test_runs_take_turns_at_a_file(bench: Bench) -> None:
    """Another run of the workspace waits for the lock, and is told whose it is."""
    other = FileLocks(bench.root / ".pit" / "databases")
    path = str(bench.root / "w.duckdb")
    assert other.enter(path, "run r2 (task t2)", lambda seconds: False, lambda text: None)
    waiting = bench.start(bench.order("SELECT 1"))
    bench.until(f"waiting for {path}: in use by run r2 (task t2)")
    assert not waiting.done()
    other.leave(path)
    assert waiting.result(60).reason is None


def test_waiting_for_another_runs_lock_ends_with_a_cancel(bench: Bench) -> None:
    other = FileLocks(bench.root / ".pit" / "databases")
    path = str(bench.root / "w.duckdb")
    assert other.enter(path, "x", lambda seconds: False, lambda text: None)
    waiting = bench.start(bench.order("SELECT 1"))
    bench.until("waiting for")
    bench.cancel.request(1, Reason.CANCELLED)
    assert waiting.result(60).reason is Reason.CANCELLED
    other.leave(path)


def test_a_python_task_gets_a_database_alone(bench: Bench) -> None:
    order = bench.order("CREATE TABLE t AS SELECT 1 AS a")
    with bench.sessions.alone("duckdb://w.duckdb", bench.cancel) as entered:
        assert entered
        start = bench.start(order)
        assert not _within(start.done, 0.3)
        assert bench.rows("SELECT 1") == [(1,)]
    assert start.result(60).reason is None


def test_a_python_task_waits_for_sql_tasks(bench: Bench) -> None:
    assert bench.run("SELECT 1").reason is None, "from now on there is a process"
    start = bench.start(bench.order(LONG), timeout=3.0)
    bench.until("line 1: SELECT count")
    with bench.sessions.alone("w.duckdb", bench.cancel) as entered:
        assert entered
        assert start.done()
        assert bench.rows("SELECT 1") == [(1,)]


def test_waiting_for_a_turn_can_be_cancelled(bench: Bench) -> None:
    start = bench.start(bench.order(LONG))
    bench.until("line 1")
    threading.Timer(0.2, bench.cancel.request).start()
    with bench.sessions.alone("w.duckdb", bench.cancel) as entered:
        assert not entered
    assert start.result(60).reason is Reason.CANCELLED


def test_nothing_is_left_of_an_empty_error_file(bench: Bench) -> None:
    bench.run("SELECT 1")
    bench.sessions.close()
    assert not bench.stderr.exists()


def test_variables_are_pits_own() -> None:
    env = {
        "PIT_RUN_ID": "r",
        "PIT_PARAM_Date": "d",
        "PIT_SOCKET": "/tmp/s",
        "PIT_MARKER": "m",
        "HOME": "/",
        "PIT_PARAM_BAD": "a\udcff",
    }
    assert for_sql(env) == {
        "pit_run_id": "r",
        "pit_param_date": "d",
        "pit_param_bad": "a\ufffd",
    }


def _within(true: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.01)
    return False
