"""`pit.work.orphans`: what was there before, and what others are responsible for, is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from pit.work import orphans, tree

ROOT = Path(orphans.__file__).parents[2]

PIT = """
import os, time
from pit.work import process, tree

process.become_subreaper()
process.become_subreaper()
print(len(tree.children(os.getpid())), flush=True)
deadline = time.monotonic() + 60
while not os.path.exists("ready") and time.monotonic() < deadline:
    time.sleep(0.01)
def task(script):
    return process.run(["bash", "-c", script], cwd=".", env=os.environ,
                       output=lambda _: None, grace=1)
for _ in range(3):
    assert task("sleep 60 & echo $! >> ours").exit_code == 0
process.end_all(1)
"""


def inherited(tmp_path: Path, before: str) -> tuple[list[bool], list[bool]]:
    """Runs a Pit that inherits children by exec; which of theirs and of its own live after it."""
    (tmp_path / "program.py").write_text(PIT)
    subprocess.run(
        ["bash", "-c", f"{before}\nexec {sys.executable} program.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )
    theirs, ours = (
        [*map(int, (tmp_path / name).read_text().split())] for name in ("theirs", "ours")
    )
    result = [alive(pid) for pid in theirs], [alive(pid) for pid in ours]
    for pid in theirs:
        if alive(pid):
            os.kill(pid, 9)
    return result


def alive(pid: int) -> bool:
    found = tree.stat(pid)
    return found is not None and found.alive


def test_children_inherited_by_exec_live_on(tmp_path: Path) -> None:
    script = "sleep 60 & echo $! > theirs; setsid sleep 60 & echo $! >> theirs; touch ready"
    theirs, ours = inherited(tmp_path, script)
    assert theirs == [True, True]
    assert ours == [False] * 3


def test_orphans_of_inherited_children_live_on(tmp_path: Path) -> None:
    """Born after Pit began: one in Pit's own session, one in a session of its own."""
    script = """
        (sleep 0.5; sleep 60 & echo $! > theirs
         setsid sleep 60 & echo $! >> theirs; touch ready) > /dev/null &
    """
    theirs, ours = inherited(tmp_path, script)
    assert theirs == [True, True]
    assert ours == [False] * 3


def test_children_of_other_code_in_pit_live_on(tmp_path: Path) -> None:
    program = f"""{PIT.replace("process.become_subreaper()", "", 1)}
import subprocess
other = subprocess.Popen(["sleep", "60"])
quick = subprocess.Popen(["true"])
time.sleep(0.2)
assert task("sleep 60 &").exit_code == 0
process.end_all(1)
assert other.poll() is None
assert quick.wait() == 0
other.kill()
assert other.wait() == -9
"""
    (tmp_path / "ready").touch()
    subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        stdout=subprocess.DEVNULL,
    )


def test_a_nested_pit_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    """Its guardian and its tasks fall to the outer Pit, whose task it was."""
    inner = """
import os
from pit.work import process
from pit.work.guardian import Guardian
process.become_subreaper()
guardian = Guardian.start([], f"inner-{os.getpid()}", 100)
env = {**os.environ, "PIT_RUN_ID": f"inner-{os.getpid()}"}
script = "trap '' TERM; echo $$ >> pids; kill -9 $PPID; while :; do sleep 1; done"
process.run(["bash", "-c", script], cwd=".", env=env, output=lambda _: None,
            guardian=guardian, marker="inner")
"""
    outer = f"""
import os, sys
from pit.work import process
process.become_subreaper()
ended = process.run([sys.executable, "-c", {inner!r}], cwd=".", env=os.environ,
                    output=lambda piece: print(bytes(piece)), grace=0.5)
assert ended.signal == 9, ended
"""
    begun = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", outer],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert time.monotonic() - begun < 60
    assert not alive(int((tmp_path / "pids").read_text()))
