"""A DAG made ready for a run: its instances, and the run's parameters in their paths."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from pit.config import matrix
from pit.config.dag.expanded import ExpandedDag
from pit.config.workspace import discover, load_workspace_config
from pit.errors import BadParameter, InvalidConfig
from pit.model import Dag, Task
from pit.project.selection import WatchedDisk

REPORTS = """
[dag.params]
date = { type = "date", default = "today" }

[[tasks]]
name = "report"
script = "a.sh"
always = true
inputs = ["data/{airport}.csv"]
targets = ["out/{airport}_{date}.svg"]
matrix = { airport = { glob = "data/*.csv" } }

[[tasks]]
name = "index"
script = "a.sh"
depends_on = ["report"]
inputs = ["out/*_{date}.svg"]
targets = ["index/{date}.html"]
env = { DAY = "{date}" }
"""


def project(tmp_path: Path, text: str, *files: str) -> Path:
    folder = tmp_path / "projects" / "reports"
    for name in ("a.sh", *files):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (folder / "pit.toml").write_text(text)
    return folder


def declared(tmp_path: Path) -> Dag:
    return discover(load_workspace_config(tmp_path)).dag("reports")


def refused(dag: Dag, root: Path) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        matrix.expand(dag, root, WatchedDisk())
    problems = caught.value.problems
    return [f"{p.path}:{p.line}:{p.column}: {p.sentence}" for p in problems]


# ---------------------------------------------------------------- instances


def test_from_a_file_to_instances_and_their_dependencies(tmp_path: Path) -> None:
    folder = project(tmp_path, REPORTS, "data/JFK.csv", "data/LGA.csv")
    read = declared(tmp_path)
    assert [task.name for task in read.tasks] == ["report", "index"]
    assert matrix.sources(read) == ("data/*.csv",)
    tasks = matrix.expand(read, folder, WatchedDisk())
    dag = ExpandedDag.of(read, matrix.with_params(read, tasks, {"date": "2026-01-31"}))
    assert dag.instances == {"report": ("report:JFK", "report:LGA")}
    jfk = dag.tasks["report:JFK"]
    assert jfk.always
    assert jfk.inputs == ("data/JFK.csv",)
    assert jfk.targets == ("out/JFK_2026-01-31.svg",)
    index = dag.tasks["index"]
    assert index.inputs == ("out/*_2026-01-31.svg",)
    assert index.env == {"DAY": "2026-01-31"}
    assert dag.order == ("report:JFK", "report:LGA", "index")


def test_values_are_those_of_the_snapshot(tmp_path: Path) -> None:
    folder = project(tmp_path, REPORTS, "data/JFK.csv")
    read = declared(tmp_path)
    shutil.copytree(folder, tmp_path / "snapshot")
    (folder / "data" / "LGA.csv").touch()
    frozen = matrix.expand(read, tmp_path / "snapshot", WatchedDisk())
    assert [task.name for task in frozen] == ["report:JFK", "index"]
    assert len(matrix.expand(read, folder, WatchedDisk())) == 3


def test_tasks_without_a_matrix_stay_themselves(tmp_path: Path) -> None:
    folder = project(tmp_path, '[[tasks]]\nname = "a"\nscript = "a.sh"\n')
    dag = declared(tmp_path)
    assert matrix.expand(dag, folder, WatchedDisk()) is dag.tasks
    assert matrix.with_params(dag, dag.tasks, {}) is dag.tasks
    assert matrix.sources(dag) == ()
    assert ExpandedDag.of(dag, dag.tasks).instances == {}


def test_a_source_without_values_is_refused_at_its_place(tmp_path: Path) -> None:
    folder = project(tmp_path, REPORTS)
    assert refused(declared(tmp_path), folder) == [
        'projects/reports/pit.toml:11:22: no file matches "data/*.csv", '
        "so there are no matrix values"
    ]


def test_what_only_the_values_show_is_refused_too(tmp_path: Path) -> None:
    text = """
