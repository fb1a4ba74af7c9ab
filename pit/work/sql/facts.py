"""Asks databases whether tables are there, and what a query returns, by way of the SQL process."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec
from msgspec.structs import replace

from pit.sql import protocol
from pit.sql.connection.urls import Database
from pit.sql.protocol import Answer
from pit.work.process.cancel import Cancel
from pit.work.sql.client import Gone, Talk, remaining
from pit.work.sql.turns import Pause

_POLL = 0.2


class Asked(Protocol):
    """The SQL sessions as this module needs them."""

    def resolve(self, url: str) -> Database:
        """The database of a URL."""

    def sharing(
        self, database: Database, who: str, pause: Pause, log: Callable[[str], None]
    ) -> AbstractContextManager[bool]:
        """A turn among SQL tasks; False if `pause` gave the waiting up."""

    def begin(self, task: str, request: protocol.Work) -> Talk:
        """Send a request."""


def ask(
    sessions: Asked, url: str, request: protocol.Ask, who: str, cancel: Cancel, seconds: float
) -> Answer:
    """The answer, or why there is none after so many seconds; `request` has no database yet.

    Raises InvalidConnection.
    """
    deadline = time.monotonic() + seconds
    database = sessions.resolve(url)

    def pause(length: float) -> bool:
        return time.monotonic() < deadline and not cancel.wait(length)

    try:
        with sessions.sharing(database, who, pause, lambda text: None) as entered:
            if not entered:
                return Answer(failure=f"{database.display} is in use")
            with sessions.begin(who, replace(request, database=database)) as talk:
                return _answer(talk, cancel, deadline, seconds)
    except OSError as error:
        return Answer(failure=f"the SQL process could not be asked: {error.strerror or error}")


def _answer(talk: Talk, cancel: Cancel, deadline: float, seconds: float) -> Answer:
    while True:
        left = remaining(deadline) or 0.0
        if cancel.level or left <= 0:
            # Only this question: others may be at work in the same process.
            talk.interrupt()
            why = "the run is ending" if cancel.level else f"no answer within {seconds:g} s"
            return Answer(failure=why)
        for message in talk.hear(cancel.fileno(), left):
            if isinstance(message, protocol.Done):
                if message.failure is not None:
                    return Answer(failure=" ".join(message.failure.message.split()))
                return msgspec.convert(message.answer, Answer)
            if isinstance(message, Gone):
                return Answer(failure="the SQL process ended")
