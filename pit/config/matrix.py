"""Before a run: matrix tasks become their instances, and parameters are put into paths.

`expand` comes first and `with_params` second; what inputs imply comes after both, because it
follows from the paths: see `dag.expanded`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from pit.config.axes import Disk, Reader
from pit.config.check import check_expansion
from pit.config.dag.dataflow import WORKSPACE_NAME
from pit.config.dag.placeholders import filled, names_in
from pit.config.keys.instances import Expansion, expanded, moved, moving
from pit.config.keys.values import data_path
from pit.config.toml.findings import Findings, label
from pit.errors import BadParameter, InvalidConfig
from pit.model import Dag, MatrixSource, Task

_FILE = "pit.toml"


def sources(dag: Dag) -> tuple[str, ...]:
    """The files and patterns that matrices take values from, which a snapshot must have."""
    axes = (axis for task in dag.tasks for _, axis in task.matrix)
    found = (axis.glob or axis.file for axis in axes if isinstance(axis, MatrixSource))
    return tuple(dict.fromkeys(found))


def expand(dag: Dag, root: Path, places: Disk) -> tuple[Task, ...]:
    """The tasks of a DAG, with an instance for each combination of every matrix's values.

    Their sources are read below `root`, the snapshot or the project. InvalidConfig, with the
    place in pit.toml, if one has no values or the instances do not go together.
    """
    if not any(task.matrix for task in dag.tasks):
        return dag.tasks
    workspace = dag.project.parent.parent
    findings = Findings(label(dag.project / _FILE, workspace))
    reader = Reader(root, workspace, places, findings)
    axes = {
        place: reader.axes(task, ("tasks", place, "matrix"))
        for place, task in enumerate(dag.tasks)
        if task.matrix
    }
    seen = Expansion(dag, ()) if findings else expanded(dag, axes, findings)
    if not findings and sources(dag):  # a DAG that lists all its values has been checked so
        check_expansion(dag, seen, findings, root)
    if findings:
        findings.text = _text(root) or _text(dag.project)
        raise InvalidConfig(findings.problems())
    return seen.dag.tasks


def _text(folder: Path) -> str:
    """The pit.toml in a folder, to show lines of it; empty if it cannot be read."""
    try:
        return (folder / _FILE).read_text("utf-8", "replace")
    except OSError:
        return ""


# ---------------------------------------------------------------- parameters


def with_params(
    dag: Dag, tasks: tuple[Task, ...], values: Mapping[str, str], root: Path | None = None
) -> tuple[Task, ...]:
    """A DAG's expanded tasks with the parameters, all resolved, where their names are in braces.

    BadParameter if a value spoils a path, or makes two tasks meet that must not. `root` is the
    snapshot that a retry is about.
    """
    filled_in = tuple(expand_params(task, values) for task in tasks)
    if all(new is old for new, old in zip(filled_in, tasks, strict=True)):
        return tasks
    whole = msgspec.structs.replace(dag, tasks=filled_in)
    seen = Expansion(whole, tuple(range(len(filled_in))))
    findings = Findings(_FILE)
    check_expansion(whole, seen, findings, root)
    for problem in findings.problems():
        raise BadParameter(f"with these parameters, {problem.sentence}", problem.hint)
    return filled_in


def expand_params(task: Task, values: Mapping[str, str]) -> Task:
    """A task, or an instance, with the parameters that it gets in its inputs, targets and env.

    BadParameter if a value makes a path that cannot be one.
    """
    path = moved(task)
    texts = (*(task.inputs or ()), *task.targets, *task.tables, *task.env.values(), path)
    wanted = values if task.params is None else task.params
    got = {name: values[name] for name in wanted if name != WORKSPACE_NAME}
    if not any(name in got for text in texts for name in names_in(text)):
        return task
    inputs = None if task.inputs is None else _paths(task, task.inputs, got)
    return msgspec.structs.replace(
        task,
        inputs=inputs,
        targets=_paths(task, task.targets, got),
        tables=tuple(filled(table, got) for table in task.tables),
        env={name: filled(text, got) for name, text in task.env.items()},
        **(moving(task, _path(task, path, got)) if names_in(path) else {}),
    )


def _paths(task: Task, paths: tuple[str, ...], values: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(_path(task, path, values) if names_in(path) else path for path in paths)


def _path(task: Task, written: str, values: Mapping[str, str]) -> str:
    path, sentence = data_path(filled(written, values))
    if sentence:
        raise BadParameter(f'path "{written}" of task "{task.name}": {sentence}')
    return path
