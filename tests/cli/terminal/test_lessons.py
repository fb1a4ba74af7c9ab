"""`pit run --learn` with the real command."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pit.cli.terminal.lessons import told, written
from pit.events import Learned
from pit.work.process import launch
from pit.work.trace import strace
from tests.builder import Pit

TOML = """
[dag]
name = "sales"

[[tasks]]
name = "clean"
script = "tasks/clean.py"
inputs = ["data/old.txt", "data/unused.txt"]
targets = ["out/clean.txt"]

[[tasks]]
name = "report"
script = "tasks/report.sh"
inputs = ["out/clean.txt"]
[tasks.matrix]
city = ["rome", "oslo"]
"""

CLEAN = """
import glob, os
import rules
text = open("data/old.txt").read() + "".join(open(p).read() for p in glob.glob("data/*.csv"))
text += open(os.environ["PIT_WORKSPACE"] + "/shared.csv").read()
open("out/clean.txt", "w").write(text)
open("out/log.txt", "w").write("done")
"""

REPORT = 'cat out/clean.txt "city/$PIT_MATRIX_CITY" > "report-$PIT_MATRIX_CITY.txt"\n'


@pytest.fixture
def sales(pit: Pit) -> Pit:
    """A project whose pit.toml lacks much."""
    pit.file("shared.csv", "1\n").project("sales").toml(TOML)
    pit.file("tasks/clean.py", CLEAN).file("tasks/rules.py", "A = 1\n").scripts(report=REPORT)
    for name in ("data/old.txt", "data/unused.txt", "city/rome", "city/oslo"):
        pit.file(name, "x\n")
    for number in range(5):
        pit.file(f"data/{number}.csv", f"{number}\n")
    return pit


def without_strace(folder: Path) -> str:
    """A PATH on which there is no strace."""
    folder.mkdir()
    for name in ("bash", "cat", "uv"):
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    return str(folder)


def test_learning_gives_lines_that_make_pit_toml_complete(sales: Pit, tmp_path: Path) -> None:
    prefix, why = strace.usable(launch.capture, tmp_path, os.environ)
    if not prefix:
        pytest.skip(why)
    sales.run("run", "sales").ok()
    done = sales.run("run", "sales", "--learn").ok()
    assert 'task "clean" read data/*.csv, which its inputs do not name' in done.out
    assert "--learn asks for it" in done.out
    said = done.out[done.out.index("What the tasks opened") :]
    assert said.count("data/unused.txt") == 2
    assert '# input "data/unused.txt" was never opened\n' in said
    assert '    inputs = ["out/clean.txt", "city/{city}"]\n' in said
    assert '    targets = ["report-{city}.txt"]\n' in said
    assert not [path for run in sales.runs() for path in run.glob(".learn")]

    clean = [line.strip() for line in said.splitlines() if '"data/old.txt"' in line]
    targets = '["out/clean.txt", "out/log.txt"]'
    text = TOML.replace('inputs = ["data/old.txt", "data/unused.txt"]', clean[0])
    text = text.replace('["out/clean.txt"]\n\n', f"{targets}\n\n")
    text = text.replace(
        'inputs = ["out/clean.txt"]\n',
        'inputs = ["out/clean.txt", "city/{city}"]\ntargets = ["report-{city}.txt"]\n',
    )
    again = sales.toml(text).run("run", "sales", "--learn").ok()
    assert again.out.count("# nothing is missing") == 2
    assert "do not name" not in again.out
    assert "nothing to do" in sales.run("run", "sales").ok().out


def test_without_strace_python_is_watched_by_its_hook(sales: Pit, tmp_path: Path) -> None:
    path = without_strace(tmp_path / "bin")
    done = sales.run("run", "sales", "--learn", "--json", PATH=path).ok()
    learned = {event["task"]: event for event in done.events if event["event"] == "learned"}
    assert learned["clean"]["by"] == "python"
    assert learned["clean"]["inputs"][2:] == ["data/*.csv", "{workspace}/shared.csv"]
    assert learned["clean"]["targets"] == ["out/clean.txt", "out/log.txt"]
    assert learned["clean"]["unread"] == ["data/unused.txt"]
    assert learned["report"] == {
        **{key: learned["report"][key] for key in ("event", "run", "at")},
        "task": "report", "by": "", "inputs": None, "targets": None, "unread": [], "remarks": [],
    }  # fmt: skip
    warnings = [event["message"] for event in done.events if event["event"] == "warning"]
    assert any(text.startswith("strace is not installed") for text in warnings)


def test_a_task_that_fails_or_changes_a_file_in_place_is_remarked_upon(sales: Pit) -> None:
    sales.file("tasks/clean.py", "open('data/old.txt', 'a').write('x')\nraise SystemExit(3)\n")
    done = sales.run("run", "sales/clean", "--learn")
    done.fails(1, "# it did not succeed, so this need not be all", "data/old.txt: changed where")
    assert "never opened" not in done.out


def test_nothing_is_watched_without_the_flag(sales: Pit) -> None:
    sales.file("tasks/clean.py", "import os\nprint(os.environ.get('PYTHONPATH'))\n" + CLEAN)
    done = sales.run("run", "sales", "--json").ok()
    assert ".learn" not in sales.log("clean")
    assert not [event for event in done.events if event["event"] in ("learned", "warning")]


def test_long_lists_take_a_line_for_each_place() -> None:
    assert list(written("inputs", ("a", 'b"'))) == ['inputs = ["a", "b\\""]']
    long = list(written("inputs", tuple("x" * 40 + str(n) for n in range(3))))
    assert (long[0], long[-1], len(long)) == ("inputs = [", "]", 5)


def test_a_task_that_was_not_watched_is_not_called_complete() -> None:
    facts = {"run": "r", "at": 0.0, "task": "t"}
    assert list(told(Learned(**facts))) == ["# not watched"]
    assert list(told(Learned(**facts, by="strace"))) == ["# nothing is missing"]
