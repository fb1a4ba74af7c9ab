"""Whoever looks sees the same: plan, why, run, the stamp behind "nothing to do".

Each case changes one thing that a look reads. After that `plan` says what `run` does; and its
control, a change that nobody reads, is still nothing to do.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pit.engine.planning import stamp
from pit.fs.reads import Reads
from pit.fs.stat import SECOND, YOUNG_BY_SECONDS, young_for
from tests.builder import Pit

_OLD = "2026-01-01"
_SETTLED = 0.15
"""Seconds after which a file is old enough for a stamp."""


def task(name: str, script: str, **keys: object) -> str:
    """One task of a pit.toml."""
    lines = [f"name = {json.dumps(name)}", f"script = {json.dumps(script)}"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    return "\n".join(["[[tasks]]", *lines, ""])


def planned(pit: Pit, target: str = "m") -> dict[str, str]:
    """What the plan says, by task."""
    return pit.run("plan", target, "--json").planned


def ran(pit: Pit, target: str = "m") -> set[str]:
    """The tasks that a run has executed, which the plan before it must have foretold."""
    plan = planned(pit, target)
    done = pit.run("run", target, "--json").executed
    sure = {name for name, action in plan.items() if action == "run"}
    skipped = {name for name, action in plan.items() if action == "skip"}
    assert sure <= done, plan
    assert not skipped & done, plan
    return done


def at_rest(pit: Pit, target: str = "m") -> None:
    """Runs until everything is current and the answer is kept."""
    pit.run("run", target).ok()
    time.sleep(_SETTLED)
    assert "nothing to do" in pit.run("run", target).ok().out
    assert list((pit.root / ".pit/stamps").iterdir())


def rewritten(path: Path, text: str) -> None:
    """Writes into a file in place, as `>` and many editors do: no folder's time moves."""
    with open(path, "r+") as file:
        file.write(text)
        file.truncate()


# ---------------------------------------------------------------- matrix values

MAKES = 'mkdir -p out; echo "$PIT_MATRIX_K" > "out/$PIT_MATRIX_K"'


def matrix(source: dict[str, str]) -> str:
    """A matrix task whose values come from somewhere."""
    keys = ", ".join(f"{key} = {json.dumps(value)}" for key, value in source.items())
    toml = task("m", "m.sh", inputs=[], targets=["out/{k}"])
    return f"{toml}[tasks.matrix]\nk = {{ {keys} }}\n"


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("projects/m/list.txt", {"file": "list.txt"}),
        ("projects/m/deep/list.txt", {"file": "deep/list.txt"}),
        ("list.txt", {"file": "{workspace}/list.txt"}),
    ],
)
def test_a_value_that_comes_into_a_file_of_values_is_run(
    pit: Pit, place: str, source: dict[str, str]
) -> None:
    path = pit.root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a\nb\n")
    pit.project("m").toml(matrix(source)).file("m.sh", MAKES).file("other.txt", "1")
    at_rest(pit)
    rewritten(path, "a\nc\n")
    assert ran(pit) == {"m:c"}
    assert (pit.folder / "out/c").read_text() == "c\n"
    at_rest(pit)
    rewritten(pit.folder / "other.txt", "2")
    assert ran(pit) == set()


@pytest.mark.parametrize("folder", ["projects/m/parts", "parts"])
def test_a_file_that_comes_to_a_pattern_of_values_is_run(pit: Pit, folder: str) -> None:
    at = pit.root / folder
    at.mkdir(parents=True)
    (at / "a.x").touch()
    prefix = "" if folder.startswith("projects") else "{workspace}/"
    source = {"glob": f"{prefix}parts/*.x"}
    pit.project("m").toml(matrix(source)).file("m.sh", MAKES)
    at_rest(pit)
    (at / "b.x").touch()
    assert ran(pit) == {"m:b"}


# ---------------------------------------------------------------- times


