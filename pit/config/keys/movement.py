"""Tasks that move data: the keys of `type = "load"` and `type = "save"`, read into one record each.

In pit.toml they stand beside the task's other keys; in the model they are one value, `Task.load` or
`Task.save`, so that no other task carries them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from pit.config.dag.dataflow import WORKSPACE
from pit.config.dag.placeholders import NAMED
from pit.config.keys import braces
from pit.config.keys.values import BRACES, UNFIT, DataPath, Kind, shown
from pit.config.toml.findings import Findings
from pit.config.toml.position import KeyPath
from pit.fs.patterns import matches
from pit.model import ColumnRule, Load, LoadMode, Save, Task, TaskType

LOAD_KEYS = (
    "source",
    "table",
    "mode",
    "key",
    "columns",
    "format",
    "csv",
    "max_rejects",
    "missing_columns",
)
"""The keys that only a load has."""

SAVED = (".parquet", ".csv", ".jsonl", ".ndjson")
"""What the name of a saved file ends with."""

FORMATS = ("parquet", "csv", "json", "jsonl", "ndjson")
"""What a file may be told to be, whatever its name ends with."""


class Saved(DataPath):
    """A file of the run's data folder."""

    what = "a path in the data folder in quotes"

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        path = super().read(value, at, findings)
        if path is UNFIT:
            return path
        if path.startswith(("/", "{workspace}/")):
            hint = "A save writes to the run's data folder; a task that reads it finds it there"
            findings.add(at, f"output {shown(path)} is not inside the data folder", hint)
        elif not path.endswith(SAVED):
            findings.add(at, f"output {shown(path)} must end in {', '.join(SAVED)}")
        elif any(char in path for char in "*?["):
            findings.add(at, f"output {shown(path)} has a wildcard in it")
        return path


class TableName(Kind):
    """A table's name as SQL has it: `t`, `mart.t`, `"Odd name"`."""

    what = "the name of a table in quotes"

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if not isinstance(value, str):
            return self.refuse(value, at, findings)
        if not value.strip() or "\0" in value:
            findings.add(at, "the name of the table is empty or has a NUL character in it")
            return UNFIT
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1}


class Columns(Kind):
    """What becomes of columns: `old = "new"`, `x = { name = "y", type = "date" }`, `z = false`."""

    what = 'a table such as { old = "new", x = { type = "decimal(18,2)" }, unused = false }'

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if not isinstance(value, dict):
            return self.refuse(value, at, findings)
        read = {name: self._rule(rule, (*at, name), findings) for name, rule in value.items()}
        return {name: rule for name, rule in read.items() if rule is not UNFIT}

    def _rule(self, rule: Any, at: KeyPath, findings: Findings) -> Any:
        if rule is False:
            return ColumnRule(skip=True)
        if isinstance(rule, str) and rule.strip():
            return ColumnRule(name=rule)
        if not isinstance(rule, dict):
            wanted = 'a new name, false, or { name = "…", type = "…" }'
            findings.add(at, f"column {shown(at[-1])} must be {wanted}, not {shown(rule)}")
            return UNFIT
        for key, text in rule.items():
            if key not in ("name", "type"):
                findings.add((*at, key), f"unknown key {shown(key)} in columns", on_key=True)
                return UNFIT
            if not isinstance(text, str) or not text.strip():
                findings.add((*at, key), f"{key} must be a text in quotes, not {shown(text)}")
                return UNFIT
        return ColumnRule(name=rule.get("name", ""), type=rule.get("type", ""))

    def schema(self) -> dict[str, Any]:
        text = {"type": "string", "minLength": 1}
        both = {
            "type": "object",
            "properties": {"name": text, "type": text},
            "additionalProperties": False,
        }
        return {
            "type": "object",
            "additionalProperties": {"anyOf": [text, {"const": False}, both]},
        }


# ---------------------------------------------------------------- what a load waits for


