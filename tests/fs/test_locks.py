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
from pit.fs.locks import Lock, held

HOLDER = """
import sys
from pathlib import Path
from pit.fs.locks import Lock
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
