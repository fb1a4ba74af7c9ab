"""Looks that ask databases: who had a connection used stands in the audit, as with `pit sql`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pit.engine.staleness import databases
from pit.engine.staleness.questions import asks
from pit.model import Dag, WorkspaceConfig
from pit.state.secrets.secretfile import GLOBAL

if TYPE_CHECKING:
    from pit.cli.options import Settings
    from pit.state.secrets.secrets import Secrets


def record_asked(
    settings: Settings, config: WorkspaceConfig, dag: Dag, secrets: Secrets | None
) -> None:
    """Put the connections by which a look at this DAG asks databases into the audit."""
    if secrets is None:
        return
    wanted = {databases.connection(dag, task) for task in dag.tasks if asks(task)}
    names = [name for name in secrets.names(dag.name) if name in wanted]
    if not names:
        return
    from pit.cli.secrets.context import Context  # few DAGs ask anything

    own = secrets.entries(dag.name)
    read = [("read", dag.name if name in own else GLOBAL, name) for name in names]
    typed = click.get_current_context(silent=True)
    command = typed.info_name if typed is not None else "doit"
    Context(settings, config).record(read, secrets.path, f"pit {command} {dag.name}")
