"""Pure functions on a graph of names, as that of a DAG's tasks; all are linear in its size."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

Edges = Mapping[str, Iterable[str]]
"""What each name depends on."""


def topological(graph: Edges) -> tuple[str, ...]:
    """The names, each after all it depends on, else as they come; ValueError on a cycle."""
    order: list[str] = []
    state: dict[str, bool] = {}  # False while on the path from the root, True when placed
    for root in graph:
        if root not in state:
            _place(root, graph, state, order)
    return tuple(order)


def _place(
    root: str, graph: Mapping[str, Iterable[str]], state: dict[str, bool], order: list[str]
) -> None:
    """Append `root` to `order` after everything below it, without recursion."""
    state[root] = False
    path: list[tuple[str, Iterator[str]]] = [(root, iter(graph[root]))]
    while path:
        name, below = path[-1]
        for dependency in below:
            if dependency not in state:
                state[dependency] = False
                path.append((dependency, iter(graph[dependency])))
                break
            if not state[dependency]:
                raise ValueError(f'dependency cycle through "{dependency}"')
        else:
            path.pop()
            state[name] = True
            order.append(name)


def cycle(graph: Edges) -> tuple[str, ...] | None:
    """One cycle, just its members, each depending on the next and the last on the first."""
    found = cycles(graph)
    return found[0] if found else None


def cycles(graph: Edges) -> list[tuple[str, ...]]:
    """One short cycle for every group of names that depend on each other."""
    rank = {name: position for position, name in enumerate(graph)}
    known = {name: [to for to in below if to in rank] for name, below in graph.items()}
    found = []
    for knot in _knots(known):
        first = min(knot, key=rank.__getitem__)
        if len(knot) > 1 or first in known[first]:
            found.append(_through(first, knot, known))
    return sorted(found, key=lambda members: rank[members[0]])


def _through(first: str, knot: set[str], graph: Mapping[str, list[str]]) -> tuple[str, ...]:
    """The shortest cycle through `first`, which lies in a strongly connected `knot`."""
    came_from: dict[str, str] = {}
    queue = deque([first])
    while first not in came_from:
        name = queue.popleft()
        for to in graph[name]:
            if to in knot and to not in came_from:
                came_from[to] = name
                queue.append(to)
    members = [came_from[first]]
    while members[-1] != first:
        members.append(came_from[members[-1]])
    return tuple(reversed(members))


def _knots(graph: Mapping[str, list[str]]) -> Iterator[set[str]]:
    """The strongly connected components, by Tarjan's algorithm without recursion."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    waiting: set[str] = set()
    for root in graph:
        path = [] if root in index else [(root, iter(graph[root]))]
        while path:
            name, below = path[-1]
            if name not in index:
                index[name] = low[name] = len(index)
                stack.append(name)
                waiting.add(name)
            for to in below:
                if to not in index:
                    path.append((to, iter(graph[to])))
                    break
                if to in waiting:
                    low[name] = min(low[name], index[to])
            else:
                path.pop()
                if path:
                    above = path[-1][0]
                    low[above] = min(low[above], low[name])
                if low[name] == index[name]:
                    yield _popped(name, stack, waiting)


def _popped(name: str, stack: list[str], waiting: set[str]) -> set[str]:
    knot: set[str] = set()
    while name not in knot:
        knot.add(stack.pop())
    waiting -= knot
    return knot


def turned(graph: Edges) -> dict[str, list[str]]:
    """What depends on each name."""
    found: dict[str, list[str]] = {name: [] for name in graph}
    for name, below in graph.items():
        for dependency in below:
            found[dependency].append(name)
    return found


def reached(starts: Iterable[str], graph: Edges) -> frozenset[str]:
    """All names that lead on from any of `starts`, through others too, without these themselves;
    names beyond the graph end there."""
    return frozenset(walk(starts, graph))


def walk(starts: Iterable[str], graph: Edges) -> Iterator[str]:
    """What leads on from `starts`, the nearest first, each name once; none of `starts`."""
    seen = dict.fromkeys(starts)
    queue = deque(seen)
    while queue:
        for name in graph.get(queue.popleft(), ()):
            if name not in seen:
                seen[name] = None
                queue.append(name)
                yield name
