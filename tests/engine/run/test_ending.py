"""Law 5 by the real command: no process outlives its task, whatever ends the run."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from tests.builder import Pit
from tests.engine.run.test_run import rows, wait_for
from tests.state.store.disks import small_disk
from tests.work.process import daemons

ONE = '[[tasks]]\nname = "a"\nscript = "a.sh"\n'


def tree(stamp: str) -> str:
    """A script whose children escape in every way there is, each named by `stamp`."""
    return f"""
trap '' TERM
sleep 61.{stamp} &
setsid sleep 62.{stamp} &
(setsid sh -c 'sleep 63.{stamp} & wait' &)
env -i setsid sleep 64.{stamp} &
sh -c 'trap "" TERM; sleep 65.{stamp}; true' &
touch $PIT_WORKSPACE/begun
"""


@pytest.fixture
def stamp() -> str:
    return str(uuid4().int)[:12]


def alive(pit: Pit, stamp: str) -> list[int]:
    return list(pit.marked(f".{stamp}"))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_the_first_signal_ends_the_whole_tree(
    pit: Pit, stamp: str, number: signal.Signals, code: int
) -> None:
    pit.project("wild").toml(ONE).file("a.sh", tree(stamp) + "wait\nsleep 60")
    process = pit.start("run", "wild", "--grace", "500ms")
    wait_for(lambda: (pit.root / "begun").exists() and len(alive(pit, stamp)) >= 5)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    assert alive(pit, stamp) == []
    assert rows(pit, "select state, reason from runs") == [("cancelled", "cancelled")]
    assert rows(pit, "select state, reason from tasks") == [("cancelled", "cancelled")]
    assert rows(pit, "select state, reason from attempts") == [("cancelled", "cancelled")]


def test_a_task_that_does_not_heed_the_first_signal_is_named(pit: Pit) -> None:
    pit.project("d").toml(ONE)
    pit.file("a.sh", "trap '' TERM; touch $PIT_WORKSPACE/begun; sleep 61; sleep 62")
    process = pit.start("run", "d", "--grace", "1h")
    wait_for((pit.root / "begun").exists)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    said = b""
    while b"ending" not in said:
        said = process.stdout.readline()
    assert b"ending: a has 1h to end; another Ctrl-C kills it at once" in said
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130


def test_the_second_signal_does_not_wait(pit: Pit, stamp: str) -> None:
    pit.project("wild").toml(ONE).file("a.sh", tree(stamp) + "sleep 60")
    process = pit.start("run", "wild", "--grace", "1h")
    wait_for(lambda: len(alive(pit, stamp)) >= 5)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert alive(pit, stamp) == []


def test_what_a_success_leaves_behind_ends_with_it(pit: Pit, stamp: str) -> None:
    pit.project("wild").toml(ONE).file("a.sh", tree(stamp) + "exit 0")
    pit.run("run", "wild", "--grace", "300ms").ok()
    assert alive(pit, stamp) == []


def test_a_time_out_takes_the_whole_tree(pit: Pit, stamp: str) -> None:
    pit.project("wild").toml(ONE + 'timeout = "1s"\n').file("a.sh", tree(stamp) + "sleep 60")
    pit.run("run", "wild", "--grace", "300ms").fails(1, "timeout")
    assert alive(pit, stamp) == []


def test_kill_9_of_pit_leaves_nothing_and_the_next_command_says_so(pit: Pit, stamp: str) -> None:
    pit.project("wild").toml(ONE).file("a.sh", tree(stamp) + "sleep 60")
    process = pit.start("run", "wild", "--grace", "500ms")
    wait_for(lambda: len(alive(pit, stamp)) >= 5)
    process.kill()
    process.communicate()
    wait_for(lambda: alive(pit, stamp) == [], 15)
    pit.file("a.sh", "true")
    wait_for(lambda: "interrupted" in pit.run("status").out)
    result = pit.run("run", "wild").ok()
    assert "interrupted" in result.out + result.err
    assert rows(pit, "select state from runs order by seq") == [("interrupted",), ("success",)]


def kill_with_its_guardian(process: subprocess.Popen[bytes]) -> None:
    """kill -9 of Pit and of its guardian, which has no time to do anything."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    guardians = [
        int(pid) for pid in children if b"wild" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    for pid in (process.pid, *guardians):
        os.kill(pid, signal.SIGSTOP)
    for pid in (*guardians, process.pid):
        os.kill(pid, signal.SIGKILL)
    process.communicate()


