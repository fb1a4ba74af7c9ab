"""Rows between files and databases, for tasks that ask: `load_data`, `save_query`.

The work is done in the run's SQL processes, as for tasks that do nothing else; neither a driver nor
a password is needed in the task.
"""

from __future__ import annotations

from typing import Any

from pit.model import Load, LoadMode, Record, Save
from pit.work.socket.call import Call, Method, Methods


class LoadData(Record):
    """The params of `load_data`."""

    file: str
    table: str
    connection: str
    schema: str | None = None
    mode: LoadMode = LoadMode.APPEND
    key: list[str] | None = None


class SaveQuery(Record):
    """The params of `save_query`."""

    connection: str
    query: str
    file: str


def load_data(call: Call, asked: LoadData) -> str:
    """Load a file of the data folder into a table, all of it or nothing."""
    path = call.path(asked.file, exists=True)
    work = Load(
        source=str(path),
        table=asked.table,
        schema=asked.schema or "",
        mode=asked.mode,
        key=tuple(asked.key or ()),
    )
    rows = call.move(work, call.connection(asked.connection))
    return f"{rows} row{'' if rows == 1 else 's'} loaded"


def save_query(call: Call, asked: SaveQuery) -> dict[str, Any]:
    """Write the result of a query to a file of the data folder."""
    path = call.path(asked.file)
    work = Save(output=str(path), query=asked.query)
    rows = call.move(work, call.connection(asked.connection))
    if not path.name.startswith(".pit-"):
        call.facts.saved(call.caller, path)
    return {"file": asked.file, "rows": rows}


METHODS: Methods = {
    "load_data": Method(params=LoadData, serve=load_data),
    "save_query": Method(params=SaveQuery, serve=save_query),
}
