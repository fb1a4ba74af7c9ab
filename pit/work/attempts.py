"""One attempt of one task: `perform(order, tools) → outcome`, the same path for every executor.

It is the part of a run that may be done on another machine: nothing here knows of the store, of
doit, or of what is current.
"""

from __future__ import annotations

import errno
import os
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pit.errors import SecretsError
from pit.model import Load, Reason, Record, Save
from pit.order import Order, Outcome
from pit.project import outside, publish
from pit.text import durations
from pit.work.masking import Masks
from pit.work.process import launch
from pit.work.process.guardian import Guardian
from pit.work.site import Invocation, Site
from pit.work.task_log import Tap, TaskLog
from pit.work.written import written

if TYPE_CHECKING:
    from pit.work.socket.listener import Move
    from pit.work.socket.server import Server
    from pit.work.sql.sessions import Sessions


class Tools(Record):
    """What a worker has at hand while a run lasts; never travels with an order.

    `sessions` and `server` are made by whoever needs them first. `connection` gives the URL of the
    connection that an order names, by a service that masks and audits it; it raises SecretsError.
    `watch` has the program of an order watched.
    """

    site: Site
    cancel: launch.Cancel
    connection: Callable[[Order], str] | None = None
    guardian: Guardian | None = None
    sessions: Callable[[], Sessions] | None = None
    tap: Tap | None = None
    server: Callable[[], Server] | None = None
    masks: Masks | None = None
    watch: Callable[[Order, Invocation], Invocation] | None = None


def perform(order: Order, tools: Tools) -> Outcome:
    """Carry out one attempt at its site and say how it ended; raises only on defects."""
    started, begun = time.time(), time.monotonic()
    site = tools.site

    def refused(reason: Reason, error: str) -> Outcome:
        return Outcome(
            started_at=started,
            ended_at=time.time(),
            seconds=time.monotonic() - begun,
            reason=reason,
            error=error,
            retryable=False,
        )

    try:
        publish.prepare(site.project, site.targets(order))
    except OSError as error:
        return refused(disk_reason(error) or Reason.MISSING_TARGET, _no_room(site, error))
    try:
        with TaskLog(str(site.log(order)), order.task, tools.tap, tools.masks) as log:
            if order.attempt > 1:
                log.separate(order.attempt, order.attempts)
            outcome = _Attempt(order, tools, log).perform()
            if outcome.reason not in _SAID_BY_THE_TASK:
                _note(log, outcome)
            return outcome
    except SecretsError as error:
        return refused(Reason.MISSING_CONNECTION, str(error))
    except OSError as error:
        reason = disk_reason(error) or Reason.INTERNAL
        return refused(reason, f"{error.strerror or error}: {error.filename or site.log(order)}")


def _no_room(site: Site, error: OSError) -> str:
    """Why there can be no targets where they are to be."""
    place = os.path.relpath(error.filename or site.project, os.path.realpath(site.project))
    words = (error.strerror or str(error)).lower()
    told = f"the folders of its targets cannot be made: {words}: {place}"
    if isinstance(error, PermissionError):
        told += "; a run's copy of a folder has the permissions of the project's own"
    return told


