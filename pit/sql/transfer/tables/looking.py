"""Looks at tables within a load's transaction, for the lines on what has changed.

A look that the database will not answer is not told of. One that has hurt the transaction is the
load's failure: whatever came after it would be undone, or worse, stand without what came before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from msgspec.structs import replace

from pit.sql.driver import CANCELLED, SqlFailure
from pit.sql.text import dialect

_LITERAL = dialect.POSTGRES.literal
_PASSING = "^(08|25|40|53|55|57|58)"
"""Classes of SQLSTATEs that say nothing of the query: connection, transaction, resources, locks."""
_WITHOUT_ORDER = frozenset(("bit", "xml", "text", "ntext", "image", "geography", "geometry"))
"""Types of SQL Server's that min() refuses, where a setting may end the transaction for it."""


class Unanswered(Exception):
    """The database does not answer this query; its transaction goes on."""


class Answer:
    """The rows of a look, as a cursor has them."""

    def __init__(self, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        self.description = [(name,) for name in columns]
        self._rows = list(rows)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows."""
        return self._rows

    def close(self) -> None:
        """Nothing is left to be given back."""


class Looking:
    """Looks on the load's own connection.

    `ask` returns the names and rows of a query, or raises SqlFailure; `lives` says whether the
    transaction that the load has begun is still open.
    """

    def __init__(
        self,
        ask: Callable[[str], tuple[Sequence[str], Sequence[tuple[Any, ...]]]],
        lives: Callable[[], bool],
    ) -> None:
        self._ask, self._lives = ask, lives

    def orders(self, declared: str) -> bool:
        """Whether a column of that type has a smallest and a largest value to be asked for."""
        return declared.partition("(")[0].lower() not in _WITHOUT_ORDER

    def execute(self, query: str) -> Answer:
        """The rows of a query; Unanswered, or SqlFailure where the load has suffered."""
        try:
            return Answer(*self._ask(query))
        except SqlFailure as error:
            told = error.failure
            if told.retryable or told.kind == CANCELLED or not self._lives():
                raise
            raise Unanswered(told.message) from None


class Asked(Protocol):
    """A connection with Postgres, in the load's transaction."""

    def execute(self, statement: str) -> int:
        """Carry out a statement; raises SqlFailure."""

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """The rows of a query; raises SqlFailure."""


class PostgresLooking:
    """Looks at tables of Postgres, where an error would end the transaction.

    The server asks itself, in a block that catches what the query ends with: a type without an
    order, a column that the role may not read, a policy that fails. Savepoints would do, but ADBC
    refuses to go back to one. Without PL/pgSQL only what cannot fail so is asked.
    """

    def __init__(self, connection: Asked) -> None:
        self._connection = connection
        self._catches: bool | None = None

    def orders(self, declared: str) -> bool:
        """Whether a column of that type may be asked for its smallest and largest value."""
        return self._can_catch()

    def execute(self, query: str) -> Answer:
        """The rows of a query; Unanswered, or SqlFailure where the load has suffered."""
        try:
            if not self._can_catch():
                return self._bare(query)
            self._connection.execute(f"DO {_LITERAL(_block(query))}")
            told = str(self._connection.rows("SELECT current_setting('pit.look')")[0][0])
        except SqlFailure as error:
            raise _without_context(error) from None
        if not told.startswith("["):
            raise Unanswered(told)
        rows = json.loads(told, object_pairs_hook=list)
        return Answer(
            [name for name, _ in rows[0]] if rows else (),
            [tuple(value for _, value in row) for row in rows],
        )

    def _bare(self, query: str) -> Answer:
        rows = self._connection.rows(query)
        return Answer([""] * len(rows[0]) if rows else (), rows)

    def _can_catch(self) -> bool:
        """Whether the role may use PL/pgSQL."""
        if self._catches is None:
            usable = "has_language_privilege(oid, 'USAGE')::int"
            query = f"SELECT {usable} FROM pg_language WHERE lanname = 'plpgsql'"
            self._catches = any(str(row[0]) == "1" for row in self._connection.rows(query))
        return self._catches


def _without_context(error: SqlFailure) -> SqlFailure:
    """The error without the lines of the block that it came up in."""
    message = error.failure.message.partition("\nCONTEXT: ")[0]
    return SqlFailure(replace(error.failure, message=message))


def _block(query: str) -> str:
    """The body of a DO that leaves a query's rows in a setting, as JSON, or why there are none."""
    rows = _LITERAL(f"SELECT coalesce(json_agg(pit), '[]') FROM ({query}) AS pit")
    return (
        "DECLARE found text; BEGIN "
        f"EXECUTE {rows} INTO found; PERFORM set_config('pit.look', found, true); "
        f"EXCEPTION WHEN OTHERS THEN IF SQLSTATE ~ '{_PASSING}' THEN RAISE; END IF; "
        "PERFORM set_config('pit.look', SQLSTATE, true); END"
    )
