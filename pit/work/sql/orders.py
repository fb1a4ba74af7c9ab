"""What a SQL order asks of the SQL process: the request that carries it out."""

from __future__ import annotations

import codecs
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from pit.model import Check, Load, Reason, Save
from pit.order import Order
from pit.project import publish
from pit.sql import protocol
from pit.sql.connection.urls import Database
from pit.work.site import Site
from pit.work.sql import baselines

_KEPT_BACK = frozenset(("PIT_SOCKET", "PIT_MARKER"))


class NoScript(Exception):
    """The script cannot be read."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


def request_of(order: Order, site: Site, database: Database, started: float) -> protocol.Work:
    """The request, still without a number; `started` is when the attempt began, in Unix seconds.

    Raises NoScript.
    """
    script, variables = name_of(order), site.variables_of(order)
    facts: dict[str, Any] = {
        "id": 0,
        "script": script,
        "database": database,
        "variables": for_sql(variables),
        "template": _template(order, site, variables, started),
    }
    path = site.project / order.script
    match order.work:
        case Check(query=query, keep=keep, expect=expect):
            facts["text"] = query or _read(path, script)
            place = site.data / keep
            return protocol.Check(expect=expect, keep=str(place), kept=_told(site, place), **facts)
        case Load() as load:
            return _load(order, site, load, database)
        case Save(output=output, query=query):
            facts["text"] = query or _read(path, script)
            return protocol.Save(path=str(site.data / output), **facts)
    bounded = order.max_change is not None
    base = baselines.path_of(site.workspace, order.dag, order.task) if bounded else ""
    watch = protocol.Watch(tables=order.tables, max_change=order.max_change, base=str(base))
    return protocol.Run(text=_read(path, script), watch=watch, **facts)


def _load(order: Order, site: Site, load: Load, database: Database) -> protocol.Load:
    """A source is looked for in the data folder first, then in the project."""
    (source,) = publish.anchored((load.source,), site.workspace)
    aside = site.data / f"{Path(order.log).stem}.rejects.parquet"
    return protocol.Load(
        id=0,
        script=name_of(order),
        database=database,
        work=replace(load, source=source),
        roots=(str(site.data), str(site.project)),
        aside=str(aside),
        kept=_told(site, aside),
        max_change=order.max_change,
    )


def _told(site: Site, file: Path) -> str:
    """How a file is called to people: by its path from the workspace, if it lies there."""
    root = site.workspace
    return str(file.relative_to(root) if file.is_relative_to(root) else file)


def name_of(order: Order) -> str:
    """The script's path within the project, for messages."""
    if isinstance(order.work, Load):
        return "load"
    return str(Path(order.script)) if order.script else "query"


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


def _template(
    order: Order, site: Site, variables: Mapping[str, str], started: float
) -> protocol.Template | None:
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
    env = {
        name: value
        for name, value in variables.items()
        if name.startswith("PIT_") or name in order.env
    }
    return protocol.Template(
        root=str(site.project),
        rendered=str(site.log(order).with_suffix(".sql")),
        scope=replace(order.template, run=run, env=env),
    )


def for_sql(env: Mapping[str, str]) -> dict[str, str]:
    """What a script may ask for: Pit's variables under their names in lower case.

    So `PIT_PARAM_DATE` is `getvariable('pit_param_date')`.
    """
    return {
        name.lower(): os.fsencode(value).decode(errors="replace")
        for name, value in env.items()
        if name.startswith("PIT_") and name not in _KEPT_BACK
    }
