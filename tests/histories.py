"""Histories as earlier releases have written them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from pit.state.store import migrations


def as_before(path: Path) -> None:
    """Makes of a history one that the release before owners, standings and makings has written."""
    old = path.with_name("old.db")
    with closing(sqlite3.connect(old)) as store:
        for step in migrations.MIGRATIONS[:3]:
            for statement in step:
                store.execute(statement)
        store.execute("ATTACH ? AS later", (str(path),))
        tables = store.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'")
        for (table,) in tables.fetchall():
            names = [row[1] for row in store.execute(f"PRAGMA main.table_info({table})")]
            columns = ", ".join(names)
            store.execute(f"DELETE FROM main.{table}")
            store.execute(f"INSERT INTO main.{table} SELECT {columns} FROM later.{table}")
        store.execute(f"PRAGMA main.application_id = {migrations.APPLICATION}")
        store.execute("PRAGMA main.user_version = 3")
        store.commit()
    for journal in ("-wal", "-shm"):
        Path(f"{path}{journal}").unlink(missing_ok=True)
    old.rename(path)
