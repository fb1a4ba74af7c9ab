"""Graphs of names: order, cycles, what lies above and below."""

from __future__ import annotations

import graphlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pit.config.dag import graph

Below = dict[str, list[str]]
"""What each name depends on."""


@st.composite
def acyclic(draw: st.DrawFn) -> Below:
    """Graphs of up to 12 names, which come in any order."""
    size = draw(st.integers(1, 12))
    pairs = draw(st.sets(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1))))
    order = draw(st.permutations(range(size)))
    return {f"t{i}": [f"t{j}" for j in range(i) if (i, j) in pairs] for i in order}


@given(acyclic())
def test_the_order_has_every_name_after_all_it_depends_on(below: Below) -> None:
    order = graph.topological(below)
    place = {name: index for index, name in enumerate(order)}
    assert sorted(order) == sorted(below)
    for name, needs in below.items():
        assert all(place[need] < place[name] for need in needs)


@given(acyclic())
def test_an_order_that_is_right_already_is_kept(below: Below) -> None:
    order = graph.topological(below)
    assert graph.topological({name: below[name] for name in order}) == order


@given(acyclic())
def test_up_and_down_mirror_each_other(below: Below) -> None:
    turned = graph.turned(below)
    for one, needs in below.items():
        above = graph.reached({one}, below)
        assert above.issuperset(needs)
        assert one not in above
        for name in above:
            assert one in graph.reached({name}, turned)


@given(acyclic(), st.integers(0, 11))
def test_the_way_up_begins_with_what_is_nearest(below: Below, at: int) -> None:
    start = list(below)[at % len(below)]
    found = list(graph.walk({start}, below))
    assert found[: len(below[start])] == below[start]
    assert len(set(found)) == len(found)
    assert set(found) == graph.reached({start}, below)


def test_what_is_reached_leaves_out_where_it_began() -> None:
    below: Below = {"a": [], "b": ["a"], "c": ["b", "elsewhere"]}
    assert graph.reached({"b", "c"}, below) == {"a", "elsewhere"}


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
        graph.topological({"a": ["b"], "b": ["a"]})


@pytest.mark.parametrize("step", [1, -1])
def test_long_chains_need_no_recursion(step: int) -> None:
    chain = {f"t{i}": [f"t{i - 1}"] if i else [] for i in range(10_000)}
    below = dict(list(chain.items())[::step])
    assert graph.topological(below)[-1] == "t9999"
    assert len(graph.reached({"t9999"}, below)) == 9_999
    assert len(graph.reached({"t0"}, graph.turned(below))) == 9_999
    ring = chain | {"t0": ["t9999"]}
    assert len(graph.cycle(ring) or ()) == 10_000
