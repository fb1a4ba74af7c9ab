"""Whose a DAG of the store is: two workspaces with one database must not take each other's tasks
for done.

A workspace that was moved or copied keeps its history: whoever had a DAG and no longer lives, or
uses another database, or has no such DAG any more, has left it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pit.errors import PitError, StoreUnavailable
from pit.model import WorkspaceConfig

if TYPE_CHECKING:
    from pit.state.store.store import Store


def claim(config: WorkspaceConfig, dag: str, store: Store) -> None:
    """A run of this workspace has a DAG from here on; StoreUnavailable if it is another's."""
    here = os.path.realpath(config.root)
    found = store.dags.take(dag, here, lambda other: not _is_foreign(config, dag, other))
    if found != here:
        raise shared(config, dag, found)


def require(config: WorkspaceConfig, dag: str, store: Store) -> None:
    """StoreUnavailable if what the store knows of a DAG is another workspace's."""
    found = foreign(config, dag, store)
    if found:
        raise shared(config, dag, found)


def foreign(config: WorkspaceConfig, dag: str, store: Store) -> str:
    """The other workspace that a DAG belongs to; empty if it is ours, or free."""
    found = store.dags.owner(dag)
    return found if found and _is_foreign(config, dag, found) else ""


def shared(config: WorkspaceConfig, dag: str, other: str) -> StoreUnavailable:
    """What is said of a database in which a DAG of this name is another workspace's."""
    return StoreUnavailable(
        f'"{dag}" in {config.metadata_db} is a DAG of the workspace {other}, '
        "which uses the same database: each would skip what the other has done",
        f"Set metadata_db in {config.settings} to a file of its own, "
        "or give one of the two DAGs another name (name in [dag])",
    )


def _is_foreign(config: WorkspaceConfig, dag: str, other: str) -> bool:
    if os.path.realpath(other) == os.path.realpath(config.root):
        return False
    try:
        if os.path.samefile(other, config.root):  # by another way, such as a bind mount
            return False
        return _uses(Path(other), config.metadata_db, dag)
    except FileNotFoundError:
        return False
    except (OSError, PitError):
        return True  # what cannot be looked at may well be in use


def _uses(root: Path, store: Path, dag: str) -> bool:
    """Whether a workspace keeps the history of a DAG of this name in a database."""
    from pit.config.settings import load_workspace_config
    from pit.config.workspace import discover  # only where two workspaces have met

    config = load_workspace_config(root)
    if not os.path.samefile(config.metadata_db, store):
        return False
    found = discover(config)
    return dag in found.dags or dag in found.broken
