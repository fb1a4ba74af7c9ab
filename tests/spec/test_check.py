"""What must hold between keys, beyond what the broken projects show."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pit.model import Dag, Param, ParamType, Problem, Task
from pit.spec.check import check
from pit.spec.findings import Findings
from pit.spec.project import read_project


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