def with_saves(tasks: Sequence[Task]) -> Iterator[Task]:
    """The tasks, a load depending on each save whose file, or task whose target, it loads."""
    made = [
        (_opened(path), task.name)
        for task in tasks
        for path in (*task.targets, *((task.save.output,) if task.save else ()))
    ]
    for task in tasks:
        if task.load is None or not made:
            yield task
            continue
        source = _opened(task.load.source)
        makers = [name for path, name in made if _leads_to(path, source)]
        new = [name for name in makers if name not in (*task.depends_on, task.name)]
        depends_on = (*task.depends_on, *dict.fromkeys(new))
        yield msgspec.structs.replace(task, depends_on=depends_on) if new else task


def _leads_to(made: str, source: str) -> bool:
    """Whether what a task makes is a source, or holds it, or is a pattern that may mean it."""
    holds = source.startswith(f"{made.rstrip('/')}/")
    return holds or fnmatchcase(made, source) or matches(made, source)


def reading_source(task: Task) -> Task:
    """The task, if it is a tracked load with its source among its inputs, as it is of make's."""
    if task.load is None or task.inputs is None or len(read_by(task)) == len(task.inputs):
        return task
    return msgspec.structs.replace(task, inputs=read_by(task))


def read_by(task: Task) -> tuple[str, ...]:
    """All the files that a task declares to read: its inputs, and the source of a load, which
    belongs to them though a task before may have put it into the data folder."""
    inputs, load = task.inputs or (), task.load
    return inputs if load is None or load.source in inputs else (*inputs, load.source)


def may_be_handed_on(task: Task, path: str, needs: Collection[str]) -> bool:
    """Whether a path that a task reads need not be in the project, for it is a load's source, and
    one of the tasks that it `needs` may leave it in the data folder."""
    is_inside = not path.startswith(("/", WORKSPACE))
    return is_inside and task.load is not None and path == task.load.source and bool(needs)


def _opened(path: str) -> str:
    """A path in which names in braces stand for anything."""
    return NAMED.sub("*", path)


# ---------------------------------------------------------------- folded into the task


def fold(table: Mapping[str, Any], fields: dict[str, Any], at: KeyPath, findings: Findings) -> None:
    """Move what only loads and saves have out of a task's fields into their record.

    `table` is the task as pit.toml has it.
    """
    kind = fields.get("type", TaskType.SCRIPT)
    doubtful = findings.doubts((*at, "type"))
    own = {key: fields.pop(key) for key in (*LOAD_KEYS, "output") if key in fields}
    for key in (*LOAD_KEYS, "output"):
        wanted = TaskType.SAVE if key == "output" else TaskType.LOAD
        if key in table and kind is not wanted and not doubtful:
            findings.add((*at, key), f'{key} is only for type = "{wanted}"', on_key=True)
    if kind is TaskType.LOAD:
        _check_load(table, own, at, findings)
        if "source" in own and "table" in own:
            own.pop("output", None)
            fields["load"] = Load(**own)
    elif kind is TaskType.SAVE:
        if "output" not in table and not findings.doubts((*at, "output")):
            hint = 'Name the file in the data folder: output = "claims.parquet"'
            findings.add(at, "a save has no output", hint, on_key=True)
        if "output" in own:
            fields["save"] = Save(output=own["output"])


def _check_load(
    table: Mapping[str, Any], own: Mapping[str, Any], at: KeyPath, findings: Findings
) -> None:
    for key in ("source", "table"):
        if key not in table and not findings.doubts((*at, key)):
            findings.add(at, f"a load has no {key}", on_key=True)
    for key in ("script", "query"):
        if key in table:
            hint = "It loads source into table; what else is to be done is a task of its own"
            findings.add((*at, key), f"a load has no {key}", hint, on_key=True)
    upsert = own.get("mode") is LoadMode.UPSERT
    if upsert and not own.get("key"):
        hint = 'Name the columns that tell rows apart: key = ["id"]'
        findings.add((*at, "mode"), 'mode = "upsert" needs a key', hint)
    if not upsert and "key" in table:
        findings.add((*at, "key"), 'key is only for mode = "upsert"', on_key=True)
    for sign in BRACES.findall(str(own.get("table", ""))):
        unreplaced, hint = braces.told("table", str(own["table"]))
        sentence = unreplaced or f'table {shown(own["table"])} has "{sign}" in it'
        findings.add((*at, "table"), sentence, hint)
        return
