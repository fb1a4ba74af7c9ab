"""One script on one database, from waiting for the file to the last statement, told as log text.

Any driver will do. A script is one unit: all of it is parsed before anything is executed, its first
failing statement ends it, and a transaction that it left open is rolled back.
"""

from __future__ import annotations

import random
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pit.model import Record
from pit.sql.baseline import Baseline
from pit.sql.changes import Changes, dialect_of, written
from pit.sql.connection.urls import Database
from pit.sql.driver import (
    DISK_FULL,
    Busy,
    Driver,
    Failure,
    Result,
    Session,
    SqlFailure,
    Statement,
    Tell,
    Unavailable,
)
from pit.sql.protocol import Template, Watch
from pit.sql.stop import Stop
from pit.sql.text import table
from pit.sql.text.dialect import BadName, of_kind

if TYPE_CHECKING:
    from pit.sql.text.templates import Renderer

_TITLE = 100
"""How much of a statement's text the log shows, in terminal columns."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
_PATIENCE = 60.0
"""Seconds that a script in the middle of its work waits for a file that somebody else uses."""


class Report(Record, frozen=True):
    """How a script went: statements that ended well, rows that they changed, why it failed.

    `answer` is what somebody wanted to know of it, as JSON, `warning` what they should know.
    """

    statements: int = 0
    rows: int = 0
    failure: Failure | None = None
    answer: Any = None
    warning: str = ""


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
        *,
        template: Template | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._driver, self._database = driver, database
        self._script, self._text, self._variables = script, text, variables
        self._log = log
        self._template, self._watch = template, watch
        self._renderer: Renderer | None = None
        self._stop = Stop()
        self._session: Session | None = None
        self._statements = 0
        self._rows = 0
        self._titles = self._summaries = 0
        self._current: Statement | None = None
        self._held: Result | None = None
        self._fresh = True
        self._awaited: set[str] = set()
        self._undone = False

    def run(self) -> Report:
        """Execute the script and let go of the database; failures are in the report."""
        try:
            self._whole()
            failure = None
        except Unavailable as error:
            failure = self._told(Failure(message=str(error), kind="missing"))
        except SqlFailure as error:
            failure = self._told(error.failure)
            if self._undone:
                self._tell("the open transaction was rolled back")
        return Report(statements=self._statements, rows=self._rows, failure=failure)

    def interrupt(self) -> None:
        """End the running statement and start no further one.

        An interrupt that comes between two statements may be lost: repeat it until `run` returns.
        """
        self._stop.wish()
        renderer = self._renderer
        if renderer is not None:
            renderer.interrupt()
        session = self._session
        if session is not None:
            session.interrupt()

    def _whole(self) -> None:
        statements = self._driver.parse(self._rendered(), self._database)
        self._meet(statements)
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

    def _meet(self, statements: Sequence[Statement]) -> None:
        """Look at the statements before anything is done."""

    def _rendered(self) -> str:
        """The script's text; that of a template is made now, kept, and what errors mean."""
        template = self._template
        if template is None:
            return self._text
        from pit.sql.text.templates import Renderer  # few scripts are templates

        self._heed()
        self._renderer = Renderer(template, of_kind(self._database.kind))
        text = self._renderer.render(self._script, self._text)
        self._renderer = None
        kept = Path(template.rendered)
        try:
            kept.write_text(text, "utf-8")
            kept.chmod(0o600)
        except OSError as error:
            kind = DISK_FULL if error.errno in (ENOSPC, EDQUOT) else "template"
            why = f"the rendered text cannot be written: {error.strerror}"
            raise SqlFailure(Failure(message=why, kind=kind)) from None
        self._tell(f"rendered {self._script} to {kept.parent.name}/{kept.name}")
        self._script = f"{kept.parent.name}/{kept.name}"
        return text

    def _once(self, statements: Sequence[Statement]) -> None:
        """All statements in one session; Busy if nothing has been done and a file is in use."""
        self._heed()
        session = connected(self._driver, self._database, statements, self._overheard, self._stop)
        self._session = session
        self._statements = 0
        try:
            session.declare(self._variables)
            changes = self._changes(session, statements)
            try:
                self._each(session, statements)
            except Busy:
                if changes is not None:
                    changes.untouched()
                raise
            except SqlFailure:
                if changes is not None:
                    changes.failed()
                raise
            self._tell_changes(changes)
        finally:
            self._session = None
            session.close()

    def _each(self, session: Session, statements: Sequence[Statement]) -> None:
        begun = time.monotonic()
        if session.at_once:
            self._tell(f"{len(statements):,} statements, sent as one")
        try:
            for statement in statements:
                self._one(session, statement)
                self._fresh = self._fresh and statement.setting
        except SqlFailure:
            self._undone = session.roll_back()
            raise
        finally:
            self._current = None
        if session.at_once:
            self._tell(f"{len(statements):,} statements, {_took(time.monotonic() - begun)}")
        if session.roll_back():
            raise SqlFailure(_uncommitted(statements))

    def _changes(self, session: Session, statements: Sequence[Statement]) -> Changes | None:
        """What is to be told of the tables that the script writes; looks at them as they are."""
        if self._watch is None:
            return None
        kind = self._database.kind
        tables = written(statements, kind)
        for name in self._watch.tables:
            with suppress(BadName):  # it is missing in the end, which says more
                tables.append(of_kind(kind).table(name))
        if not tables or self._database.in_memory:
            return None
        changes = Changes(session, dialect_of(session, kind), tables, self._watch.max_change)
        changes.before()
        if self._watch.base:
            changes.keep(Baseline(self._watch.base, self._database.display))
        return changes

    def _tell_changes(self, changes: Changes | None) -> None:
        if changes is None:
            return
        for line in changes.after():
            self._tell(line)
        changes.check()
        changes.succeeded()

    def _one(self, session: Session, statement: Statement) -> None:
        """One statement, told with the time that it took, if that can be known.

        A server may keep the first results of a text until its last: several results have one time.
        """
        self._heed()
        self._current = statement
        if not session.at_once:  # else nothing says which of them is being carried out
            self._title(statement)
        begun = time.monotonic()
        results = 0
        try:
            for result in self._results(session, statement):
                self._let_go()
                self._title(statement)
                self._held = result
                results += 1
                self._rows += (result.rows or 0) if result.changed else 0
        except SqlFailure:
            self._let_go()
            self._title(statement)
            raise
        took = "" if session.at_once else _took(time.monotonic() - begun)
        self._title(statement)
        if results < 2 and self._held is not None:
            self._let_go(took)
        else:
            self._let_go()
            counted = f"{results:,} results" if results > 1 else "done"
            if took or not results:
                self._summarise(f"{counted}, {took}" if took else counted)
        self._statements += 1
        self._summaries = max(self._summaries, self._statements)

    def _let_go(self, took: str = "") -> None:
        """Log the result that is held back until it is known whether it is the only one."""
        result, self._held = self._held, None
        if result is not None:
            self._summarise(_summary(result, took))

    def _summarise(self, text: str) -> None:
        """Log what a statement did, though not again when the script begins anew."""
        if text and self._statements >= self._summaries:
            self._indented(text)

    def _overheard(self, text: str) -> None:
        """What the server says meanwhile stands behind what came before it."""
        if self._current is not None:
            self._let_go()
            self._title(self._current)
        self._indented(text)

    def _title(self, statement: Statement) -> None:
        """Name the statement in the log, though not again when the script begins anew."""
        if self._statements >= self._titles:
            self._titles += 1
            self._tell(f"line {statement.line}: {_title(statement.text)}")

    def _results(self, session: Session, statement: Statement) -> Iterator[Result]:
        """What the statement did.

        While the script has done nothing, a file in use lets it begin anew, since two scripts that
        hold what the other one wants would wait for ever; later it is waited for on the spot, but
        not for ever.
        """
        limit = time.monotonic() + _PATIENCE
        waited = 0
        while True:
            try:
                yield from session.execute(statement)
                return
            except Busy as busy:
                if self._fresh:
                    raise
                if time.monotonic() > limit:
                    failure = Failure(
                        message=str(busy), line=statement.line, kind="busy", retryable=True
                    )
                    raise SqlFailure(failure) from None
                self._wait(busy, waited)
                waited += 1

    def _wait(self, busy: Busy, waited: int) -> None:
        """Wait a little, longer each time, by chance more or less; say once for whom."""
        if busy.path not in self._awaited:
            self._awaited.add(busy.path)
            self._tell(busy.waits)
        pause = min(_FIRST_PAUSE * 1.5**waited, _LONGEST_PAUSE)
        self._stop.pause(pause * random.uniform(0.5, 1.5))

    def _heed(self) -> None:
        self._stop.heed()

    def _indented(self, text: str) -> None:
        self._tell(textwrap.indent(text, "  "))

    def _tell(self, text: str) -> None:
        self._log(self._database.hide(text))

    def _told(self, failure: Failure) -> Failure:
        """The failure without secrets, after the log has it."""
        failure = msgspec.structs.replace(
            failure,
            message=self._database.hide(failure.message),
            snippet=self._database.hide(failure.snippet),
        )
        if not failure.place and self._template is not None:
            failure = msgspec.structs.replace(failure, place=self._script)
        place = failure.place or self._script
        where = f"{place}:{failure.line}" if failure.line else place
        self._log("\n".join(filter(None, (f"{where}: {failure.message}", failure.snippet))))
        return failure


def connected(
    driver: Driver, database: Database, script: Sequence[Statement], tell: Tell, stop: Stop
) -> Session:
    """A session; whoever wishes an end does not wait for a server that does not answer.

    A file is opened to the end, so that it is in nobody's use once its script is over.
    """
    if database.path:
        return driver.connect(database, script, tell)
    return stop.opened(lambda: driver.connect(database, script, tell), lambda late: late.close())


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


def _took(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _summary(result: Result, took: str) -> str:
    """What a statement did, and how long that took, if it is known."""
    ending = f", {took}" if took else ""
    if result.text:
        return f"{result.text}\ndone{ending}"
    if result.rows is None:
        return f"done{ending}"
    count = f"{result.rows:,} row{'' if result.rows == 1 else 's'}"
    if not result.columns:
        return f"{count}{ending}"
    rows = len(result.first)
    if rows < result.rows:
        count = f"first {rows} of {count}"
    shown = table.render(result.columns, result.numeric, result.first, table.LOG_WIDTH)
    return f"{shown}\n{count}{ending}"
