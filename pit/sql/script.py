"""One script on one database, from waiting for the file to the last statement, told as log text.

Any driver will do. A script is one unit: all of it is parsed before anything is executed, its first
failing statement ends it, and a transaction that it left open is rolled back.
"""

from __future__ import annotations

import random
import textwrap
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from pit.model import Record
from pit.sql import table
from pit.sql.connect import Database
from pit.sql.driver import (
    CANCELLED,
    Busy,
    Driver,
    Failure,
    Result,
    Session,
    SqlFailure,
    Statement,
)

_TITLE = 100
"""How much of a statement's text the log shows, in terminal columns."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
_PATIENCE = 60.0
"""Seconds that a script in the middle of its work waits for a file that somebody else uses."""


class Report(Record, frozen=True):
    """How a script went: statements that ended well, rows that they changed, why it failed."""

    statements: int = 0
    rows: int = 0
    failure: Failure | None = None


class Execution:
    """A script being executed; `run` it once, `interrupt` it from any thread."""

    def __init__(
        self,
        driver: Driver,
        database: Database,
        script: str,
        text: str,
        variables: Mapping[str, str],
        log: Callable[[str], None],
    ) -> None:
        self._driver, self._database = driver, database
        self._script, self._text, self._variables = script, text, variables
        self._log = log
        self._stop = threading.Event()
        self._session: Session | None = None
        self._statements = 0
        self._rows = 0
        self._titles = self._summaries = 0
        self._fresh = True
        self._awaited: set[str] = set()
        self._undone = False

    def run(self) -> Report:
        """Execute the script and let go of the database; failures are in the report."""
        try:
            self._whole()
            failure = None
        except SqlFailure as error:
            failure = self._told(error.failure)
            if self._undone:
                self._tell("the open transaction was rolled back")
        return Report(statements=self._statements, rows=self._rows, failure=failure)

    def interrupt(self) -> None:
        """End the running statement and start no further one.

        An interrupt that comes between two statements may be lost: repeat it until `run` returns.
        """
        self._stop.set()
        session = self._session
        if session is not None:
            session.interrupt()

    def _whole(self) -> None:
        statements = self._driver.parse(self._text)
        if not statements:
            self._tell("nothing to do: the script holds no statement")
            return
        waited = 0
        while True:
            try:
                return self._once(statements)
            except Busy as busy:
                self._wait(busy, waited)
                waited += 1

    def _once(self, statements: Sequence[Statement]) -> None:
        """All statements in one session; Busy if nothing has been done and a file is in use."""
        self._heed()
        session = self._driver.connect(self._database, statements)
        self._session = session
        self._statements = 0
        try:
            session.declare(self._variables)
            self._each(session, statements)
        finally:
            self._session = None
            session.close()

    def _each(self, session: Session, statements: Sequence[Statement]) -> None:
        try:
            for statement in statements:
                self._one(session, statement)
                self._fresh = self._fresh and statement.setting
        except SqlFailure:
            self._undone = session.roll_back()
            raise
        if session.roll_back():
            raise SqlFailure(_uncommitted(statements))

    def _one(self, session: Session, statement: Statement) -> None:
        self._heed()
        self._title(statement)
        begun = time.monotonic()
        result = self._result(session, statement)
        self._statements += 1
        self._rows += (result.rows or 0) if result.changed else 0
        if self._statements > self._summaries:
            self._summaries += 1
            self._tell(textwrap.indent(_summary(result, time.monotonic() - begun), "  "))

    def _title(self, statement: Statement) -> None:
        """Name the statement in the log, though not again when the script begins anew."""
        if self._statements >= self._titles:
            self._titles += 1
            self._tell(f"line {statement.line}: {_title(statement.text)}")

    def _result(self, session: Session, statement: Statement) -> Result:
        """What the statement did.

        While the script has done nothing, a file in use lets it begin anew, since two scripts that
        hold what the other one wants would wait for ever; later it is waited for on the spot, but
        not for ever.
        """
        limit = time.monotonic() + _PATIENCE
        waited = 0
        while True:
            try:
                return session.execute(statement)
            except Busy as busy:
                if self._fresh:
                    raise
                if time.monotonic() > limit:
                    failure = Failure(message=str(busy), line=statement.line, kind="busy")
                    raise SqlFailure(failure) from None
                self._wait(busy, waited)
                waited += 1

    def _wait(self, busy: Busy, waited: int) -> None:
        """Wait a little, longer each time, by chance more or less; say once for whom."""
        if busy.path not in self._awaited:
            self._awaited.add(busy.path)
            self._tell(f"waiting for {busy.path}: in use by {busy.holder}")
        pause = min(_FIRST_PAUSE * 1.5**waited, _LONGEST_PAUSE)
        self._stop.wait(pause * random.uniform(0.5, 1.5))
        self._heed()

    def _heed(self) -> None:
        if self._stop.is_set():
            raise SqlFailure(Failure(message="interrupted", kind=CANCELLED, retryable=False))

    def _tell(self, text: str) -> None:
        self._log(self._database.hide(text))

    def _told(self, failure: Failure) -> Failure:
        """The failure without secrets, after the log has it."""
        failure = msgspec.structs.replace(
            failure,
            message=self._database.hide(failure.message),
            snippet=self._database.hide(failure.snippet),
        )
        where = f"{self._script}:{failure.line}" if failure.line else self._script
        self._log("\n".join(filter(None, (f"{where}: {failure.message}", failure.snippet))))
        return failure


def _uncommitted(statements: Sequence[Statement]) -> Failure:
    """A script that forgets its COMMIT has done nothing, so it must not look as if it had."""
    begins = [s.line for s in statements if s.text.lower().startswith(("begin", "start"))]
    return Failure(
        message="the script ended inside a transaction that it did not commit; "
        "its changes were rolled back",
        line=begins[-1] if begins else statements[-1].line,
        kind="Transaction Error",
        retryable=False,
    )


def _title(text: str) -> str:
    return table.clip(table.visible(" ".join(text[: 4 * _TITLE].split())), _TITLE)


def _summary(result: Result, seconds: float) -> str:
    took = f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
    if result.text:
        return f"{result.text}\ndone, {took}"
    if result.rows is None:
        return f"done, {took}"
    count = f"{result.rows:,} row{'' if result.rows == 1 else 's'}"
    if not result.columns:
        return f"{count}, {took}"
    shown = len(result.first)
    if shown < result.rows:
        count = f"first {shown} of {count}"
    return f"{table.render(result.columns, result.numeric, result.first)}\n{count}, {took}"
