"""The connections that DAGs name: whether each can be used, and if not, what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from pit.config.workspace import Workspace
from pit.errors import BadArgument, PitError, SecretNotFound, SecretRefused
from pit.model import Record
from pit.state.secrets.secretfile import GLOBAL
from pit.state.secrets.secrets import Secrets


class ConnectionView(Record):
    """One connection: an entry of `pit sql --check --json`; times in seconds.

    `database` is its URL without what is secret; `opening` is how long it took to connect,
    `latency` how long a query that does nothing. `remark` is what is odd about a connection that
    works, `error` and `hint` what keeps another from working.
    """

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


# ---------------------------------------------------------------- which


def wanted_connections(
    workspace: Workspace, secrets: Secrets, names: Sequence[str], dag: str | None
) -> dict[tuple[str, str], list[str]]:
    """Scope and name of each connection that is named, else of all that the DAGs name, with the
    DAGs that use it; an empty scope: not found."""
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
    free = name in secrets.entries(GLOBAL) and name not in secrets.acl
    return GLOBAL if free else scope


def _scope(secrets: Secrets, name: str) -> str:
    try:
        return scope_of(secrets, name, None)
    except PitError:
        return ""


def scope_of(secrets: Secrets, name: str, dag: str | None) -> str:
    """The table in which a connection is: that of `dag`, else [global], else the only one."""
    if dag is not None:
        return dag
    having = [scope for scope in secrets.scopes if name in secrets.entries(scope)]
    if name in secrets.acl and GLOBAL in having:
        raise SecretRefused(
            name,
            f'secret "{name}" is for some DAGs only',
            f"Say for which: --dag {secrets.acl[name][0] if secrets.acl[name] else 'NAME'}",
        )
    if GLOBAL in having or not having:
        if not having:
            raise SecretNotFound(name, GLOBAL)
        return GLOBAL
    if len(having) > 1:
        dags = ", ".join(having)
        raise BadArgument(f'several DAGs have a secret "{name}": {dags}', "Say which: --dag NAME")
    return having[0]


# ---------------------------------------------------------------- trying


def tried_connections(
    workspace: Path,
    secrets: Secrets,
    wanted: dict[tuple[str, str], list[str]],
    seconds: float,
) -> list[ConnectionView]:
    """Each connection opened and asked, which may take so many seconds."""
    from pit.sql import protocol
    from pit.sql.connection.remedies import remedy
    from pit.sql.connection.urls import Database, parse
    from pit.work.sql import querying

    found: list[ConnectionView] = []
    request = protocol.Probe(id=0, database=Database(kind="", display="", key=""))
    with querying.client(workspace, workspace) as database:
        for (scope, name), dags in wanted.items():
            facts: dict[str, object] = {"connection": name, "scope": scope, "dags": tuple(dags)}
            try:
                url = secrets.connection_url(scope or GLOBAL, name)
                facts["database"] = parse(url, workspace).display
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


def _failed(facts: dict[str, object], error: str, hint: str) -> ConnectionView:
    return msgspec.convert(
        {**facts, "ok": False, "error": " ".join(error.split()), "hint": hint}, ConnectionView
    )


def _reached(facts: dict[str, object], reached: object) -> ConnectionView:
    told = msgspec.to_builtins(reached)
    told["latency"] = told.pop("seconds")
    return msgspec.convert({**facts, **told, "ok": True}, ConnectionView)
