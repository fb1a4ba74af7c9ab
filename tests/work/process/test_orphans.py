"""`pit.work.process.orphans`: what was there before, and what others have to end, is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pit.work.process import orphans
from tests.work.process import daemons
from tests.work.process.daemons import alive

ROOT = Path(orphans.__file__).parents[3]

PIT = """
import os, sys, threading, time
from pit.work.process import launch, procfs

launch.become_subreaper()
launch.become_subreaper()
open("begun", "w").close()
print(len(procfs.children(os.getpid())), flush=True)
deadline = time.monotonic() + 60
while not os.path.exists("ready") and time.monotonic() < deadline:
    time.sleep(0.01)
def task(script):
    return launch.run(["bash", "-c", script], cwd=".", env=os.environ,
                       output=lambda _: None, grace=1)
for _ in range(3):
    assert task(sys.argv[1]).exit_code == 0
launch.end_all(1)
with open("doubtful", "w") as doubtful:
    doubtful.write("\\n".join(str(pid) for pid, _ in launch.doubtful()))
"""

LEAVE = "sleep 60 & echo $! >> ours"


def inherited(tmp_path: Path, before: str, leave: str = LEAVE) -> tuple[list[bool], list[bool]]:
    """Runs a Pit that inherits children by exec; which of theirs and of its own live after it."""
    (tmp_path / "program.py").write_text(PIT)
    subprocess.run(
        ["bash", "-c", f'{before}\nexec {sys.executable} program.py "$0"', leave],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )
    theirs, ours = daemons.pids(tmp_path, name="theirs"), daemons.pids(tmp_path, name="ours")
    result = [alive(pid) for pid in theirs], [alive(pid) for pid in ours]
    for pid in (*theirs, *ours):
        daemons.kill(pid)
    return result


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


CHILD = """(until [ -e begun ]; do sleep 0.05; done; {daemon}
touch ready; until [ -e stop ]; do sleep 0.1; done) > /dev/null &
echo $! > child
"""


@pytest.mark.parametrize("kind", daemons.DAEMONS)
def test_a_daemon_is_told_from_one_of_an_inherited_child(tmp_path: Path, kind: str) -> None:
    """Both have cut every tie, are in sessions of their own and have fallen to Pit."""
    before = CHILD.format(daemon=daemons.left(kind, "theirs"))
    theirs, ours = inherited(tmp_path, before, daemons.left(kind, "ours"))
    assert theirs == [True]
    assert ours == [False] * 3
    (child,) = daemons.pids(tmp_path, name="child")
    assert alive(child)
    (tmp_path / "stop").touch()
    assert (tmp_path / "doubtful").read_text() == ""


def test_without_marks_who_may_be_another_programs_lives_on_and_is_named(tmp_path: Path) -> None:
    child = CHILD.format(daemon=daemons.left("double fork", "theirs"))
    leave = daemons.left("double fork", "ours")
    theirs, ours = inherited(tmp_path, daemons.WITHOUT_MARKS + child, leave)
    (tmp_path / "stop").touch()
    assert theirs == [True]
    assert ours == [True] * 3
    left = daemons.pids(tmp_path, name="theirs") + daemons.pids(tmp_path, name="ours")
    assert {*map(int, (tmp_path / "doubtful").read_text().split())} == set(left)


def test_the_first_process_of_a_container_ends_its_own_alone(tmp_path: Path) -> None:
    """What others start in the container is left to it when they have ended."""
    start = ["unshare", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*start, "true"], capture_output=True).returncode:
        pytest.skip("needs the right to make a container")
    (tmp_path / "other.sh").write_text(daemons.left("double fork", "theirs") + "\ntouch ready")
    (tmp_path / "program.py").write_text(f"""{PIT}
ids = [int(pid) for name in ("theirs", "ours") for pid in open(name).read().split()]
with open("alive", "w") as file:
    file.write(repr([(found := procfs.stat(pid)) is not None and found.alive for pid in ids]))
""")
    script = f'exec {sys.executable} program.py "$0"'
    pit = subprocess.Popen(
        [*start, "bash", "-c", script, daemons.left("double fork", "ours")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert pit.stdout is not None
    with pit.stdout:
        assert pit.stdout.readline() == b"0\n"
        (first,) = Path(f"/proc/{pit.pid}/task/{pit.pid}/children").read_text().split()
        enter = ["nsenter", "--pid", "--mount", "--target", first, f"--wd={tmp_path}"]
        subprocess.run([*enter, "bash", "other.sh"], check=True)
        assert pit.wait(60) == 0
    assert (tmp_path / "alive").read_text() == "[True, False, False, False]"


def test_children_of_other_code_in_pit_live_on(tmp_path: Path) -> None:
    program = f"""{PIT.replace("launch.become_subreaper()", "", 1)}
