"""What must hold between the keys of SQL tasks: which type has which keys, and what they need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from pit.model import Dag, Task, TaskType
from pit.spec.findings import Findings
from pit.spec.placeholders import names_in
from pit.spec.position import KeyPath
from pit.spec.runners import SQL, TEMPLATE
from pit.spec.sqlvalues import TABLE
from pit.spec.values import shown

TYPES_OF: dict[str, tuple[TaskType, ...]] = {
    "query": (TaskType.CHECK, TaskType.SAVE),
    "expect": (TaskType.CHECK,),
    "severity": (TaskType.CHECK,),
    "max_change": (TaskType.SCRIPT, TaskType.LOAD),
}
"""The keys that only SQL tasks have, and the types that have them."""

_EMPTY = msgspec.structs.asdict(Task(name=""))


def check_sql_tasks(dag: Dag, findings: Findings) -> None:
    """Add every problem with the keys of SQL tasks."""
    for index, task in enumerate(dag.tasks):
        at = ("tasks", index)
        _check_script(task, index, findings)
        for key, sentence in _misplaced(task):
            findings.add((*at, key), sentence, on_key=True)
        if task.type and task.runner != SQL:
            findings.add((*at, "runner"), f'runner must be "sql" with type = "{task.type}"')
        _check_connection(dag, task, index, findings)
        _check_names(dag, task, index, findings)
        for place, path in enumerate(task.inputs or ()):
            if path.startswith(TABLE):
                hint = 'Watch it by its content: fingerprint = "select max(changed_at) from …"'
                where = findings.entry((*at, "inputs"), place)
                findings.add(where, f"{shown(path)}: inputs are files, not tables", hint)


def check_source(table: Mapping[str, Any], at: KeyPath, findings: Findings) -> None:
    """Each task has something to do: `table` is the task as pit.toml has it."""
    kind = table.get("type")
    queries = kind in TYPES_OF["query"]
    if "script" in table or kind == TaskType.LOAD or (queries and "query" in table):
        return
    what = '"script" or "query"' if queries else '"script"'
    findings.add(at, f"[[tasks]] has no {what}", on_key=True)


def _check_script(task: Task, index: int, findings: Findings) -> None:
    at = ("tasks", index)
    if task.script and task.query and task.type in TYPES_OF["query"]:
        sentence = f"a {task.type} has a script or a query, not both"
        findings.add((*at, "query"), sentence, on_key=True)
    if task.type and task.script and not task.script.endswith((".sql", TEMPLATE)):
        hint = "Its script is a query: a .sql or .sql.j2 file"
        findings.add((*at, "script"), f'"{task.script}" cannot be a {task.type} task', hint)


def _misplaced(task: Task) -> Iterator[tuple[str, str]]:
    """Keys that the task has and its kind has not, each with a sentence."""
    for key, types in TYPES_OF.items():
        if getattr(task, key) == _EMPTY[key]:
            continue
        if task.runner != SQL or task.type not in types:
            yield key, f"{key} is only for {_listed(types)}"


def _listed(types: Sequence[TaskType]) -> str:
    named = [f'type = "{one}"' if one else "SQL scripts" for one in types]
    return " and ".join(named)


def _check_names(dag: Dag, task: Task, index: int, findings: Findings) -> None:
    """A query is sent as it is: a name in braces would be compared with, not its value."""
    known = {param.name: f"pit_param_{param.name}" for param in dag.params}
    known |= {name: f"pit_matrix_{name}" for name in (*task.values, *dict(task.matrix))}
    for key in ("query", "fingerprint"):
        for name in names_in(getattr(task, key)):
            if name in known:
                sentence = f'{key} has "{{{name}}}" in it, which is not replaced'
                variable = known[name].lower()
                hint = (
                    f"In SQL it is the variable {variable}, as in getvariable('{variable}') in "
                    "DuckDB; or write a .sql.j2 script"
                    if key == "query"
                    else "It is one query for all values of parameters and keys"
                )
                findings.add(("tasks", index, key), sentence, hint)
                break


def _check_connection(dag: Dag, task: Task, index: int, findings: Findings) -> None:
    """What is asked of a database needs one."""
    if task.connection or (task.runner == SQL and dag.connection):
        return
    hint = "Name one on the task: connection = …, or in [dag.sql]"
    if task.fingerprint:
        at = ("tasks", index, "fingerprint")
        findings.add(at, "there is no connection to ask this of", hint, on_key=True)
    if task.tables:
        sentence = f'there is no connection that the table "{task.tables[0]}" is in'
        findings.add(("tasks", index, "targets"), sentence, hint, on_key=True)
