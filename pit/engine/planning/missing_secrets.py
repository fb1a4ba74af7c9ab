"""What tasks want of the secrets and would not get, known before any of them begins.

A run reads its secrets once, so no retry brings what they lack, and whoever waits for the task's
turn learns nothing more. Only names are looked at, never a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from pit.engine.staleness import databases
from pit.errors import SecretNotFound, SecretsError, nearest
from pit.model import Dag, Reason, Record, Task

if TYPE_CHECKING:
    from pit.state.secrets.secrets import Secrets

_NAMED = 3
"""How many tasks a sentence names."""


class Lack(NamedTuple):
    """A name that a task has in pit.toml, as `connection` or in `secrets`, and what is wrong."""

    reason: Reason
    name: str
    error: SecretsError


class Unmet(Record):
    """One thing that the secrets do not give, and the tasks that cannot run without it."""

    tasks: tuple[str, ...]
    sentence: str

    def __str__(self) -> str:
        """All in one sentence."""
        more = len(self.tasks) - _NAMED
        names = ", ".join(self.tasks[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        return f"{names} cannot run: {self.sentence}"


def unmet(secrets: Secrets | None, dag: Dag, tasks: Iterable[Task]) -> tuple[Unmet, ...]:
    """What the secrets do not give these tasks; nothing where there is no secrets file."""
    if secrets is None:
        return ()
    found: dict[tuple[Reason, str], tuple[SecretsError, list[str]]] = {}
    for task in tasks:
        for reason, name, error in lacks(secrets, dag, task):
            found.setdefault((reason, name), (error, []))[1].append(task.name)
    return tuple(
        Unmet(tasks=tuple(names), sentence=sentence(error, secrets, dag))
        for error, names in found.values()
    )


def lacks(secrets: Secrets, dag: Dag, task: Task) -> Iterator[Lack]:
    """What the secrets do not give one task: its connection, and what it may read."""
    connection = databases.connection(dag, task)
    if connection is not None:
        try:
            secrets.connection_url(dag.name, connection)
        except SecretsError as error:
            yield Lack(Reason.MISSING_CONNECTION, connection, error)
    for name in task.secrets or ():
        try:
            secrets.resolve(dag.name, name)
        except SecretsError as error:
            yield Lack(Reason.MISSING_SECRET, name, error)


def sentence(error: SecretsError, secrets: Secrets, dag: Dag) -> str:
    """What an error says, with the name that was meant where one is near."""
    if not isinstance(error, SecretNotFound):
        return str(error)
    near = nearest(error.key, secrets.names(dag.name))
    return f'{error}; did you mean "{near}"?' if near else str(error)