@pytest.mark.parametrize("place", ["data/in.csv", "out.txt", "a.sh", "pit.toml"])
def test_a_time_in_the_future_is_no_reason_to_look_again(pit: Pit, place: str) -> None:
    pit.project("m").toml(task("a", "a.sh", inputs=["data/in.csv"], targets=["out.txt"]))
    pit.file("a.sh", "cp data/in.csv out.txt").file("data/in.csv", "1")
    pit.run("run", "m").ok()
    later = time.time() + 5 * 365 * 86_400
    os.utime(pit.folder / place, (later, later))
    time.sleep(_SETTLED)
    at_rest(pit)
    assert len(pit.runs()) == 1
    rewritten(pit.folder / "data/in.csv", "2")
    os.utime(pit.folder / "data/in.csv", (later, later))
    assert ran(pit) == {"a"}


def test_where_times_are_whole_seconds_a_file_is_young_for_longer() -> None:
    assert young_for(SECOND + 1, SECOND + SECOND // 2) < 0
    assert young_for(SECOND, SECOND + SECOND // 2) > 0
    assert young_for(SECOND, SECOND + YOUNG_BY_SECONDS) == 0


def test_what_changed_after_a_look_began_keeps_no_answer(tmp_path: Path) -> None:
    reads = Reads()
    (tmp_path / "file").touch()
    reads.path(tmp_path / "file")
    assert not reads.settled(time.time_ns() - 10 * SECOND)
    assert reads.settled(time.time_ns() + 10 * SECOND)


# ---------------------------------------------------------------- what lies elsewhere


@pytest.mark.parametrize("pattern", ["shared/*.csv", "shared/", "shared/**/*.csv"])
@pytest.mark.parametrize("absolute", [False, True])
def test_inputs_elsewhere_are_looked_at_without_a_run(
    pit: Pit, pattern: str, absolute: bool
) -> None:
    (pit.root / "shared").mkdir()
    (pit.root / "shared/x.csv").write_text("1")
    prefix = f"{pit.root}/" if absolute else "{workspace}/"
    pit.project("m").toml(task("a", "a.sh", inputs=[prefix + pattern])).file("a.sh", "true")
    at_rest(pit)
    assert ran(pit) == set()
    assert len(pit.runs()) == 1, "nothing to do takes no snapshot"
    (pit.root / "shared/y.csv").write_text("2")
    assert ran(pit) == {"a"}
    at_rest(pit)
    rewritten(pit.root / "shared/x.csv", "3")
    assert ran(pit) == {"a"}


def test_a_link_that_leads_out_is_the_same_to_all(pit: Pit) -> None:
    outside = pit.root / "outside"
    (outside / "inner").mkdir(parents=True)
    (outside / "f.csv").write_text("1")
    (outside / "inner/g.csv").write_text("1")
    pit.project("m").toml(task("a", "a.sh", inputs=["deep/**"])).file("a.sh", "find -L deep")
    pit.file("deep/own.csv", "1")
    os.symlink(outside, pit.folder / "deep/out")
    at_rest(pit)
    assert ran(pit) == set()
    rewritten(outside / "inner/g.csv", "2")
    assert ran(pit) == {"a"}
    assert ran(pit) == set()


# ---------------------------------------------------------------- what a snapshot leaves out


def test_a_module_that_is_ignored_is_no_module_to_anybody(pit: Pit) -> None:
    pit.project("m").toml(task("a", "a.py", inputs=[], targets=["o"]))
    pit.file("a.py", "try:\n    from gen import x\nexcept ImportError:\n    x = 0\n"
             "open('o', 'w').write(str(x))\n")  # fmt: skip
    pit.file("src/gen.py", "x = 1\n").file("src/other.py", "y = 1\n")
    at_rest(pit)
    assert (pit.folder / "o").read_text() == "1"
    pit.file(".pitignore", "src/gen.py\n")
    assert ran(pit) == {"a"}
    assert (pit.folder / "o").read_text() == "0"
    assert ran(pit) == set()
    pit.file("src/gen.py", "x = 2\n")
    assert ran(pit) == set()
    pit.file(".pitignore", "src/gen.py\n# a comment\n")
    assert ran(pit) == set()


@pytest.mark.parametrize("named", ["gen/tool", "gen/*ol", "**/tool", "gen"])
def test_a_file_below_an_ignored_folder_is_there_if_an_input_names_it(pit: Pit, named: str) -> None:
    """Whoever names it: what code opens by the name of a file is found by the run and the plan."""
    pit.project("m").toml(
        task("reads", "reads.sh", inputs=[named], always=True)
        + task("opens", "opens.py", inputs=[])
    )
    pit.file("gen/tool", "1").file(".pitignore", "gen/\n").file("reads.sh", "true")
    pit.file("opens.py", 'print(open("gen/tool").read())\n')
    assert ran(pit) == {"reads", "opens"}
    assert planned(pit) == {"reads": "run", "opens": "skip"}
    assert ran(pit) == {"reads"}
    pit.file("gen/other.txt", "1")
    assert ran(pit) == {"reads"}
    pit.file("gen/tool", "2")
    assert ran(pit) == {"reads", "opens"}


def test_a_module_that_is_ignored_and_an_input_is_there(pit: Pit) -> None:
    pit.project("m").toml(
        task("a", "a.py", inputs=["src/gen.py"], targets=["o"])
        + task("b", "b.py", inputs=[], targets=["p"])
    )
    for name, made in (("a", "o"), ("b", "p")):
        pit.file(f"{name}.py", f"import gen\nopen('{made}', 'w').write(str(gen.x))\n")
    pit.file("src/gen.py", "x = 1\n").file(".pitignore", "src/gen.py\n")
    at_rest(pit)
    pit.file("src/gen.py", "x = 2\n")
    assert ran(pit, "m/b") == {"b"}, "whatever is selected, the project has the same modules"
    assert ran(pit) == {"a"}
    assert [(pit.folder / made).read_text() for made in "op"] == ["2", "2"]
    assert ran(pit) == set()


def test_code_that_a_skipped_task_has_made_is_seen_by_all(pit: Pit) -> None:
    pit.project("m").toml(
        task("make", "make.sh", inputs=["x.txt"], targets=["src/gen.py"])
        + task("use", "use.py", inputs=[], depends_on=["make"], targets=["o"])
        + task("other", "other.sh", inputs=["other.txt"])
    )
    pit.file("make.sh", 'mkdir -p src; echo "X = $(cat x.txt)" > src/gen.py')
    pit.file("use.py", "import gen\nopen('o', 'w').write(str(gen.X))\n")
    pit.file("other.sh", "true").file("x.txt", "1").file("other.txt", "1")
    at_rest(pit)
    pit.file("other.txt", "2")
    assert ran(pit) == {"other"}, "gen.py is there, though it is not in the snapshot"
    pit.file("x.txt", "2")
    assert ran(pit) == {"make", "use"}
    assert (pit.folder / "o").read_text() == "2"
    assert ran(pit) == set()


def test_what_a_task_leaves_beside_its_targets_is_no_input_of_another(pit: Pit) -> None:
    """It is not there when the task is skipped, so it must not count when it runs."""
    pit.project("m").toml(
        task("a", "a.sh", inputs=["x.txt"], targets=["out/a.csv"])
        + task("b", "b.sh", inputs=["out/*.csv"], depends_on=["a"], targets=["o"])
    )
    pit.file("a.sh", "mkdir -p out; cp x.txt out/a.csv; echo scratch > out/scratch.csv")
    pit.file("b.sh", "cat out/a.csv > o").file("x.txt", "1")
    at_rest(pit)
    assert ran(pit) == set()


# ---------------------------------------------------------------- selections


def test_values_of_a_task_that_is_not_selected_are_those_that_it_last_set(pit: Pit) -> None:
    pit.project("m").toml(
        task("a", "a.sh", inputs=[], targets=["a.txt"])
        + task("b", "b.sh", inputs=["a.txt"], depends_on=["a"])
    )
    pit.file("a.sh", "echo 1 > a.txt; pit sdk set_value name=n value=1").file("b.sh", "true")
    pit.run("run", "m").ok()
    pit.run("forget", "m/a").ok()
    assert ran(pit, "m/b") == set()
    pit.run("run", "m/a", "--force").ok()
    assert ran(pit, "m/b") == set()


def test_what_a_task_will_hand_on_anew_is_not_called_gone(pit: Pit) -> None:
    """Why another would run is what is known of it; a run says the same."""
    pit.project("m").toml(
        task("a", "a.sh", inputs=[], targets=["a.txt"])
        + task("b", "b.sh", inputs=["a.txt"], depends_on=["a"])
    )
    pit.file("a.sh", "echo 1 > a.txt; pit sdk set_value name=n value=1").file("b.sh", "true")
    pit.run("run", "m").ok()
    pit.run("forget", "m/a").ok()
    pit.file("b.sh", "echo other")
    told = {each["task"]: each["why"] for each in pit.run("plan", "m", "--json").json["tasks"]}
    assert told["b"] == "b.sh changed"
    events = pit.run("run", "m", "--json").events
    whys = {each["task"]: each["why"] for each in events if each["event"] == "task_ended"}
    assert whys["b"] == told["b"]


# ---------------------------------------------------------------- the very file that was read

SWAPPED = (
    task("a", "a.sh", inputs=[], targets=["a.out"])
    + task("b", "b.sh", inputs=["data/x.csv"], targets=["b.out"], depends_on=["a"])
)  # fmt: skip


def swap_folder(folder: Path) -> None:
    """Another folder takes the place of the one with the inputs."""
    (folder / "data").rename(folder / "old")
    (folder / "data.new").rename(folder / "data")


def swap_link(folder: Path) -> None:
    """The same, where a link says which."""
    os.symlink("data.new", folder / "next")
    os.rename(folder / "next", folder / "data")


def swap_file(folder: Path) -> None:
    """The same with the file alone."""
    (folder / "data.new/x.csv").rename(folder / "data/x.csv")


@pytest.mark.parametrize("swap", [swap_folder, swap_link, swap_file])
def test_an_equal_looking_file_that_takes_the_place_of_one_is_not_that_one(
    pit: Pit, swap: Callable[[Path], None]
) -> None:
    pit.project("m").toml(SWAPPED).file("data.new/x.csv", "BBBB")
    if swap is swap_link:
        pit.file("data.was/x.csv", "AAAA")
        os.symlink("data.was", pit.folder / "data")
    else:
        pit.file("data/x.csv", "AAAA")
    for place in ("data/x.csv", "data.new/x.csv"):
        os.utime(pit.folder / place, ns=(10**18, 10**18 + 5))
    pit.file("a.sh", "touch $PIT_WORKSPACE/began\n"
             "until [ -e $PIT_WORKSPACE/go ]; do sleep 0.02; done; touch a.out\n")  # fmt: skip
    pit.file("b.sh", "cat data/x.csv > b.out")
    time.sleep(_SETTLED)
    run = pit.start("run", "m")
    while not (pit.root / "began").exists():
        time.sleep(0.02)
    swap(pit.folder)
    (pit.root / "go").touch()
    run.communicate(timeout=60)
    assert run.returncode == 0
    assert (pit.folder / "b.out").read_text() == "AAAA", "the run had its snapshot"
    assert ran(pit) == {"b"}
    assert (pit.folder / "b.out").read_text() == "BBBB"
    assert ran(pit) == set()


FLIPS = {
    "link": "ln -sfn v2 cur; cp cur/x.csv out.txt; ln -sfn v1 cur",
    "folder": "mv cur was; cp -r v2 cur; cp cur/x.csv out.txt; rm -r cur; mv was cur",
    "file": "mv cur/x.csv cur/was; cp v2/x.csv cur/; cp cur/x.csv out.txt; mv cur/was cur/x.csv",
}


@pytest.mark.parametrize("flip", FLIPS)
def test_a_live_input_that_was_exchanged_and_put_back_is_not_recorded(pit: Pit, flip: str) -> None:
    for name in ("v1", "v2"):
        (pit.root / name).mkdir()
        (pit.root / name / "x.csv").write_text(name)
    if flip == "link":
        os.symlink("v1", pit.root / "cur")
    else:
        shutil.copytree(pit.root / "v1", pit.root / "cur")
    toml = task("a", "a.sh", inputs=["{workspace}/cur/x.csv"], targets=["out.txt"])
    pit.project("m").toml(toml)
    pit.file("a.sh", f"here=$PWD; cd $PIT_WORKSPACE; {FLIPS[flip]}; mv out.txt $here/")
    pit.run("run", "m").ok()
    pit.file("a.sh", "cp $PIT_WORKSPACE/cur/x.csv out.txt")
    assert ran(pit) == {"a"}
    assert (pit.folder / "out.txt").read_text() == "v1"
    assert ran(pit) == set()


def test_a_new_neighbour_of_a_live_input_is_no_change_of_it(pit: Pit) -> None:
    (pit.root / "cur").mkdir()
    (pit.root / "cur/x.csv").write_text("1")
    pit.project("m").toml(task("a", "a.sh", inputs=["{workspace}/cur/x.csv"], targets=["o"]))
    pit.file("a.sh", "touch $PIT_WORKSPACE/cur/other; cp $PIT_WORKSPACE/cur/x.csv o")
    pit.run("run", "m").ok()
    assert ran(pit) == set()


# ---------------------------------------------------------------- stamps


def test_a_stamp_is_good_for_one_interpreter_and_one_day(pit: Pit) -> None:
    pit.project("m").toml(task("a", "a.sh", inputs=[])).file("a.sh", "true")
    at_rest(pit)
    (path,) = (pit.root / ".pit/stamps").iterdir()
    found = stamp.read(path)
    assert found is not None
    assert stamp.holds(found, found.facts, found.mark)
    for fact in ("interpreter", "day", "environment", "fingerprints"):
        assert not stamp.holds(found, found.facts | {fact: "another"}, found.mark)
    assert not stamp.holds(found, found.facts, (found.mark[0], found.mark[1] + 1))


def test_a_file_that_comes_where_there_was_none_is_noticed(pit: Pit) -> None:
    pit.project("m").toml(task("a", "a.py", inputs=[], targets=["o"]))
    pit.file("a.py", "import json\nopen('o', 'w').write(json.__file__)\n").file("notes.txt", "")
    at_rest(pit)
    pit.file("src/json.py", "")
    assert ran(pit) == {"a"}
    at_rest(pit)
    pit.file("notes.txt", "written anew")
    assert ran(pit) == set()


# ---------------------------------------------------------------- links inside the project


def test_a_link_to_a_folder_that_leads_elsewhere_now_is_noticed(pit: Pit) -> None:
    pit.project("m").toml(task("a", "a.sh", inputs=["lnk/*.csv"])).file("a.sh", "true")
    pit.file("d1/other.txt", "").file("d2/x.csv", "1")
    os.symlink("d1", pit.folder / "lnk")
    at_rest(pit)
    (pit.folder / "lnk").unlink()
    os.symlink("d2", pit.folder / "lnk")
    assert ran(pit) == {"a"}
    assert ran(pit) == set()


@pytest.mark.parametrize(
    ("targets", "inputs"),
    [
        (["out/"], ["lnk"]),
        (["out/"], ["lnk/*.csv"]),
        (["out/*.csv"], ["lnk/*.csv"]),
        (["out/*.csv"], ["lnk/"]),
        (["out/x.csv"], ["lnk/x.csv"]),
        (["out/x.csv"], ["lnk/*.csv"]),
    ],
)
def test_targets_that_are_read_through_a_link_are_the_same_to_all(
    pit: Pit, targets: list[str], inputs: list[str]
) -> None:
    pit.project("m").toml(
        task("mk", "mk.sh", inputs=["seed"], targets=targets)
        + task("rd", "rd.sh", inputs=[*inputs, "cfg"], targets=["o"], depends_on=["mk"])
    )
    pit.file("mk.sh", "mkdir -p out; cp seed out/x.csv").file("rd.sh", "cat lnk/x.csv > o")
    pit.file("seed", "1").file("cfg", "1")
    os.symlink("out", pit.folder / "lnk")
    pit.run("run", "m").ok()
    assert ran(pit) == set()
    assert ran(pit, "m/rd") == set()
    pit.file("seed", "2")
    assert ran(pit) == {"mk", "rd"}
    assert (pit.folder / "o").read_text() == "2"
    pit.file("cfg", "2").file("rd.sh", "echo bad >> lnk/x.csv; exit 1")
    pit.run("run", "m").fails(1)
    assert (pit.folder / "out/x.csv").read_text() == "2", "a failed task changed a target"


# ---------------------------------------------------------------- what is ignored from now on


def test_code_that_is_ignored_from_now_on_is_noticed(pit: Pit) -> None:
    pit.project("m").toml(
        task("a", "a.sh", inputs=[], runner="$ bash conf/sub/e.sh") + task("b", "b.sh", inputs=[])
    )
    pit.file("conf/sub/e.sh", "true").file("a.sh", "true").file("b.sh", "true")
    at_rest(pit)
    pit.file("conf/.pitignore", "other.sh\n")
    assert ran(pit) == set()
    pit.file("conf/.pitignore", "e.sh\n")
    assert "nothing to do" not in pit.run("run", "m").out


def test_a_script_that_is_ignored_from_now_on_is_not_current(pit: Pit) -> None:
    pit.project("m").toml(task("a", "a.sh", inputs=[])).file("a.sh", "true")
    at_rest(pit)
    pit.file(".pitignore", "a.sh\n")
    assert pit.run("plan", "m").code != 0
    pit.run("run", "m").fails(1, "a.sh")


# ---------------------------------------------------------------- within a run


def test_a_database_that_a_task_has_made_is_seen_by_the_next(pit: Pit) -> None:
    pit.project("m").toml(
        task("first", "r.sh", inputs=["data/*.db"])
        + task("mk", "mk.sh", inputs=["seed"], targets=["done"], depends_on=["first"])
        + task("second", "r.sh", inputs=["data/*.db"], depends_on=["mk"])
    )
    make = 'echo 1 > "$PIT_WORKSPACE/projects/m/data/$(cat seed).db"; touch done'
    pit.file("data/one.db", "1").file("seed", "one").file("r.sh", "true").file("mk.sh", make)
    pit.run("run", "m").ok()
    pit.run("run", "m").ok()
    pit.file("seed", "two")
    assert pit.run("run", "m", "--json").executed == {"mk", "second"}


def test_what_lies_in_a_folder_that_is_an_input_is_coming(pit: Pit) -> None:
    pit.project("m").toml(
        task("sub", "sub.sh", inputs=[], targets=["u/plain"])
        + task("fin", "fin.sh", inputs=["u/"], targets=["o"])
    )
    pit.file("sub.sh", "mkdir -p u; touch u/plain").file("fin.sh", "ls u > o")
    assert ran(pit) == {"sub", "fin"}
    assert ran(pit) == set()


@pytest.mark.parametrize("words", ["['-m'] + list(STEPS)", "['-m', *STEPS]"])
def test_modules_whose_names_are_keys_count_where_they_are_started(pit: Pit, words: str) -> None:
    pit.project("m").toml(task("a", "a.py", inputs=[], targets=["o"]))
    pit.file(
        "a.py",
        "import subprocess, sys\nSTEPS = {'stepa': 1}\n"
        f"subprocess.run([sys.executable] + {words}, check=True)\nopen('o', 'w').write('')\n",
    ).file("src/stepa.py", "x = 1\n")
    pit.run("run", "m").ok()
    pit.file("src/stepa.py", "x = 2\n")
    assert ran(pit) == {"a"}
