"""`pit sync`, by the real command, with environments that uv builds."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.builder import Pit
from tests.cli.terminal.test_terminal import typed

TASK = '[[tasks]]\nname = "a"\nscript = "a.py"\n'


def pyproject(name: str, *dependencies: str) -> str:
    """A project that is no package; without dependencies uv needs no network for it."""
    needs = ", ".join(f'"{each}"' for each in dependencies)
    return f"""[project]
name = "{name}"
version = "1"
requires-python = ">=3.11"
dependencies = [{needs}]
"""


def project(pit: Pit, name: str, *dependencies: str) -> Pit:
    """A project with an environment."""
    pit.project(name).toml(TASK).file("a.py", "print('ran')")
    return pit.file("pyproject.toml", pyproject(name, *dependencies))


@pytest.fixture
def two(pit: Pit) -> Pit:
    """Two projects with environments, and one without."""
    project(pit, "north")
    project(pit, "south")
    pit.project("plain").toml(TASK).file("a.py", "")
    return pit


def states(pit: Pit, *args: str, code: int = 0) -> dict[str, str]:
    """The state of each project's environment."""
    done = pit.run("sync", *args, "--json")
    assert done.code == code, done.err
    assert done.json["ready"] is (code == 0)
    return {each["project"]: each["state"] for each in done.json["projects"]}


def test_what_is_missing_is_built_and_stands(two: Pit) -> None:
    assert states(two, "--check", code=1) == {"north": "stale", "plain": "none", "south": "stale"}
    assert not (two.root / "projects/north/uv.lock").exists()
    done = two.run("sync").ok()
    assert re.search(r"north  building the Python environment", done.out)
    assert re.search(r"plain  none  no pyproject.toml", done.out)
    assert done.out.endswith("3 projects: 2 built, 1 none\n")
    assert (two.root / "projects/north/uv.lock").is_file()
    assert two.run("sync").ok().out.endswith("3 projects: 2 current, 1 none\n")
    assert states(two, "--check") == {"north": "current", "plain": "none", "south": "current"}


def test_a_run_uses_what_was_built(two: Pit) -> None:
    (made,) = two.run("sync", "north", "--json").ok().json["projects"]
    assert made["why"] == "there is no uv.lock"
    assert Path(made["python"]).parent.parent == Path(made["path"])
    done = two.run("run", "north").ok()
    assert "building" not in done.out
    assert made["digest"][:16] == Path(made["path"]).name


def test_another_path_gets_the_python_that_a_sync_has_chosen(two: Pit) -> None:
    folders = [two.root / "bin", two.root / "others"]
    for folder in folders:
        folder.mkdir()
        (folder / "python3").symlink_to(sys.executable)
    here, there = (f"{folder}:/usr/bin:/bin" for folder in folders)
    two.env["PATH"] = here
    (made,) = two.run("sync", "north", "--json").ok().json["projects"]
    two.run("run", "north").ok()
    two.env["PATH"] = there
    assert states(two, "--check", "north") == {"north": "current"}
    assert "building" not in two.run("run", "north").ok().out
    (other,) = two.run("sync", "north", "--json").ok().json["projects"]
    assert (other["state"], other["why"]) == ("built", "Python changed")
    assert other["digest"] != made["digest"]
    two.env["PATH"] = here
    assert states(two, "--check", "north") == {"north": "current"}


def test_check_says_what_has_changed(two: Pit) -> None:
    two.run("sync").ok()
    project(two, "north").file("pyproject.toml", pyproject("north") + "# edited\n")
    done = two.run("sync", "--check").fails(1, "Build it with: pit sync north")
    assert re.search(r"^north +stale +pyproject.toml changed$", done.out, re.MULTILINE)
    assert re.search(r"^south +current$", done.out, re.MULTILINE)
    lock = two.root / "projects/south/uv.lock"
    lock.write_text(lock.read_text() + "\n")
    assert states(two, "--check", "south", code=1) == {"south": "stale"}
    done = two.run("sync", "south").ok()
    assert "uv.lock changed" in done.out
    assert states(two, "--check", "south") == {"south": "current"}


def test_one_that_fails_stops_no_other(two: Pit) -> None:
    project(two, "bad", "no-such-thing @ file:///nowhere/at/all")
    done = two.run("sync").fails(22, "bad: the dependencies of", "uv lock --project")
    assert done.out.endswith("4 projects: 2 built, 1 failed, 1 none\n")
    log = two.root / ".pit/envs/bad.log"
    assert f"All that uv said: {log}" in done.err
    assert "uv lock --project" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600
    failed = two.run("sync", "bad", "--json").json["projects"][0]
    assert (failed["state"], failed["log"]) == ("failed", str(log))
    assert "could not be locked" in failed["error"]
    project(two, "bad")
    two.run("sync", "bad").ok()
    assert not log.exists()


def test_a_broken_pit_toml_does_not_keep_its_environment_from_being_built(two: Pit) -> None:
    two.project("north").toml("[[task]]\n")
    assert states(two, "north") == {"north": "built"}


def test_names(two: Pit) -> None:
    two.project("south").toml('[dag]\nname = "sunny"\n' + TASK)
    assert states(two, "sunny", "north", "sunny") == {"sunny": "built", "north": "built"}
    two.run("sync", "south").fails(2, 'DAG "south" not found')


def test_a_workspace_without_projects(pit: Pit) -> None:
    pit.run("sync").fails(10)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_and_what_it_has_started(two: Pit, number: int, code: int) -> None:
    project(two, "north").file(
        "pyproject.toml",
        pyproject("north") + '[build-system]\nrequires = []\nbuild-backend = "slow"\n'
        'backend-path = ["."]\n',
    ).file(
        "slow.py",
        "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(600)\n",
    )
    pid = two.root / "projects/north/pid"
    with two.start("sync", "north") as running:
        while not (pid.exists() and pid.read_text()):
            assert running.poll() is None, running.communicate()[0]
            time.sleep(0.02)
        running.send_signal(number)
        assert running.wait(60) == code
    assert not os.path.exists(f"/proc/{pid.read_text()}")
    assert not list((two.root / ".pit/envs").glob("*/pit.json"))


def test_on_a_terminal_a_block_is_drawn_and_a_table_stays(two: Pit) -> None:
    code, text = typed(two, "sync", columns=80, UV_PYTHON_DOWNLOADS="never")
    assert code == 0
    assert "of 3 done" in text
    final = re.sub(r"\x1b\[[0-9;]*m", "", text.rpartition("\x1b[2K")[2])
    assert "busy" not in final
    assert re.search(r"^north +built +[\d.]+m?s +there is no uv.lock$", final, re.MULTILINE)
    assert final.endswith("3 projects: 2 built, 1 none\n")
