"""Sends what a person typed to a database, by the same SQL process as a task's script."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec.structs import replace

from pit.model import Reason
from pit.project.python import environment
from pit.sql import protocol
from pit.sql.driver import Failure
from pit.work.process import launch
from pit.work.process.cancel import Cancel
from pit.work.sql.client import Gone, Talk, remaining
from pit.work.sql.sessions import Sessions

_GRACE = 10.0


class Ended(Exception):
    """The query came to no end: time ran out, somebody asked it to stop, or the process died."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class Failed(Exception):
    """The database, or the way to it, has failed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Client:
    """A SQL process for one command; Ctrl-C interrupts what it does in the database first."""

    def __init__(self, sessions: Sessions, cancel: Cancel, signals: launch.Signals) -> None:
        self._sessions, self._cancel, self._signals = sessions, cancel, signals

    @property
    def exit_code(self) -> int:
        """That of the signal that came."""
        return self._signals.exit_code or 1

    def send(
        self,
        url: str,
        request: protocol.Query | protocol.Probe,
        seconds: float | None,
        take: Callable[[protocol.Log | protocol.Data], None] = lambda message: None,
    ) -> protocol.Done:
        """The end of a request, whose `database` is set here; Failed, Ended or InvalidConnection.

        A DuckDB file that a task of another run uses is waited for.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        database = self._sessions.resolve(url)

        def pause(length: float) -> bool:
            late = deadline is not None and time.monotonic() >= deadline
            return not late and not self._cancel.wait(length)

        def waiting(text: str) -> None:
            take(protocol.Log(id=0, text=text))

        who = f"pit sql (pid {os.getpid()})"
        with self._sessions.sharing(database, who, pause, waiting) as entered:
            if not entered:
                raise self._ended(seconds)
            with self._sessions.begin("", replace(request, database=database)) as talk:
                return self._attend(talk, deadline, seconds, take)

    def _ended(self, seconds: float | None) -> Ended:
        if self._cancel.level:
            return Ended(Reason.CANCELLED, "interrupted")
        return Ended(Reason.TIMEOUT, f"ended after its time-out of {seconds:g} s")

    def _attend(
        self,
        talk: Talk,
        deadline: float | None,
        seconds: float | None,
        take: Callable[[protocol.Log | protocol.Data], None],
    ) -> protocol.Done:
        ending: Ended | None = None
        while True:
            late = deadline is not None and time.monotonic() >= deadline
            if ending is None and (self._cancel.level or late):
                ending = self._ended(seconds)
                talk.interrupt()
                deadline = time.monotonic() + _GRACE
            elif ending is not None and (late or self._cancel.level > 1):
                raise ending  # what does not heed the interrupt ends with its process
            watched = self._cancel.fileno() if ending is None else self._cancel.urgent_fileno()
            for message in talk.hear(watched, remaining(deadline)):
                if isinstance(message, protocol.Done):
                    if message.failure is not None:
                        raise ending or Failed(message.failure)
                    return message
                if isinstance(message, Gone):
                    raise ending or Ended(Reason.INTERNAL, _death(message))
                if ending is None:
                    take(message)


def _death(gone: Gone) -> str:
    how = f"signal {-gone.returncode}" if gone.returncode < 0 else f"code {gone.returncode}"
    words = f": {gone.words.splitlines()[-1]}" if gone.words else ""
    return f"the SQL process ended with {how}{words}"


@contextmanager
def client(workspace: Path, cwd: Path) -> Iterator[Client]:
    """One for as long as the `with` lasts; relative paths in SQL are relative to `cwd`."""
    cancel = Cancel()
    signals = launch.install_signals(
        lambda: cancel.request(1, Reason.CANCELLED), lambda: cancel.request(2, Reason.CANCELLED)
    )
    try:
        with (
            TemporaryDirectory(prefix="pit-sql-") as folder,
            Sessions(
                spawn=launch.spawn_session,
                cwd=cwd,
                env=environment.base_variables(os.environ),
                stderr=Path(folder, "stderr"),
                workspace=workspace,
            ) as sessions,
        ):
            yield Client(sessions, cancel, signals)
    finally:
        signals.restore()
        cancel.close()
