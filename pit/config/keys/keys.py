"""Every key of pit.toml and pit_config.toml: its kind, the field it fills, what it means.

Declared once: conversion, the check for unknown keys, and the JSON Schema all follow these
tables. Defaults are those of the records in `pit.model`.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from pit.config.dag import params
from pit.config.dag.dataflow import WORKSPACE, WORKSPACE_NAME
from pit.config.keys.instances import encoded
from pit.config.keys.movement import FORMATS, Columns, Saved, TableName
from pit.config.keys.sqlvalues import CheckedValue, RowCount, Share, Shares, Target
from pit.config.keys.values import (
    UNFIT,
    VARIABLE,
    ConfigPath,
    DataPath,
    Duration,
    Environment,
    Kind,
    ListOf,
    MatrixValue,
    Name,
    Number,
    OneOf,
    Runner,
    Schedules,
    Script,
    Text,
    Timezone,
    Truth,
    Whole,
    shown,
)
from pit.config.toml.findings import Findings
from pit.config.toml.position import KeyPath
from pit.errors import nearest
from pit.fs.patterns import wild_span
from pit.model import (
    CsvFormat,
    Dag,
    Expect,
    LoadMode,
    MatrixSource,
    MissingColumns,
    Output,
    Overlap,
    Param,
    ParamType,
    Record,
    Retention,
    RetryOn,
    Severity,
    Task,
    TaskType,
    WorkspaceConfig,
)

RESERVED_NAMES = ("global", "acl", "pit")
"""Names that no DAG may have, because the secrets file gives them a meaning."""

ARTIFACTS = ("logs", "project", "data")


_MEANT = {
    "retry": "retries",
    "needs": "depends_on",
    "deps": "depends_on",
    "upstream": "depends_on",
    "cron": "schedule",
}
"""Keys by names that other tools have for them, used where the table has the key that is meant."""

_MEANT_OF_FILES = {
    "outputs": "targets",
    "produces": "targets",
    "outs": "targets",
    "sources": "inputs",
    "input": "inputs",
}
"""The same of a task without a type: a load has a source of its own, a save an output."""

COMMANDS = ("command", "cmd", "run", "shell", "bash", "exec")
"""Keys by which other tools take a command."""


class Key(NamedTuple):
    """One key: `field` is the record's field, if it is called otherwise."""

    name: str
    kind: Kind
    description: str
    field: str = ""
    required: bool = False


class Table:
    """One table of a file: its keys, those that a later version will know, the record it fills."""

    def __init__(
        self,
        title: str,
        record: type[Record] | None,
        *keys: Key,
        later: tuple[str, ...] = (),
        is_open: bool = False,
    ) -> None:
        self.title, self.record, self.later, self.is_open = title, record, later, is_open
        self.keys = {key.name: key for key in keys}
        self._required = [key.name for key in keys if key.required]

    def read(self, table: dict[str, Any], at: KeyPath, findings: Findings) -> dict[str, Any]:
        """The record's fields from a TOML table; unfit and unknown ones are reported."""
        fields = {}
        keys = self.keys
        for name, value in table.items():
            key = keys.get(name)
            if key is None:
                self._unknown(name, table, at, findings)
                continue
            read = key.kind.read(value, (*at, name), findings)
            if read is not UNFIT:
                fields[key.field or name] = read
        for name in self._required:
            if name not in table and not findings.doubts((*at, name)):
                findings.add(at, f'{self.title} has no "{name}"', on_key=True)
        return fields

    def _unknown(
        self, name: str, table: Mapping[str, Any], at: KeyPath, findings: Findings
    ) -> None:
        if name in self.later:
            sentence = f"key {shown(name)} is not yet supported by this version of Pit"
        elif self.is_open:
            return
        else:
            near, meant = self._meant(name, table)
            findings.doubt((*at, near))
            sentence = f"unknown key {shown(name)} in {self.title}{meant}"
        findings.add((*at, name), sentence, on_key=True)

    def _meant(self, name: str, table: Mapping[str, Any]) -> tuple[str, str]:
        """The key that an unknown one stands for, or "", and the end of a sentence about it."""
        if name in COMMANDS and "script" in self.keys:
            return "script", '; write the command into a script: script = "a.sh"'
        of_files = {} if "type" in table else _MEANT_OF_FILES
        usual = (_MEANT | of_files).get(name.lower(), name)
        near = nearest(usual if usual in self.keys else name, self.keys)
        return near or "", f'; did you mean "{near}"?' if near else ""

    def defaults(self) -> dict[str, Any]:
        """Default values by key, as the file would write them; keys without one are absent."""
        if self.record is None:
            return {}
        fields = {field.name: field.default for field in msgspec.structs.fields(self.record)}
        found = {key.name: (key, fields.get(key.field or key.name)) for key in self.keys.values()}
        return {
            name: key.kind.written(value)
            for name, (key, value) in found.items()
            if value is not msgspec.NODEFAULT and value not in (None, "", (), {})
        }


