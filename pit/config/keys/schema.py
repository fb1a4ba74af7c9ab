"""The JSON Schema of pit.toml, by which editors complete and check it."""

from __future__ import annotations

from typing import Any

from pit.config.keys.keys import DAG, OUTPUT, TASK, table_schema


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of pit.toml with descriptions and defaults."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pit.toml",
        "description": "A project of Pit: one DAG, its tasks and its outputs.",
        "type": "object",
        "properties": {
            "dag": {"description": "The DAG as a whole.", **table_schema(DAG)},
            "tasks": _array("The tasks of the DAG.", table_schema(TASK), at_least=1),
            "outputs": _array("What the DAG makes for others.", table_schema(OUTPUT)),
        },
        "required": ["tasks"],
        "additionalProperties": False,
    }


def _array(description: str, items: dict[str, Any], at_least: int = 0) -> dict[str, Any]:
    return {"description": description, "type": "array", "items": items, "minItems": at_least}
