"""The locks that runs take on DuckDB files."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pit.work.sql.filelock import FileLocks


def never(seconds: float) -> bool:
    """Give up at once."""
    return False


def silent(text: str) -> None:
    """Tell nobody."""


@pytest.fixture
def pair(tmp_path: Path) -> tuple[FileLocks, FileLocks]:
    """Two runs of one workspace; a lock of one process excludes another of the same process."""
    return FileLocks(tmp_path), FileLocks(tmp_path)


def test_tasks_of_one_run_share(pair: tuple[FileLocks, FileLocks]) -> None:
    mine, theirs = pair
    assert mine.enter("f", "run 1", never, silent)
    assert mine.enter("f", "run 1", never, silent)
    assert not theirs.enter("f", "run 2", never, silent)
    assert theirs.enter("g", "run 2", never, silent)
    mine.leave("f")
    assert not theirs.enter("f", "run 2", never, silent)
    mine.leave("f")
    assert theirs.enter("f", "run 2", never, silent)


def test_who_only_reads_lets_others_read(pair: tuple[FileLocks, FileLocks]) -> None:
    mine, theirs = pair
    assert mine.enter("f", "run 1", never, silent, reading=True)
    assert theirs.enter("f", "run 2", never, silent, reading=True)
    assert not mine.enter("f", "run 1", never, silent)
    mine.leave("f", reading=True)
    theirs.leave("f", reading=True)
    assert mine.enter("f", "run 1", never, silent)
    assert not theirs.enter("f", "run 2", never, silent, reading=True)


def test_without_a_place_for_locks_duckdbs_own_has_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    locks = FileLocks(tmp_path / "file" / "locks")
    assert locks.enter("f", "run 1", never, silent)
    assert locks.enter("f", "run 1", never, silent)
    locks.leave("f")
    locks.leave("f")


def test_who_waits_is_told_for_whom_and_comes_next(pair: tuple[FileLocks, FileLocks]) -> None:
    mine, theirs = pair
    said: list[str] = []
    waits = threading.Event()
    entered = threading.Event()

    def wait(seconds: float) -> bool:
        waits.set()
        return not entered.wait(seconds)

    def follow() -> None:
        assert theirs.enter("f", "run 2", wait, said.append)
        entered.set()

    assert mine.enter("f", "run 1 (task a)", never, silent)
    thread = threading.Thread(target=follow)
    thread.start()
    assert waits.wait(60)
    # While somebody waits, the run that has the file lets no further task in.
    for _ in range(1000):
        if not mine.enter("f", "run 1", never, silent):
            break
        mine.leave("f")
        entered.wait(0.01)
    else:
        pytest.fail("a run that is busy keeps the others out")
    mine.leave("f")
    thread.join(60)
    assert entered.is_set()
    assert said == ["waiting for f: in use by run 1 (task a)"]


_HOLD = """
import sys
from pathlib import Path
from pit.work.sql.filelock import FileLocks
assert FileLocks(Path(sys.argv[1])).enter("f", "run 9", lambda seconds: False, print)
print("held", flush=True)
sys.stdin.read()
"""


def test_the_kernel_frees_the_lock_of_a_run_that_was_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        (sys.executable, "-c", _HOLD, str(tmp_path)), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == b"held\n"
    said: list[str] = []
    mine = FileLocks(tmp_path)
    assert not mine.enter("f", "run 1", never, said.append)
    assert said == ["waiting for f: in use by run 9"]
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    assert mine.enter("f", "run 1", never, silent)


def test_who_has_left_is_not_named_any_more(tmp_path: Path) -> None:
    mine, theirs, third = (FileLocks(tmp_path) for _ in range(3))
    assert mine.enter("f", "run 1", never, silent)
    assert theirs.reserve("f", "run 2") == "run 1"  # which makes it the next
    mine.leave("f")
    assert third.reserve("f", "run 3") == "another run"
    theirs.dismiss("f", "run 2")