import subprocess
other = subprocess.Popen(["sleep", "60"])
quick = subprocess.Popen(["true"])
time.sleep(0.2)
assert task("sleep 60 &").exit_code == 0
launch.end_all(1)
assert other.poll() is None
assert quick.wait() == 0
other.kill()
assert other.wait() == -9
"""
    (tmp_path / "ready").touch()
    subprocess.run(
        [sys.executable, "-c", program, LEAVE],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        stdout=subprocess.DEVNULL,
    )


def test_a_nested_pit_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    """Its guardian and its tasks fall to the outer Pit, whose task it was."""
    inner = """
import os
from pit.work.process import launch
from pit.work.process.guardian import Guardian
launch.become_subreaper()
guardian = Guardian.start([], f"inner-{os.getpid()}", 100)
env = {**os.environ, "PIT_RUN_ID": f"inner-{os.getpid()}"}
script = "trap '' TERM; echo $$ >> pids; kill -9 $PPID; while :; do sleep 1; done"
launch.run(["bash", "-c", script], cwd=".", env=env, output=lambda _: None,
            guardian=guardian, marker="inner")
"""
    outer = f"""
import os, sys
from pit.work.process import launch
launch.become_subreaper()
ended = launch.run([sys.executable, "-c", {inner!r}], cwd=".", env=os.environ,
                    output=lambda piece: print(bytes(piece)), grace=0.5)
assert ended.signal == 9, ended
"""
    subprocess.run(
        [sys.executable, "-c", outer],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert not alive(int((tmp_path / "pids").read_text()))


NESTED = """
import os, sys, threading
from pit.work.process import launch
from pit.work.process.guardian import Guardian
launch.become_subreaper()
run = f"run-{os.getpid()}"
guardian = Guardian.start([], run, 0.5)
env = {**os.environ, "PIT_RUN_ID": run}
def task(*argv):
    return launch.run(argv, cwd=".", env=env, output=lambda _: None, guardian=guardian, grace=0.5)
print(guardian.pid, flush=True)
"""


def nested(tmp_path: Path, inner: str, outer: str) -> subprocess.Popen[bytes]:
    """A Pit whose task is a Pit as well; what both do are pieces of Python."""
    (tmp_path / "inner.py").write_text(NESTED + inner)
    return subprocess.Popen(
        [sys.executable, "-c", NESTED + outer],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )


def test_a_daemon_of_a_pit_within_a_task_ends_with_that_task(tmp_path: Path) -> None:
    """Though the inner Pit was killed, and its guardian with it, and another task goes on."""
    script = daemons.left("double fork") + "; kill -9 $1; kill -9 $PPID; sleep 60"
    pit = nested(
        tmp_path,
        f'task("bash", "-c", {script!r}, "bash", str(guardian.pid))',
        """
other = threading.Thread(target=task, args=("bash", "-c", "until [ -e stop ]; do sleep 0.1; done"))
other.start()
task(sys.executable, "inner.py")
(pid,) = map(int, open("pids").read().split())
print(os.path.exists(f"/proc/{pid}"), other.is_alive(), flush=True)
open("stop", "w").close()
other.join()
guardian.close()
""",
    )
    out, _ = pit.communicate(timeout=60)
    (pid,) = daemons.pids(tmp_path)
    daemons.kill(pid)
    assert out.splitlines()[1:] == [b"False True"]


@pytest.mark.parametrize("killed", ["outer", "inner and outer", "all but the outer guardian"])
def test_a_daemon_of_a_pit_within_a_task_ends_whoever_is_killed(
    tmp_path: Path, killed: str
) -> None:
    script = "echo $PPID >> inner; echo $1 >> inner\n" + daemons.left("double fork")
    pit = nested(
        tmp_path,
        f"""task("bash", "-c", {script + "; sleep 60"!r}, "bash", str(guardian.pid))""",
        'task(sys.executable, "inner.py")',
    )
    (pid,) = daemons.pids(tmp_path)
    inner, guardian = daemons.pids(tmp_path, 2, "inner")
    if killed == "all but the outer guardian":
        os.kill(guardian, 9)
    if killed != "outer":
        os.kill(inner, 9)
    pit.kill()
    assert pit.stdout is not None
    outer_guardian = int(pit.stdout.readline())
    pit.communicate()
    ended = daemons.until(lambda: not any(map(alive, (pid, inner, guardian, outer_guardian))))
    for one in (pid, inner, guardian, outer_guardian):
        daemons.kill(one)
    assert ended
