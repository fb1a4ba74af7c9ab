"""Which tasks make what `[[outputs]]` declares: the task that it names, or whose target it is."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pit.config.dag.dataflow import WORKSPACE, makes
from pit.model import Dag, Output, Task

_VALUE = re.compile(r"\{[^{}]*\}")


def makers(dag: Dag, output: Output, root: Path) -> tuple[str, ...]:
    """The tasks of a DAG that make an output, as pit.toml names them; empty if that is not known.

    A location is that of a file if it names a target, or a folder with targets in it: relative to
    the project, or to the workspace at `root`, or absolute. It is that of a table if it ends with a
    table's whole name, schema included, or is the connection and the name of one.
    """
    if output.task:
        return (output.task,)
    if not output.location:
        return ()
    places = _places(dag, output.location, root)
    return tuple(task.name for task in dag.tasks if _makes(dag, task, output.location, places))


def _places(dag: Dag, location: str, root: Path) -> frozenset[str]:
    """The places, as targets are written, that a location may mean."""
    plain = location.removeprefix(WORKSPACE)
    found = {os.path.normpath(plain)} if plain == location else set()
    absolute = os.path.normpath(root / plain)
    found |= {absolute, f"{WORKSPACE}{os.path.relpath(absolute, root)}"}
    if Path(absolute).is_relative_to(dag.project):
        found.add(os.path.relpath(absolute, dag.project))
    return frozenset(place.rstrip("/") for place in found)


def _makes(dag: Dag, task: Task, location: str, places: frozenset[str]) -> bool:
    targets = tuple(_any_value(target) for target in task.targets)
    if any(_holds(place, target) for place in places for target in (*task.targets, *targets)):
        return True
    if any(makes(_with(task, targets), place) for place in places):
        return True
    if task.save is not None and task.save.output == location:
        return True
    return any(_is_table(dag, task, location, table) for table in _tables(task))


def _any_value(target: str) -> str:
    """A target of a task with a matrix or parameters as a pattern of what it may be called."""
    if target.startswith(WORKSPACE):
        return WORKSPACE + _VALUE.sub("*", target.removeprefix(WORKSPACE))
    return _VALUE.sub("*", target)


def _with(task: Task, targets: tuple[str, ...]) -> Task:
    from msgspec.structs import replace

    return replace(task, targets=targets)


def _holds(place: str, target: str) -> bool:
    """Whether a place is a target, or a folder that one lies in."""
    return target.rstrip("/") == place or target.startswith(f"{place}/")


def _tables(task: Task) -> tuple[str, ...]:
    if task.load is None:
        return task.tables
    schema = f"{task.load.schema}." if task.load.schema else ""
    return (*task.tables, f"{schema}{task.load.table}")


def _is_table(dag: Dag, task: Task, location: str, table: str) -> bool:
    name, wanted = table.lower(), location.lower()
    connection = (task.connection or dag.connection or "").lower()
    if wanted in (name, f"{connection}.{name}"):
        return True
    return "." in name and wanted.endswith(f".{name}")
