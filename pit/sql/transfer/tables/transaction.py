"""Whether a transaction of Postgres's is the one that was begun: a driver may have lost it unheard.

After an error psqlodbc may roll back and begin another one by itself, and a COMMIT of one that was
aborted is a ROLLBACK that nobody hears of.
"""

from __future__ import annotations

from collections.abc import Callable

from pit.sql.driver import Failure, SqlFailure

Rows = Callable[[str], list[tuple[object, ...]]]


class Transaction:
    """The transaction that is open now, on the connection that `rows` asks."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._begun = self._moment()

    def _moment(self) -> str:
        # The time of its beginning is the same for all of a transaction.
        return str(self._rows("SELECT extract(epoch FROM now())::text")[0][0])

    def prove(self) -> None:
        """SqlFailure if a commit would not make everything stand that was done in it."""
        if self._moment() != self._begun:
            raise rolled_back()


def rolled_back() -> SqlFailure:
    """A transaction that is no longer there where it should be committed."""
    message = "the database has rolled the transaction back before its end: nothing was loaded"
    return SqlFailure(Failure(message=message, kind="25P01"))