class SubTable(Kind):
    """A table with keys of its own; `field` picks one value out of it, else all become a record."""

    what = "a table"

    def __init__(self, table: Table, field: str = "") -> None:
        self.table, self._field = table, field

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if not isinstance(value, dict):
            return self.refuse(value, at, findings)
        fields = self.table.read(value, at, findings)
        if self._field:
            return fields.get(self._field, UNFIT)
        return self.table.record(**fields) if self.table.record else fields

    def schema(self) -> dict[str, Any]:
        return table_schema(self.table)

    def written(self, value: Any) -> Any:
        return self.table.defaults()


def table_schema(table: Table) -> dict[str, Any]:
    """JSON Schema of one table, with descriptions and defaults for editors."""
    defaults = table.defaults()
    properties = {}
    for key in table.keys.values():
        properties[key.name] = {"description": key.description, **key.kind.schema()}
        if key.name in defaults:
            properties[key.name]["default"] = defaults[key.name]
    required = [key.name for key in table.keys.values() if key.required]
    return {
        "type": "object",
        "properties": properties,
        **({"required": required} if required else {}),
        "additionalProperties": table.is_open,
    }


class Params(Kind):
    """`[dag.params]`: a table of parameter declarations."""

    what = "a table of parameters"

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if not isinstance(value, dict):
            return self.refuse(value, at, findings)
        seen: dict[str, str] = {}
        found = []
        for name, declared in value.items():
            where = (*at, name)
            self._check_name(name, seen, where, findings)
            if isinstance(declared, dict):
                fields = PARAM.read(declared, where, findings)
                found.append(self._param(name, fields, where, findings))
            else:
                hint = f'Write {name} = {{ type = "string", default = … }}'
                findings.add(where, f"{name} must be a table, not {shown(declared)}", hint)
                found.append(Param(name=name, type=ParamType.STRING))
        return tuple(found)

    def _check_name(self, name: str, seen: dict[str, str], at: KeyPath, findings: Findings) -> None:
        if not VARIABLE.fullmatch(name):
            sentence = f"{shown(name)} is not a valid parameter name"
            hint = 'Parameter names are made of A-Z a-z 0-9 "_" and do not begin with a digit'
            findings.add(at, sentence, hint, on_key=True)
        other = seen.setdefault(name.upper(), name)
        if other != name:
            sentence = f'parameters "{other}" and "{name}" differ only in case'
            hint = f"Both would be the variable PIT_PARAM_{name.upper()}"
            findings.add(at, sentence, hint, on_key=True)

    def _param(self, name: str, fields: dict[str, Any], at: KeyPath, findings: Findings) -> Param:
        kind = fields.get("type", ParamType.STRING)
        choices = fields.get("choices", ())
        if kind is ParamType.CHOICE and not choices:
            findings.add(at, f'parameter "{name}" of type "choice" has no choices')
        if kind is not ParamType.CHOICE and choices:
            findings.add((*at, "choices"), 'choices are only for type = "choice"', on_key=True)
        param = Param(
            name=name, type=kind, choices=choices, description=fields.get("description", "")
        )
        if "default" not in fields:
            return param
        default = self._default(param, fields["default"], (*at, "default"), findings)
        return msgspec.structs.replace(param, default=default)

    def _default(self, param: Param, value: Any, at: KeyPath, findings: Findings) -> str | None:
        """The default as text, canonical except for words such as "today"."""
        text = _as_text(param.type, value)
        if text is None:
            wanted = params.described(param)
            findings.add(at, f"default must be {wanted}, not {shown(value)}")
            return None
        try:
            canonical = params.canonical(param, text, datetime.date(2000, 1, 1))
        except ValueError as error:
            if param.type is not ParamType.CHOICE or param.choices:
                findings.add(at, f"default {error}")
            return None
        return text if text in params.DAYS and param.type is ParamType.DATE else canonical

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^{VARIABLE.pattern}$"},
            "additionalProperties": table_schema(PARAM),
        }


