"""Owners: which workspace a DAG of the store belongs to, since names alone do not tell.

Two workspaces may keep their history in one database. What is current is known by the names of DAGs
and tasks, so that each name is one workspace's at a time: the last that ran it, by its real path.
"""

from __future__ import annotations

from collections.abc import Callable

from pit.state.store.database import Database

_OWNER = "SELECT workspace FROM owners WHERE dag = ?"
_TAKE = "INSERT OR REPLACE INTO owners (dag, workspace) VALUES (?, ?)"


def owner(database: Database, dag: str) -> str:
    """The real path of the workspace that a DAG belongs to; empty if it is nobody's yet."""
    found = database.query(_OWNER, (dag,))
    return str(found[0][0]) if found else ""


def take(database: Database, dag: str, workspace: str, is_free: Callable[[str], bool]) -> str:
    """Makes a DAG that of a workspace, durably, if `is_free` says so of the one that has it.

    Returns whose it is then. Of two who ask at once, one is the second.
    """
    if owner(database, dag) == workspace:
        return workspace
    with database.transaction() as connection:
        found = connection.execute(_OWNER, (dag,)).fetchone()
        if found is not None and not is_free(str(found[0])):
            return str(found[0])
        connection.execute(_TAKE, (dag, workspace))
    return workspace
