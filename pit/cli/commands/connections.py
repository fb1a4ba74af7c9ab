"""`pit sql --check`: each connection is tried, and where it fails, what to do next."""

from __future__ import annotations

from collections.abc import Sequence

import click
import msgspec

from pit.cli.options import Settings
from pit.cli.scope import scope_of
from pit.cli.terminal.console import Cell, Column
from pit.config.workspace import Workspace
from pit.errors import NoSecrets, PitError
from pit.model import Record
from pit.state.secrets.secrets import Secrets

_SECONDS = 20.0
"""How long a connection may take, unless --timeout says otherwise."""


class Tried(Record):
    """One connection: the shape of an entry of `pit sql --check --json`; times in seconds."""

    connection: str
    scope: str
    dags: tuple[str, ...]
    ok: bool
    database: str = ""
    driver: str = ""
    server: str = ""
    opening: float | None = None
    latency: float | None = None
    remark: str = ""
    error: str = ""
    hint: str = ""


def check_connections(
    settings: Settings,
    names: Sequence[str],
    dag: str | None,
    seconds: float | None,
    *,
    as_json: bool,
) -> None:
    """Try the connections that are named, else all that the DAGs of the workspace name."""
    from pit.cli.secrets.context import Context
    from pit.cli.unlock import unlock

    config = settings.config()
    unlock(settings.console, config)
    secrets = Secrets.of(config)
    if secrets is None:
        raise NoSecrets(names[0] if names else "connections")
    wanted = _wanted(settings.workspace(), secrets, names, dag)
    found = _tried(settings, secrets, wanted, seconds or _SECONDS)
    read = [("read", one.scope, one.connection) for one in found if one.database]
    Context(settings, config).record(read, secrets.path, "pit sql --check")
    if as_json:
        settings.console.json(found)
    elif not found:
        settings.console.out("No DAG names a connection.")
    else:
        _show(settings, found)
    if not all(one.ok for one in found):
        raise click.exceptions.Exit(1)


def _wanted(
    workspace: Workspace, secrets: Secrets, names: Sequence[str], dag: str | None
) -> dict[tuple[str, str], list[str]]:
    """Scope and name of each connection, with the DAGs that use it; an empty scope: not found."""
    used: dict[str, list[str]] = {}
    for each in workspace.dags.values():
        own = {task.connection for task in each.tasks if task.connection}
        own |= {each.connection} if each.connection else set()
        for name in sorted(own):
            used.setdefault(name, []).append(each.name)
    wanted: dict[tuple[str, str], list[str]] = {}
    for name in names or used:
        users = [one for one in used.get(name, []) if dag is None or one == dag]
        if dag is not None or not users:
            scopes = [dag] if dag is not None else [_scope(secrets, name)]
        else:
            scopes = users
        for scope in scopes:
            own_table = bool(scope) and name in secrets.entries(scope)
            key = scope if own_table or dag is not None else _shared(secrets, name, scope)
            wanted.setdefault((key, name), []).extend(users if not own_table else [scope])
    return {key: list(dict.fromkeys(dags)) for key, dags in wanted.items()}


def _shared(secrets: Secrets, name: str, scope: str) -> str:
    """`global` for what all may have, so that it is tried once; else the DAG that may have it."""
    free = name in secrets.entries("global") and name not in secrets.acl
    return "global" if free else scope


def _scope(secrets: Secrets, name: str) -> str:
    try:
        return scope_of(secrets, name, None)
    except PitError:
        return ""


def _tried(
    settings: Settings,
    secrets: Secrets,
    wanted: dict[tuple[str, str], list[str]],
    seconds: float,
) -> list[Tried]:
    from pit.sql import protocol
    from pit.sql.connection.remedies import remedy
    from pit.sql.connection.urls import Database, parse
    from pit.work.sql import querying

    found: list[Tried] = []
    request = protocol.Probe(id=0, database=Database(kind="", display="", key=""))
    with querying.client(settings.root, settings.root) as database:
        for (scope, name), dags in wanted.items():
            facts: dict[str, object] = {"connection": name, "scope": scope, "dags": tuple(dags)}
            try:
                url = secrets.connection_url(scope or "global", name)
                facts["database"] = parse(url, settings.root).display
                done = database.send(url, request, seconds)
            except PitError as error:
                found.append(_failed(facts, str(error), error.hint))
            except querying.Failed as error:
                hint = remedy(error.failure.kind, error.failure.message)
                found.append(_failed(facts, error.failure.message, hint))
            except querying.Ended as error:
                found.append(_failed(facts, str(error), remedy("", str(error))))
            else:
                reached = msgspec.convert(done.answer, protocol.Reached)
                found.append(_reached(facts, reached))
    return found


def _failed(facts: dict[str, object], error: str, hint: str) -> Tried:
    return msgspec.convert(
        {**facts, "ok": False, "error": " ".join(error.split()), "hint": hint}, Tried
    )


def _reached(facts: dict[str, object], reached: object) -> Tried:
    told = msgspec.to_builtins(reached)
    told["latency"] = told.pop("seconds")
    return msgspec.convert({**facts, **told, "ok": True}, Tried)


def _show(settings: Settings, found: Sequence[Tried]) -> None:
    console = settings.console
    columns = (
        Column("CONNECTION"),
        Column("DAGS"),
        Column("SERVER"),
        Column("ANSWERS IN", right=True),
        Column("DRIVER", flexible=True),
    )
    rows = []
    for one in found:
        latency = f"{1000 * one.latency:.1f} ms" if one.latency else "-"
        state = Cell(one.server or ("ok" if one.ok else "failed"), "green" if one.ok else "red")
        dags = ", ".join(one.dags) or one.scope
        rows.append([Cell(one.connection), Cell(dags), state, Cell(latency), Cell(one.driver)])
    console.table(columns, rows)
    for one in found:
        if one.remark:
            console.out(f"\n{one.connection} ({one.database}): {one.remark}")
        if one.error:
            console.out()
            where = f" ({one.database})" if one.database else ""
            console.error(f"{one.connection}{where}: {one.error}", one.hint)
