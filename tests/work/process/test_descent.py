"""`pit.work.process.descent`: what a child inherits, whatever it does, and nobody else."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pit.work.process import descent as module
from pit.work.process import procfs
from pit.work.process.descent import Descent, belongs, family, marks
from tests.work.process.daemons import WITHOUT_MARKS

ROOT = Path(module.__file__).parents[3]
LIMITS = (10, resource.RLIMIT_RTTIME)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there are marks on Linux alone")


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"])


def mine() -> list[tuple[int, int]]:
    return [resource.getrlimit(limit) for limit in LIMITS]


def test_a_child_has_its_mark_and_this_process_none() -> None:
    before = mine()
    descent = Descent()
    one, mark = descent.start(sleeper)
    other, other_mark = descent.start(sleeper)
    try:
        assert marks(one.pid) == [mark]
        assert marks(other.pid) == [other_mark] != [mark]
        assert belongs(one.pid, descent.family)
        assert belongs(other.pid, descent.family)
        assert not belongs(os.getpid(), descent.family)
    finally:
        for child in (one, other):
            child.kill()
            child.wait()
    assert mine() == before
    assert marks(one.pid) == []


def test_a_child_that_cannot_be_started_leaves_the_limits_as_they_were() -> None:
    before, descent = mine(), Descent()
    with pytest.raises(FileNotFoundError):
        descent.start(lambda: subprocess.Popen(["nodee"]))
    assert mine() == before


def test_threads_that_start_children_at_once_do_not_mix_them_up() -> None:
    descent = Descent()
    wrong: list[int] = []

    def start_some() -> None:
        for _ in range(20):
            child, mark = descent.start(sleeper)
            if marks(child.pid) != [mark]:
                wrong.append(child.pid)
            child.kill()
            child.wait()

    threads = [threading.Thread(target=start_some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert marks(os.getpid()) == []


def test_the_family_can_be_told_from_outside() -> None:
    this = procfs.stat(os.getpid())
    assert this is not None
    assert Descent().family == family(os.getpid(), this.start, procfs.boot_id())


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_what_starts_others_itself_adds_its_own_mark(depth: int) -> None:
    """The last two are kept."""
    program = """
import subprocess, sys
from pit.work.process.descent import descent, marks
depth = int(sys.argv[1])
def start():
    return subprocess.Popen([sys.executable, "-c", sys.argv[2], str(depth - 1), sys.argv[2]]
                            if depth > 1 else ["sleep", "60"])
child, mark = descent.start(start)
print(mark, flush=True)
if depth > 1:
    child.wait()
else:
    print(sorted(marks(child.pid)))
    child.kill()
    child.wait()
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(depth), program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    *given, carried = done.stdout.splitlines()
    expected = {int(given[0]), int(given[-1])} if depth > 1 else {int(given[0])}
    assert len(given) == depth
    assert carried == str(sorted(expected))


def test_limits_that_cannot_be_set_mean_no_mark() -> None:
    program = """
import subprocess
from pit.work.process.descent import descent, marks
child, mark = descent.start(lambda: subprocess.Popen(["sleep", "60"]))
print(descent.family, mark, marks(child.pid))
child.kill()
child.wait()
"""
    done = subprocess.run(
        ["bash", "-c", f'{WITHOUT_MARKS}exec "$0" -c "$1"', sys.executable, program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "0 0 []\n"


def test_the_mark_of_another_users_process_is_read() -> None:
    """As a task of root that has become somebody else, where root may not do everything."""
    if os.geteuid() != 0:
        pytest.skip("only root has processes of other users")
    program = """
import os, sys
from pit.work.process.descent import marks
os.setuid(65534)
print(marks(int(sys.argv[1])))
"""
    child, mark = Descent().start(sleeper)
    try:
        done = subprocess.run(
            [sys.executable, "-c", program, str(child.pid)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
            text=True,
        )
    finally:
        child.kill()
        child.wait()
    assert done.stdout == f"[{mark}]\n"