def disk_reason(error: OSError) -> Reason | None:
    """DISK_FULL when the error says that there is no room, else None."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return Reason.DISK_FULL if full else None


class _Attempt:
    """One attempt under way: what is to be done, where, and with which program or database."""

    def __init__(self, order: Order, tools: Tools, log: TaskLog) -> None:
        self._order, self._tools, self._log = order, tools, log
        self._site = tools.site
        self._targets = tools.site.targets(order)
        self._program = tools.site.invocation(order)

    def perform(self) -> Outcome:
        """How it ended; a success has made all that the task promises."""
        before = outside.looks(self._targets)
        outcome = self._by_sql() if self._program is None else self._by_process(self._program)
        return self._with_targets(outcome, before)

    def _by_sql(self) -> Outcome:
        order, tools = self._order, self._tools
        assert tools.sessions is not None, "a SQL order needs the run's SQL sessions"
        url = self._connection()
        return tools.sessions().perform(
            order, self._site, url, self._log.line, tools.cancel, order.timeout
        )

    def _connection(self) -> str:
        """The URL of the database that the order names, which is asked for now."""
        assert self._tools.connection is not None, "an order with a connection needs its service"
        return self._tools.connection(self._order)

    # ------------------------------------------------------------------ a program

    def _by_process(self, program: Invocation) -> Outcome:
        """One that names a connection has its database file for itself meanwhile."""
        order, tools = self._order, self._tools
        if not order.connection or tools.sessions is None:
            return self._process(program)
        from pit.work.sql.sessions import who_of

        sessions, url = tools.sessions(), self._connection()
        with sessions.alone(url, tools.cancel, who_of(order), self._log.line):
            return self._process(program, url)

    def _process(self, program: Invocation, own: str = "") -> Outcome:
        """A program, which may ask Pit over a socket of its own for as long as it runs."""
        tools, log = self._tools, self._log
        if tools.watch is not None:
            program = tools.watch(self._order, program)
        if tools.server is None:
            return self._ran(program)
        server = tools.server()
        try:
            listener = server.open(self._order, self._site.data, log.line, self._mover(own))
        except OSError as error:
            log.line(f"[pit] no socket, so nothing can be asked of Pit: {error}")
            return self._ran(_asking(program, _NO_SOCKET))
        try:
            return self._ran(
                _asking(program, listener.address),
                lambda pid, start: server.started(listener, pid, start),
            )
        finally:
            server.close(listener)

    def _mover(self, own: str) -> Move | None:
        """What moves rows between files and databases for a task that asks for it.

        `own` is the URL of the database that it has for itself.
        """
        sessions = self._tools.sessions
        if sessions is None:
            return None
        order, site, log = self._order, self._site, self._log

        def move(work: Load | Save, url: str, cancel: launch.Cancel) -> int:
            return sessions().move(order, site, work, url, log.line, cancel, own)

        return move

    def _ran(
        self, program: Invocation, started: Callable[[int, int], None] | None = None
    ) -> Outcome:
        order, tools, log = self._order, self._tools, self._log
        done = launch.run(
            program.argv,
            cwd=program.cwd,
            env=program.env,
            output=log.write,
            timeout=order.timeout,
            grace=order.grace,
            cancel=tools.cancel,
            guardian=tools.guardian,
            marker=order.marker,
            started=started,
            pausing=log,
        )
        log.finish()
        reason, error = self._ending(done)
        return Outcome(
            started_at=done.started_at,
            ended_at=done.ended_at,
            seconds=done.seconds,
            reason=reason,
            error=error,
            exit_code=done.exit_code,
            signal=done.signal,
            retryable=reason not in (Reason.NOT_FOUND, Reason.DISK_FULL, Reason.CANCELLED),
            warning=self._line_endings() if reason is None else "",
            cpu_seconds=done.cpu_seconds,
            peak_memory=done.peak_memory,
        )

    def _ending(self, done: launch.Exit) -> tuple[Reason | None, str]:
        cancel = self._tools.cancel
        if done.ending is None:
            reason, error = _exit(done)
            told = self._line_endings() if reason is Reason.EXIT else ""
            told += self._without() if told else ""
            return reason, "; ".join(filter(None, (error, told)))
        if cancel.level and done.ending is cancel.reason:
            return done.ending, "ended because the run was ending"
        if done.ending is Reason.TIMEOUT:
            limit = durations.format(self._order.timeout or 0.0)
            return done.ending, f"ended after its time-out of {limit}"
        return done.ending, done.error

    def _line_endings(self) -> str:
        """What a shell does not say of a script that was written on Windows."""
        argv = self._program.argv if self._program is not None else ()
        if len(argv) != 2 or not argv[0].endswith("bash"):
            return ""
        with suppress(OSError):
            if b"\r\n" in Path(argv[1]).read_bytes():
                return "its script has Windows line endings (CRLF)"
        return ""

    def _without(self) -> str:
        """How to be rid of those line endings."""
        script = os.path.normpath(self._order.script)
        return f", take them out: sed -i 's/\\r$//' {shlex.quote(script)}"

    # ------------------------------------------------------------------ what it has made

    def _with_targets(self, outcome: Outcome, before: outside.Looks) -> Outcome:
        """A success without all that it promised is none, and what stood there before is no
        proof."""
        if outcome.reason is None and self._targets and (error := self._short_of(outcome, before)):
            return replace(outcome, reason=Reason.MISSING_TARGET, error=error)
        return outcome

    def _short_of(self, outcome: Outcome, before: outside.Looks) -> str:
        """What a success lacks of its targets, in a sentence; empty if nothing."""
        project, targets = self._site.project, self._targets
        if missing := publish.missing(project, targets):
            return self._lacking(outcome, missing)
        if unwritten := outside.untouched(before):
            return (
                f"ended well but did not write {', '.join(unwritten)}: what is there is from "
                "before; if it is right as it is, the task has to say so by touching it"
            )
        for target, journal in publish.unfinished(project, targets).items():
            return (
                f"ended well but left {target} unfinished: its last rows are in {journal}; "
                "close the database before the task ends"
            )
        return ""

    def _lacking(self, outcome: Outcome, missing: Sequence[str]) -> str:
        """What to say of targets that are not there: what was written instead, and why maybe."""
        error = f"ended well but did not make {', '.join(missing)}"
        made = written(self._site.project, outcome.started_at)
        if endings := self._line_endings():
            error += f"; {endings}{self._without()}"
        elif not made and not all(map(os.path.isabs, missing)):
            error += "; tasks work in a copy of the project, so write to relative paths"
        if made:
            error += f"; new or changed since it began: {made}"
        return error


_NO_SOCKET = "/dev/null/no-socket"
"""Whoever asks fails, and does not take himself for a script that was started by hand."""


def _asking(program: Invocation, address: str) -> Invocation:
    """The program, told where it may ask Pit."""
    return replace(program, env=program.env | {"PIT_SOCKET": address})


def _exit(done: launch.Exit) -> tuple[Reason | None, str]:
    if done.signal is not None:
        return Reason.SIGNAL, f"killed by signal {done.signal}"
    if done.exit_code:
        return Reason.EXIT, f"exit code {done.exit_code}{_EXIT_HINTS.get(done.exit_code, '')}"
    return None, ""


_EXIT_HINTS = {126: " (cannot be executed: chmod +x?)", 127: " (command not found)"}

_SAID_BY_THE_TASK = (None, Reason.EXIT, Reason.SQL_ERROR, Reason.CHECK_FAILED, Reason.MAX_CHANGE)


def _note(log: TaskLog, outcome: Outcome) -> None:
    """The log's last line says why Pit counts this attempt as failed, if the task cannot know."""
    try:
        log.line(f"[pit] {outcome.reason}: {outcome.error}")
    except OSError:
        return  # a full disk: the outcome itself tells


def unpublished(outcome: Outcome, error: OSError) -> Outcome:
    """The outcome of a success whose targets could not appear in the project."""
    if isinstance(error, publish.Refused):
        occupied = Reason.TARGET_OCCUPIED
        return replace(outcome, reason=occupied, error=str(error), retryable=False)
    return replace(
        outcome,
        reason=disk_reason(error) or Reason.MISSING_TARGET,
        error=f"cannot publish {os.fspath(error.filename or 'its targets')}: {error.strerror}",
        retryable=False,
    )
