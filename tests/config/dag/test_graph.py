"""The dependency graph: order, cycles, what lies above and below, and implied dependencies."""

from __future__ import annotations

import graphlib
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pit.config.dag import graph
from pit.model import Dag, Task

PROJECT = Path("/w/projects/p")


def dag(*tasks: Task) -> Dag:
    return Dag(name="p", project=PROJECT, tasks=tasks)


def task(
    name: str,
    *depends_on: str,
    inputs: tuple[str, ...] | None = None,
    targets: tuple[str, ...] = (),
) -> Task:
    script = f"{name}.sh"
    return Task(name=name, script=script, depends_on=depends_on, inputs=inputs, targets=targets)


@st.composite
def acyclic(draw: st.DrawFn) -> Dag:
    """DAGs of up to 12 tasks, declared in any order."""
    size = draw(st.integers(1, 12))
    pairs = draw(st.sets(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1))))
    order = draw(st.permutations(range(size)))
    below = {i: [f"t{j}" for j in range(i) if (i, j) in pairs] for i in range(size)}
    return dag(*(task(f"t{i}", *below[i]) for i in order))


@given(acyclic())
def test_the_order_has_every_task_after_all_it_depends_on(given_dag: Dag) -> None:
    order = graph.topological(given_dag)
    place = {name: index for index, name in enumerate(order)}
    assert sorted(order) == sorted(t.name for t in given_dag.tasks)
    for t in given_dag.tasks:
        assert all(place[name] < place[t.name] for name in t.depends_on)


@given(acyclic())
def test_an_order_that_is_right_already_is_kept(given_dag: Dag) -> None:
    tasks = [given_dag.task(name) for name in graph.topological(given_dag)]
    assert graph.topological(dag(*tasks)) == tuple(t.name for t in tasks)


@given(acyclic())
def test_upstream_and_downstream_mirror_each_other(given_dag: Dag) -> None:
    for one in given_dag.tasks:
        for name in graph.upstream(given_dag, one.name):
            assert one.name in graph.downstream(given_dag, name)
        for name in one.depends_on:
            assert name in graph.upstream(given_dag, one.name)
        assert one.name not in graph.downstream(given_dag, one.name)


edges = st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef")), max_size=6)


@given(edges)
def test_a_cycle_is_found_exactly_where_there_is_one(below: dict[str, list[str]]) -> None:
    known = {name: [to for to in tos if to in below] for name, tos in below.items()}
    try:
        tuple(graphlib.TopologicalSorter(known).static_order())
    except graphlib.CycleError:
        found = graph.cycle(below)
        assert found
        for one, other in itertools.pairwise((*found, found[0])):
            assert other in below[one]
        assert len(set(found)) == len(found)
    else:
        assert graph.cycle(below) is None


def test_a_cycle_does_not_name_what_merely_depends_on_it() -> None:
    below = {"a": ["b"], "b": ["a"], "downstream": ["a"], "apart": []}
    assert graph.cycle(below) == ("a", "b")


def test_the_shortest_way_round_and_every_knot_is_named() -> None:
    below = {"a": ["b", "c"], "b": ["c"], "c": ["a"], "x": ["x"], "y": ["z"], "z": ["y"]}
    assert graph.cycles(below) == [("a", "c"), ("x",), ("y", "z")]


def test_ordering_a_cycle_is_an_error() -> None:
    with pytest.raises(ValueError, match="cycle"):
        graph.topological(dag(task("a", "b"), task("b", "a")))


@pytest.mark.parametrize("step", [1, -1])
def test_long_chains_need_no_recursion(step: int) -> None:
    chain = [task(f"t{i}", *([f"t{i - 1}"] if i else [])) for i in range(10_000)]
    given_dag = dag(*chain[::step])
    assert graph.topological(given_dag)[-1] == "t9999"
    assert len(graph.upstream(given_dag, "t9999")) == 9_999
    assert len(graph.downstream(given_dag, "t0")) == 9_999
    ring = {t.name: t.depends_on or ("t9999",) for t in chain}
    assert len(graph.cycle(ring) or ()) == 10_000


def implied(reader_inputs: tuple[str, ...], maker_targets: tuple[str, ...]) -> bool:
    made = task("make", targets=maker_targets)
    found = graph.implied(dag(task("read", inputs=reader_inputs), made))
    return found.task("read").depends_on == ("make",)


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


def test_implied_dependencies_follow_the_declared_ones_once() -> None:
    made = graph.implied(
        dag(
            task("a", targets=("a.csv", "a2.csv")),
            task("b", targets=("b.csv",)),
            task("c", "b", inputs=("a.csv", "a2.csv", "b.csv")),
        )
    )
    assert made.task("c").depends_on == ("b", "a")
    assert graph.implied(made) == made


def test_a_dag_without_implied_dependencies_stays_itself() -> None:
    plain = dag(task("a", targets=("a.csv",)), task("b", "a", inputs=()))
    assert graph.implied(plain) is plain


def test_a_task_is_never_implied_to_depend_on_itself() -> None:
    own = dag(task("a", inputs=("x.csv",), targets=("x.csv",)))
    assert graph.implied(own) is own