def test_killing_pit_and_its_guardian_leaves_work_for_the_next_run(pit: Pit, stamp: str) -> None:
    pit.project("wild").toml(ONE).file("a.sh", f"sleep 66.{stamp} & sleep 67.{stamp}")
    process = pit.start("run", "wild")
    wait_for(lambda: len(alive(pit, stamp)) >= 2)
    kill_with_its_guardian(process)
    assert len(alive(pit, stamp)) >= 2
    pit.file("a.sh", "true")
    pit.run("run", "wild").ok()
    assert alive(pit, stamp) == []
    assert rows(pit, "select state from runs order by seq") == [("interrupted",), ("success",)]


TWO = ONE + '[[tasks]]\nname = "b"\nscript = "b.sh"\n'


def daemon(pit: Pit) -> str:
    """A script that leaves a process in the workspace which has cut every tie to it."""
    return f"cd {pit.root}\n{daemons.left('double fork')}\n"


def test_kill_9_of_pit_ends_a_daemon_with_several_tasks_running(pit: Pit) -> None:
    pit.project("wild").toml(TWO).file("a.sh", daemon(pit) + "sleep 60").file("b.sh", "sleep 60")
    process = pit.start("run", "wild", "--grace", "500ms")
    (pid,) = daemons.pids(pit.root)
    process.kill()
    process.communicate()
    ended = daemons.until(lambda: not daemons.alive(pid))
    daemons.kill(pid)
    assert ended
    wait_for(lambda: "interrupted" in pit.run("status").out)


def test_a_daemon_of_a_killed_pit_and_guardian_is_left_to_the_next_run(pit: Pit) -> None:
    pit.project("wild").toml(TWO).file("a.sh", daemon(pit) + "sleep 60").file("b.sh", "true")
    process = pit.start("run", "wild")
    (pid,) = daemons.pids(pit.root)
    kill_with_its_guardian(process)
    assert daemons.alive(pid)
    pit.file("a.sh", "true")
    pit.run("run", "wild").ok()
    lived = daemons.alive(pid)
    daemons.kill(pid)
    assert not lived
    assert rows(pit, "select state from runs order by seq") == [("interrupted",), ("success",)]


@pytest.mark.parametrize("before", ["", daemons.WITHOUT_MARKS], ids=["marks", "no marks"])
def test_a_run_in_place_of_a_program_with_children_leaves_them_alone(pit: Pit, before: str) -> None:
    """As the entry point of a container often is: `exec pit run` in a shell script."""
    pit.project("wild").toml(TWO).file("a.sh", daemon(pit)).file("b.sh", "true")
    done = subprocess.run(
        ["bash", "-c", f'{before}sleep 60 > /dev/null 2>&1 & echo $! > child; exec "$@"', "bash",
         *pit.argv("run", "wild")],
        cwd=pit.root, env=pit.env, capture_output=True, text=True,
    )  # fmt: skip
    (pid,), (child,) = daemons.pids(pit.root), daemons.pids(pit.root, name="child")
    lived = daemons.alive(pid), daemons.alive(child)
    daemons.kill(pid)
    daemons.kill(child)
    assert done.returncode == 0, done.stderr
    assert lived == (bool(before), True)
    named = f"sleep (process {pid})" in done.stdout + done.stderr
    assert named == bool(before)
    assert f"process {child}" not in done.stdout + done.stderr


