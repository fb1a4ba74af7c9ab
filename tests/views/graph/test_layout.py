"""Layered drawings: no two nodes on each other, lines only from one layer to the next."""

from __future__ import annotations

import time
from itertools import pairwise

from hypothesis import given

from pit.views.graph.layout import Bend, Layered, Node, layered, ordered, reduced
from tests.config.graphs import Edges, acyclic


def extent(node: Node) -> int:
    """Names of different sizes, and narrow bends."""
    return 1 if isinstance(node, Bend) else 5 + 2 * (len(node) % 3)


def draw(edges: Edges) -> Layered:
    """A drawing with a gap of 3."""
    return layered(edges, extent, 3)


def reached(edges: Edges, name: str) -> set[str]:
    """All that a name depends on, directly or not."""
    return {name}.union(*(reached(edges, other) for other in edges[name]))


def arrivals(drawn: Layered, node: Node) -> set[str]:
    """The names to which the lines from a node lead, through bends."""
    found: set[str] = set()
    for target in drawn.lines[node]:
        found |= {target} if isinstance(target, str) else arrivals(drawn, target)
    return found


@given(acyclic())
def test_every_dependency_is_a_line_downwards_and_there_are_no_others(edges: Edges) -> None:
    drawn = draw(edges)
    layer = {node: at for at, nodes in enumerate(drawn.layers) for node in nodes}
    assert {node for node in layer if isinstance(node, str)} == set(edges)
    for node, targets in drawn.lines.items():
        assert all(layer[target] == layer[node] + 1 for target in targets)
    for name in edges:
        assert arrivals(drawn, name) == {to for to, sources in edges.items() if name in sources}


@given(acyclic())
def test_nodes_of_a_layer_keep_their_distance(edges: Edges) -> None:
    drawn = draw(edges)
    for nodes in drawn.layers:
        for left, right in pairwise(nodes):
            between = drawn.centres[right] - drawn.centres[left]
            assert between >= (extent(left) + extent(right)) / 2 + 3
        assert all(drawn.centres[node] >= extent(node) // 2 for node in nodes)


@given(acyclic())
def test_a_reduced_graph_reaches_the_same_with_nothing_to_spare(edges: Edges) -> None:
    small = reduced(edges)
    assert list(small) == list(edges)
    for name in edges:
        assert reached(small, name) == reached(edges, name)
        for other in small[name]:
            rest = {x for x in small[name] if x != other}
            assert not any(other in reached(small, x) for x in rest)


@given(acyclic())
def test_the_order_is_topological(edges: Edges) -> None:
    place = {name: at for at, name in enumerate(ordered(edges))}
    assert set(place) == set(edges)
    assert all(place[to] < place[name] for name, sources in edges.items() for to in sources)


def test_nothing_is_drawn_of_nothing() -> None:
    assert draw({}) == Layered(layers=(), lines={}, centres={})


def test_a_chain_is_straight_and_its_order_that_of_the_declaration() -> None:
    drawn = draw({"c": ("bbb",), "a": (), "bbb": ("a",)})
    assert drawn.layers == (("a",), ("bbb",), ("c",))
    assert len(set(drawn.centres.values())) == 1


def test_a_source_stands_close_to_what_reads_it() -> None:
    drawn = draw({"a": (), "b": ("a",), "c": ("b",), "late": (), "d": ("c", "late")})
    assert drawn.layers[2] in (("c", "late"), ("late", "c"))


def test_lines_that_go_the_same_way_run_together() -> None:
    drawn = draw({"a": (), "b": ("a",), "c": ("b",), "d": ("c", "a"), "e": ("c", "a")})
    bends = [node for nodes in drawn.layers for node in nodes if isinstance(node, Bend)]
    assert bends == [Bend("a", 1), Bend("a", 2)]
    assert drawn.centres[bends[0]] == drawn.centres[bends[1]]


def test_crossings_are_avoided() -> None:
    edges = {"a": (), "b": (), "c": (), "x": ("c",), "y": ("b",), "z": ("a",)}
    upper, lower = draw(edges).layers
    assert [edges[str(name)][0] for name in lower] == list(upper)


def test_a_thousand_tasks_are_drawn_at_once() -> None:
    edges = {f"t{i}": tuple(f"t{j}" for j in {i // 2, i // 3} if j < i) for i in range(1000)}
    began = time.process_time()
    draw(reduced(edges))
    assert time.process_time() - began < 5