[[tasks]]
name = "report"
script = "a.sh"
targets = ["out/{airport}.svg", "all.svg"]
matrix = { airport = { file = "airports.txt" } }
[[tasks]]
name = "taken"
script = "a.sh"
targets = ["out/LGA.svg"]
[[tasks]]
name = "one"
script = "a.sh"
depends_on = ["report:JFKK"]
"""
    folder = project(tmp_path, text)
    (folder / "airports.txt").write_text("JFK\nLGA\n")
    dag = declared(tmp_path)
    assert refused(dag, folder) == [
        "projects/reports/pit.toml:5:33: tasks "
        '"report:JFK" and "report:LGA" have the same target "all.svg"',
        "projects/reports/pit.toml:10:12: tasks "
        '"report:LGA" and "taken" have the same target "out/LGA.svg"',
        'projects/reports/pit.toml:14:15: task "one" depends on unknown task "report:JFKK"; '
        'did you mean "report:JFK"?',
    ]
    (folder / "airports.txt").write_text("../../x\n")
    assert refused(dag, folder)[0].endswith(
        ':5:12: for "report:..%2F..%2Fx", "out/../../x.svg" leaves the project'
    )


def test_one_source_for_many_tasks_is_read_once(tmp_path: Path) -> None:
    task = '[[tasks]]\nname = "{}"\nscript = "a.sh"\nmatrix = {{ v = {{ file = "v.txt" }} }}\n'
    folder = project(tmp_path, task.format("a") + task.format("b"))
    (folder / "v.txt").write_text("1\n2\n")
    tasks = matrix.expand(declared(tmp_path), folder, WatchedDisk())
    assert [task.name for task in tasks] == ["a:1", "a:2", "b:1", "b:2"]


# ---------------------------------------------------------------- parameters


def day(**fields: object) -> Task:
    return Task(**{"name": "day", "script": "a.sh", **fields})  # type: ignore[arg-type]


def test_parameters_stand_in_paths_and_variables() -> None:
    task = day(
        inputs=("raw/{date}.csv", "{workspace}/{region}/*.csv", "plain.csv"),
        targets=("out/{region}/{date}/",),
        env={"A": "{date} ${date} {{date}} {other}"},
    )
    found = matrix.expand_params(task, {"date": "2026-01-31", "region": "north", "n": "1"})
    assert found.inputs == ("raw/2026-01-31.csv", "{workspace}/north/*.csv", "plain.csv")
    assert found.targets == ("out/north/2026-01-31/",)
    assert found.env == {"A": "2026-01-31 ${date} {{date}} {other}"}
    assert matrix.expand_params(found, {"date": "2026-02-01"}) is found


def test_a_task_without_inputs_stays_without() -> None:
    assert matrix.expand_params(day(targets=("{d}.csv",)), {"d": "x"}).inputs is None


def test_a_task_sees_only_the_parameters_that_it_gets() -> None:
    task = day(params=("date",), env={"A": "{date} {region}"})
    found = matrix.expand_params(task, {"date": "2026-01-31", "region": "north"})
    assert found.env == {"A": "2026-01-31 {region}"}


def test_the_workspace_is_no_parameter() -> None:
    task = day(inputs=("{workspace}/{x}.csv",), env={"A": "{workspace}"})
    found = matrix.expand_params(task, {"workspace": "/etc", "x": "1"})
    assert (found.inputs, found.env) == (("{workspace}/1.csv",), {"A": "{workspace}"})


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("../../x", '"out/../../x.csv" leaves the project'),
        ("{date}", '"out/{date}.csv": braces are only for a leading "{workspace}/"'),
        (".pit-x", '"out/.pit-x.csv" names a temporary file of Pit (".pit-…")'),
        ("a\nb", '"out/a\\nb.csv" has a control character in it'),
    ],
)
def test_a_value_that_spoils_a_path_is_refused(value: str, sentence: str) -> None:
    with pytest.raises(BadParameter) as caught:
        matrix.expand_params(day(targets=("out/{x}.csv",)), {"x": value})
    assert str(caught.value) == f'path "out/{{x}}.csv" of task "day": {sentence}'


def test_parameters_that_make_two_tasks_meet_are_refused() -> None:
    tasks = (day(targets=("out/{a}.csv",)), day(name="other", targets=("out/{b}.csv",)))
    dag = Dag(name="p", project=Path("/w/projects/p"), tasks=tasks)
    found = matrix.with_params(dag, tasks, {"a": "1", "b": "2"})
    assert [task.targets for task in found] == [("out/1.csv",), ("out/2.csv",)]
    with pytest.raises(BadParameter) as caught:
        matrix.with_params(dag, tasks, {"a": "1", "b": "1"})
    assert str(caught.value) == (
        'with these parameters, tasks "day" and "other" have the same target "out/1.csv"'
    )


def test_a_dag_survives_being_stored_with_its_instances(tmp_path: Path) -> None:
    folder = project(tmp_path, REPORTS, "data/JFK.csv")
    read = declared(tmp_path)
    for tasks in (read.tasks, matrix.expand(read, folder, WatchedDisk())):
        dag = replace(read, tasks=tasks)
        packed = msgspec.msgpack.encode(dag, enc_hook=str)
        assert msgspec.msgpack.decode(packed, type=Dag, dec_hook=lambda kind, t: kind(t)) == dag