def _as_text(kind: ParamType, value: Any) -> str | None:
    """A TOML default as text if its type is the parameter's, else None."""
    if kind is ParamType.BOOL:
        return str(value).lower() if isinstance(value, bool) else None
    if isinstance(value, bool):
        return None
    if kind is ParamType.INT:
        return str(value) if isinstance(value, int) else None
    if kind is ParamType.FLOAT:
        return repr(float(value)) if isinstance(value, int | float) else None
    if kind is ParamType.DATE and type(value) is datetime.date:
        return value.isoformat()
    return value if isinstance(value, str) else None


class Anything(Kind):
    """Any value; the key's owner looks at it."""

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        return value

    def schema(self) -> dict[str, Any]:
        return {}


class Requires(Kind):
    """`[dag.requires]`: DAGs and the age in seconds that their last success may have."""

    what = 'a table such as { other_dag = { max_age = "24h" } }, or a list of names'

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if isinstance(value, list):
            names = ListOf(Text()).read(value, at, findings)
            return dict.fromkeys(names, math.inf)
        if not isinstance(value, dict):
            return self.refuse(value, at, findings)
        return {name: self._age(age, (*at, name), findings) for name, age in value.items()}

    def _age(self, value: Any, at: KeyPath, findings: Findings) -> float:
        if isinstance(value, dict):
            age = REQUIRE.read(value, at, findings).get("max_age", math.inf)
        else:
            age = Duration().read(value, at, findings)
        return math.inf if age is UNFIT else float(age)

    def schema(self) -> dict[str, Any]:
        age = {"anyOf": [Duration().schema(), table_schema(REQUIRE)]}
        names = {"type": "array", "items": Name().schema(), "uniqueItems": True}
        return {"anyOf": [{"type": "object", "additionalProperties": age}, names]}


class Matrix(Kind):
    """`[tasks.matrix]`: keys with their values listed, or with the source that has them.

    A key whose values cannot be used keeps an empty source, so that its name stays known.
    """

    what = 'a table such as { airport = ["JFK", "LGA"] }'

    def __init__(self) -> None:
        self._values = ListOf(MatrixValue(), "a list of values, { glob = … } or { file = … }")

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if not isinstance(value, dict):
            return self.refuse(value, at, findings)
        if not value:
            findings.add(at, "the matrix has no keys", on_key=True)
        seen: dict[str, str] = {}
        for name in value:
            self._check_name(name, seen, (*at, name), findings)
        return tuple((key, self._axis(axis, (*at, key), findings)) for key, axis in value.items())

    def _check_name(self, name: str, seen: dict[str, str], at: KeyPath, findings: Findings) -> None:
        if name == WORKSPACE_NAME:
            sentence = f'"{name}" cannot be a matrix key: {WORKSPACE} is the workspace'
            findings.add(at, sentence, on_key=True)
        if not VARIABLE.fullmatch(name):
            hint = 'Matrix keys are made of A-Z a-z 0-9 "_" and do not begin with a digit'
            findings.add(at, f"{shown(name)} is not a valid matrix key", hint, on_key=True)
        other = seen.setdefault(name.upper(), name)
        if other != name:
            sentence = f'matrix keys "{other}" and "{name}" differ only in case'
            hint = f"Both would be the variable PIT_MATRIX_{name.upper()}"
            findings.add(at, sentence, hint, on_key=True)

    def _axis(self, axis: Any, at: KeyPath, findings: Findings) -> tuple[str, ...] | MatrixSource:
        if isinstance(axis, dict):
            return self._source(axis, at, findings)
        values = self._values.read(axis, at, findings)
        if axis == []:
            findings.add(at, f"matrix key {shown(at[-1])} has no values")
        elif values is not UNFIT:
            self._check_case(values, at, findings)
        return values if values is not UNFIT and values else MatrixSource()

    def _check_case(self, values: tuple[str, ...], at: KeyPath, findings: Findings) -> None:
        seen: dict[str, str] = {}
        for value in values:
            other = seen.setdefault(encoded(value).lower(), value)
            if other != value:
                sentence = f"matrix values {shown(other)} and {shown(value)} differ only in case"
                findings.add(at, sentence, "Names that differ only in case count as the same")

    def _source(self, table: dict[str, Any], at: KeyPath, findings: Findings) -> MatrixSource:
        source = MatrixSource(**MATRIX.read(table, at, findings))
        if ("glob" in table) == ("file" in table):
            what = "glob and file" if "glob" in table else "neither glob nor file"
            findings.add(at, f"matrix key {shown(at[-1])} has {what}; it needs one of them")
        if source.glob and wild_span(source.glob) is None:
            hint = f"For the lines of a file write {{ file = {shown(source.glob)} }}"
            findings.add((*at, "glob"), f"{shown(source.glob)} has no wildcard", hint)
        if source.column and not source.file.lower().endswith(TABLES_OF_VALUES):
            findings.add((*at, "column"), "column is only for .csv and .tsv files", on_key=True)
        return source

    def schema(self) -> dict[str, Any]:
        values = {**self._values.schema(), "minItems": 1}
        return {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": f"^{VARIABLE.pattern}$"},
            "additionalProperties": {"anyOf": [values, table_schema(MATRIX)]},
        }


