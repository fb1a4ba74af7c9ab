"""What is asked of databases before a task is judged: tables that must be there, and fingerprints.

In a run they are asked through the run's SQL sessions; a look from outside opens the database for
reading alone, waits for nobody, and asks each task once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pit.errors import PitError
from pit.model import Task

if TYPE_CHECKING:
    from pit.sql.protocol import Answer
    from pit.work.process.cancel import Cancel
    from pit.work.sql.facts import Asked

_IN_A_RUN = 60.0
_IN_A_LOOK = 10.0
"""Seconds that an answer may take."""


def asks(task: Task) -> bool:
    """Whether something must be asked of a database to judge a task."""
    return bool(task.tables or task.fingerprint)


class Questions:
    """Asks on behalf of one run or look; threads may share it.

    `url` gives the URL of a task's connection. Until `begin`, nothing can be known.
    """

    def __init__(self, url: Callable[[Task], str | None], *, look: bool = False) -> None:
        self._url, self._look = url, look
        self._by: tuple[Callable[[], Asked], Cancel] | None = None
        self._silent: dict[str, Answer] = {}

    def begin(self, sessions: Callable[[], Asked], cancel: Cancel) -> None:
        """From now on, ask by these sessions, until `cancel` rises or `end`."""
        self._by = sessions, cancel

    def end(self) -> None:
        """Ask no more."""
        self._by = None

    def of(self, task: Task) -> Answer | None:
        """What is known of a task's tables and fingerprint; None if it asks for nothing."""
        if not asks(task):
            return None
        return self._asked(task, task.tables, task.fingerprint)

    def missing(self, task: Task) -> tuple[str, ...]:
        """Those of a task's tables that are not there, as far as that can be known."""
        if not task.tables:
            return ()
        found = self._asked(task, task.tables, "")
        return () if found.failure else tuple(t for t in task.tables if t not in found.there)

    def _asked(self, task: Task, tables: tuple[str, ...], query: str) -> Answer:
        from pit.sql.connection.urls import Database  # few tasks have anything to ask
        from pit.sql.protocol import Answer, Ask
        from pit.work.sql.facts import ask

        url = self._url(task)
        if url is None:
            return Answer(failure="the secrets do not say which database it is")
        if self._by is None:
            return Answer(failure="its database is asked in a run only")
        sessions, cancel = self._by
        nowhere = Database(kind="", display="", key="")
        request = Ask(id=0, database=nowhere, tables=tables, query=query, look=self._look)
        seconds = _IN_A_LOOK if self._look else _IN_A_RUN
        if url in self._silent:
            return self._silent[url]
        try:
            found = ask(sessions(), url, request, task.name, cancel, seconds)
        except PitError as error:
            found = Answer(failure=str(error))
        if self._look and found.failure:
            self._silent[url] = found  # waiting for it once is enough
        return found
