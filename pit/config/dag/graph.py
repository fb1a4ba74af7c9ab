"""Pure functions on the dependency graph of a DAG's tasks; all are linear in its size."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from pit.config.dag.dataflow import links
from pit.model import Dag, Task

Edges = Mapping[str, Iterable[str]]
"""What each name depends on."""


def implied(dag: Dag) -> Dag:
    """The DAG with every dependency that an input on another task's target implies."""
    made: dict[str, dict[str, None]] = {}
    for link in links(dag):
        if link.maker != link.reader:
            made.setdefault(link.reader, {})[link.maker] = None
    if not made:
        return dag
    tasks = tuple(_with(task, made[task.name]) if task.name in made else task for task in dag.tasks)
    return msgspec.structs.replace(dag, tasks=tasks)


def _with(task: Task, makers: Iterable[str]) -> Task:
    depends_on = tuple(dict.fromkeys((*task.depends_on, *makers)))
    return msgspec.structs.replace(task, depends_on=depends_on)


def edges(dag: Dag) -> dict[str, tuple[str, ...]]:
    """What each task depends on, by name."""
    return {task.name: task.depends_on for task in dag.tasks}


def topological(dag: Dag) -> tuple[str, ...]:
    """Task names, each after all it depends on, else as declared; ValueError on a cycle."""
    graph = edges(dag)
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


def upstream(dag: Dag, name: str) -> frozenset[str]:
    """All tasks that `name` depends on, directly or through others; not `name` itself."""
    return reached(name, edges(dag))


def downstream(dag: Dag, name: str) -> frozenset[str]:
    """All tasks that depend on `name`, directly or through others; not `name` itself."""
    dependants: dict[str, list[str]] = {task.name: [] for task in dag.tasks}
    for task in dag.tasks:
        for dependency in task.depends_on:
            dependants[dependency].append(task.name)
    return reached(name, dependants)


def above(dag: Dag, names: Iterable[str]) -> frozenset[str]:
    """All tasks that any of `names` depends on, but for those that are among them."""
    given = set(names)
    return _reached_from(given, edges(dag))


def reached(start: str, graph: Edges) -> frozenset[str]:
    """All names that lead on from `start`, through others too; names beyond the graph end there."""
    return _reached_from({start}, graph)


def _reached_from(start: set[str], graph: Edges) -> frozenset[str]:
    seen = set(start)
    queue = list(start)
    while queue:
        for name in graph.get(queue.pop(), ()):
            if name not in seen:
                seen.add(name)
                queue.append(name)
    return frozenset(seen - start)