def test_a_full_disk_fails_the_run_and_spares_the_store(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk], check=True)
    try:
        pit = Pit(disk)
        pit.project("big").toml(
            '[[tasks]]\nname = "fill"\nscript = "fill.sh"\n'
            '[[tasks]]\nname = "next"\nscript = "next.sh"\ndepends_on = ["fill"]\n'
        )
        pit.file("fill.sh", "head -c 100000000 /dev/zero\n").file("next.sh", "true")
        pit.run("run", "big", timeout=60).fails(25, "disk_full")
        found = rows(pit, "select state, reason from runs")
        assert found == [("failed", "disk_full")]
        pit.run("prune", "--run", pit.runs()[0].name).ok()
        assert pit.runs() == []
        with closing(sqlite3.connect(disk / "pit_metadata.db")) as store:
            assert store.execute("pragma integrity_check").fetchall() == [("ok",)]
        pit.file("fill.sh", "true")
        pit.run("run", "big").ok()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_store_that_is_full_ends_a_run_once_and_says_so() -> None:
    with small_disk(8) as disk:
        pit = Pit(disk).project("p").toml(f'{ONE}[[tasks]]\nname = "b"\nscript = "b.sh"\n')
        pit.file("a.sh", 'cat /dev/zero > "$PIT_WORKSPACE/filler" 2>/dev/null; true\n')
        pit.file("b.sh", "true\n").file("../../filler", "")
        for _ in range(3):  # with a reserve to tell it from, and without
            done = pit.run("run", "p", timeout=60).fails(25, "is full", "pit prune --all-finished")
            ends = [line for line in done.out.splitlines() if "  run " in line or "p  " in line]
            assert not any("cancelled" in line for line in ends), "the run is not called so"
            assert sum("  run " in line and "failed" in line for line in done.out.splitlines()) <= 1
        events = pit.run("run", "p", "--json", timeout=60).events
        assert [event["event"] for event in events].count("run_ended") <= 1
        (disk / "filler").unlink()
        pit.file("a.sh", "true\n").run("run", "p").ok()


def test_what_a_killed_pit_has_left_is_shown_as_ending(pit: Pit) -> None:
    pit.project("d").toml(ONE)
    pit.file(
        "a.sh",
        "trap '' TERM\ntouch $PIT_WORKSPACE/begun\n"
        "until [ -e $PIT_WORKSPACE/go ]; do sleep 0.05; done\n",
    )
    process = pit.start("run", "d", "--grace", "1h")
    wait_for((pit.root / "begun").exists)
    assert pit.run("runs", "--json").ok().json[0]["ending"] is False
    process.kill()
    process.wait()
    assert pit.run("runs", "--json").ok().json[0]["ending"] is True
    assert " ending after " in pit.run("status", "d").ok().out
    assert " ending " in pit.run("status").ok().out
    (pit.root / "go").touch()
    process.communicate(timeout=60)
    wait_for(lambda: "interrupted" in pit.run("status", "d").out)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_a_run_waits_for_its_place_is_told(
    pit: Pit, number: signal.Signals, code: int
) -> None:
    pit.project("one").toml(f'[dag]\noverlap = "queue"\n{ONE}')
    pit.file("a.sh", "touch ../../../begun; until [ -e ../../../go ]; do sleep 0.05; done\n")
    first = pit.start("run", "one")
    try:
        wait_for((pit.root / "begun").exists, 60)
        second = pit.start("run", "one")
        assert second.stdout is not None
        assert b"waiting for it to end" in second.stdout.readline()
        second.send_signal(number)
        rest, _ = second.communicate(timeout=60)
    finally:
        (pit.root / "go").touch()
    assert second.returncode == code
    assert f"{number.name} ended the wait: nothing was run".encode() in rest
    first.communicate(timeout=60)
    assert first.returncode == 0
    assert len(pit.runs()) == 1


# ------------------------------------------------------------------ cancelled, and nothing else

RETRIED = """
[[tasks]]
name = "a"
script = "a.sh"
retries = 3
retry_delay = "1h"
[[tasks]]
name = "b"
script = "b.sh"
depends_on = ["a"]
"""
WAITS_TO_RETRY = "attempt 1 failed"


def ended_once_it_says(pit: Pit, said: str, *numbers: int) -> tuple[int, str]:
    """Exit code and output of a run that gets these signals once it has written some words."""
    process = pit.start("run", "d")
    assert process.stdout is not None
    seen = b""
    while said.encode() not in seen:
        seen += process.stdout.readline()
    for number in numbers:
        process.send_signal(number)
    rest, _ = process.communicate(timeout=60)
    return process.returncode, (seen + rest).decode()


