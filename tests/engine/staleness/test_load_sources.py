"""What a load reads is an input: a source that has changed has the load run."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import fields, replace

from pit.engine.staleness.comparison import definition
from pit.model import (
    Bounds,
    ColumnRule,
    CsvFormat,
    Dag,
    Expect,
    Load,
    LoadMode,
    MissingColumns,
    Save,
    Task,
    TaskType,
)
from tests.builder import Pit

_LOAD = """
[dag.sql]
connection = "w"
[[tasks]]
name = "ld"
type = "load"
source = "{source}"
table = "l"
mode = "create_or_replace"
inputs = [{inputs}]
"""


def _workspace(pit: Pit, toml: str) -> Pit:
    pit.file("secrets.toml", f'[global]\nw = "sqlite:///{pit.root}/w.sqlite"\n', mode=0o600)
    pit.file("pit_config.toml", 'secrets_dir = "secrets.toml"\n')
    return pit.project("p").toml(toml)


def _write(pit: Pit, statement: str) -> None:
    with closing(sqlite3.connect(pit.root / "w.sqlite")) as database:
        database.execute(statement)
        database.commit()


def _table(pit: Pit) -> str:
    return pit.run("sql", "w", "select b from l", "--csv").ok().out.strip()


@pytest.mark.parametrize(
    ("source", "at", "inputs"),
    [
        ("data/l.csv", "projects/p/data/l.csv", ""),
        ("data/*.csv", "projects/p/data/l.csv", '"other"'),
        ("{workspace}/in/l.csv", "in/l.csv", ""),
        ("{workspace}/in/*.csv", "in/l.csv", ""),
        ("{root}/in/l.csv", "in/l.csv", ""),
        ("data/l.csv", "projects/p/data/l.csv", '"data/l.csv"'),
    ],
)
def test_a_changed_source_has_its_load_run(pit: Pit, source: str, at: str, inputs: str) -> None:
    text = _LOAD.replace("{source}", source.replace("{root}", str(pit.root)))
    _workspace(pit, text.replace("{inputs}", inputs)).file("other", "1").file(
        ".pitignore", "data\n"
    )
    path = pit.root / at
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a,b\n1,2\n")
    pit.run("run", "p").ok()
    assert "1 task is current" in pit.run("run", "p").ok().out
    path.write_text("a,b\n1,3\n")
    assert "l.csv" in pit.run("plan", "p").ok().out
    pit.run("run", "p").ok()
    assert _table(pit).splitlines()[-1] == "3"
    assert "1 task is current" in pit.run("run", "p").ok().out


def test_a_source_that_is_not_there_is_a_missing_input(pit: Pit) -> None:
    _workspace(pit, _LOAD.replace("{source}", "data/l.csv").replace("{inputs}", ""))
    pit.run("plan", "p").fails(1, "needs data/l.csv, which is not there")
    pit.run("run", "p").fails(1, "missing_input", "data/l.csv")


def test_a_source_in_the_data_folder_counts_by_what_the_task_before_hands_on(pit: Pit) -> None:
    before = """
[[tasks]]
name = "sv"
type = "save"
query = "select 1 as a, b from s"
output = "l.csv"
inputs = []
fingerprint = "select max(b) from s"
"""
    text = _LOAD.replace("{source}", "l.csv").replace("{inputs}", "") + before
    _workspace(pit, text)
    _write(pit, "create table s (b integer)")
    _write(pit, "insert into s values (5)")
    pit.run("run", "p").ok()
    assert _table(pit).splitlines()[-1] == "5"
    assert "2 tasks are current" in pit.run("run", "p").ok().out
    _write(pit, "update s set b = 6")
    pit.run("run", "p").ok()
    assert _table(pit).splitlines()[-1] == "6"


def test_an_ignored_source_of_a_load_that_always_runs_is_there_for_it(pit: Pit) -> None:
    text = _LOAD.replace("{source}", "big/l.csv").replace("inputs = [{inputs}]\n", "")
    _workspace(pit, text).file("big/l.csv", "a,b\n1,2\n").file(".pitignore", "big\n")
    pit.run("run", "p").ok()
    assert _table(pit).splitlines()[-1] == "2"


# ---------------------------------------------------------------- every key counts, or is named

_ELSEWHERE = {
    "depends_on": "by what those tasks make, and their successes",
    "secrets": "by the databases that they lead to",
    "always": "such a task is not skipped at all",
    "matrix": "an instance has its values",
    "save": "its output and query, below",
}
_NOTHING = {
    "name", "instance_of", "description",
    "timeout", "retries", "retry_delay", "retry_backoff", "retry_max_delay", "retry_on",
    "severity", "max_change",
}  # fmt: skip
"""What decides whether a task succeeds, or is only said of it: not what a success has made."""

_OTHER: dict[str, Any] = {
    "script": "other.sh",
    "type": TaskType.CHECK,
    "runner": "bash",
    "inputs": ("other",),
    "targets": ("other",),
    "tables": ("other",),
    "params": ("p",),
    "connection": "other",
    "query": "select 2",
    "expect": Expect(rows=Bounds(text=">0", least=0)),
    "fingerprint": "select 2",
    "load": Load(source="s", table="t"),
    "env": {"A": "b"},
    "values": {"k": "v"},
}


_OTHER_LOAD: dict[str, Any] = {
    "source": "o",
    "table": "o",
    "schema": "o",
    "mode": LoadMode.UPSERT,
    "key": ("o",),
    "columns": {"o": ColumnRule(skip=True)},
    "format": "csv",
    "csv": CsvFormat(null="o"),
    "max_rejects": 9,
    "missing_columns": MissingColumns.NULL,
}


def test_every_key_of_a_task_counts_or_is_known_not_to(tmp_path: Path) -> None:
    task, load = Task(name="t", script="t.sh", params=()), Load(source="s", table="t")
    dag = Dag(name="d", project=tmp_path, tasks=(task,))
    assert {field.name for field in fields(Task)} == {*_ELSEWHERE, *_NOTHING, *_OTHER}
    assert {field.name for field in fields(Load)} == {*_OTHER_LOAD}
    plain = definition(dag, task, {"p": "1"})
    for name, value in _OTHER.items():
        assert definition(dag, replace(task, **{name: value}), {"p": "1"}) != plain, name
    loading = replace(task, load=load)
    for name, value in _OTHER_LOAD.items():
        other = replace(loading, load=replace(load, **{name: value}))
        assert definition(dag, other, {}) != definition(dag, loading, {}), name
    longer = replace(load, csv=CsvFormat(max_line_size=9))
    said, plainly = (definition(dag, replace(task, load=it), {})["load"] for it in (longer, load))
    assert "max_line_size" in said
    assert "max_line_size" not in plainly, "records of earlier releases do not have it"
    one, two = (replace(task, save=Save(output=name)) for name in ("a.csv", "b.csv"))
    assert definition(dag, one, {}) != definition(dag, two, {})
