"""One project's pit.toml as a DAG, with everything that is wrong with it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from pit.config.check import check
from pit.config.keys import runners
from pit.config.keys.keys import DAG, FILE_LISTS, FILE_TABLES, OUTPUT, RESERVED_NAMES, TASK
from pit.config.keys.movement import fold, with_saves
from pit.config.keys.sqlvalues import TABLE
from pit.config.keys.values import NAME_HINT, name_problem, shown, suggestion
from pit.config.sqltasks import check_source
from pit.config.toml import document
from pit.config.toml.findings import Findings, label, printable
from pit.config.toml.position import KeyPath
from pit.errors import nearest
from pit.model import Dag, Output, Task, TaskType
from pit.text import regex

FILE = "pit.toml"

_NAME_LINE = regex.lazy(
    r"""^[ \t]*\[[ \t]*dag[ \t]*\](?:(?!^[ \t]*\[).)*?^[ \t]*name[ \t]*=[ \t]*(["'])([^"'\n]+)\1""",
    re.MULTILINE | re.DOTALL,
)


class Project(NamedTuple):
    """A project as found: `name` is None where it could not be read, `dag` is a best effort.

    The DAG is valid exactly when there are no findings.
    """

    folder: Path
    name: str | None
    dag: Dag | None
    findings: Findings


def read_project(folder: Path, root: Path) -> Project:
    """Read and check one project of the workspace at `root`; never raises for what it holds."""
    findings = Findings(label(folder / FILE, root))
    data = document.read(folder / FILE, findings, FILE_LISTS)
    if data is None:
        found = _NAME_LINE.search(findings.text)
        return Project(folder, found[2] if found else None, None, findings)
    dag = _dag(data, folder, findings)
    check(dag, findings)
    return Project(folder, dag.name, dag, findings)


def _dag(data: dict[str, Any], folder: Path, findings: Findings) -> Dag:
    for name in data:
        if name not in FILE_TABLES:
            _add_unknown_table(name, findings)
    fields = DAG.read(_table(data, "dag", findings), ("dag",), findings)
    if "name" not in fields:
        fields["name"] = printable(folder.name)
        if not isinstance(data.get("dag"), dict) or "name" not in data["dag"]:
            _check_folder_name(fields["name"], findings)
    return Dag(
        project=folder, tasks=_tasks(data, findings), outputs=_outputs(data, findings), **fields
    )


def _add_unknown_table(name: str, findings: Findings) -> None:
    own = next((t for t in (DAG, TASK) if name in t.keys and name not in FILE_TABLES), None)
    plural = f"{name}s" in FILE_TABLES  # [output] is [[outputs]], not the key of a task
    meant = f"; it belongs in {own.title}" if own and not plural else suggestion(name, FILE_TABLES)
    if '"tasks"' in meant:
        findings.doubt(("tasks",))
    findings.add((name,), f"unknown key {shown(name)} at the top of pit.toml{meant}", on_key=True)


def _check_folder_name(name: str, findings: Findings) -> None:
    sentence = name_problem(name, RESERVED_NAMES)
    if sentence:
        hint = f'Set name = "…" in [dag]. {NAME_HINT}'
        findings.add(("dag",), f"the folder gives the DAG its name, but {sentence}", hint)


def _table(data: dict[str, Any], name: str, findings: Findings) -> dict[str, Any]:
    table = data.get(name, {})
    if isinstance(table, dict):
        return table
    findings.add((name,), f"{name} must be a table: write [{name}]", on_key=True)
    return {}


def _array(data: dict[str, Any], name: str, findings: Findings) -> list[Any]:
    array = data.get(name, [])
    if isinstance(array, list):
        return array
    findings.add((name,), f"{name} must be an array of tables: write [[{name}]]", on_key=True)
    return []


def _tasks(data: dict[str, Any], findings: Findings) -> tuple[Task, ...]:
    tables = _array(data, "tasks", findings)
    if not tables and data.get("tasks", []) == [] and not findings.doubts(("tasks",)):
        findings.add(("dag",), "this DAG has no tasks", "Add one: [[tasks]] with name and script")
    tasks = [_task(table, ("tasks", index), findings) for index, table in enumerate(tables)]
    return tuple(with_saves(tasks))


def _task(table: Any, at: KeyPath, findings: Findings) -> Task:
    """A task; one without a name is numbered, which no name can collide with."""
    if not isinstance(table, dict):
        findings.add(at, f"each entry of tasks must be a table, not {shown(table)}")
        return Task(name=f"#{at[-1]}", script="")
    fields = TASK.read(table, at, findings)
    fields.setdefault("name", f"#{at[-1]}")
    script = fields.setdefault("script", "")
    _take_as_meant(table, fields)
    if fields.get("type", TaskType.SCRIPT) and "runner" not in table:
        fields["runner"] = runners.SQL
    elif script and "runner" not in table:
        fields["runner"] = runners.implied_by(script)
    check_source(table, at, findings)
    fold(table, fields, at, findings)
    _divide_targets(fields, at, findings)
    return Task(**fields)


def _take_as_meant(table: dict[str, Any], fields: dict[str, Any]) -> None:
    """A misspelt type is read as the one that it is near, so that it is one mistake."""
    kind = table.get("type")
    if isinstance(kind, str) and "type" not in fields:
        near = nearest(kind, [one for one in TaskType if one])
        if near:
            fields["type"] = TaskType(near)


def _divide_targets(fields: dict[str, Any], at: KeyPath, findings: Findings) -> None:
    """Tables among the targets are kept apart from files."""
    targets: tuple[str, ...] = fields.get("targets", ())
    tables = tuple(one.removeprefix(TABLE) for one in targets if one.startswith(TABLE))
    if tables:
        places = [index for index, one in enumerate(targets) if not one.startswith(TABLE)]
        key = (*at, "targets")
        findings.shorten(key, [int(str(findings.entry(key, place)[-1])) for place in places])
        fields["targets"] = tuple(targets[place] for place in places)
        fields["tables"] = tables


def _outputs(data: dict[str, Any], findings: Findings) -> tuple[Output, ...]:
    found = []
    for index, table in enumerate(_array(data, "outputs", findings)):
        at = ("outputs", index)
        if not isinstance(table, dict):
            findings.add(at, f"each entry of outputs must be a table, not {shown(table)}")
            continue
        fields = OUTPUT.read(table, at, findings)
        fields.setdefault("name", "")
        extra = {key: value for key, value in table.items() if key not in OUTPUT.keys}
        found.append(Output(extra=extra, **fields))
    return tuple(found)
