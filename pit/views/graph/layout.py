"""A layered drawing of a dependency graph: each name below all that it depends on.

The usual four steps: layers by the longest path, an order in each layer with few crossings, and
positions that make long lines straight and put a name in the middle of its neighbours. The lines
from one name run together as far as they go the same way. "Across" is along a layer: left to
right where layers lie below each other, top to bottom where they stand side by side.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from math import ceil
from typing import NamedTuple

from pit.config.dag.graph import Edges
from pit.model import Record

_SWEEPS = 12
_WORK = 400_000
"""About how many lines all sweeps together may look at, so that large graphs get fewer."""
_STIFFNESS = 8.0
"""How much more a bend wants to be in line with its neighbours than a name does."""


class Bend(NamedTuple):
    """Where the lines from `source` pass through a layer in which none of them ends."""

    source: str
    layer: int


Node = str | Bend


class Layered(Record):
    """The drawing: nodes by layer in their order, lines to the next layer, centres across."""

    layers: tuple[tuple[Node, ...], ...]
    lines: dict[Node, tuple[Node, ...]]
    centres: dict[Node, int]


def layered(edges: Edges, extent: Callable[[Node], int], gap: int) -> Layered:
    """Draw an acyclic graph; `extent` is a node's size across, `gap` what lies between two.

    Where extents are odd numbers, nodes of odd extent are centred on whole numbers.
    """
    ranks = _ranks(edges)
    layers, below = _with_bends(edges, ranks)
    above = _turned(below)
    layers = _ordered(layers, above, below)
    centres = _placed(layers, above, below, extent, gap)
    return Layered(
        layers=tuple(map(tuple, layers)),
        lines={node: tuple(targets) for node, targets in below.items()},
        centres=centres,
    )


def reduced(edges: Edges) -> dict[str, tuple[str, ...]]:
    """The graph without the dependencies that follow from others; acyclic, names in any order."""
    rank = {name: at for at, name in enumerate(edges)}
    reach: dict[str, int] = {}
    kept: dict[str, tuple[str, ...]] = {}
    for name in ordered(edges):
        # What lies behind another dependency reaches less far than that one, so it comes later.
        near, seen = [], 0
        for other in sorted(set(edges[name]), key=lambda each: -reach[each].bit_count()):
            if not seen >> rank[other] & 1:
                near.append(other)
            seen |= reach[other]
        reach[name] = seen | 1 << rank[name]
        kept[name] = tuple(sorted(near, key=rank.__getitem__))
    return {name: kept[name] for name in edges}


def ordered(edges: Edges) -> list[str]:
    """The names of an acyclic graph, each after all it depends on, what belongs together close."""
    order: dict[str, None] = {}
    for root in edges:
        path = [(root, iter(edges[root]))]
        while path:
            name, below = path[-1]
            deeper = next((other for other in below if other not in order), None)
            if deeper is not None:
                path.append((deeper, iter(edges[deeper])))
            else:
                path.pop()
                order[name] = None
    return list(order)


# ---------------------------------------------------------------- layers


def _ranks(edges: Edges) -> dict[str, int]:
    """The layer of each name; one that feeds more than it reads stands close to what it feeds."""
    ranks: dict[str, int] = {}
    dependants: dict[str, list[str]] = {name: [] for name in edges}
    order = ordered(edges)
    for name in order:
        ranks[name] = 1 + max((ranks[other] for other in edges[name]), default=-1)
        for other in edges[name]:
            dependants[other].append(name)
    for name in reversed(order):
        if len(dependants[name]) > len(tuple(edges[name])):
            ranks[name] = min(ranks[other] for other in dependants[name]) - 1
    return ranks


def _with_bends(
    edges: Edges, ranks: Mapping[str, int]
) -> tuple[list[list[Node]], dict[Node, list[Node]]]:
    """The layers, and each node's lines to the layer after its own."""
    layers: list[list[Node]] = [[] for _ in range(max(ranks.values(), default=-1) + 1)]
    below: dict[Node, list[Node]] = {}
    for name in ordered(edges):
        layers[ranks[name]].append(name)
        for source in edges[name]:
            last: Node = source
            for layer in range(ranks[source] + 1, ranks[name]):
                bend = Bend(source, layer)
                if bend not in below:
                    layers[layer].append(bend)
                    below[bend] = []
                    below.setdefault(last, []).append(bend)
                last = bend
            below.setdefault(last, []).append(name)
        below.setdefault(name, [])
    return layers, below


def _turned(below: Mapping[Node, Sequence[Node]]) -> dict[Node, list[Node]]:
    above: dict[Node, list[Node]] = {node: [] for node in below}
    for node, targets in below.items():
        for target in targets:
            above[target].append(node)
    return above


# ---------------------------------------------------------------- order


