"""A DAG with a task for each combination of the values of a matrix, without touching a disk.

An instance is named for its task and its values, `report:JFK:2013`, in the order in which the
keys are written; what no name may contain is percent-encoded in it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from pit.config.dag.placeholders import Template
from pit.config.keys.values import data_path
from pit.config.toml.findings import Findings
from pit.config.toml.position import KeyPath
from pit.model import Dag, Task

MOST_INSTANCES = 100_000
"""So many instances a DAG may have."""

MOST_DEPENDENCIES = 1_000_000
"""So many dependencies may come from naming a matrix task in `depends_on`."""

VARIABLE_PREFIX = "PIT_MATRIX_"

Axes = Mapping[str, Sequence[str]]
"""The values of each key of a matrix."""


class Expansion(NamedTuple):
    """A DAG with instances; `origins` has, for each task, its place among the tasks of pit.toml."""

    dag: Dag
    origins: tuple[int, ...]


def listed(task: Task) -> Axes | None:
    """The matrix of a task if pit.toml lists all its values, else None."""
    axes = {key: values for key, values in task.matrix if isinstance(values, tuple)}
    return axes if axes and len(axes) == len(task.matrix) else None


def encoded(value: str) -> str:
    """A value as part of a task's name: all but A-Z a-z 0-9 "_" "." "-" percent-encoded."""
    return quote(value, safe="").replace("~", "%7E")


def expanded(dag: Dag, axes: Mapping[int, Axes], findings: Findings) -> Expansion:
    """The DAG with the instances of those tasks, by their places, whose values are given.

    A dependency on such a task becomes one on each of its instances. Too many instances or
    dependencies, and paths that a value spoils, are reported.
    """
    axes = _within_limit(axes, findings)
    named = {place: _names(dag.tasks[place], found) for place, found in axes.items()}
    instances = {dag.tasks[place].name: names for place, names in named.items()}
    tasks: list[Task] = []
    origins: list[int] = []
    for place, task in enumerate(_waiting(dag, named, instances, findings)):
        if place in named:
            made = _Instances(task, axes[place], ("tasks", place), findings)
            tasks.extend(made.tasks(named[place]))
        else:
            tasks.append(task)
        origins.extend(itertools.repeat(place, len(tasks) - len(origins)))
    return Expansion(msgspec.structs.replace(dag, tasks=tuple(tasks)), tuple(origins))


def _within_limit(axes: Mapping[int, Axes], findings: Findings) -> dict[int, Axes]:
    """The axes as far as their combinations stay within the limit."""
    total, kept = 0, {}
    for place, found in axes.items():
        count = math.prod(map(len, found.values()))
        total += count
        if total <= MOST_INSTANCES:
            kept[place] = found
            continue
        sentence = f"the matrix brings the DAG to more than {MOST_INSTANCES:,} instances"
        findings.add(("tasks", place, "matrix"), sentence, on_key=True)
        total -= count
    return kept


def _names(task: Task, axes: Axes) -> tuple[str, ...]:
    parts = [[encoded(value) for value in values] for values in axes.values()]
    return tuple(f"{task.name}:{':'.join(each)}" for each in itertools.product(*parts))


def _waiting(
    dag: Dag,
    named: Mapping[int, Sequence[str]],
    instances: Mapping[str, Sequence[str]],
    findings: Findings,
) -> Iterator[Task]:
    """The tasks, with all instances of a matrix task in `depends_on` where they name it."""
    total = 0
    for place, task in enumerate(dag.tasks):
        met = sum(len(instances.get(name, ())) for name in task.depends_on)
        added = met * len(named.get(place, (task.name,)))
        total += added
        if not added:
            yield task
        elif total <= MOST_DEPENDENCIES:
            yield msgspec.structs.replace(task, depends_on=_depends_on(task, instances))
        else:
            _add_too_many_dependencies(task, ("tasks", place, "depends_on"), findings)
            total -= added
            yield task


def _add_too_many_dependencies(task: Task, at: KeyPath, findings: Findings) -> None:
    sentence = f'task "{task.name}" brings the DAG to more than {MOST_DEPENDENCIES:,} dependencies'
    hint = "Name in inputs what each instance reads: it then waits for those that make it"
    findings.add(at, sentence, hint, on_key=True)


def _depends_on(task: Task, instances: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    each = (instances.get(name, (name,)) for name in task.depends_on)
    return tuple(dict.fromkeys(itertools.chain.from_iterable(each)))


def moved(task: Task) -> str:
    """The file that a load or a save is about; empty for any other task."""
    if task.load is not None:
        return task.load.source
    return task.save.output if task.save is not None else ""


def moving(task: Task, path: str) -> dict[str, Any]:
    """The fields of a load or a save, about this file."""
    if task.load is not None:
        return {"load": msgspec.structs.replace(task.load, source=path)}
    if task.save is not None:
        return {"save": msgspec.structs.replace(task.save, output=path)}
    return {}


class _Instances:
    """The instances of one task: what differs between them, taken apart once."""

    def __init__(self, task: Task, axes: Axes, at: KeyPath, findings: Findings) -> None:
        self._task, self._axes = task, axes
        self._inputs = None
        if task.inputs is not None:
            self._inputs = _Paths(task.inputs, axes, (*at, "inputs"), findings)
        self._targets = _Paths(task.targets, axes, (*at, "targets"), findings)
        self._tables = tuple(Template(table, axes) for table in task.tables)
        self._moved = [Template(text, axes) for text in (moved(task),) if text]
        self._env = {name: Template(text, axes) for name, text in task.env.items()}
        self._variables = {key: f"{VARIABLE_PREFIX}{key.upper()}" for key in axes}

    def tasks(self, names: Sequence[str]) -> Iterator[Task]:
        """One task for each combination of values, in the order of the names."""
        same: dict[str, Any] = msgspec.structs.asdict(self._task)
        same |= {"matrix": (), "instance_of": self._task.name}
        combinations = itertools.product(*self._axes.values())
        for name, combination in zip(names, combinations, strict=True):
            values = dict(zip(self._axes, combination, strict=True))
            same["name"], same["values"] = name, values
            if self._inputs is not None:
                same["inputs"] = self._inputs.filled(values, name)
            same["targets"] = self._targets.filled(values, name)
            same["tables"] = tuple(table.filled(values) for table in self._tables)
            for text in self._moved:
                same |= moving(self._task, text.filled(values))
            same["env"] = self._variables_of(values)
            yield Task(**same)

    def _variables_of(self, values: Mapping[str, str]) -> dict[str, str]:
        env = {name: template.filled(values) for name, template in self._env.items()}
        for key, variable in self._variables.items():
            env[variable] = values[key]
        return env


class _Paths:
    """The inputs or targets of a matrix task."""

    def __init__(self, paths: Sequence[str], names: Axes, at: KeyPath, findings: Findings) -> None:
        self._at, self._findings = at, findings
        self._templates = tuple(Template(path, names) for path in paths)
        self._spoilt: set[int] = set()

    def filled(self, values: Mapping[str, str], name: str) -> tuple[str, ...]:
        """The paths for one instance."""
        return tuple(
            [
                self._path(place, template, values, name) if template.names else template.text
                for place, template in enumerate(self._templates)
            ]
        )

    def _path(self, place: int, template: Template, values: Mapping[str, str], name: str) -> str:
        """One path; what is wrong with it is said for the first instance alone."""
        path, sentence = data_path(template.filled(values), named=True)
        if sentence and place not in self._spoilt:
            self._spoilt.add(place)
            self._findings.add((*self._at, place), f'for "{name}", {sentence}')
        return path
