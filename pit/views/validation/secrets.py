"""What there is to say of the secrets file: what it lacks, and what is odd about it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pit.config.project import FILE
from pit.config.settings import CONFIG_FILE, load_workspace_config
from pit.config.toml.findings import Findings, label
from pit.config.toml.position import KeyPath
from pit.config.workspace import Workspace
from pit.engine.planning import missing_secrets
from pit.engine.staleness import databases
from pit.errors import InvalidConnection, SecretsAbsent, SecretsError, SecretsInvalid, nearest
from pit.model import Dag, Problem, Reason, Task, WorkspaceConfig
from pit.state.secrets import secretfile
from pit.state.secrets.identities import Source
from pit.state.secrets.recipients import file_for
from pit.state.secrets.secretfile import ACL, GLOBAL
from pit.state.secrets.secrets import Secrets
from pit.views.validation.exposure import exposed
from pit.views.validation.remarks import Remarks


def check(config: WorkspaceConfig, workspace: Workspace) -> Remarks:
    """What there is to say of the secrets file.

    One that is named and is not there is a problem; one that cannot be opened here, as on a machine
    without the key, a note.
    """
    path = config.secrets_file
    if path is None:
        return Remarks(notes=tuple(_of_stubs(config, workspace)))
    try:
        content = secretfile.read(path, Source.of(config))
        found = secretfile.structure(path, secretfile.parse(path, content.plain))
    except SecretsInvalid as error:
        told = Problem(path=str(path), sentence=_without(str(error), path), hint=error.hint)
        return Remarks(problems=(told,))
    except SecretsAbsent as error:
        return Remarks(problems=_at_its_name(config, path, error))
    except SecretsError as error:
        return Remarks(notes=(f"the secrets were not checked: {error}",))
    secrets = Secrets(path, found.scopes, found.acl)
    known = sorted({*workspace.dags, *workspace.broken})
    remarks = [*content.warnings, *exposed(content, file_for(config, path))]
    remarks += _strangers(secrets, known) if known else ()
    warnings: list[Problem] = []
    for dag in workspace.dags.values():
        if os.path.realpath(path).startswith(f"{os.path.realpath(dag.project)}{os.sep}"):
            remarks.append(f"{path} lies in the project of {dag.name}, whose tasks can read it")
        warnings += _unmet(secrets, dag, config.root)
    return Remarks(warnings=tuple(warnings), notes=tuple(remarks))


def _of_stubs(config: WorkspaceConfig, workspace: Workspace) -> Iterator[str]:
    """What becomes of SQL where there is no secrets file."""
    dags = [n for n, dag in workspace.dags.items() if any(t.runner == "sql" for t in dag.tasks)]
    if dags:
        but = "is not executed, only shown" if config.stub else "cannot be executed (stub = false)"
        yield f"there is no secrets file, so the SQL of {', '.join(sorted(dags))} {but}"


def _at_its_name(config: WorkspaceConfig, path: Path, error: SecretsAbsent) -> tuple[Problem, ...]:
    """The problem of a secrets file that is not there, at the line that names it."""
    file = config.root / CONFIG_FILE
    named = load_workspace_config(config.root).secrets_file
    if config.secrets_found or named != path:
        return (Problem(path=str(path), sentence=str(error), hint=error.hint),)
    findings = Findings(CONFIG_FILE, file.read_text("utf-8", "replace"))
    findings.add(("secrets_dir",), str(error), error.hint)
    return findings.problems()


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
    return f'"{name}", which is not a DAG here' + (f'; did you mean "{near}"?' if near else "")


def _unmet(secrets: Secrets, dag: Dag, root: Path) -> tuple[Problem, ...]:
    """What a DAG's tasks name and the secrets do not give them, each at its first place."""
    file = dag.project / FILE
    findings = Findings(label(file, root), file.read_text("utf-8", "replace"))
    told: set[str] = set()
    for index, task in enumerate(dag.tasks):
        for lack in missing_secrets.lacks(secrets, dag, task):
            place = _connection_at(task, index)
            if lack.reason is Reason.MISSING_SECRET:
                place = ("tasks", index, "secrets", (task.secrets or ()).index(lack.name))
            if lack.name not in told:
                told.add(lack.name)
                findings.add(
                    place, missing_secrets.sentence(lack.error, secrets, dag), lack.error.hint
                )
        name = databases.connection(dag, task)
        if name is not None and name not in told:
            told.add(name)
            if error := _unusable(secrets, dag, name, root):
                sentence = f'secret "{name}" is not a usable database URL: {error}'
                findings.add(_connection_at(task, index), sentence, error.hint)
    return findings.problems()


def _connection_at(task: Task, index: int) -> KeyPath:
    """Where pit.toml names the connection of a task."""
    return ("tasks", index, "connection") if task.connection else ("dag", "sql", "connection")


def _unusable(secrets: Secrets, dag: Dag, name: str, root: Path) -> InvalidConnection | None:
    """What is wrong with the URL of a connection, which the text never has in it."""
    from pit.sql.connection import urls

    try:
        urls.parse(secrets.connection_url(dag.name, name), root)
    except InvalidConnection as error:
        return error
    except SecretsError:
        return None  # it is not there, which has been told
    return None
