"""Which databases a task works on, as far as the secrets tell: never a password, never a value.

A task works on the database of its connection, and may work on those that its `secrets` lead to. A
secret that is no database URL, such as the key of an API, says nothing of what the task reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pit.errors import PitError
from pit.model import Dag, Task

if TYPE_CHECKING:
    from pit.state.secrets.secrets import Secrets


def connection(dag: Dag, task: Task) -> str | None:
    """The name of the connection that a task works on, its own or that of its DAG's SQL."""
    return task.connection or (dag.connection if task.runner == "sql" else None)


def url(secrets: Secrets | None, dag: str, name: str | None) -> str | None:
    """The URL of a connection, if the secrets know it."""
    if name is None or secrets is None:
        return None
    try:
        return secrets.connection_url(dag, name)
    except PitError:
        return None


def urls(secrets: Secrets | None, dag: str, keys: Iterable[str], workspace: Path) -> dict[str, str]:
    """Those of the secrets that are database URLs, or whose fields make one, by key."""
    from pit.sql.connection.urls import parse

    found = {key: text for key in keys if (text := url(secrets, dag, key)) is not None}
    for key, text in list(found.items()):
        try:
            parse(text, workspace)
        except (PitError, ValueError):
            del found[key]
    return found


class Connections:
    """The databases of a DAG's tasks, as its secrets have them."""

    def __init__(self, dag: Dag, secrets: Secrets | None, workspace: Path) -> None:
        self._dag, self._secrets, self._workspace = dag, secrets, workspace

    def url(self, task: Task) -> str | None:
        """The URL of the database that a task works on, if it has one and the secrets know it."""
        return self.url_of(connection(self._dag, task))

    def url_of(self, name: str | None) -> str | None:
        """The URL of a connection, for Pit to see which database it is."""
        return url(self._secrets, self._dag.name, name)

    def urls(self, task: Task) -> dict[str, str]:
        """The databases that a task's `secrets` lead to, by key."""
        return urls(self._secrets, self._dag.name, task.secrets or (), self._workspace)
