"""Instances of matrix tasks: their names, paths, variables and dependencies."""

from __future__ import annotations

import re
import time
from pathlib import Path
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from pit.config.dag.expanded import ExpandedDag
from pit.config.keys.instances import Expansion, encoded, expanded, listed
from pit.config.toml.findings import Findings
from pit.model import Dag, MatrixSource, Task

PROJECT = Path("/w/projects/p")


def report(**fields: object) -> Task:
    given = {"name": "report", "script": "a.sh", "matrix": (("airport", ("JFK", "LGA")),)}
    return Task(**{**given, **fields})  # type: ignore[arg-type]


def expansion(*tasks: Task) -> Expansion:
    """The expansion of a DAG that lists all values and has no problems."""
    dag = Dag(name="p", project=PROJECT, tasks=tasks)
    findings = Findings("pit.toml")
    axes = {place: found for place, task in enumerate(tasks) if (found := listed(task))}
    seen = expanded(dag, axes, findings)
    assert findings.problems() == ()
    return seen


def names(*tasks: Task) -> list[str]:
    return [task.name for task in expansion(*tasks).dag.tasks]


def test_keys_combine_in_the_order_in_which_they_are_written() -> None:
    matrix = (("airport", ("JFK", "LGA")), ("year", ("2013", "2014")))
    assert names(report(matrix=matrix)) == [
        "report:JFK:2013",
        "report:JFK:2014",
        "report:LGA:2013",
        "report:LGA:2014",
    ]
    assert names(report(matrix=matrix[::-1]))[:2] == ["report:2013:JFK", "report:2013:LGA"]


def test_what_no_name_may_contain_is_percent_encoded() -> None:
    values = ("a/b", "x=1", "São Paulo", "100%", "a:b", "~", "-_.", "%2F")
    assert names(report(matrix=(("v", values),))) == [
        "report:a%2Fb",
        "report:x%3D1",
        "report:S%C3%A3o%20Paulo",
        "report:100%25",
        "report:a%3Ab",
        "report:%7E",
        "report:-_.",
        "report:%252F",
    ]


@given(st.text(st.characters(codec="utf-8")))
def test_a_value_can_be_read_from_a_name(value: str) -> None:
    assert re.fullmatch(r"(?:[A-Za-z0-9_.-]|%[0-9A-F]{2})*", encoded(value))
    assert unquote(encoded(value)) == value


def test_an_instance_has_its_values_in_paths_and_variables() -> None:
    task = report(
        inputs=("data/{airport}.csv", "{workspace}/{airport}/x", "fixed.csv"),
        targets=("out/{airport}/{airport}_{date}.svg",),
        env={"TITLE": "{airport} {date} ${airport} {{airport}}", "PLAIN": "x"},
        depends_on=("other",),
        retries=3,
    )
    jfk, lga, _ = expansion(task, Task(name="other", script="a.sh")).dag.tasks
    assert jfk == Task(
        name="report:JFK",
        script="a.sh",
        instance_of="report",
        values={"airport": "JFK"},
        inputs=("data/JFK.csv", "{workspace}/JFK/x", "fixed.csv"),
        targets=("out/JFK/JFK_{date}.svg",),
        env={
            "TITLE": "JFK {date} ${airport} {{airport}}",
            "PLAIN": "x",
            "PIT_MATRIX_AIRPORT": "JFK",
        },
        depends_on=("other",),
        retries=3,
    )
    assert lga.env["PIT_MATRIX_AIRPORT"] == "LGA"


def test_a_task_without_inputs_stays_untracked() -> None:
    assert [task.inputs for task in expansion(report()).dag.tasks] == [None, None]
    assert [task.inputs for task in expansion(report(inputs=())).dag.tasks] == [(), ()]


def test_paths_are_as_plain_as_if_they_had_been_written_so() -> None:
    task = report(matrix=(("v", (".", "a/", "./b")),), inputs=("in/{v}/x.csv",))
    paths = [task.inputs for task in expansion(task).dag.tasks]
    assert paths == [("in/x.csv",), ("in/a/x.csv",), ("in/b/x.csv",)]


def test_a_dependency_on_the_task_is_one_on_each_instance() -> None:
    index = Task(name="index", script="a.sh", depends_on=("first", "report", "report:LGA"))
    one = Task(name="one", script="a.sh", depends_on=("report:JFK",))
    tasks = expansion(index, one, Task(name="first", script="a.sh"), report()).dag.tasks
    depends = {task.name: task.depends_on for task in tasks}
    assert depends["index"] == ("first", "report:JFK", "report:LGA")
    assert depends["one"] == ("report:JFK",)


def test_instances_that_read_what_others_make_depend_on_just_those() -> None:
    clean = report(name="clean", targets=("clean/{airport}.csv",))
    read = report(inputs=("clean/{airport}.csv",))
    seen = expansion(read, clean).dag
    depends = ExpandedDag.of(seen, seen.tasks).needs
    assert depends["report:JFK"] == ("clean:JFK",)
    assert depends["report:LGA"] == ("clean:LGA",)


def test_each_task_knows_its_place_in_the_file() -> None:
    plain = Task(name="plain", script="a.sh")
    assert expansion(plain, report(), Task(name="last", script="a.sh")).origins == (0, 1, 1, 2)


def test_a_matrix_with_a_source_is_not_listed() -> None:
    source = MatrixSource(file="airports.txt")
    assert listed(report(matrix=(("year", ("2013",)), ("airport", source)))) is None
    assert listed(Task(name="plain", script="a.sh")) is None


def test_ten_times_the_instances_take_ten_times_as_long() -> None:
    few, many = _seconds(3_000), _seconds(30_000)
    assert many < 40 * few  # and not a hundred times


def _seconds(count: int) -> float:
    """How long so many instances take to be made."""
    values = tuple(f"v{i}" for i in range(count))
    task = report(
        matrix=(("v", values),), inputs=("in/{v}.csv",), targets=("out/{v}.csv",), env={"A": "{v}"}
    )
    start = time.process_time()
    made = expansion(task).dag.tasks
    assert len(made) == count
    return time.process_time() - start