TABLES_OF_VALUES = (".csv", ".tsv")
"""Files of values with columns and a header; any other has a value per line."""

_KEEP = ListOf(OneOf(ARTIFACTS), 'a list of "logs", "project", "data"')

PARAM = Table(
    "[dag.params]",
    None,
    Key("type", OneOf(tuple(ParamType), make=ParamType), "What it takes; string if absent."),
    Key("default", Anything(), "Value when none is given; without it the parameter is required."),
    Key("choices", ListOf(Text(), "a list of texts"), 'The values of a "choice".'),
    Key("description", Text(blank=True), "What it is for."),
)

REQUIRE = Table(
    "[dag.requires]",
    None,
    Key("max_age", Duration(), "How old that DAG's last success may be; any age if absent."),
)

SQL = Table(
    "[dag.sql]",
    None,
    Key("connection", Text(), "Name of the secret with the database URL for SQL tasks."),
)

DAG = Table(
    "[dag]",
    Dag,
    Key("name", Name(RESERVED_NAMES), "Name of the DAG; the project folder's if absent."),
    Key("description", Text(blank=True), "What it does, for people."),
    Key("owner", Text(blank=True), "Who is responsible for it."),
    Key("tags", ListOf(Text(), "a list of texts"), "Words to group DAGs by."),
    Key(
        "schedule",
        Schedules(),
        'When to run: a cron expression of 5 fields, @daily, @every 10m, or a list; "CRON_TZ=… " '
        "in front sets a time zone.",
        field="schedules",
    ),
    Key("timezone", Timezone(), "Time zone of the schedule; the machine's if absent."),
    Key(
        "overlap",
        OneOf(tuple(Overlap), {"wait": "queue"}, Overlap),
        "What happens to a run while another run of this DAG is alive: run too (allow), end at "
        "once (skip), or wait (queue).",
    ),
    Key("timeout", Duration(none_if_zero=True), "Longest time of a whole run; no limit if absent."),
    Key("concurrency", Whole(1), "Tasks that may run at once."),
    Key(
        "keep_artifacts",
        _KEEP,
        "Parts of a run that stay after it: logs, project, data; [] keeps the history alone; the "
        "workspace's setting if absent.",
    ),
    Key("requires", Requires(), "DAGs that must have succeeded before a run of this one starts."),
    Key("env", Environment(), "Environment variables of every task."),
    Key("params", Params(), "Parameters that a run takes with -p name=value."),
    Key("sql", SubTable(SQL, "connection"), "Settings of SQL tasks.", field="connection"),
    later=("webhook", "ftp_watch", "dbt", "transform", "git_url", "git_ref"),
)