def _ordered(
    layers: list[list[Node]],
    above: Mapping[Node, Sequence[Node]],
    below: Mapping[Node, Sequence[Node]],
) -> list[list[Node]]:
    """The layers, each in the order of its neighbours' places; the best of some sweeps."""
    best, fewest = layers, _crossings(layers, below)
    current = layers
    lines = sum(map(len, below.values())) + 1
    for sweep in range(min(_SWEEPS, _WORK // lines)):
        if not fewest:
            break
        current = _swept(current, below if sweep % 2 else above, bool(sweep % 2))
        crossings = _crossings(current, below)
        if crossings < fewest:
            best, fewest = current, crossings
    return best


def _swept(
    layers: list[list[Node]], neighbours: Mapping[Node, Sequence[Node]], upwards: bool
) -> list[list[Node]]:
    """The layers, one after the other sorted by the middle of the places in the one before."""
    swept: list[list[Node]] = []
    places: dict[Node, int] = {}
    for layer in reversed(layers) if upwards else layers:
        wanted = {
            node: _middle([places[other] for other in neighbours[node]], at)
            for at, node in enumerate(layer)
        }
        swept.append(sorted(layer, key=wanted.__getitem__))
        places = {node: at for at, node in enumerate(swept[-1])}
    return swept[::-1] if upwards else swept


def _middle(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _crossings(layers: Sequence[Sequence[Node]], below: Mapping[Node, Sequence[Node]]) -> int:
    """How often two lines cross."""
    total = 0
    for upper, lower in pairwise(layers):
        place = {node: at for at, node in enumerate(lower)}
        seen: list[int] = []
        for node in upper:
            targets = [place[target] for target in below[node]]
            total += sum(len(seen) - bisect_right(seen, target) for target in targets)
            for target in targets:
                insort(seen, target)
    return total


# ---------------------------------------------------------------- positions


def _placed(
    layers: Sequence[Sequence[Node]],
    above: Mapping[Node, Sequence[Node]],
    below: Mapping[Node, Sequence[Node]],
    extent: Callable[[Node], int],
    gap: int,
) -> dict[Node, int]:
    """Centres across: near the middle of a node's neighbours, and never on each other."""
    sizes = {node: extent(node) for layer in layers for node in layer}
    apart = [
        [ceil((sizes[a] + sizes[b]) / 2) + gap for a, b in pairwise(layer)] for layer in layers
    ]
    at: dict[Node, int] = {}
    for layer, distances in zip(layers, apart, strict=True):
        at |= zip(
            layer, _kept_apart([0.0] * len(layer), distances, [1.0] * len(layer)), strict=True
        )
    both = {node: [*above[node], *below[node]] for node in at}
    for sweep in range(_SWEEPS):
        neighbours = both if sweep >= _SWEEPS - 2 else (above, below)[sweep % 2]
        rows = list(zip(layers, apart, strict=True))
        for layer, distances in reversed(rows) if sweep % 2 else rows:
            wanted = [_middle([at[x] for x in neighbours[node]], at[node]) for node in layer]
            weights = [_weight(node, neighbours[node]) for node in layer]
            at |= zip(layer, _kept_apart(wanted, distances, weights), strict=True)
    for layer, distances in zip(layers, apart, strict=True):
        _align(layer, distances, at, above, gap)
    start = min((at[node] - sizes[node] // 2 for node in at), default=0)
    return {node: place - start for node, place in at.items()}


def _align(
    layer: Sequence[Node],
    distances: Sequence[int],
    at: dict[Node, int],
    above: Mapping[Node, Sequence[Node]],
    near: int,
) -> None:
    """Put nodes that are almost below the only one that leads to them exactly there."""
    for place, node in enumerate(layer):
        if len(above[node]) != 1 or abs(at[above[node][0]] - at[node]) > near:
            continue
        wanted = at[above[node][0]]
        if place:
            wanted = max(wanted, at[layer[place - 1]] + distances[place - 1])
        if place < len(distances):
            wanted = min(wanted, at[layer[place + 1]] - distances[place])
        at[node] = wanted


def _weight(node: Node, neighbours: Sequence[Node]) -> float:
    """How firmly a node wants to be where it wants to be."""
    stiff = isinstance(node, Bend) and any(isinstance(other, Bend) for other in neighbours)
    return _STIFFNESS if stiff else 1.0 if neighbours else 0.1


def _kept_apart(
    wanted: Sequence[float], distances: Sequence[int], weights: Iterable[float]
) -> list[int]:
    """The whole numbers nearest to those wanted, by least squares, that are that far apart.

    Pool adjacent violators: with the distances taken off, the numbers need only not fall.
    """
    offsets = [0]
    for distance in distances:
        offsets.append(offsets[-1] + distance)
    pools: list[tuple[float, float, int]] = []  # weight, weighted sum, how many
    for want, offset, weight in zip(wanted, offsets, weights, strict=True):
        pool = (weight, weight * (want - offset), 1)
        while pools and pools[-1][1] / pools[-1][0] >= pool[1] / pool[0]:
            last = pools.pop()
            pool = (last[0] + pool[0], last[1] + pool[1], last[2] + pool[2])
        pools.append(pool)
    levels = [round(total / weight) for weight, total, number in pools for _ in range(number)]
    return [level + offset for level, offset in zip(levels, offsets, strict=True)]