@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        ([signal.SIGINT], 130),
        ([signal.SIGTERM], 143),
        ([signal.SIGHUP], 129),
        ([signal.SIGINT, signal.SIGINT], 130),
    ],
)
def test_a_run_that_is_ended_while_a_task_waits_for_its_retry_is_cancelled(
    pit: Pit, numbers: list[int], code: int
) -> None:
    pit.project("d").toml(RETRIED).file("a.sh", "exit 1").file("b.sh", "true")
    found, said = ended_once_it_says(pit, WAITS_TO_RETRY, *numbers)
    assert found == code
    assert "exit code 1; not tried again because the run was ending" in said
    assert "cancelled: exit code" not in said, "the state says it already"
    assert rows(pit, "select state, reason from runs") == [("cancelled", "cancelled")]
    assert rows(pit, "select task, state, reason from tasks order by task") == [
        ("a", "cancelled", "cancelled"),
        ("b", "skipped", "cancelled"),
    ]
    assert rows(pit, "select state, reason from attempts") == [("failed", "exit")]
    told = pit.run("status", "d").ok().out
    assert "cancelled" in told
    assert "failed" not in told
    pit.file("a.sh", "true")
    again = pit.run("retry", "d", "--code", "new").ok().out
    assert "a  success" in again
    assert "b  success" in again


def test_the_time_out_of_the_run_while_a_task_waits_for_its_retry_is_a_time_out(pit: Pit) -> None:
    pit.project("d").toml(f'[dag]\ntimeout = "1s"\n{RETRIED}').file("a.sh", "exit 1")
    pit.file("b.sh", "true").run("run", "d").fails(124, "the run exceeded dag.timeout of 1s")
    assert rows(pit, "select state, reason from runs") == [("failed", "timeout")]
    assert rows(pit, "select task, state, reason from tasks order by task") == [
        ("a", "failed", "timeout"),
        ("b", "skipped", "timeout"),
    ]


def test_a_task_that_failed_for_good_makes_no_cancelled_run_of_one_that_ended(pit: Pit) -> None:
    pit.project("d").toml(RETRIED.replace("retries = 3", "retries = 0")).file("a.sh", "exit 1")
    pit.file("b.sh", "true").run("run", "d").fails(1)
    assert rows(pit, "select state, reason from runs") == [("failed", None)]
    assert rows(pit, "select task, state from tasks order by task") == [
        ("a", "failed"),
        ("b", "upstream_failed"),
    ]


def test_what_was_cancelled_is_neither_a_failure_nor_done(pit: Pit) -> None:
    pit.project("d").toml(
        '[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = []\n'
        '[[tasks]]\nname = "b"\nscript = "b.sh"\ninputs = []\n'
    )
    pit.file("a.sh", "true").file("b.sh", "touch $PIT_WORKSPACE/begun; exec sleep 60")
    process = pit.start("run", "d")
    wait_for((pit.root / "begun").exists)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 130
    assert "  cancelled  b  " in said
    assert "failed" not in said
    tasks = {task["task"]: task for task in pit.run("status", "d", "--json").ok().json["tasks"]}
    assert tasks["b"]["state"] == "cancelled"
    assert "failed" not in pit.run("status").ok().out
    assert "cancelled" in pit.run("logs", "d", "--list").ok().out
    assert "the run was cancelled while it ran" in pit.run("why", "d/b").out
    assert "it was cancelled the last time" in pit.run("plan", "d").out
    assert "failed" not in pit.run("graph", "d", "--status", "--format", "mermaid").out
    pit.file("b.sh", "true")
    pit.run("run", "d", "--failed").ok()
    assert rows(pit, "select task, state from tasks order by run desc, task limit 2") == [
        ("a", "skipped"),
        ("b", "success"),
    ]


# ------------------------------------------------------------------ the store, and defects


