"""What `pit validate` has to say of the secrets file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from pit.cli.secrets.exposure import exposed
from pit.errors import SecretsError, SecretsInvalid, nearest
from pit.model import Dag, Problem, WorkspaceConfig
from pit.spec.config import Workspace
from pit.state import secretfile
from pit.state.identities import Source
from pit.state.recipients import file_for
from pit.state.secretfile import ACL, GLOBAL
from pit.state.secrets import Secrets


def check(config: WorkspaceConfig, workspace: Workspace) -> tuple[list[Problem], list[str]]:
    """Problems of the secrets file, which a run would stumble over, and notes about it.

    A file that cannot be opened here, as on a machine without the key, is a note.
    """
    path = config.secrets_file
    if path is None:
        return [], []
    try:
        content = secretfile.read(path, Source.of(config))
        found = secretfile.structure(path, secretfile.parse(path, content.plain))
    except SecretsInvalid as error:
        return [Problem(path=str(path), sentence=_without(str(error), path), hint=error.hint)], []
    except SecretsError as error:
        return [], [f"the secrets were not checked: {error}"]
    secrets = Secrets(path, found.scopes, found.acl)
    known = sorted({*workspace.dags, *workspace.broken})
    remarks = [*content.warnings, *exposed(content, file_for(config, path))]
    remarks += _strangers(secrets, known) if known else ()
    for dag in workspace.dags.values():
        if os.path.realpath(path).startswith(f"{os.path.realpath(dag.project)}{os.sep}"):
            remarks.append(f"{path} lies in the project of {dag.name}, whose tasks can read it")
        remarks += _connections(secrets, dag)
    return [], remarks


def _without(sentence: str, path: object) -> str:
    return sentence.removeprefix(f"{path}: ").removeprefix(f"{path}:")


def _strangers(secrets: Secrets, known: Sequence[str]) -> Iterator[str]:
    """DAGs that the secrets file names and the workspace does not have."""
    for scope in secrets.scopes:
        if scope not in (GLOBAL, *known):
            yield f"{secrets.path} has a table for {_stranger(scope, known)}"
        for name, value in secrets.entries(scope).items():
            if isinstance(value, dict) and f"{scope}.{name}" in known:
                yield (
                    f'{secrets.path} gives DAG "{scope}" a secret "{name}"; if DAG '
                    f'"{scope}.{name}" is meant, its table needs quotes: ["{scope}.{name}"]'
                )
    for key, dags in secrets.acl.items():
        for dag in dags:
            if dag not in known:
                yield f"{secrets.path} gives {key} in [{ACL}] to {_stranger(dag, known)}"


def _stranger(name: str, known: Sequence[str]) -> str:
    near = nearest(name, known)
    return f'"{name}", which is no DAG here' + (f'; did you mean "{near}"?' if near else "")


def _connections(secrets: Secrets, dag: Dag) -> Iterator[str]:
    """Connections that a DAG's tasks name and that its secrets lack."""
    named = {task.connection: task.name for task in reversed(dag.tasks) if task.connection}
    if dag.connection and any(task.runner == "sql" and not task.connection for task in dag.tasks):
        named[dag.connection] = ""
    for connection, task in named.items():
        try:
            secrets.connection_url(dag.name, connection)
        except SecretsError as error:
            yield f"{dag.name}{'/' if task else ''}{task} has no usable connection: {error}"
