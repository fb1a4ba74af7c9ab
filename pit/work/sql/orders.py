"""What a SQL order asks of the SQL process: the request that carries it out."""

from __future__ import annotations

import codecs
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from pit.model import Check, Load, Order, Reason, Save
from pit.sql import protocol
from pit.sql.connection.urls import Database
from pit.work.sql import baselines

_KEPT_BACK = frozenset(("PIT_SOCKET", "PIT_MARKER"))


class NoScript(Exception):
    """The script cannot be read."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


def request_of(order: Order, database: Database, started: float) -> protocol.Work:
    """The request, still without a number; `started` is when the attempt began, in Unix seconds.

    Raises NoScript.
    """
    script = name_of(order)
    facts: dict[str, Any] = {
        "id": 0,
        "script": script,
        "database": database,
        "variables": variables_of(order.env),
        "template": _template(order, started),
    }
    match order.work:
        case Check(query=query, keep=keep, expect=expect):
            facts["text"] = query or _read(Path(order.cwd, order.sql), script)
            place = Path(order.env["PIT_DATA_DIR"], keep)
            return protocol.Check(expect=expect, keep=str(place), kept=_told(order, place), **facts)
        case Load() as load:
            return _load(order, load, database)
        case Save(output=output, query=query):
            facts["text"] = query or _read(Path(order.cwd, order.sql), script)
            return protocol.Save(path=str(Path(order.env["PIT_DATA_DIR"], output)), **facts)
    bounded = order.max_change is not None
    base = baselines.path_of(order.env["PIT_WORKSPACE"], order.dag, order.task) if bounded else ""
    watch = protocol.Watch(tables=order.tables, max_change=order.max_change, base=str(base))
    return protocol.Run(text=_read(Path(order.cwd, order.sql), script), watch=watch, **facts)


def _load(order: Order, load: Load, database: Database) -> protocol.Load:
    """A source is looked for in the data folder first, then in the project."""
    data = order.env["PIT_DATA_DIR"]
    aside = Path(data, f"{Path(order.log).stem or 'load'}.rejects.parquet")
    return protocol.Load(
        id=0,
        script=name_of(order),
        database=database,
        work=load,
        roots=(data, order.cwd),
        aside=str(aside),
        kept=_told(order, aside),
        max_change=order.max_change,
    )


def _told(order: Order, file: Path) -> str:
    """How a file is called to people: by its path from the workspace, if it lies there."""
    root = order.env["PIT_WORKSPACE"]
    return str(file.relative_to(root) if file.is_relative_to(root) else file)


def name_of(order: Order) -> str:
    """The script's path within the project, for messages."""
    if isinstance(order.work, Load):
        return "load"
    if not order.sql:
        return "query"
    path = Path(order.sql)
    return str(path.relative_to(order.cwd)) if path.is_relative_to(order.cwd) else str(path)


def _read(path: Path, name: str) -> str:
    """The script's text; raises NoScript."""
    try:
        data = path.read_bytes()
    except OSError as error:
        sentence = f"{name} cannot be read: {(error.strerror or str(error)).lower()}"
        raise NoScript(Reason.NOT_FOUND, sentence) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            sentence = f"{name}: the script is UTF-16; save it as UTF-8"
            raise NoScript(Reason.SQL_ERROR, sentence) from None
        line = data.count(b"\n", 0, error.start) + 1
        sentence = f"{name}:{line}: the script is not UTF-8 text (byte 0x{data[error.start]:02x})"
        raise NoScript(Reason.SQL_ERROR, sentence) from None


def _template(order: Order, started: float) -> protocol.Template | None:
    """What a template has in scope; None for a script that is sent as it is."""
    if order.template is None:
        return None
    run = order.template.run | {
        "id": order.run,
        "dag": order.dag,
        "task": order.task,
        "attempt": order.attempt,
        "attempts": order.attempts,
        "attempt_started_at": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
    }
    env = order.template.env | {"PIT_ATTEMPT": str(order.attempt)}
    return protocol.Template(root=order.cwd, scope=replace(order.template, run=run, env=env))


def variables_of(env: Mapping[str, str]) -> dict[str, str]:
    """What a script may ask for: Pit's variables under their names in lower case.

    So `PIT_PARAM_DATE` is `getvariable('pit_param_date')`.
    """
    return {
        name.lower(): os.fsencode(value).decode(errors="replace")
        for name, value in env.items()
        if name.startswith("PIT_") and name not in _KEPT_BACK
    }
