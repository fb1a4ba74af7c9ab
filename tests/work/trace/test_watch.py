"""What a task opens: the tracer, the hook in Python, and places in the words of pit.toml."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pit.engine.run import lesson
from pit.engine.run.lesson import Seen
from pit.order import Order
from pit.work.process import launch
from pit.work.site import Invocation
from pit.work.trace import strace
from pit.work.trace.watch import Places, Watcher

ORDER = Order(run="r", dag="d", task="t", attempt=1, attempts=1, marker="m1", log="", runner="")


def tracer(folder: Path) -> tuple[str, ...]:
    """How a watched command begins; the test is skipped where none can be watched."""
    prefix, why = strace.usable(launch.capture, folder, os.environ)
    if not prefix:
        pytest.skip(why)
    return prefix


class Task:
    """A program in a folder of its own, watched once."""

    def __init__(self, root: Path) -> None:
        self.root = root / "project"
        self.root.mkdir()
        self.records = root / "records"

    def opened(
        self, *argv: str, traced: tuple[str, ...] = (), code: int = 0, **env: str
    ) -> dict[str, str]:
        """What the command opened below its folder."""
        own = {"PATH": os.environ["PATH"], "PIT_MARKER": "m1"} | env
        program = Invocation(argv=argv, env=own, cwd=str(self.root))
        watcher = Watcher(self.records, traced)
        watched = watcher.watched(ORDER, program, python=True)
        done = launch.run(
            watched.argv, cwd=watched.cwd, env=watched.env, output=lambda piece: None,
            timeout=60, grace=10, cancel=launch.Cancel(), guardian=None, marker="m1",
        )  # fmt: skip
        assert done.exit_code == code
        found = watcher.opened("t")
        assert found is not None
        return {
            os.path.relpath(path, self.root): kinds
            for path, kinds in found.kinds.items()
            if path.startswith(f"{self.root}/")
        }


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """A task without files yet."""
    return Task(tmp_path)


# ---------------------------------------------------------------- strace


def test_strace_sees_what_a_shell_and_its_children_open(task: Task, tmp_path: Path) -> None:
    traced = tracer(tmp_path)
    for name in ("a.txt", 'odd "é <1>.txt', "old.txt", "sub/x", "log"):
        (task.root / name).parent.mkdir(exist_ok=True)
        (task.root / name).write_text("x\n")
    script = """
    cat a.txt 'odd "é <1>.txt' > new.tmp; mv new.tmp new.txt
    (cd sub; cat x); cat missing; echo >> log; exec 3<>old.txt; ls > /dev/null
    """
    assert task.opened("bash", "-c", script, traced=traced) == {
        "a.txt": "R",
        'odd "é <1>.txt': "R",
        "new.tmp": "W",
        "new.txt": "W",
        "sub/x": "R",
        "log": "A",
        "old.txt": "RW",
    }


def test_a_watched_task_ends_as_if_nobody_looked(task: Task, tmp_path: Path) -> None:
    traced = tracer(tmp_path)
    script = "sleep 300 & exit 7"  # what it leaves behind is ended, and nobody waits for it
    assert task.opened("bash", "-c", script, traced=traced, code=7) == {}


def test_what_pit_opens_below_a_task_is_not_the_tasks(task: Task, tmp_path: Path) -> None:
    traced = tracer(tmp_path)
    (task.root / "x").touch()
    nested = task.root / "pit"
    nested.write_text("#!/bin/sh\ncat x | cat\n")
    nested.chmod(0o755)
    found = task.opened("bash", "-c", "true; ./pit; true < y", traced=traced, code=1)
    assert "x" not in found


def test_calls_that_were_interrupted_are_put_together(tmp_path: Path) -> None:
    records = tmp_path / "opened"
    records.write_text(
        '7  openat(AT_FDCWD</p>, "a", O_RDONLY <unfinished ...>\n'
        '8  openat(AT_FDCWD</p/q>, "../b", O_WRONLY|O_CREAT, 0666) = 3</p/b>\n'
        "7  <... openat resumed>)             = 4</p/a>\n"
        '7  open("c", O_RDONLY) = 5</p/c>\n'
        '7  openat(AT_FDCWD</p>, "d", O_RDONLY) = -1 ENOENT (No such file or directory)\n'
    )
    assert list(strace.read(records, "/p")) == [("W", "/p/b"), ("R", "/p/a"), ("R", "/p/c")]


def test_where_there_is_no_strace_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert strace.usable(launch.capture, tmp_path, {}) == ((), "strace is not installed")


# ---------------------------------------------------------------- the hook


def test_the_hook_sees_what_python_and_its_pythons_open(task: Task) -> None:
    (task.root / "a").touch()
    (task.root / "b").touch()
    (task.root / "t.py").write_text(
        "import os, subprocess, sys\n"
        "open('a').read()\n"
        "os.close(os.open('c', os.O_WRONLY | os.O_CREAT))\n"
        "os.rename('c', 'd')\n"
        "open('e', 'a').close()\n"
        "os.closerange(3, 100)\n"
        "subprocess.run([sys.executable, '-c', 'open(\"b\")'], check=True)\n"
    )
    found = task.opened(sys.executable, "t.py")
    assert found == {"t.py": "R", "a": "R", "b": "R", "c": "W", "d": "W", "e": "A"}


def test_the_hook_leaves_the_users_own_sitecustomize_alone(task: Task) -> None:
    user = task.root / "user"
    user.mkdir()
    (user / "sitecustomize.py").write_text("MINE = __file__\n")
    (task.root / "t.py").write_text(
        "import sys, sitecustomize\n"
        f"assert sitecustomize.MINE == {str(user / 'sitecustomize.py')!r}\n"
        f"assert sys.path[1] == {str(user)!r}, sys.path\n"
    )
    task.opened(sys.executable, "t.py", PYTHONPATH=str(user))


def test_an_error_in_the_users_sitecustomize_is_said_as_without_the_hook(task: Task) -> None:
    (task.root / "sitecustomize.py").write_text("import no_such_module\n")
    argv = [sys.executable, "-c", "pass"]
    plain = subprocess.run(
        argv, env={"PYTHONPATH": str(task.root)}, capture_output=True, check=True
    )
    assert b"no_such_module" in plain.stderr
    own = {"PYTHONPATH": str(task.root)}
    program = Invocation(argv=tuple(argv), env=own, cwd=str(task.root))
    watched = Watcher(task.records).watched(ORDER, program, python=True)
    env = watched.env | {"PIT_MARKER": "m1"}
    done = subprocess.run(argv, env=env, capture_output=True, check=True)
    assert done.stderr.splitlines()[-1] == plain.stderr.splitlines()[-1]


def test_the_hook_is_silent_in_the_tasks_of_a_run_that_the_task_starts(task: Task) -> None:
    (task.root / "a").touch()
    code = "open('a')"
    inner = f"import os, sys; os.environ['PIT_MARKER'] = 'm2'; os.execv({sys.executable!r}, "
    found = task.opened(sys.executable, "-c", f"{inner}['python', '-c', {code!r}])")
    assert found == {}


def test_other_tasks_are_not_watched_without_strace(task: Task) -> None:
    argv = (shutil.which("true") or "true",)
    program = Invocation(argv=argv, env={}, cwd=str(task.root))
    watcher = Watcher(task.records)
    assert watcher.watched(ORDER, program, python=False) is program
    assert watcher.opened("t") is None


# ---------------------------------------------------------------- places


def test_paths_become_places_of_the_project_the_workspace_or_stay(tmp_path: Path) -> None:
    workspace = tmp_path / "w"
    project, root = workspace / "projects/p", workspace / "runs/1/project"
    files = ("w/shared/x", "w/projects/p/data/a", "w/runs/1/project/b", "w/runs/1/data/c", "out")
    for name in (*files, "w/runs/1/project/.git/d", "w/runs/1/project/e.duckdb", "w/.pit/f"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    places = Places(root, project, workspace, [workspace / "runs", workspace / ".pit"])
    assert places.read(f"{root}/b") == "b"
    assert places.read(f"{root}/data/a") == "data/a"  # a live file, linked in
    assert places.read(f"{project}/data/a") == "data/a"
    assert places.read(f"{workspace}/shared/x") == "{workspace}/shared/x"
    assert places.read(f"{tmp_path}/out") == f"{tmp_path}/out"
    assert places.written(f"{root}/b") == "b"
    gone = ("runs/1/data/c", "runs/1/project/.git/d", "runs/1/project/e.duckdb", ".pit/f", "none")
    for name in gone:
        assert places.read(f"{workspace}/{name}") is None, name
    for path in ("/etc/passwd", "/proc/self/maps", os.__file__, "/usr/bin/env"):
        assert places.read(path) is None, path
    assert places.spelled("{workspace}/projects/p/data/*") == "data/*"


# ---------------------------------------------------------------- what is lacking


def test_what_is_declared_or_code_or_made_by_the_task_itself_is_not_lacking() -> None:
    seen = Seen(
        read=("in/a", "in/b", "lib.py", "out/x", "new"),
        written=("out/x", "extra"),
        code=frozenset({"lib.py"}),
        opened=frozenset({"in/a", "in/b", "out/x", "new", "extra"}),
    )
    found = lesson.lacks(("in/*", "old", "lib.py"), ("out/",), seen)
    assert (found.inputs, found.targets, found.unread) == (("new",), ("extra",), ("old",))


def test_a_pattern_stands_for_many_files_unless_it_would_name_others() -> None:
    days = [f"d/{n}.csv" for n in range(4)]
    deep = [f"e/{n}/part.parquet" for n in range(4)]
    found = lesson.collapsed([*days, "d/x.json", *deep], lambda pattern: True)
    assert found == ("d/*.csv", "d/x.json", "e/**/*.parquet")
    assert lesson.collapsed(days, lambda pattern: False) == tuple(days)
    few = ("a.csv", "b.csv", "c.csv")
    assert lesson.collapsed(few, lambda pattern: True) == few


def test_values_of_parameters_become_their_names() -> None:
    values = {"airport": "JFK", "day": "2026-01-31", "n": "1"}
    place = "out/JFK/JFKX-2026-01-31-1.csv"
    assert lesson.generalised(place, values) == "out/{airport}/JFKX-{day}-1.csv"


def test_names_that_pit_toml_cannot_spell_are_told_apart() -> None:
    assert lesson.speakable("{workspace}/a")
    assert not lesson.speakable("a-{x}.csv")
    assert not lesson.speakable("a-\udcff")
