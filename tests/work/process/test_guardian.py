"""`pit.work.process.guardian`: what happens to the processes of a Pit that dies."""

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

from pit.work.process import guardian, procfs
from tests.work.process.daemons import DAEMONS, WITHOUT_MARKS, alive, kill, pids, until

ROOT = Path(guardian.__file__).parents[3]

PARENT = """
import fcntl, os, sys, threading
from pit.work.process import launch
from pit.work.process.guardian import Guardian

lock = os.open("lock", os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX)
launch.become_subreaper()
guardian = Guardian.start([lock], "{run}", {grace})
env = {{**os.environ, "PIT_RUN_ID": "{run}"}}

def run(script):
    return launch.run(["bash", "-c", script], cwd=".", env=env, output=lambda _: None,
                       guardian=guardian, grace=1, marker=script[:1])

print(guardian.pid, flush=True)
{rest}
"""


class Parent:
    """A Pit in small: holds a lock, has a guardian, runs pieces of shell in threads."""

    def __init__(self, folder: Path, rest: str, grace: float, before: str) -> None:
        self.folder = folder
        self.run = f"run-{uuid4()}"  # of no other test that runs at the same time
        program = PARENT.format(run=self.run, grace=grace, rest=textwrap.dedent(rest))
        self.popen = subprocess.Popen(
            ["bash", "-c", f'{before}exec "$0" -c "$1"', sys.executable, program],
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
        return pids(self.folder, count)

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
        if (self.folder / "pids").exists():
            for pid in self.pids(0):
                kill(pid)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Parent]]:
    """Starts a Parent that executes a piece of Python; `before` is a piece of shell."""
    started: list[Parent] = []

    def begin(rest: str, grace: float = 0.5, folder: str = ".", before: str = "") -> Parent:
        (tmp_path / folder).mkdir(exist_ok=True)
        started.append(Parent(tmp_path / folder, rest, grace, before))
        return started[-1]

    yield begin
    for parent in started:
        parent.close()


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
    assert time.monotonic() - killed >= 0.9
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


def with_a_sibling(daemon: str, then: str) -> str:
    """Python that runs two tasks at once: one that sleeps, and one that leaves a daemon."""
    return f"""
        threading.Thread(target=run, args=("sleep 60; true",)).start()
        run({f"{daemon.strip()}; {then}; sleep 60"!r})
    """


@pytest.mark.parametrize("kind", DAEMONS)
def test_a_daemon_born_a_moment_before_the_kill_ends_though_it_has_cut_every_tie(
    start: Callable[..., Parent], kind: str
) -> None:
    parent = start(with_a_sibling(DAEMONS[kind], "true"))
    (pid,) = parent.pids(1)
    parent.kill()
    assert until(parent.lock_is_free)
    assert not alive(pid)


@pytest.mark.parametrize("before", ["", WITHOUT_MARKS], ids=["marks", "no marks"])
@pytest.mark.parametrize("kind", DAEMONS)
def test_a_daemon_that_was_seen_ends_whichever_task_it_is_of(
    start: Callable[..., Parent], kind: str, before: str
) -> None:
    parent = start(with_a_sibling(DAEMONS[kind], "sleep 2; echo 0 >> pids"), before=before)
    pid, _ = parent.pids(2)
    parent.kill()
    assert until(parent.lock_is_free)
    assert not alive(pid)


def test_the_daemons_of_another_pit_are_left_alone(start: Callable[..., Parent]) -> None:
    one, other = (
        start(with_a_sibling(DAEMONS["double fork"], "true"), folder=name) for name in "ab"
    )
    (ours,), (theirs,) = one.pids(1), other.pids(1)
    one.kill()
    assert until(one.lock_is_free)
    assert [alive(ours), alive(theirs)] == [False, True]
    other.kill()
    assert until(other.lock_is_free)
    assert not alive(theirs)


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
    resident, _ = procfs.memory(parent.guardian)
    assert resident < 40 << 20


def test_a_fork_that_fails_leaves_no_signal_blocked_and_nothing_open(
    start: Callable[..., Parent],
) -> None:
    """For who is not root, a process more than the limit allows."""
    parent = start("""
        import resource, signal
        from pit.errors import SetupError
        guardian.close()
        os.chdir("/")
        if os.getuid() == 0:
            os.setuid(65534)
        before = resource.getrlimit(resource.RLIMIT_NPROC)
        resource.setrlimit(resource.RLIMIT_NPROC, (0, before[1]))
        files = os.listdir("/proc/self/fd")
        try:
            Guardian.start([lock], "again", 1)
        except SetupError as error:
            print(str(error).partition(":")[0], flush=True)
        print(signal.pthread_sigmask(signal.SIG_BLOCK, ()), flush=True)
        print(os.listdir("/proc/self/fd") == files, flush=True)
        resource.setrlimit(resource.RLIMIT_NPROC, before)
        again = Guardian.start([lock], "again", 1)
        print(run("exit 3").exit_code, again.alive(), flush=True)
        again.close()
    """)
    assert [parent.line() for _ in range(4)] == [
        "the guardian of the run cannot be started",
        "set()",
        "True",
        "3 True",
    ]
    assert parent.popen.wait(60) == 0