MATRIX = Table(
    "[tasks.matrix]",
    MatrixSource,
    Key(
        "glob",
        DataPath(),
        "A pattern; for each file that it matches, what its wildcards stand for is a value.",
    ),
    Key("file", DataPath(), "A file of values: one per line, or a column of a .csv or .tsv file."),
    Key("column", Text(), "The column of a .csv or .tsv file; the one named as the key if absent."),
)

EXPECT = Table(
    "expect",
    Expect,
    Key("rows", RowCount(), "How many rows the query returns; none if nothing is expected."),
    Key("value", CheckedValue(), "What the one value of its one row is."),
    Key("max_null", Shares(), "The largest share of NULLs in a column, by column."),
)

CSV = Table(
    "csv",
    CsvFormat,
    Key(
        "delimiter", Text(blank=True), "What separates values; found out if absent, a tab in .tsv."
    ),
    Key("header", Truth(), "Whether the first line has the columns' names."),
    Key("null", Text(blank=True), "What stands for a missing value, without quotes."),
    Key("encoding", Text(), "How the text is encoded, such as utf-8 or latin-1."),
    Key(
        "max_line_size",
        Whole(1, 1_000_000_000),
        "How many bytes a line may have, all lines of its quoted values included.",
    ),
)

TASK = Table(
    "[[tasks]]",
    Task,
    Key("name", Name(), "Name of the task, unique in the DAG.", required=True),
    Key(
        "script",
        Script(),
        "The script to run, relative to the project; a check or a save may have a query instead, "
        "a load has none.",
    ),
    Key(
        "type",
        OneOf(("load", "save", "check"), make=TaskType),
        "What a SQL task is, beside a script that is run: load (files into a table), save (a query "
        "into a file), check (a query whose result must be as expected).",
    ),
    Key(
        "runner",
        Runner(),
        'python, bash, sql, or "$ command", to which the script is added; by the script\'s '
        "extension (.py, .sh, .sql, .sql.j2) if absent.",
    ),
    Key("depends_on", ListOf(Text(), "a list of task names"), "Tasks that must succeed before."),
    Key("timeout", Duration(none_if_zero=True), "Longest time of one attempt; no limit if absent."),
    Key("retries", Whole(0), "Further attempts after a failed one."),
    Key("retry_delay", Duration(), "Time between two attempts."),
    Key("retry_backoff", Number(1), "Factor by which the delay grows with every further attempt."),
    Key("retry_max_delay", Duration(), "Longest delay between two attempts; no limit if absent."),
    Key(
        "retry_on",
        OneOf(tuple(RetryOn), make=RetryOn),
        "For SQL tasks: transient (deadlocks, lost connections and the like) or any failure; "
        "transient if absent.",
    ),
    Key(
        "inputs",
        ListOf(DataPath(named=True), "a list of paths"),
        "Files and patterns that the task reads; they make it tracked: it may be skipped when it "
        "is current.",
    ),
    Key(
        "targets",
        ListOf(Target(), "a list of paths"),
        'Files and folders that it must make, and tables of its connection: "table:mart.delays".',
    ),
    Key(
        "params",
        ListOf(Text(), "a list of parameter names"),
        "The only parameters that the task gets; all if absent.",
    ),
    Key(
        "secrets",
        ListOf(Text(), "a list of names of secrets"),
        "The only secrets that the task may read; all that its DAG may if absent.",
    ),
    Key("connection", Text(), "The secret with the database URL; [dag.sql] connection if absent."),
    Key("query", Text(), "The query of a check or a save, instead of a script."),
    Key("expect", SubTable(EXPECT), "What the query of a check returns; no rows if absent."),
    Key(
        "severity",
        OneOf(tuple(Severity), make=Severity),
        "What a check that finds something does: fail (error), or succeed with a warning (warn).",
    ),
    Key(
        "max_change",
        Share(most=1000),
        "For SQL tasks that write tables: by how much the number of rows of any may change.",
    ),
    Key(
        "fingerprint",
        Text(),
        "A query on the task's connection; it runs again when the result changes.",
    ),
    Key(
        "source",
        DataPath(named=True),
        "The files of a load: a path or pattern, in the run's data folder or else in the project.",
    ),
    Key("table", TableName(), "The table of a load, with its schema or without."),
    Key(
        "mode",
        OneOf(tuple(LoadMode), make=LoadMode),
        "What a load does with the rows that are there: append to them (append), replace them "
        "(truncate_and_load), make the table anew (create_or_replace), or update those with the "
        "same key (upsert); append if absent.",
    ),
    Key(
        "key", ListOf(Text(), "a list of columns"), "The columns that tell rows apart, for upsert."
    ),
    Key(
        "columns",
        Columns(),
        "What becomes of the columns of a load's files: a new name, another type, or nothing.",
    ),
    Key(
        "format",
        OneOf(FORMATS),
        "What the files of a load are; by what their names end with if absent.",
    ),
    Key("csv", SubTable(CSV), "How the CSV files of a load are written."),
    Key(
        "max_rejects",
        Whole(0),
        "How many rows of a load may be set aside because a value does not fit; none if absent.",
    ),
    Key(
        "missing_columns",
        OneOf(tuple(MissingColumns), make=MissingColumns),
        "What a file is that lacks a column which other files of a load have: a mistake (error), "
        "or NULL there (null); error if absent.",
    ),
    Key("output", Saved(named=True), "The file that a save writes, in the run's data folder."),
    Key("env", Environment(), "Environment variables of this task, over those of the DAG."),
    Key("description", Text(blank=True), "What it does, for people."),
    Key("always", Truth(), "Whether it runs every time, though it declares its inputs."),
    Key("matrix", Matrix(), "Keys and their values: one task is made for each combination."),
)

