"""`pit.work.guardian`: what happens to the processes of a Pit that dies."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from pit.work import guardian, tree

ROOT = Path(guardian.__file__).parents[2]

PARENT = """
import fcntl, os, sys, threading
from pit.work import process
from pit.work.guardian import Guardian

lock = os.open("lock", os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX)
process.become_subreaper()
guardian = Guardian.start([lock], "{run}", {grace})
env = {{**os.environ, "PIT_RUN_ID": "{run}"}}

def run(script):
    return process.run(["bash", "-c", script], cwd=".", env=env, output=lambda _: None,
                       guardian=guardian, grace=1, marker=script[:1])

print(guardian.pid, flush=True)
{rest}
"""


class Parent:
    """A Pit in small: holds a lock, has a guardian, runs pieces of shell in threads."""

    def __init__(self, folder: Path, rest: str, grace: float) -> None:
        self.folder = folder
        self.run = f"run-{uuid4()}"  # of no other test that runs at the same time
        program = PARENT.format(run=self.run, grace=grace, rest=textwrap.dedent(rest))
        self.popen = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.guardian = int(self.line())

    def line(self) -> str:
        """The next line that it prints."""
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().strip()

    def pids(self, count: int) -> list[int]:
        """The ids in the file `pids`, as soon as there are `count`."""
        path = self.folder / "pids"
        assert until(lambda: path.exists() and path.read_text().count("\n") >= count)
        return [int(line) for line in path.read_text().split()]

    def kill(self) -> None:
        """kill -9."""
        self.popen.kill()
        self.popen.wait()

    def lock_is_free(self) -> bool:
        """Whether nobody holds the lock."""
        handle = os.open(self.folder / "lock", os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(handle)
        return True

    def close(self) -> None:
        """Whatever the test did, nothing of it stays."""
        self.popen.kill()
        self.popen.wait()
        assert self.popen.stdout is not None
        self.popen.stdout.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Parent]]:
    """Starts a Parent that executes a piece of Python."""
    started: list[Parent] = []

    def begin(rest: str, grace: float = 0.5) -> Parent:
        started.append(Parent(tmp_path, rest, grace))
        return started[-1]

    yield begin
    for parent in started:
        parent.close()


def alive(pid: int) -> bool:
    found = tree.stat(pid)
    return found is not None and found.alive


def until(condition: Callable[[], object], seconds: float = 60.0) -> bool:
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.01)
    return True


TASKS = {
    "plain": "echo $$ >> pids; sleep 60; true",
    "background": "sleep 60 & echo $! $$ | tr ' ' '\\n' >> pids; wait",
    "own session": "setsid -f bash -c 'echo $$ >> pids; exec sleep 60' > /dev/null 2>&1; sleep 60",
    "no environment": "env -i setsid bash -c 'sleep 0.3; echo $$ >> pids; sleep 60' & wait",
    "ignores all": "trap '' TERM INT HUP; echo $$ >> pids; while :; do sleep 1; done",
    "stopped": "echo $$ >> pids; kill -STOP $$",
    "moves on": "sleep 0.3; echo $$ >> pids; exec env -i sleep 60",
    "many": "for i in $(seq 30); do setsid bash -c 'echo $$ >> pids; sleep 60 & wait' & done; wait",
}


@pytest.mark.parametrize("kind", TASKS)
def test_kill_9_of_the_parent_ends_its_tasks_and_then_frees_the_lock(
    start: Callable[..., Parent], kind: str
) -> None:
    parent = start(f"run({TASKS[kind]!r})")
    pids = parent.pids(30 if kind == "many" else 1)
    parent.kill()
    assert until(parent.lock_is_free)
    assert not any(map(alive, pids))
    assert until(lambda: not alive(parent.guardian))


def test_the_lock_is_held_while_something_lives(start: Callable[..., Parent]) -> None:
    parent = start(f"run({TASKS['ignores all']!r})", grace=1.0)
    (pid,) = parent.pids(1)
    killed = time.monotonic()
    parent.kill()
    while alive(pid):
        assert not parent.lock_is_free() or not alive(pid)
        time.sleep(0.02)
    assert 0.9 <= time.monotonic() - killed < 10
    assert until(parent.lock_is_free)


def test_a_task_may_end_gracefully_though_its_parent_is_dead(
    start: Callable[..., Parent], tmp_path: Path
) -> None:
    parent = start(
        """run("trap 'sleep 0.2; echo done > bye; exit' TERM; echo $$ >> pids; sleep 60 & wait")""",
        grace=100,
    )
    parent.pids(1)
    parent.kill()
    assert until(parent.lock_is_free, 50)
    assert (tmp_path / "bye").read_text() == "done\n"


def test_an_orphan_without_any_mark_is_followed_once_it_was_seen(
    start: Callable[..., Parent],
) -> None:
    parent = start("""
        run("env -i setsid bash -c '(echo $BASHPID >> pids; exec sleep 60) &' > /dev/null 2>&1;"
            " sleep 1; echo 0 >> pids; sleep 60")
    """)
    pid, _ = parent.pids(2)
    parent.kill()
    assert until(parent.lock_is_free)
    assert not alive(pid)


def test_several_threads_and_tasks(start: Callable[..., Parent]) -> None:
    parent = start("""
        for n in range(4):
            threading.Thread(target=run, args=(f"{n}=0; echo $$ >> pids; sleep 60; true",)).start()
    """)
    pids = parent.pids(4)
    parent.kill()
    assert until(parent.lock_is_free)
    assert not any(map(alive, pids))


def test_strangers_are_left_alone(start: Callable[..., Parent]) -> None:
    parent = start(f"run({TASKS['plain']!r})")
    parent.pids(1)
    env = {**os.environ, "PIT_RUN_ID": parent.run + "0"}
    stranger = subprocess.Popen(["sleep", "60"], env=env, start_new_session=True)
    try:
        parent.kill()
        assert until(parent.lock_is_free)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_an_orderly_end_is_immediate_and_leaves_no_zombie(start: Callable[..., Parent]) -> None:
    parent = start("""
        run("true")
        guardian.close()
        guardian.close()
        os.close(lock)
        print(os.path.exists(f"/proc/{guardian.pid}"), flush=True)
        sys.stdin.read()
    """)
    assert parent.line() == "False"
    assert parent.lock_is_free()


def test_an_exit_without_farewell_ends_what_is_left(start: Callable[..., Parent]) -> None:
    parent = start(f"""
        threading.Thread(target=run, args=({TASKS["plain"]!r},), daemon=True).start()
        while not os.path.exists("pids"):
            pass
        os._exit(0)
    """)
    pids = parent.pids(1)
    assert until(parent.lock_is_free)
    assert not any(map(alive, pids))


def test_polite_signals_do_not_end_it(start: Callable[..., Parent]) -> None:
    parent = start(f"run({TASKS['plain']!r})")
    pids = parent.pids(1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(parent.guardian, number)
    time.sleep(0.1)
    assert alive(parent.guardian)
    parent.kill()
    assert until(parent.lock_is_free)
    assert not any(map(alive, pids))


def test_a_dead_guardian_is_noticed_and_harms_nothing(start: Callable[..., Parent]) -> None:
    parent = start("""
        print(guardian.alive(), flush=True)
        os.kill(guardian.pid, 9)
        while guardian.alive():
            pass
        print(run("exit 3").exit_code, guardian.alive(), flush=True)
        guardian.close()
        print(os.path.exists(f"/proc/{guardian.pid}"), flush=True)
    """)
    assert [parent.line() for _ in range(3)] == ["True", "3 False", "False"]
    assert parent.popen.wait(60) == 0


def test_it_keeps_nothing_open_and_is_small(start: Callable[..., Parent], tmp_path: Path) -> None:
    parent = start(f"run({TASKS['plain']!r})")
    parent.pids(1)
    folder = Path(f"/proc/{parent.guardian}/fd")

    def is_tidy() -> bool:
        try:
            there = sorted(os.readlink(entry) for entry in folder.iterdir())
        except FileNotFoundError:  # closed while we looked
            return False
        expected = ["/dev/null", "/dev/null", "/dev/null", str(tmp_path / "lock")]
        return there[:4] == expected and len(there) == 5 and there[4].startswith("pipe:")

    assert until(is_tidy)  # it tidies up while its parent goes on
    resident, _ = tree.memory(parent.guardian)
    assert resident < 40 << 20
