"""Questions to a database: are these tables there, what does this query return; nothing is changed.

Of the result of a query only a digest leaves, that of its rows in any order.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from pit.sql import protocol
from pit.sql.changes import asked, dialect_of, exists
from pit.sql.connection.urls import Database
from pit.sql.driver import Busy, Driver, Failure, Session, SqlFailure, Statement
from pit.sql.script import Execution, Report
from pit.sql.text.dialect import BadName

_SIZE = 32


class Questioning(Execution):
    """One set of questions being asked."""

    def __init__(self, driver: Driver, order: protocol.Ask) -> None:
        database = _for_reading(order.database) if order.look else order.database
        super().__init__(driver, database, "fingerprint", order.query, {}, lambda text: None)
        self._order = order
        self._answer = protocol.Answer()

    def run(self) -> Report:
        """Ask; what cannot be known is in the answer as well."""
        report = super().run()
        if report.failure is not None:
            self._answer = protocol.Answer(failure=" ".join(report.failure.message.split()))
        return Report(answer=self._answer)

    def _whole(self) -> None:
        query = self._order.query
        if self._is_absent():
            if query:
                raise SqlFailure(Failure(message=f"there is no {self._database.display}"))
            return
        statements = self._driver.parse(query, self._database) if query else []
        if query and len(statements) != 1:
            raise SqlFailure(Failure(message="fingerprint must be one query"))
        waited = 0
        while True:
            try:
                return self._once(statements)
            except Busy as busy:
                if self._order.look:
                    raise SqlFailure(Failure(message=str(busy))) from None
                self._wait(busy, waited)
                waited += 1

    def _is_absent(self) -> bool:
        """Whether the file is not there, which asking would make."""
        database = self._database
        return database.in_memory or bool(database.path and not os.path.exists(database.path))

    def _each(self, session: Session, statements: Sequence[Statement]) -> None:
        dialect = dialect_of(session, self._database.kind)
        _read_only(session, self._database.kind)
        there = []
        for name in self._order.tables:
            with suppress(BadName):  # a table that cannot be called so is not there
                if exists(session.native, dialect, dialect.table(name)):
                    there.append(name)
        digest = ""
        for statement in statements:
            rows = session.rows(statement)
            if not rows.columns:
                raise SqlFailure(Failure(message="fingerprint must be a query that returns rows"))
            digest = digest_of(rows.columns, rows.batches)
        session.roll_back()
        self._answer = protocol.Answer(there=tuple(there), digest=digest)


def _for_reading(database: Database) -> Database:
    """The database so that opening it changes nothing."""
    match database.kind:
        case "duckdb":
            option = {"access_mode": "READ_ONLY"}
        case "sqlite":
            option = {"mode": "ro"}
        case _:
            return database
    return replace(database, options=database.options | option)


def _read_only(session: Session, kind: str) -> None:
    """Have the database refuse what a question must not do, where it can."""
    match kind:
        case "duckdb":
            asked(session.native, "BEGIN TRANSACTION READ ONLY")
        case "postgres":
            asked(session.native, "SET default_transaction_read_only = on")
        case "sqlite":
            asked(session.native, "PRAGMA query_only = on")


def digest_of(columns: Sequence[str], batches: Iterable[Sequence[Sequence[Any]]]) -> str:
    """The digest of a result: its columns, and its rows as a set that counts."""
    total = 0
    for batch in batches:
        for row in batch:
            text = "\0".join(f"{type(value).__name__}:{value}" for value in row)
            found = hashlib.blake2b(text.encode(errors="replace"), digest_size=_SIZE).digest()
            total += int.from_bytes(found, "big")
    whole = "\0".join((*columns, str(total)))
    return hashlib.blake2b(whole.encode(errors="replace"), digest_size=16).hexdigest()
