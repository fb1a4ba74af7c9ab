"""A DAG as it can run: what its inputs imply, and what follows from that."""

from __future__ import annotations

from pathlib import Path

import pytest

from pit.config.dag.expanded import ExpandedDag
from pit.model import Dag, Task

PROJECT = Path("/w/projects/p")


def expanded(*tasks: Task) -> ExpandedDag:
    return ExpandedDag.of(Dag(name="p", project=PROJECT, tasks=tasks), tasks)


def task(
    name: str,
    *depends_on: str,
    inputs: tuple[str, ...] | None = None,
    targets: tuple[str, ...] = (),
) -> Task:
    script = f"{name}.sh"
    return Task(name=name, script=script, depends_on=depends_on, inputs=inputs, targets=targets)


def implied(reader_inputs: tuple[str, ...], maker_targets: tuple[str, ...]) -> bool:
    made = task("make", targets=maker_targets)
    found = expanded(task("read", inputs=reader_inputs), made)
    return found.needs["read"] == ("make",)


@pytest.mark.parametrize(
    ("an_input", "target"),
    [
        ("out/x.csv", "out/x.csv"),
        ("out/*.csv", "out/x.csv"),
        ("**/*.csv", "out/x.csv"),
        ("out/x.csv", "out/"),
        ("out", "out/"),
        ("out/", "out"),
        ("out/", "out/deep/x.csv"),
        ("out/deep/*.csv", "out/"),
        ("out/**/*.csv", "out/deep/"),
        ("out/part-1.csv", "out/part-*.csv"),
        ("out/part-*.csv", "out/part-*.csv"),
        ("{workspace}/shared/x.csv", "{workspace}/shared/x.csv"),
        ("{workspace}/shared/x.csv", "/w/shared/x.csv"),
        ("/w/projects/p/out/x.csv", "out/x.csv"),
        ("{workspace}/projects/p/out/*.csv", "out/x.csv"),
        ("/data/*.csv", "/data/x.csv"),
    ],
)
def test_an_input_on_a_target_implies_a_dependency(an_input: str, target: str) -> None:
    assert implied((an_input,), (target,))


@pytest.mark.parametrize(
    ("an_input", "target"),
    [
        ("out/x.csv", "out/y.csv"),
        ("out/x", "out/x.csv"),
        ("out/*.csv", "out/deep/x.csv"),
        ("*.csv", "out/x.csv"),
        ("out/*.csv", "out/.hidden.csv"),
        ("out/a*.csv", "out/*b.csv"),
        ("/out/x.csv", "out/x.csv"),
    ],
)
def test_other_paths_imply_nothing(an_input: str, target: str) -> None:
    assert not implied((an_input,), (target,))


def test_what_is_implied_follows_what_is_written_once() -> None:
    made = expanded(
        task("a", targets=("a.csv", "a2.csv")),
        task("b", targets=("b.csv",)),
        task("c", "b", inputs=("a.csv", "a2.csv", "b.csv")),
    )
    assert made.needs == {"a": (), "b": (), "c": ("b", "a")}
    assert made.tasks["c"].depends_on == ("b",)


def test_a_task_never_needs_itself() -> None:
    assert expanded(task("a", inputs=("x.csv",), targets=("x.csv",))).needs == {"a": ()}


def test_order_and_ways_up_and_down_go_by_what_is_implied_too() -> None:
    dag = expanded(
        task("c", inputs=("b.csv",)), task("b", "a", targets=("b.csv",)), task("a"), task("x")
    )
    assert dag.order == ("a", "b", "c", "x")
    assert dag.upstream("c") == {"a", "b"}
    assert dag.upstream("b", "c", "x") == {"a"}
    assert dag.downstream("a") == {"b", "c"}


def test_what_follows_from_the_tasks_is_worked_out_once() -> None:
    dag = expanded(task("a"), task("b", "a"))
    assert dag.needs is dag.needs
    assert dag.order is dag.order


def test_an_expanded_dag_is_no_declared_one() -> None:
    assert not isinstance(expanded(task("a")), Dag)
    assert not issubclass(Dag, ExpandedDag)
