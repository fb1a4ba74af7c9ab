"""What a load claims before it looks at its table, and what it is given.

A turn belongs to the table itself, however a load spells it and from wherever it comes. Loads that
only add rows to a table that is there go at the same time: none of them changes what another reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol

from pit.model import LoadMode, Record
from pit.sql.driver import WAITING
from pit.sql.text.dialect import Table


class Claim(Record, frozen=True):
    """The turn that a load wants.

    `alone` says that it compares the table before and after, and that nobody else may change it
    in between. `tell` takes a line for the log, `heed` raises once the load is to end.
    """

    table: Table
    mode: LoadMode
    alone: bool
    tell: Callable[[str], None]
    heed: Callable[[], None]

    @property
    def shared(self) -> bool:
        """Whether other loads that only add rows may go at the same time."""
        return self.mode is LoadMode.APPEND and not self.alone

    def waits(self) -> None:
        """Say that another load goes first."""
        self.tell(f"{WAITING}{self.table}: another load into it is under way")


class Turn(Record, frozen=True):
    """The turn that a load has: the table by the name that it has in the database.

    `schema_missing` says that its schema has to be made with it.
    """

    table: Table
    schema_missing: bool


class Taking(Protocol):
    """A database in whose open transaction a turn is taken."""

    def begin(self) -> None:
        """Open the transaction."""

    def roll_back(self) -> None:
        """Undo everything; never raises."""

    def execute(self, statement: str) -> int:
        """Carry out one statement."""

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """The rows of a small query."""


def number_of(*parts: str) -> int:
    """A number of 64 bits, with a sign, that stands for a name in all of Pit."""
    text = "\0".join(("pit load", *parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)
