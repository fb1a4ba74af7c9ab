"""What must hold between keys, beyond what the broken projects show."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pit.config.check import check
from pit.config.project import read_project
from pit.config.toml.findings import Findings
from pit.model import Dag, Param, ParamType, Problem, Task


def problems(project: Path, *tasks: Task, params: tuple[Param, ...] = ()) -> tuple[Problem, ...]:
    findings = Findings("pit.toml")
    check(Dag(name="p", project=project, tasks=tasks, params=params), findings)
    return findings.problems()


def sentences(project: Path, *tasks: Task) -> list[str]:
    return [problem.sentence for problem in problems(project, *tasks)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "a.sh").touch()
    return tmp_path


def test_a_sound_dag_has_no_problems(project: Path) -> None:
    read = Task(name="b", script="a.sh", inputs=("x/*.csv", "raw.csv"), params=("day",))
    make = Task(name="a", script="a.sh", targets=("x/1.csv", "x/2.csv"), depends_on=())
    assert problems(project, read, make, params=(Param(name="day", type=ParamType.DATE),)) == ()


def test_scripts_that_are_links(project: Path) -> None:
    (project / "link.sh").symlink_to("a.sh")
    (project / "gone.sh").symlink_to("nowhere.sh")
    assert sentences(project, Task(name="a", script="link.sh")) == []
    assert sentences(project, Task(name="a", script="gone.sh")) == [
        'script "gone.sh" is a link that leads nowhere'
    ]


def test_scripts_that_are_no_files(project: Path) -> None:
    os.mkfifo(project / "pipe.sh")
    tasks = (Task(name="a", script="pipe.sh"), Task(name="b", script="a.sh/x.sh"))
    assert sentences(project, *tasks) == [
        'script "pipe.sh" is not a regular file',
        'script "a.sh/x.sh" not found; did you mean "a.sh"?',
    ]


def test_a_script_whose_path_is_too_long(project: Path) -> None:
    (sentence,) = sentences(project, Task(name="a", script="x" * 300 + ".sh"))
    assert sentence.endswith("cannot be looked at: File name too long")


def test_a_long_cycle_is_abbreviated(project: Path) -> None:
    ring = [Task(name=f"t{i}", script="a.sh", depends_on=(f"t{i - 1}",)) for i in range(1, 100)]
    ring.append(Task(name="t0", script="a.sh", depends_on=("t99",)))
    (sentence,) = sentences(project, *ring)
    assert sentence.startswith("dependency cycle: t1 → t0 → t99 → t98 →")
    assert sentence.endswith("→ … (88 more) … → t2 → t1")


def test_a_cycle_of_ten_thousand_is_said_at_once(project: Path) -> None:
    ring = [
        Task(
            name=f"t{i}",
            script="a.sh",
            inputs=(f"x{(i - 1) % 10_000}",),
            targets=(f"x{i}",),
        )
        for i in range(10_000)
    ]
    (problem,) = problems(project, *ring)
    assert problem.sentence.startswith("dependency cycle: t0 → t9999 →")
    assert problem.hint.startswith('"t0" reads "x9999", which "t9999" makes; ')


def test_two_cycles_are_both_named(project: Path) -> None:
    pairs = (("a", "b"), ("b", "a"), ("c", "d"), ("d", "c"))
    tasks = [Task(name=name, script="a.sh", depends_on=(on,)) for name, on in pairs]
    assert sentences(project, *tasks) == [
        "dependency cycle: a → b → a",
        "dependency cycle: c → d → c",
    ]


def test_places_count_the_entries_that_could_not_be_used(project: Path) -> None:
    (project / "pit.toml").write_text(
        '[[tasks]]\nname = "a"\nscript = "a.sh"\ndepends_on = [1, "b"]\nparams = [true, "day"]\n'
        'inputs = ["../x", "x", "{y}"]\ntargets = ["", "x"]\n'
    )
    found = read_project(project, project.parent).findings.problems()
    placed = {problem.sentence: (problem.line, problem.column) for problem in found}
    assert placed['task "a" depends on unknown task "b"'] == (4, 18)
    assert placed['parameter "day" is not declared in [dag.params]'] == (5, 17)
    assert placed['unknown name "{y}"'] == (6, 24)
    assert placed['"x" is both an input and a target of task "a"'] == (6, 19)


def test_a_matrix_of_ten_thousand_is_checked_quickly(project: Path) -> None:
    values = tuple(map(str, range(10_000)))
    make = Task(name="make", script="a.sh", targets=("m/{n}",), matrix=(("n", values),))
    read = Task(name="read", script="a.sh", inputs=("m/{n}",), matrix=(("n", values),))
    start = time.process_time()
    assert problems(project, make, read) == ()
    assert time.process_time() - start < 10  # 0.2 s where nothing else runs


@pytest.mark.parametrize(
    ("target", "file"),
    [
        ("*", "pit.toml"),
        ("**", "pit.toml"),
        ("*.toml", "pit.toml"),
        ("**/p?t.toml", "pit.toml"),
        ("[p]*", "pit.toml"),
        ("*.lock", "uv.lock"),
        ("secrets.toml", ""),
        ("secrets.*", "secrets.toml"),
        ("pyproject.*", "pyproject.toml"),
        (".p*", "pyproject"),
        (".pitignore", ""),
        (".python-*", ".python-version"),
        ("tasks", "tasks/deep/b.sh"),
        ("tasks/", "tasks/deep/b.sh"),
        ("tasks/*", "tasks/deep/b.sh"),
        ("tasks/deep", "tasks/deep/b.sh"),
        ("t*", "tasks/deep/b.sh"),
        ("**/*.sh", "tasks/deep/b.sh"),
        ("{workspace}/projects/p/pit.toml", "pit.toml"),
        ("{workspace}/projects/p/*.toml", "pit.toml"),
        ("{workspace}/projects", "pit.toml"),
        ("{workspace}/*.toml", "{workspace}/pit_config.toml"),
        ("{workspace}/secrets.toml", ""),
    ],
)
def test_no_target_swallows_what_the_dag_is_made_of(tmp_path: Path, target: str, file: str) -> None:
    project = tmp_path / "projects/p"
    (project / "tasks/deep").mkdir(parents=True)
    for script in ("a.sh", "tasks/deep/b.sh"):
        (project / script).touch()
    others = tuple(Task(name=f"t{n}", script="a.sh", targets=(f"data/{n}.csv",)) for n in range(20))
    tasks = (Task(name="b", script="tasks/deep/b.sh"), Task(name="a", script="a.sh"))
    made = Task(name="m", script="a.sh", targets=(target,))
    said = sentences(project, *tasks, made, *others)
    if target == ".p*":
        assert said == ['target ".p*" may match .python-version, which the DAG is made of']
        return
    sentence = said[-1]  # "**" overlaps the targets of the others as well
    assert sentence.startswith(f'target "{target}" ')
    assert sentence.endswith((f" {file}, which the DAG is made of", "that the DAG is made of"))


@pytest.mark.parametrize(
    "target",
    [
        *("out/*", "**/*.csv", "*.txt", "out/**", "out", "tasks/out/", "tasks/*.csv", "*/*.csv"),
        *("data/pit.toml", "{workspace}/shared/*", "{workspace}/data", "[!p]*.json", "q*"),
    ],
)
def test_a_target_that_swallows_nothing_is_accepted(tmp_path: Path, target: str) -> None:
    project = tmp_path / "projects/p"
    (project / "tasks/deep").mkdir(parents=True)
    (project / "tasks/deep/b.sh").touch()
    assert sentences(project, Task(name="a", script="tasks/deep/b.sh", targets=(target,))) == []


def test_a_target_behind_a_link_that_leads_out(tmp_path: Path) -> None:
    project = tmp_path / "projects/p"
    for folder in (project / "real", tmp_path / "far"):
        folder.mkdir(parents=True)
    (project / "a.sh").touch()
    for name, aim in (("in", "real"), ("far", tmp_path / "far"), ("f.csv", "../../far/gone")):
        (project / name).symlink_to(aim)
    tasks = [
        Task(name=f"t{n}", script="a.sh", targets=(target,))
        for n, target in enumerate(("in/a", "far/a.csv", "far/x/*.csv", "f.csv", "real/*", "new/a"))
    ]
    assert sentences(project, *tasks) == [
        f'target "{target}": {link} is a link that leads out of the project, to {tmp_path}/{aim}'
        for target, link, aim in (
            ("far/a.csv", "far", "far"),
            ("far/x/*.csv", "far", "far"),
            ("f.csv", "f.csv", "far/gone"),
        )
    ]
