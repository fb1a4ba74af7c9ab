"""Order: numbers that only grow, by which snapshots come before and after each other.

A clock may be set back, so none decides which of two results is the newer one. A run draws a number
when it begins its snapshot, whoever accepts what stands draws one too, and records bear it. The
number of a run itself would not do: one that began earlier may well take its snapshot later.
"""

from __future__ import annotations

from pit.state.store.database import Database

_NEXT = """
    INSERT INTO counters (name, value) VALUES ('snapshot', 1)
    ON CONFLICT (name) DO UPDATE SET value = value + 1"""
_DRAWN = "SELECT value FROM counters WHERE name = 'snapshot'"
_TAKEN = "UPDATE runs SET snapshot = ? WHERE id = ?"


class Snapshots:
    """The part of a store that numbers snapshots."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def draw(self, run_id: str = "") -> int:
        """The next number, durably; kept as that of the snapshot which a run is about to take."""
        with self._database.transaction() as connection:
            connection.execute(_NEXT)
            (number,) = connection.execute(_DRAWN).fetchone()
            if run_id:
                connection.execute(_TAKEN, (number, run_id))
        return int(number)

    def drawn(self, run_id: str) -> int:
        """The number of the snapshot that a run took; 0, before all others, if it is forgotten."""
        found = self._database.query("SELECT snapshot FROM runs WHERE id = ?", (run_id,))
        return int(found[0][0]) if found else 0
