"""How a run would go, from what runs before it took: its length, its critical path, its gaps."""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from pit.config.dag.dataflow import WORKSPACE
from pit.config.dag.graph import Edges
from pit.config.dag.nearby import meant
from pit.engine.staleness.planner import Action, Decision, Gap
from pit.fs.patterns import matches
from pit.model import Dag, Record, Task


class Forecast(Record):
    """How long a run takes: at most `seconds`, `at_least` if no deferred task has to run.

    `critical` is the chain of tasks that decides it. `unknown` are tasks that never succeeded
    before: they count nothing. `saved` is what the tasks that are skipped took.
    """

    seconds: float
    at_least: float
    critical: tuple[str, ...]
    unknown: tuple[str, ...]
    saved: float


def forecast(needs: Edges, decisions: Sequence[Decision], slots: int) -> Forecast:
    """What a run of these decisions, which come in topological order, would take; `needs` is what
    each task depends on."""
    busy = {o.task: o.seconds or 0.0 for o in decisions if o.action is not Action.SKIP}
    sure = {o.task: o.seconds or 0.0 for o in decisions if o.action is Action.RUN}
    return Forecast(
        seconds=_length(busy, needs, slots),
        at_least=_length(sure, needs, slots),
        critical=_critical(busy, needs),
        unknown=tuple(o.task for o in decisions if o.task in busy and o.seconds is None),
        saved=sum(o.record.seconds for o in decisions if o.action is Action.SKIP and o.record),
    )


def _length(seconds: Mapping[str, float], needs: Edges, slots: int) -> float:
    """When the last of these tasks ends, `slots` at once, each as soon as it may."""
    waits = {name: {up for up in needs[name] if up in seconds} for name in seconds}
    dependants: dict[str, list[str]] = {}
    for name, upstream in waits.items():
        for each in upstream:
            dependants.setdefault(each, []).append(name)
    place = {name: at for at, name in enumerate(seconds)}
    ready = [(place[name], name) for name, upstream in waits.items() if not upstream]
    running: list[tuple[float, str]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < slots:
            _, name = heapq.heappop(ready)
            heapq.heappush(running, (now + seconds[name], name))
        now, ended = heapq.heappop(running)
        for name in dependants.get(ended, ()):
            waits[name].discard(ended)
            if not waits[name]:
                heapq.heappush(ready, (place[name], name))
    return now


def _critical(seconds: Mapping[str, float], needs: Edges) -> tuple[str, ...]:
    """The chain of tasks that takes longest, however many run at once."""
    ends: dict[str, float] = {}
    before: dict[str, str] = {}
    for name, own in seconds.items():  # in topological order
        upstream = [up for up in needs[name] if up in ends]
        last = max(upstream, key=ends.__getitem__, default="")
        ends[name] = own + (ends[last] if last else 0.0)
        before[name] = last
    path = [max(ends, key=ends.__getitem__)] if any(ends.values()) else []
    while path and before[path[-1]]:
        path.append(before[path[-1]])
    return tuple(reversed(path))


# ---------------------------------------------------------------- what is missing

_SUGGESTIONS = 10
"""So many gaps get the file that was probably meant; more would take too long."""


def gaps(
    lacking: Sequence[Gap],
    tasks: Collection[Task],
    project: Path,
    workspace: Path,
    others: Callable[[], Iterable[Dag]],
) -> tuple[Gap, ...]:
    """The inputs that tasks of a project lack, with who could make them, or what was meant;
    `others` gives the DAGs whose targets fill them, maybe."""
    if not any(not gap.maker for gap in lacking):
        return tuple(lacking)
    dags = list(others())
    found: list[Gap] = []
    for gap in lacking:
        place = _place(gap.input, project, workspace)
        maker = gap.maker or _elsewhere(place, dags, workspace)
        told = maker or len(found) >= _SUGGESTIONS
        near = "" if told else meant(gap.task, gap.input, tasks, project, workspace)
        found.append(replace(gap, maker=maker, meant=near))
    return tuple(found)


def _place(path: str, project: Path, workspace: Path) -> str:
    if path.startswith(WORKSPACE):
        return os.path.normpath(workspace / path.removeprefix(WORKSPACE))
    return os.path.normpath(project / path)


def _elsewhere(place: str, others: Iterable[Dag], workspace: Path) -> str:
    for dag in others:
        for task in dag.tasks:
            if _makes(task, place, dag.project, workspace):
                return f"{dag.name}/{task.name}"
    return ""


def _makes(task: Task, place: str, project: Path, workspace: Path) -> bool:
    for target in task.targets:
        made = _place(target, project, workspace)
        if matches(made, place) or place.startswith(f"{made}/"):
            return True
    return False
