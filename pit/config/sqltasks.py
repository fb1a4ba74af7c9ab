"""What must hold between the keys of SQL tasks: which type has which keys, and what they need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from pit.config.dag.dataflow import WORKSPACE
from pit.config.dag.placeholders import names_in
from pit.config.keys.runners import SQL, TEMPLATE
from pit.config.keys.sqlvalues import TABLE
from pit.config.keys.values import shown
from pit.config.toml.findings import Findings
from pit.config.toml.position import KeyPath
from pit.model import Dag, Task, TaskType

TYPES_OF: dict[str, tuple[TaskType, ...]] = {
    "query": (TaskType.CHECK, TaskType.SAVE),
    "expect": (TaskType.CHECK,),
    "severity": (TaskType.CHECK,),
    "max_change": (TaskType.SCRIPT, TaskType.LOAD),
}
"""The keys that only SQL tasks have, and the types that have them."""

_EMPTY = msgspec.structs.asdict(Task(name=""))


def check_sql_tasks(dag: Dag, findings: Findings) -> None:
    """Add every problem with the keys of SQL tasks.

    Where a task's type, script or runner is in doubt, what follows from it is left out.
    """
    for index, task in enumerate(dag.tasks):
        at = ("tasks", index)
        doubtful = any(findings.doubts((*at, key)) for key in ("type", "script", "runner"))
        _check_script(task, index, findings)
        if not doubtful:
            for key, sentence in _misplaced(task):
                findings.add((*at, key), sentence, on_key=True)
            if task.type and task.runner != SQL:
                findings.add((*at, "runner"), f'runner must be "sql" with type = "{task.type}"')
            _check_targets(task, index, findings)
        _check_names(dag, task, index, findings)
        for place, path in enumerate(task.inputs or ()):
            if path.startswith(TABLE):
                hint = 'Watch it by its content: fingerprint = "select max(changed_at) from …"'
                where = findings.entry((*at, "inputs"), place)
                findings.add(where, f"{shown(path)}: inputs are files, not tables", hint)
    _check_connections(dag, findings)


def check_source(table: Mapping[str, Any], at: KeyPath, findings: Findings) -> None:
    """Each task has something to do: `table` is the task as pit.toml has it."""
    kind = table.get("type")
    queries = kind in TYPES_OF["query"]
    if "script" in table or kind == TaskType.LOAD or (queries and "query" in table):
        return
    if any(findings.doubts((*at, key)) for key in ("type", "script", "query")):
        return
    if "query" in table and not kind:
        findings.doubt((*at, "type"))  # what is missing is one thing, whatever follows from it
        hint = 'Add type = "check" with expect, or type = "save" with output; or put the SQL into '
        hint += 'a file: script = "tasks/a.sql"'
        findings.add((*at, "query"), "query needs a type", hint, on_key=True)
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


def _check_targets(task: Task, index: int, findings: Findings) -> None:
    """A load, a save and a check make no file in the project."""
    if not task.type:
        return
    for place, target in enumerate(task.targets):
        outside = target.startswith(("/", WORKSPACE))  # a file database may lie there
        if outside and task.type is not TaskType.SAVE:
            continue
        at = findings.entry(("tasks", index, "targets"), place)
        sentence = f'a {task.type} cannot make the target "{target}"'
        findings.add(at, f"{sentence}: {_MAKES[task.type]}", _instead(task, target))
        return


_MAKES = {
    TaskType.LOAD: "it makes a table",
    TaskType.SAVE: "its output lies in the run's data folder",
    TaskType.CHECK: "it makes nothing",
}


def _instead(task: Task, target: str) -> str:
    """What to write in the place of a target that a SQL task cannot make."""
    if task.type is TaskType.LOAD:
        table = task.load.table if task.load else "orders"
        return f'Write targets = ["{TABLE}{table}"]'
    if task.type is TaskType.CHECK:
        return "Leave targets out"
    output = task.save.output if task.save else "report.csv"
    place = target.replace(WORKSPACE, "$PIT_WORKSPACE/")
    return (
        f'To publish it, add a shell task with targets = ["{target}"] and depends_on = '
        f'["{task.name}"], whose script is: cp "$PIT_DATA_DIR/{output}" "{place}"'
    )


def _check_connections(dag: Dag, findings: Findings) -> None:
    """What is asked of a database needs a connection; where none is named, that is one mistake."""
    if findings.doubts(("dag", "sql")):
        return
    lacking: list[tuple[int, Task]] = []
    for index, task in enumerate(dag.tasks):
        is_sql = task.runner == "sql"
        keys = ("connection", "runner", "type") + (() if is_sql else ("script",))
        doubtful = any(findings.doubts(("tasks", index, key)) for key in keys)
        if task.connection or (is_sql and dag.connection) or doubtful:
            continue
        if is_sql:
            lacking.append((index, task))
        else:
            _check_asked(task, index, findings)
    if lacking:
        _add_lacking(lacking, findings)


def _check_asked(task: Task, index: int, findings: Findings) -> None:
    """What a task that is no SQL asks of a database."""
    if task.fingerprint:
        at = ("tasks", index, "fingerprint")
        findings.add(at, "there is no connection to ask this of", _NAME_ONE, on_key=True)
    if task.tables:
        sentence = f'there is no connection that the table "{task.tables[0]}" is in'
        findings.add(("tasks", index, "targets"), sentence, _NAME_ONE, on_key=True)


_NAME_ONE = "Name one on the task: connection = …"


def _add_lacking(lacking: Sequence[tuple[int, Task]], findings: Findings) -> None:
    """All SQL tasks without a connection, at the first of them."""
    index, first = lacking[0]
    key = next(key for key in ("script", "query", "type", "name") if _written(first, key))
    others = len(lacking) - 1
    who = f'tasks "{first.name}" and {others} more run' if others else f'task "{first.name}" runs'
    sentence = f"{who} SQL, and no connection says in which database"
    hint = 'Name the secret with its URL, for all in [dag.sql]: connection = "…", or on the task'
    findings.add(("tasks", index, key), sentence, hint, on_key=key in ("type", "name"))


def _written(task: Task, key: str) -> bool:
    return bool(getattr(task, key))
