"""The JSON Schema of pit.toml, held against the keys and the records they fill."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tomli

from pit.config.keys.keys import CONFIG, DAG, MATRIX, OUTPUT, PARAM, TABLES, TASK, Table
from pit.config.keys.movement import LOAD_KEYS
from pit.config.keys.schema import json_schema
from pit.model import Dag, Load, MatrixSource, Output, Param, Record, Task, WorkspaceConfig

SCHEMA = json_schema()
BROKEN = Path(__file__).parents[1] / "broken"


def test_every_key_is_described() -> None:
    for table in TABLES:
        for key in table.keys.values():
            assert key.description.endswith("."), key.name


def test_defaults_are_those_of_the_records() -> None:
    task = SCHEMA["properties"]["tasks"]["items"]["properties"]
    dag = SCHEMA["properties"]["dag"]["properties"]
    defaults = {field.name: field.default for field in msgspec.structs.fields(Dag)}
    assert dag["concurrency"]["default"] == defaults["concurrency"]
    assert dag["overlap"]["default"] == "allow"
    assert task["retries"]["default"] == 0
    assert task["retry_delay"]["default"] == "0s"
    assert task["always"]["default"] is False
    assert task["retry_backoff"]["default"] == 1.0
    assert "default" not in task["timeout"]
    assert CONFIG.defaults()["keep_artifacts"] == ["logs", "project", "data"]
    assert CONFIG.defaults()["retention"] == {
        "days": 30.0,
        "runs": 20,
        "snapshots": 3,
        "history_days": 365.0,
    }


@pytest.mark.parametrize(
    ("table", "record", "others"),
    [
        (DAG, Dag, {"project", "tasks", "outputs"}),
        (TASK, Task, {"instance_of", "values", "tables", "load", "save"}),
        (MATRIX, MatrixSource, set()),
        (OUTPUT, Output, {"extra"}),
        (PARAM, Param, {"name"}),
        (CONFIG, WorkspaceConfig, {"root", "identity", "secrets_found"}),
    ],
)
def test_every_field_has_a_key(table: Table, record: type[Record], others: set[str]) -> None:
    fields = {field.name for field in msgspec.structs.fields(record)}
    keys = {key.field or key.name for key in table.keys.values()}
    assert keys - {*LOAD_KEYS, "output"} == fields - others


def test_every_field_of_a_load_has_a_key() -> None:
    fields = {field.name for field in msgspec.structs.fields(Load)}
    assert set(LOAD_KEYS) == fields - {"schema"}


def test_what_is_refused_as_later_is_not_a_key() -> None:
    for table in TABLES:
        assert not set(table.later) & set(table.keys)


KINDS: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}


def fits(schema: dict[str, Any], value: Any) -> bool:
    """Whether a value is valid, by the part of JSON Schema that the schema of pit.toml uses."""
    if "anyOf" in schema and not any(fits(one, value) for one in schema["anyOf"]):
        return False
    if "not" in schema and fits(schema["not"], value):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    kind = KINDS[schema["type"]] if "type" in schema else object
    if not isinstance(value, kind) or (isinstance(value, bool) and kind not in (object, bool)):
        return False
    return _inside_fits(schema, value)


def _inside_fits(schema: dict[str, Any], value: Any) -> bool:
    if isinstance(value, str):
        long_enough = len(value) >= schema.get("minLength", 0)
        return long_enough and re.search(schema.get("pattern", ""), value) is not None
    if isinstance(value, int | float):
        return bool(value >= schema.get("minimum", value))
    if isinstance(value, list):
        enough = len(value) >= schema.get("minItems", 0)
        return enough and all(fits(schema.get("items", {}), item) for item in value)
    if isinstance(value, dict):
        return _table_fits(schema, value)
    return True


def _table_fits(schema: dict[str, Any], table: dict[str, Any]) -> bool:
    if any(name not in table for name in schema.get("required", ())):
        return False
    known, more = schema.get("properties", {}), schema.get("additionalProperties", True)
    names = schema.get("propertyNames", {})
    return all(
        fits(names, name)
        and (more if isinstance(more, bool) and name not in known else True)
        and fits(known.get(name, more if isinstance(more, dict) else {}), value)
        for name, value in table.items()
    )


GOOD = """
[dag]
name = "claims"
schedule = ["0 6 * * *", "@daily"]
overlap = "wait"
timeout = "1h30m"
requires = { raw = "24h", other = { max_age = "1.5h" } }
env = { A = "1" }
params = { date = { type = "date", default = 2026-01-31 }, n = { default = "x" } }
sql = { connection = "w" }

[[tasks]]
name = "a"
script = "tasks/a.sh"
runner = "$ node"
retries = 2
retry_backoff = 1.5
inputs = []
always = true
matrix = { a = ["x", 1], b = { glob = "*.csv" }, c = { file = "c.csv", column = "d" } }

[[outputs]]
name = "x"
anything = 3
"""


def test_the_schema_accepts_what_pit_accepts() -> None:
    assert fits(SCHEMA, tomli.loads(GOOD))
    assert fits(SCHEMA, tomli.loads(GOOD.replace('{ raw = "24h", other', '["raw"] # ')))


SEEN_BY_AN_EDITOR = (
    "empty",
    "environment",
    "later_keys",
    "matrix",
    "names",
    "no_tasks",
    "not_tables",
    "numbers_and_durations",
    "params",
    "reserved_name",
    "runners",
    "single_brackets",
    "top_level_keys",
    "unknown_keys",
    "wrong_types",
)


@pytest.mark.parametrize("fault", SEEN_BY_AN_EDITOR)
def test_an_editor_sees_the_fault_too(fault: str) -> None:
    assert not fits(SCHEMA, tomli.loads((BROKEN / fault / "pit.toml").read_text()))


def test_an_editor_is_never_stricter_than_pit() -> None:
    for fault in (
        "cycle",
        "matrix_meetings",
        "matrix_too_large",
        "names_in_braces",
        "own_targets",
        "scripts",
        "targets",
        "unknown_dependencies",
    ):
        data = tomli.loads((BROKEN / fault / "pit.toml").read_text())
        data["tasks"] = [task for task in data["tasks"] if "script" in task]
        for task in data["tasks"]:
            task["targets"] = list(dict.fromkeys(task.get("targets", ())))
        assert fits(SCHEMA, data)
