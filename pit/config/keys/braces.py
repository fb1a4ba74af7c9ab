"""Names in braces where they are not replaced: what to say, and what to write instead."""

from __future__ import annotations

from pit.config.dag.placeholders import names_in
from pit.config.toml.findings import Findings
from pit.model import Dag

_WHERE = "Names in braces are replaced in inputs, targets, source, output and env"
_INSTEAD = {
    "script": "One script serves all instances: it finds the value in PIT_MATRIX_{NAME}, "
    "or in PIT_PARAM_{NAME} for a parameter",
    "table": "Write a load for each table, or a .sql.j2 script that makes them",
    "key": "Write a task for each key",
    "connection": "Write a task for each connection",
    "depends_on": 'Name a task alone for all its instances, or one as "task:value"; an instance '
    "waits by itself for those whose targets are among its inputs",
}


def told(key: str, text: str) -> tuple[str, str]:
    """A sentence about a text with names in braces in a key that takes none, and a hint.

    Both empty if there is no such name in it.
    """
    name = next(iter(names_in(text)), "")
    if not name:
        return "", ""
    instead = _INSTEAD[key].replace("{NAME}", name.upper())
    return f'{key} has "{{{name}}}" in it, which is not replaced', f"{_WHERE}.\n{instead}"


def check_braces(dag: Dag, findings: Findings) -> None:
    """Add what would be taken as it is, braces and all: the name of a secret, or of a column."""
    for index, task in enumerate(dag.tasks):
        known = {*(param.name for param in dag.params), *task.values, *dict(task.matrix)}
        keys = task.load.key if task.load else ()
        for place, column in enumerate(keys):
            if known & set(names_in(column)):
                at = findings.entry(("tasks", index, "key"), place)
                findings.add(at, *told("key", column))
        if names_in(task.connection or ""):
            findings.add(("tasks", index, "connection"), *told("connection", task.connection or ""))
