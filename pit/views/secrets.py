"""What there is to see of secrets: their names, who may have them, and who asked; never a value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pit.model import Record
from pit.state.secrets.secretfile import GLOBAL, Structure
from pit.state.store.tables.audit import RequestRow, SecretChange

if TYPE_CHECKING:
    from pit.state.store.store import Store


class SecretView(Record):
    """One secret by name: an entry of `pit secrets list --json`.

    `kind` is plain or structured, `fields` are the names of a structured one; `only` the DAGs that
    may have it, null for all whom its scope allows.
    """

    scope: str
    name: str
    kind: str
    fields: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None


def secret_views(found: Structure, scope: str | None) -> Iterator[SecretView]:
    """The secrets of a file, of one scope or of all."""
    for of, entries in found.scopes.items():
        if scope is not None and of != scope:
            continue
        for name, value in entries.items():
            yield SecretView(
                scope=of,
                name=name,
                kind="structured" if isinstance(value, dict) else "plain",
                fields=tuple(value) if isinstance(value, dict) else (),
                only=found.acl.get(name) if of == GLOBAL else None,
            )


class RecipientView(Record):
    """Who can read the file: an entry of `pit secrets list --recipients --json`."""

    key: str
    name: str


# ---------------------------------------------------------------- the audit


class AuditView(Record):
    """The shape of `pit secrets audit --json`: in each list the latest first.

    `requests` are what tasks asked for, `changes` what people did with the file.
    """

    requests: tuple[RequestRow, ...] = ()
    changes: tuple[SecretChange, ...] = ()


class AuditFilter(Record):
    """What of the audit is meant: None means whatever it is. `limit` holds for both lists
    together."""

    dag: str | None
    key: str | None
    run: str | None
    task: str | None
    since: float | None
    limit: int


def audit_view(store: Store, wanted: AuditFilter) -> AuditView:
    """The latest of the audit."""
    run = None if wanted.run is None else store.runs.find(wanted.run).id
    requests = store.audit.requests(
        run=run,
        dag=wanted.dag,
        task=wanted.task,
        key=wanted.key,
        since=wanted.since,
        limit=wanted.limit,
    )
    changes: tuple[SecretChange, ...] = ()
    if run is None and wanted.task is None:
        changes = store.audit.changes(
            scope=wanted.dag, name=wanted.key, since=wanted.since, limit=wanted.limit
        )
    times = [row.at for row in requests] + [row.at for row in changes]
    times.sort(reverse=True)
    oldest = times[: wanted.limit][-1] if times else 0.0
    return AuditView(
        requests=tuple(each for each in requests if each.at >= oldest),
        changes=tuple(each for each in changes if each.at >= oldest),
    )
