"""What Pit asks of a database: one small Protocol, fulfilled by one module per kind of database.

A driver lives in the SQL process only. `parse` splits a script without touching the database;
`connect` opens it for one script; the session then takes the statements one by one, with the
transactions that the database would have if it were sent the script whole.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from pit.model import Record
from pit.sql.connection.urls import Database


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


class Rows(Record, frozen=True):
    """A whole result that is being read: the names of its columns, and its rows in batches.

    `changed`: how many rows a statement without a result has changed, None if it has no number.
    `numeric` says for each column whether it is a number, empty where only the values tell.
    `header` is the library's own description of the columns, where it says more. `following` are
    the results behind this one, each to be asked for once the one before is read.
    """

    columns: tuple[str, ...]
    batches: Iterator[Sequence[Sequence[Any]]]
    numeric: tuple[bool, ...] = ()
    changed: int | None = None
    header: Sequence[Any] = ()
    following: Iterator[Rows] | None = None

    def end(self, statement: Statement) -> None:
        """The rows have been read; raises SqlFailure if another result follows them."""
        if self.following is not None and next(self.following, None) is not None:
            message = "there is a second result, and only one can be taken"
            raise SqlFailure(Failure(message=message, line=statement.line, kind="query"))

    def close(self) -> None:
        """Nothing more of it will be read."""
        for source in (self.batches, self.following):
            if isinstance(source, Generator):
                source.close()


class Document(str):
    """A value that is JSON, as the database has written it: no number in it is read and rounded."""


class Failure(Record, frozen=True):
    """Why a script failed: a sentence, and the line in the script (0: none).

    `kind` is the database's word for this sort of error, or one of those below; `retryable` says
    that it is transient, so that another attempt may well not meet it; `snippet` shows the place.
    `place` is the file that the line is in, if that is not the script itself.
    """

    message: str
    line: int = 0
    kind: str = ""
    retryable: bool = False
    snippet: str = ""
    place: str = ""


CANCELLED = "cancelled"
DISK_FULL = "disk full"
CHECK_FAILED = "check failed"
MAX_CHANGE = "max_change"


class SqlFailure(Exception):
    """A script cannot go on; carries its `Failure`."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Unavailable(Exception):
    """A library or a system's driver is missing; its text says what to install."""


class Busy(Exception):
    """The database file is in somebody's use; the same call will work once `holder` is done."""

    def __init__(self, path: str, holder: str) -> None:
        super().__init__(f"{path} is in use by {holder}")
        self.path, self.holder = path, holder

    @property
    def waits(self) -> str:
        """What the log says of whoever waits for it."""
        return f"{WAITING}{self.path}: in use by {self.holder}"


WAITING = "waiting for "
"""How the line of a log begins that says for what a script waits; it is told at once."""


Tell = Callable[[str], None]
"""Takes what the server has to say while a statement runs, such as PRINT or RAISE NOTICE."""


class Session(Protocol):
    """One script's connection to one database. Only `interrupt` may come from another thread."""

    @property
    def native(self) -> Any:
        """The library's own connection, for moving rows in bulk."""

    @property
    def at_once(self) -> bool:
        """Whether several statements are sent as one, so that nothing tells how long each took."""

    def declare(self, variables: Mapping[str, str]) -> None:
        """Make variables readable for the script's statements."""

    def execute(self, statement: Statement) -> Iterable[Result]:
        """Carry out one statement, and give its results as they come: none, one or more.

        Raises SqlFailure, or Busy before the first result if it needs a file that is in use.
        """

    def rows(self, statement: Statement) -> Rows:
        """Carry out the only statement of a script, for all that it returns, in flat memory.

        Values are Python's, or texts where the database writes them better. Reading and this call
        raise what `execute` raises.
        """

    def interrupt(self) -> None:
        """End the statement that is being executed, if any, as soon as possible."""

    def roll_back(self) -> bool:
        """Undo the open transaction; False if there was nothing to undo.

        True also if the database has undone earlier statements of a script that failed.
        """

    def close(self) -> None:
        """Give everything back; the file is closed when no other session uses it."""


class Driver(Protocol):
    """One kind of database."""

    def parse(self, text: str, database: Database) -> list[Statement]:
        """The statements of a script, in order; raises SqlFailure for what cannot be parsed."""

    def connect(self, database: Database, script: Sequence[Statement], tell: Tell) -> Session:
        """A session for this script; raises Busy, SqlFailure or Unavailable."""
