"""Runs that begin with the snapshot of an earlier one, by the real command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest.mock import patch

import pytest

from pit.cli.main import main
from pit.state import bases
from pit.state.bases import Ended
from tests.builder import Pit

NONE_KEPT = "[retention]\nsnapshots = 0\n"
LOOK = "stat -c '%i %z' data.txt >> \"$PIT_WORKSPACE/seen\"; cat data.txt tasks/*\n"
TOML = '[[tasks]]\nname = "look"\nscript = "tasks/look.sh"\n'


def workspace(pit: Pit, settings: str = NONE_KEPT, more: str = "") -> Pit:
    if settings:
        pit.file("pit_config.toml", settings)
    pit.project("m").toml(TOML).scripts(look=LOOK + more)
    return pit.file("data.txt", "1\n")


def seen(pit: Pit) -> list[str]:
    """By run, what tells the file that its task saw from all others."""
    return (pit.root / "seen").read_text().splitlines()


def base(pit: Pit) -> Path:
    return pit.root / "runs" / bases.FOLDER / "m"


# ---------------------------------------------------------------- whose snapshot becomes a base


def test_what_retention_gives_up_is_what_the_next_run_begins_with(pit: Pit) -> None:
    workspace(pit, settings="")  # three are kept
    for _ in range(4):
        pit.run("run", "m").ok()
    assert [(run / "project").exists() for run in pit.runs()] == [False, True, True, True]
    pit.run("run", "m").ok()
    first, *others = seen(pit)
    assert others[-1] == first
    assert len(set(others)) == 4
    assert base(pit).is_dir()  # now that of the second


def test_nothing_of_an_earlier_run_is_in_the_next_one(pit: Pit) -> None:
    spoil = "ls -A; echo 2 > data.txt; echo new > new; chmod 700 .; rm -r tasks; mkdir tasks/\n"
    workspace(pit, more=spoil)
    for _ in range(3):
        pit.run("run", "m").ok()
        assert pit.log("look").splitlines()[0] == "1"
        assert pit.log("look").splitlines()[-3:] == ["data.txt", "pit.toml", "tasks"]


def test_what_keep_artifacts_leaves_out_is_a_base_at_once(pit: Pit) -> None:
    workspace(pit, settings='keep_artifacts = ["logs"]\n')
    for _ in range(3):
        pit.run("run", "m").ok()
    assert len(set(seen(pit))) == 1
    pit.file("../../pit_config.toml", "keep_artifacts = []\n")
    pit.run("run", "m").ok()
    pit.run("run", "m").ok()
    assert len(set(seen(pit))) == 1


def test_an_edit_is_in_the_next_run_and_only_that_is_copied(pit: Pit) -> None:
    workspace(pit).file("other.txt", "x")
    pit.run("run", "m").ok()
    kept = (base(pit) / "other.txt").stat().st_ino
    pit.file("data.txt", "2\n")
    pit.run("run", "m").ok()
    assert pit.log("look").startswith("2\n")
    assert (base(pit) / "other.txt").stat().st_ino == kept
    assert len(set(seen(pit))) == 2


def test_the_run_that_can_be_retried_keeps_its_snapshot(pit: Pit) -> None:
    workspace(pit, more='echo mine >> data.txt; test -e "$PIT_WORKSPACE/go"\n')
    pit.run("run", "m").fails(1)
    first = (pit.runs()[0] / "project/pit.toml").stat()
    for _ in range(2):
        pit.run("run", "m").fails(1)
    assert [(run / "project").exists() for run in pit.runs()] == [False, False, True]
    third = (pit.runs()[2] / "project/pit.toml").stat()
    assert (third.st_ino, third.st_ctime_ns) == (first.st_ino, first.st_ctime_ns)
    pit.file("data.txt", "today's\n")
    pit.file("../../go", "")
    pit.run("retry", "m").ok()
    assert pit.log("look").startswith("1\nmine\n")
    pit.run("run", "m").ok()
    assert pit.log("look").startswith("today's\n")


def test_a_snapshot_that_two_runs_have_worked_in_becomes_no_base(pit: Pit) -> None:
    workspace(pit, more='test -e "$PIT_WORKSPACE/go"\n')
    pit.run("run", "m").fails(1)
    pit.file("../../go", "")
    pit.run("retry", "m").ok()
    assert not base(pit).exists()


# ---------------------------------------------------------------- what makes a base useless


def _is_copied(pit: Pit) -> bool:
    """Whether the next run does not begin with the snapshot of the last."""
    pit.run("run", "m").ok()
    return seen(pit)[-1] != seen(pit)[-2]


def test_a_folder_that_somebody_works_in_is_left_to_them(pit: Pit) -> None:
    workspace(pit, settings="")
    pit.run("run", "m").ok()
    with subprocess.Popen(["sleep", "60"], cwd=pit.runs()[0] / "project") as sleeper:
        try:
            for _ in range(4):
                pit.run("run", "m").ok()
            assert len(set(seen(pit))) == 5
            assert not os.readlink(f"/proc/{sleeper.pid}/cwd").startswith(str(pit.runs()[-1]))
        finally:
            sleeper.kill()


def test_a_file_that_somebody_has_open_is_left_to_them(pit: Pit) -> None:
    workspace(pit)
    pit.run("run", "m").ok()
    with (base(pit) / "data.txt").open("a") as file:
        assert _is_copied(pit)
        file.write("late\n")
    assert not _is_copied(pit)
    assert pit.log("look").startswith("1\n")


def test_after_a_restart_of_the_machine_the_project_is_copied(pit: Pit) -> None:
    workspace(pit)
    pit.run("run", "m").ok()
    bases.tell_end(base(pit), Ended(boot="another", began=time.time_ns()))
    os.rename(base(pit) / bases.ENDED, base(pit) / ".pit-ended")
    assert _is_copied(pit)
    assert not _is_copied(pit)


@pytest.mark.parametrize("name", [bases.MANIFEST, ".pit-ended"])
@pytest.mark.parametrize("content", [None, b"", b"\xc1", b"\x80"])
def test_a_base_that_says_nothing_of_itself_is_none(
    pit: Pit, name: str, content: bytes | None
) -> None:
    workspace(pit)
    pit.run("run", "m").ok()
    (base(pit) / name).unlink()
    if content is not None:
        (base(pit) / name).write_bytes(content)
    assert _is_copied(pit)
    assert not _is_copied(pit)


def test_what_cannot_be_set_right_is_copied_anew(pit: Pit) -> None:
    workspace(pit)
    pit.run("run", "m").ok()
    try:
        os.setxattr(base(pit) / "tasks", "user.strange", b"1")
    except OSError:
        pytest.skip("this file system has no attributes")
    assert _is_copied(pit)
    assert not _is_copied(pit)


def test_a_task_that_has_put_something_else_in_the_place_of_its_snapshot(pit: Pit) -> None:
    workspace(pit, more='cd ..; rm -r project; ln -s "$PIT_WORKSPACE/projects/m" project\n')
    pit.run("run", "m").ok()
    assert not base(pit).exists()
    pit.run("run", "m").ok()
    assert (pit.folder / "data.txt").read_text() == "1\n"


def test_a_clock_that_was_set_back_while_tasks_ran_makes_it_useless(pit: Pit) -> None:
    workspace(pit)
    back = [0]

    def time_ns(now: int = time.time_ns()) -> int:
        back[0] += 3_600_000_000_000
        return now - back[0]

    def run() -> None:
        assert main(["--project-dir", str(pit.root), "run", "m"]) == 0

    with patch("pit.engine.run.lifecycle.time.time_ns", time_ns):
        run()
    assert not base(pit).exists()
    run()
    assert base(pit).exists()


def test_what_may_still_be_running_makes_it_useless(pit: Pit) -> None:
    workspace(pit)
    with patch("pit.work.process.launch.nothing_left", lambda: False):
        assert main(["--project-dir", str(pit.root), "run", "m"]) == 0
    assert not base(pit).exists()


# ---------------------------------------------------------------- at once, and killed


def test_of_two_runs_that_begin_at_once_one_gets_it(pit: Pit) -> None:
    workspace(pit, more="sleep 0.5; cat data.txt; echo mine > data.txt\n")
    pit.run("run", "m").ok()
    for _ in range(3):
        both = [pit.start("run", "m") for _ in range(3)]
        for each in both:
            out, _ = each.communicate(timeout=60)
            assert each.returncode == 0, out
        assert len(set(seen(pit)[-3:])) == 3
        for run in (-1, -2, -3):
            assert [line for line in pit.log("look", run).splitlines() if line == "1"] == ["1"] * 2


def test_a_base_is_claimed_once(tmp_path: Path) -> None:
    for number in range(20):
        run = tmp_path / f"run{number}"
        (run / "project").mkdir(parents=True)
        (run / "manifest").write_bytes(b"")
        bases.tell_end(run, Ended(boot="b", began=number))
        assert bases.offer(run, "m")
        places = [tmp_path / f"{number}-{each}" for each in range(4)]
        for place in places:
            place.mkdir()
        found: list[Ended | None] = []

        def claim(place: Path, found: list[Ended | None] = found) -> None:
            found.append(bases.claim(tmp_path, "m", place))

        threads = [threading.Thread(target=claim, args=(place,)) for place in places]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [each for each in found if each] == [Ended(boot="b", began=number)]
        assert [len(os.listdir(place)) for place in places].count(1) == 1


def test_the_later_of_two_is_the_base(tmp_path: Path) -> None:
    for number in (1, 3, 2):
        run = tmp_path / f"run{number}"
        (run / "project").mkdir(parents=True)
        (run / "manifest").write_bytes(b"")
        bases.tell_end(run, Ended(boot="b", began=number))
        assert bases.offer(run, "m") is (number != 2)
    (tmp_path / "new").mkdir()
    assert bases.claim(tmp_path, "m", tmp_path / "new") == Ended(boot="b", began=3)


_KILLED = """\
import os, signal, sys
from pit.cli.main import main
from pit.project.snapshot.base import Base
left, right = int(sys.argv[1]), Base.set_right
def set_right(self, *given):
    global left
    left -= 1
    done = right(self, *given)
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return done
Base.set_right = set_right
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("folders", [1, 2, 3])
def test_a_base_in_the_making_is_thrown_away_when_its_run_is_killed(pit: Pit, folders: int) -> None:
    workspace(pit, more="find . -type f | sort; echo mine > data.txt; rm -rf sub; touch strange\n")
    pit.file("sub/deeper/x.txt", "x\n")
    pit.run("run", "m").ok()
    due = pit.log("look")
    argv = [sys.executable, "-c", _KILLED, str(folders), *pit.argv("run", "m")[3:]]
    killed = subprocess.run(argv, cwd=pit.root, env=pit.env, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert not base(pit).exists()
    pit.run("retry", "m").fails(23, "ended before its snapshot was complete")
    pit.run("run", "m").ok()
    assert pit.log("look") == due
    pit.run("run", "m").ok()
    assert pit.log("look") == due


def test_a_run_that_was_killed_leaves_no_base(pit: Pit) -> None:
    workspace(pit, more='test -e "$PIT_WORKSPACE/go" || sleep 60\n')
    run = pit.start("run", "m")
    while not (pit.root / "seen").exists():
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    pit.file("../../go", "")
    for _ in range(2):
        pit.run("run", "m").ok()
    first, second, third = seen(pit)
    assert first not in (second, third)
    assert third == second


# ---------------------------------------------------------------- room


def test_prune_removes_bases(pit: Pit) -> None:
    workspace(pit)
    pit.run("run", "m").ok()
    pit.run("prune", "--dry-run").ok()
    assert base(pit).exists()
    pit.run("prune").ok()
    assert not base(pit).parent.exists()
    assert _is_copied(pit)