@pytest.mark.parametrize("how", ["removed", "replaced", "restored"])
@pytest.mark.parametrize(
    "tasks", [ONE, f'{ONE}inputs = []\n[[tasks]]\nname = "z"\nscript = "z.sh"\n']
)
def test_a_store_that_goes_while_a_run_lasts_is_told_and_no_success(
    pit: Pit, how: str, tasks: str
) -> None:
    held = "touch $PIT_WORKSPACE/begun; until [ -e $PIT_WORKSPACE/go ]; do sleep 0.05; done\n"
    pit.project("d").toml(tasks).file("a.sh", "true").file("z.sh", "true")
    pit.run("run", "d").ok()
    store = pit.root / "pit_metadata.db"
    before = store.read_bytes()
    pit.file("a.sh", held)
    process = pit.start("run", "d")
    wait_for((pit.root / "begun").exists)
    for file in pit.root.glob("pit_metadata.db*"):
        file.unlink()
    if how == "restored":
        store.write_bytes(before)
    elif how == "replaced":
        pit.run("forget", "d/a")
        sqlite3.connect(store).close()
    (pit.root / "go").touch()
    said = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 24
    assert "removed or replaced while it was in use" in said
    assert "d  success" not in said
    if how == "replaced":
        store.unlink()
    pit.file("a.sh", "true").run("run", "d").ok()
    assert rows(pit, "select state from runs order by seq desc limit 1") == [("success",)]


def broken(pit: Pit, patch: str) -> subprocess.CompletedProcess[str]:
    """`pit run d` with a defect in it."""
    program = f"import os, signal, sys\n{patch}\nfrom pit.cli.main import main\nsys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, "run", "d"],
        env=pit.env | {"PIT_WORKSPACE": str(pit.root)},
        capture_output=True,
        text=True,
        timeout=60,
    )


SIGNALLED = """
from pit.engine.run import run
def freeze(opened, digests):
    os.kill(os.getpid(), signal.SIGINT)
    while opened.cancel.level == 0:
        pass
    {then}
run.freeze = freeze
"""


def test_a_defect_while_a_run_is_cancelled_keeps_its_trace(pit: Pit) -> None:
    pit.project("d").toml(ONE).file("a.sh", "true")
    done = broken(pit, SIGNALLED.format(then="1 / 0"))
    assert done.returncode == 70
    assert "internal error: ZeroDivisionError" in done.stderr
    assert "in freeze" in (pit.root / ".pit" / "crash.log").read_text()
    assert rows(pit, "select state, reason, error from runs") == [
        ("failed", "internal", "division by zero")
    ]
    assert rows(pit, "select state, reason from tasks") == [("skipped", "internal")]


@pytest.mark.parametrize(
    ("error", "code", "state"),
    [
        ("KeyboardInterrupt", 130, ("cancelled", "cancelled")),
        ('EnvironmentFailed("uv was ended")', 130, ("cancelled", "cancelled")),
        ('DiskFull("full")', 25, ("failed", "disk_full")),
        ('SnapshotFailed("gone")', 23, ("failed", "setup")),
        ('OSError(5, "input/output error")', 1, ("failed", "internal")),
    ],
)
def test_what_a_cancel_makes_of_the_set_up_is_told_from_what_went_wrong(
    pit: Pit, error: str, code: int, state: tuple[str, str]
) -> None:
    pit.project("d").toml(ONE).file("a.sh", "true")
    done = broken(pit, f"from pit.errors import *\n{SIGNALLED.format(then=f'raise {error}')}")
    assert done.returncode == code, done.stderr
    assert rows(pit, "select state, reason from runs") == [state]


def test_a_defect_in_what_hears_of_the_start_of_a_run_leaves_nothing_running(pit: Pit) -> None:
    pit.project("d").toml(ONE).file("a.sh", "true")
    done = broken(
        pit,
        "from pit.cli.terminal.progress import PlainView\n"
        "def emit(self, event): raise ZeroDivisionError('a view')\n"
        "PlainView.emit = emit",
    )
    assert done.returncode == 70
    assert rows(pit, "select state, reason from runs") == [("failed", "internal")]
    assert rows(pit, "select state, reason from tasks") == [("skipped", "internal")]


def test_a_defect_while_tasks_run_leaves_no_attempt_open(pit: Pit) -> None:
    pit.project("d").toml(ONE).file("a.sh", "exec sleep 60")
    done = broken(
        pit,
        "from pit.cli.terminal.progress import PlainView\n"
        "def emit(self, event):\n"
        "    if type(event).__name__ == 'AttemptStarted': raise ZeroDivisionError('a view')\n"
        "PlainView.emit = emit",
    )
    assert done.returncode == 70
    assert rows(pit, "select state, reason from tasks") == [("cancelled", "internal")]
    assert rows(pit, "select state, reason from attempts") == [("cancelled", "cancelled")]
