"""`pit.work.process.procfs`: what /proc tells, held against what the system itself says."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pit.work.process import procfs


@contextmanager
def running(*argv: str, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A program that is killed in the end."""
    started = subprocess.Popen(argv, **options)  # type: ignore[call-overload]
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def test_stat_of_ourselves() -> None:
    own = procfs.stat(os.getpid())
    assert own is not None
    assert own.alive
    assert (own.pid, own.parent) == (os.getpid(), os.getppid())
    assert (own.group, own.session) == (os.getpgid(0), os.getsid(0))
    assert own.identity == (os.getpid(), own.start)


def test_a_name_with_spaces_and_parentheses_does_not_confuse() -> None:
    script = "open('/proc/self/comm', 'w').write(') S 1 (x)'); print(flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with running(sys.executable, "-c", script, **pipes) as odd:
        assert odd.stdout is not None
        odd.stdout.readline()
        found = procfs.stat(odd.pid)
        assert found is not None
        assert (found.parent, found.session) == (os.getpid(), os.getsid(0))


def test_a_zombie_is_not_alive_and_a_missing_process_is_none() -> None:
    with running("true") as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        zombie = procfs.stat(ended.pid)
        assert zombie is not None
        assert not zombie.alive
        assert procfs.memory(ended.pid) == (0, 0)
        assert procfs.descendants([ended.pid]) == {}
    assert procfs.stat(ended.pid) is None


def test_a_process_whose_main_thread_has_gone_is_alive() -> None:
    script = (
        "import ctypes, threading, time\n"
        "threading.Thread(target=lambda: (time.sleep(0.1), print(flush=True), time.sleep(60)))"
        ".start()\nctypes.CDLL(None).pthread_exit(None)"
    )
    with running(sys.executable, "-c", script, stdout=subprocess.PIPE) as headless:
        assert headless.stdout is not None
        headless.stdout.readline()
        found = procfs.stat(headless.pid)
        assert found is not None
        assert found.alive


def test_children_of_all_threads_are_found() -> None:
    started: list[subprocess.Popen[bytes]] = []
    stop = threading.Event()

    def work() -> None:
        started.append(subprocess.Popen(["sleep", "60"]))
        stop.wait()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        while not started:
            pass
        assert started[0].pid in procfs.children(os.getpid())
        assert started[0].pid not in procfs.children_of_thread(os.getpid(), os.getpid())
    finally:
        started[0].kill()
        started[0].wait()
        stop.set()
        thread.join()


def test_descendants_and_ancestors() -> None:
    script = "sleep 60 & echo $!; wait"
    with running("bash", "-c", script, stdout=subprocess.PIPE) as shell:
        assert shell.stdout is not None
        leaf = int(shell.stdout.readline())
        assert set(procfs.descendants([shell.pid])) == {shell.pid, leaf}
        line = procfs.ancestors(leaf)
        assert {leaf, shell.pid, os.getpid(), os.getppid(), 1} <= line
        os.kill(leaf, 9)


def test_environment_is_compared_by_whole_entries() -> None:
    with running("sleep", "60", env={"PIT_RUN_ID": "run-1", "OTHER": "x"}) as marked:
        while not any(procfs.environment(marked.pid)):
            pass  # it is in the midst of its exec
        assert procfs.carries(marked.pid, b"PIT_RUN_ID=run-1")
        assert not procfs.carries(marked.pid, b"PIT_RUN_ID=run-")
        assert not procfs.carries(marked.pid, b"RUN_ID=run-1")
    assert procfs.environment(marked.pid) == []


def test_who_holds_a_pipe() -> None:
    reader, writer = os.pipe()
    inode = os.fstat(reader).st_ino
    try:
        with running("sleep", "60", stdout=writer) as holder, running("sleep", "60") as other:
            assert procfs.holds_pipe(holder.pid, inode)
            assert not procfs.holds_pipe(other.pid, inode)
    finally:
        os.close(reader)
        os.close(writer)


def test_memory_now_and_at_most() -> None:
    script = "x = bytearray(50_000_000); del x; print(flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with running(sys.executable, "-c", script, **pipes) as eater:
        assert eater.stdout is not None
        eater.stdout.readline()
        resident, most = procfs.memory(eater.pid)
        assert resident < 50_000_000 < most


def test_the_clock_is_that_of_start_times() -> None:
    agreed = 0
    for _ in range(50):
        before = procfs.clock()
        with running("true") as child:
            after = procfs.clock()
            found = procfs.stat(child.pid)
            assert found is not None
            assert before is not None
            assert after is not None
            assert before <= found.start <= after
            agreed += before == after
    assert agreed


# ---------------------------------------------------------------- who uses a folder


def test_a_folder_is_in_use_by_who_works_in_it_and_who_has_something_in_it_open(
    tmp_path: Path,
) -> None:
    folder, other = tmp_path / "run" / "project", tmp_path / "run" / "project 2"
    (folder / "in/ner").mkdir(parents=True)
    other.mkdir()
    with subprocess.Popen(["sleep", "60"], cwd=other) as beside:
        assert not procfs.in_use(str(folder))
        beside.kill()
    for place in (folder, folder / "in/ner"):
        with subprocess.Popen(["sleep", "60"], cwd=place) as inside:
            assert procfs.in_use(str(folder))
            inside.kill()
    assert not procfs.in_use(str(folder))
    with (folder / "in/file").open("w"):
        assert procfs.in_use(str(folder))
    with (folder / "in/file").open() as file:
        (folder / "in/file").unlink()
        assert not file.closed
        assert procfs.in_use(str(folder))
    assert not procfs.in_use(str(folder))


def test_a_folder_is_in_use_where_it_is_mounted_and_where_something_is_mounted_in_it() -> None:
    below = "/work/my runs/20260131_060000.000_m/project/"
    line = b"36 35 98:0 %s %s rw,noatime master:1 - ext4 /dev/root rw\n"
    for root, point, is_it in (
        (rb"/disk/my\040runs/20260131_060000.000_m/project", b"/srv", True),
        (rb"/disk/my\040runs/20260131_060000.000_m/project/data", b"/srv", True),
        (b"/", rb"/work/my\040runs/20260131_060000.000_m/project/data", True),
        (b"/", rb"/work/my\040runs/20260131_060000.000_m/project", True),
        (b"/work", b"/work", False),
        (rb"/disk/my\040runs/20260131_060000.000_m/project2", b"/srv", False),
        (rb"/disk/my\040runs/20260131_060000.000_m", b"/srv", False),
    ):
        assert procfs._is_mounted(below, line % (root, point)) is is_it


def test_where_nobody_can_tell_a_folder_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(procfs, "_PROC", False)
    assert procfs.in_use(str(tmp_path))
