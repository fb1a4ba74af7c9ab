"""What Pit asks of a database: one small Protocol, fulfilled by one module per kind of database.

A driver lives in the SQL process only. `parse` splits a script without touching the database;
`connect` opens it for one script; the session then takes the statements one by one, with the
transactions that the database would have if it were sent the script whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pit.model import Record
from pit.sql.connect import Database


class Statement(Record, frozen=True):
    """One statement of a script: where it begins (line, from 1), its text, the driver's own form.

    `above` is the line on which the text that the driver sends begins; it may begin with comments.
    `setting` says that it only prepares the session, so that a script may begin anew after it.
    """

    line: int
    text: str
    above: int = 1
    setting: bool = False
    native: Any = None


class Result(Record, frozen=True):
    """What a statement did.

    `rows`: how many it returned or changed, None when it has no such number. A result set has
    `columns`, the first rows as text (None is NULL), and for each column whether it is a number.
    `text` is what a statement has to say to people, such as a query plan.
    """

    rows: int | None = None
    changed: bool = False
    columns: tuple[str, ...] = ()
    numeric: tuple[bool, ...] = ()
    first: tuple[tuple[str | None, ...], ...] = ()
    text: str = ""


class Failure(Record, frozen=True):
    """Why a script failed: a sentence, and the line in the script (0: none).

    `kind` is the database's word for this sort of error, or one of the two below; `snippet` shows
    the place.
    """

    message: str
    line: int = 0
    kind: str = ""
    retryable: bool = True
    snippet: str = ""


CANCELLED = "cancelled"
DISK_FULL = "disk full"


class SqlFailure(Exception):
    """A script cannot go on; carries its `Failure`."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Busy(Exception):
    """The database file is in somebody's use; the same call will work once `holder` is done."""

    def __init__(self, path: str, holder: str) -> None:
        super().__init__(f"{path} is in use by {holder}")
        self.path, self.holder = path, holder


class Session(Protocol):
    """One script's connection to one database. Only `interrupt` may come from another thread."""

    def declare(self, variables: Mapping[str, str]) -> None:
        """Make variables readable for the script's statements."""

    def execute(self, statement: Statement) -> Result:
        """Carry out one statement; raises SqlFailure, or Busy if it needs a file that is in use."""

    def interrupt(self) -> None:
        """End the statement that is being executed, if any, as soon as possible."""

    def roll_back(self) -> bool:
        """Undo the open transaction; False if none was open."""

    def close(self) -> None:
        """Give everything back; the file is closed when no other session uses it."""


class Driver(Protocol):
    """One kind of database."""

    def parse(self, text: str) -> list[Statement]:
        """The statements of a script, in order; raises SqlFailure for what cannot be parsed."""

    def connect(self, database: Database, script: Sequence[Statement]) -> Session:
        """A session for this script; raises Busy or SqlFailure."""