OUTPUT = Table(
    "[[outputs]]",
    Output,
    Key("name", Text(), "Name of the output, unique in the DAG.", required=True),
    Key("type", Text(blank=True), "What it is, such as table or file."),
    Key("location", Text(blank=True), "Where it is, such as warehouse.staging.claims."),
    Key("task", Name(), "The task that makes it; found by the location if absent."),
    is_open=True,
)

RETENTION = Table(
    "[retention]",
    Retention,
    Key("days", Number(0), "Runs younger than this are kept."),
    Key("runs", Whole(0), "How many of the last runs of each DAG are kept, whatever their age."),
    Key(
        "snapshots",
        Whole(0),
        "How many of the last successes of each DAG keep their project folder.",
    ),
    Key("history_days", Number(0), "How many days the history of runs is kept."),
)

CONFIG = Table(
    "pit_config.toml",
    WorkspaceConfig,
    Key("runs_dir", ConfigPath(), "Folder of the runs; runs if absent."),
    Key("metadata_db", ConfigPath(), "File of the run history; pit_metadata.db if absent."),
    Key(
        "secrets_dir",
        ConfigPath(),
        "The secrets file (not a folder); secrets.toml or secrets.toml.age if absent.",
        "secrets_file",
    ),
    Key(
        "stub",
        Truth(),
        "Whether a run without a secrets file only shows its SQL and succeeds; else it fails.",
    ),
    Key(
        "secrets_recipients",
        ConfigPath(),
        "The public keys that the secrets file is encrypted for, one a line; age-recipients.txt "
        "beside the secrets file if absent.",
    ),
    Key(
        "age_identity",
        ConfigPath(),
        "The private key that opens an encrypted secrets file; ~/.config/pit/age-key.txt if "
        "absent.",
    ),
    Key("keep_artifacts", _KEEP, "Parts of a run that stay after it: logs, project, data."),
    Key("retention", SubTable(RETENTION), "How long runs are kept."),
    later=(
        "repo_cache_dir",
        "api_token",
        "dbt_driver",
        "notify",
        "executor",
        "lake",
    ),
)

FILE_TABLES = ("dag", "tasks", "outputs")
"""The tables at the top of pit.toml."""

FILE_LISTS = ("tasks", "outputs")
"""Those of them that come once for each entry, in two brackets."""

TABLES = (DAG, TASK, MATRIX, CSV, EXPECT, OUTPUT, PARAM, REQUIRE, SQL, CONFIG, RETENTION)
"""All tables of both files, for whoever documents them."""
