"""Locks between processes, held by real processes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pit.errors import SetupError
from pit.fs.locks import Lock, held, lock_for

HOLDER = """
import sys
from pathlib import Path
from pit.fs.locks import Lock, lock_for
lock = Lock(Path(sys.argv[1]))
assert lock.acquire(shared=sys.argv[2] == "shared")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def holder(path: Path, kind: str = "exclusive") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its stdin closes or it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_second_process_does_not_get_an_exclusive_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path):
        assert not Lock(path).acquire()
        assert not Lock(path).acquire(shared=True)
        assert held(path)
    assert Lock(path).acquire()


def test_shared_locks_go_together_and_keep_an_exclusive_one_out(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path, "shared"):
        mine = Lock(path)
        assert not mine.acquire()
        assert mine.acquire(shared=True)


def test_kill_9_of_the_holder_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path) as process:
        assert held(path)
        process.kill()
        process.wait()
        assert not held(path)
        assert Lock(path).acquire()


def test_held_neither_creates_nor_disturbs(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not held(path)
    assert not path.exists()
    mine = Lock(path)
    assert mine.acquire()
    assert held(path)
    assert mine.held
    mine.release()
    assert not held(path)
    assert not mine.held
    assert path.exists()


def test_asking_all_the_time_never_makes_a_free_lock_look_taken(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with Lock(path):
        pass
    stop = threading.Event()
    wrong: list[bool] = []

    def ask() -> None:
        while not stop.is_set():
            if held(path):
                wrong.append(True)

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for asker in askers:
        asker.start()
    probes = [held(path) for _ in range(200)]
    stop.set()
    for asker in askers:
        asker.join()
    assert not any(probes)
    assert not wrong


def test_lock_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Lock(tmp_path / "deep" / "folder" / "lock") as lock:
            assert stat.S_IMODE(lock.path.stat().st_mode) == 0o600
            assert stat.S_IMODE(lock.path.parent.stat().st_mode) == 0o700
    finally:
        os.umask(before)


def test_children_do_not_inherit_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = Lock(path)
    assert lock.acquire()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        lock.release()
        assert not held(path)
        child.kill()


def test_a_process_that_was_given_the_file_goes_on_holding(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = Lock(path)
    assert lock.acquire()
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock.fileno()]
    ) as guardian:
        lock.release()
        assert held(path)
        guardian.kill()
        guardian.wait()
        assert not held(path)


def test_a_lock_file_replaced_while_waiting_is_locked_again(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = Lock(path)
    assert first.acquire()
    mine = Lock(path)
    got = threading.Event()

    def wait() -> None:
        mine.acquire(blocking=True)
        got.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    path.unlink()
    second = Lock(path)
    assert second.acquire()
    first.release()
    assert not got.wait(0.2)
    second.release()
    waiter.join()
    assert os.path.samestat(os.fstat(mine.fileno()), path.stat())


def test_waiting_ends_when_the_lock_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = Lock(path)
    assert first.acquire()
    asked: list[int] = []

    def free_it_at_the_third_question() -> bool:
        asked.append(1)
        if len(asked) == 3:
            first.release()
        return False

    assert Lock(path).wait(free_it_at_the_third_question)
    assert len(asked) == 3


def test_waiting_can_be_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with Lock(path):
        mine = Lock(path)
        assert not mine.wait(lambda: True)
        assert not mine.held


def test_misuse_is_refused(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    with pytest.raises(RuntimeError, match="not locked"):
        lock.fileno()
    with lock, pytest.raises(RuntimeError, match="locked already"):
        lock.acquire()
    lock.release()


def test_a_lock_that_cannot_be_made_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match=r"cannot lock .*file/lock: not a directory"):
        Lock(tmp_path / "file" / "lock").acquire()


NAMED = """
import os, sys
from pathlib import Path
from pit.fs.locks import lock_for, lock_for
lock = lock_for(Path(sys.argv[1]), sys.argv[2])
print(lock.acquire(), flush=True)
sys.stdin.read()
"""


def named(folder: Path, name: str) -> subprocess.Popen[str]:
    """A process that tries for the lock on a name, and then lives as long as its input."""
    return subprocess.Popen(
        [sys.executable, "-c", NAMED, str(folder), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_names_are_locked_one_by_one_and_no_file_is_made_for_each(tmp_path: Path) -> None:
    names = [f"dag task {number}" for number in range(300)]
    locks = [lock_for(tmp_path, name) for name in names]
    assert all(lock.acquire() for lock in locks)
    assert not lock_for(tmp_path, names[7]).acquire(), "held by another object of this process"
    if sys.platform == "linux":
        assert len(os.listdir(tmp_path)) == 1
    with named(tmp_path, names[7]) as other:
        assert said(other) == "False"
    locks[7].release()
    with named(tmp_path, names[7]) as other:
        assert said(other) == "True"
        assert not lock_for(tmp_path, names[7]).acquire()
        assert not lock_for(tmp_path, names[8]).acquire()
    for lock in locks:
        lock.release()


def test_kill_9_frees_the_lock_on_a_name_unless_a_child_has_the_file(tmp_path: Path) -> None:
    lock = lock_for(tmp_path, "t")
    with named(tmp_path, "t") as other:
        assert said(other) == "True"
        other.kill()
        other.wait()
        assert lock.acquire()
    child = subprocess.Popen(["sleep", "60"], pass_fds=[lock.fileno()])
    try:
        lock.release()
        assert not lock.acquire()
    finally:
        child.kill()
        child.wait()
    assert lock.acquire()
    lock.release()
