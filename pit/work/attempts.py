"""One attempt of one task: `perform(order, tools) → outcome`, the same path for every executor."""

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

from pit.errors import InvalidConnection
from pit.model import Load, Order, Outcome, Reason, Record, Save
from pit.project import outside, publish
from pit.text import durations
from pit.work.masking import Masks
from pit.work.process import launch
from pit.work.process.guardian import Guardian
from pit.work.task_log import Tap, TaskLog
from pit.work.written import written

if TYPE_CHECKING:
    from pit.work.socket.listener import Move
    from pit.work.socket.server import Server
    from pit.work.sql.sessions import Sessions


class Tools(Record):
    """What a worker has at hand while a run lasts; never travels with an order.

    `sessions` and `server` are made by whoever needs them first.
    """

    cancel: launch.Cancel
    guardian: Guardian | None = None
    sessions: Callable[[], Sessions] | None = None
    tap: Tap | None = None
    server: Callable[[], Server] | None = None
    masks: Masks | None = None


def perform(order: Order, tools: Tools) -> Outcome:
    """Carry out one attempt in the run's folder and say how it ended; raises only on defects."""
    started, begun = time.time(), time.monotonic()

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
        publish.prepare(Path(order.cwd), order.targets)
    except OSError as error:
        return refused(disk_reason(error) or Reason.MISSING_TARGET, _no_room(order, error))
    try:
        with TaskLog(order.log, order.task, tools.tap, tools.masks) as log:
            if order.attempt > 1:
                log.separate(order.attempt, order.attempts)
            before = outside.looks(order.targets)
            by_sql = order.sql or order.work is not None
            outcome = (_by_sql if by_sql else _by_process)(order, tools, log)
            outcome = _with_targets(order, outcome, before)
            if outcome.reason not in _SAID_BY_THE_TASK:
                _note(log, outcome)
            return outcome
    except InvalidConnection as error:
        return refused(Reason.MISSING_CONNECTION, str(error))
    except OSError as error:
        reason = disk_reason(error) or Reason.INTERNAL
        return refused(reason, f"{error.strerror or error}: {error.filename or order.log}")


def _no_room(order: Order, error: OSError) -> str:
    """Why there can be no targets where they are to be."""
    place = os.path.relpath(error.filename or order.cwd, os.path.realpath(order.cwd))
    words = (error.strerror or str(error)).lower()
    told = f"the folders of its targets cannot be made: {words}: {place}"
    if isinstance(error, PermissionError):
        told += "; a run's copy of a folder has the permissions of the project's own"
    return told


def disk_reason(error: OSError) -> Reason | None:
    """DISK_FULL when the error says that there is no room, else None."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return Reason.DISK_FULL if full else None


def _by_process(order: Order, tools: Tools, log: TaskLog) -> Outcome:
    """A program; one that names a connection has its database file for itself meanwhile."""
    if not order.database or tools.sessions is None:
        return _process(order, tools, log)
    from pit.work.sql.sessions import who_of

    sessions = tools.sessions()
    with sessions.alone(order.database, tools.cancel, who_of(order), log.line):
        return _process(order, tools, log)


def _process(order: Order, tools: Tools, log: TaskLog) -> Outcome:
    """A program, which may ask Pit over a socket of its own for as long as it runs."""
    if tools.server is None:
        return _ran(order, tools, log, order.env)
    server = tools.server()
    try:
        data = Path(order.env["PIT_DATA_DIR"])
        listener = server.open(order, data, log.line, _mover(order, tools, log))
    except OSError as error:
        log.line(f"[pit] no socket, so nothing can be asked of Pit: {error}")
        return _ran(order, tools, log, order.env | {"PIT_SOCKET": _NO_SOCKET})
    try:
        env = order.env | {"PIT_SOCKET": listener.address}
        return _ran(order, tools, log, env, lambda pid, start: server.started(listener, pid, start))
    finally:
        server.close(listener)


_NO_SOCKET = "/dev/null/no-socket"
"""Whoever asks fails, and does not take himself for a script that was started by hand."""


def _mover(order: Order, tools: Tools, log: TaskLog) -> Move | None:
    """What moves rows between files and databases for a task that asks for it."""
    sessions = tools.sessions
    if sessions is None:
        return None

    def move(work: Load | Save, url: str, cancel: launch.Cancel) -> int:
        return sessions().move(order, work, url, log.line, cancel)

    return move


def _ran(
    order: Order,
    tools: Tools,
    log: TaskLog,
    env: dict[str, str],
    started: Callable[[int, int], None] | None = None,
) -> Outcome:
    done = launch.run(
        order.argv,
        cwd=order.cwd,
        env=env,
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
    reason, error = _ending(order, done, tools.cancel)
    return Outcome(
        started_at=done.started_at,
        ended_at=done.ended_at,
        seconds=done.seconds,
        reason=reason,
        error=error,
        exit_code=done.exit_code,
        signal=done.signal,
        retryable=reason not in (Reason.NOT_FOUND, Reason.DISK_FULL, Reason.CANCELLED),
        warning=_line_endings(order) if reason is None else "",
        cpu_seconds=done.cpu_seconds,
        peak_memory=done.peak_memory,
    )


def _ending(order: Order, done: launch.Exit, cancel: launch.Cancel) -> tuple[Reason | None, str]:
    if done.ending is None:
        reason, error = _exit(done)
        told = _line_endings(order) if reason is Reason.EXIT else ""
        told += _without(order) if told else ""
        return reason, "; ".join(filter(None, (error, told)))
    if cancel.level and done.ending is cancel.reason:
        return done.ending, "ended because the run was ending"
    if done.ending is Reason.TIMEOUT:
        return done.ending, f"ended after its time-out of {durations.format(order.timeout or 0.0)}"
    return done.ending, done.error


def _exit(done: launch.Exit) -> tuple[Reason | None, str]:
    if done.signal is not None:
        return Reason.SIGNAL, f"killed by signal {done.signal}"
    if done.exit_code:
        return Reason.EXIT, f"exit code {done.exit_code}{_EXIT_HINTS.get(done.exit_code, '')}"
    return None, ""


def _line_endings(order: Order) -> str:
    """What a shell does not say of a script that was written on Windows."""
    if len(order.argv) != 2 or not order.argv[0].endswith("bash"):
        return ""
    with suppress(OSError):
        if b"\r\n" in Path(order.argv[1]).read_bytes():
            return "its script has Windows line endings (CRLF)"
    return ""


def _without(order: Order) -> str:
    """How to be rid of those line endings."""
    script = os.path.relpath(order.argv[1], order.cwd)
    return f", take them out: sed -i 's/\\r$//' {shlex.quote(script)}"


_EXIT_HINTS = {126: " (cannot be executed: chmod +x?)", 127: " (command not found)"}


def _by_sql(order: Order, tools: Tools, log: TaskLog) -> Outcome:
    assert tools.sessions is not None, "a SQL order needs the run's SQL sessions"
    return tools.sessions().perform(order, log.line, tools.cancel, order.timeout)


def _with_targets(order: Order, outcome: Outcome, before: outside.Looks) -> Outcome:
    """A success without all that it promised is none, and what stood there before is no proof."""
    if outcome.reason is not None or not order.targets:
        return outcome
    missing = publish.missing(Path(order.cwd), order.targets)
    if missing:
        return replace(
            outcome, reason=Reason.MISSING_TARGET, error=_lacking(order, outcome, missing)
        )
    if unwritten := outside.untouched(before):
        error = (
            f"ended well but did not write {', '.join(unwritten)}: what is there is from "
            "before; if it is right as it is, the task has to say so by touching it"
        )
        return replace(outcome, reason=Reason.MISSING_TARGET, error=error)
    for target, journal in publish.unfinished(Path(order.cwd), order.targets).items():
        error = (
            f"ended well but left {target} unfinished: its last rows are in {journal}; "
            "close the database before the task ends"
        )
        return replace(outcome, reason=Reason.MISSING_TARGET, error=error)
    return outcome


def _lacking(order: Order, outcome: Outcome, missing: Sequence[str]) -> str:
    """What to say of targets that are not there: what was written instead, and why maybe."""
    error = f"ended well but did not make {', '.join(missing)}"
    made = written(Path(order.cwd), outcome.started_at)
    if endings := _line_endings(order):
        error += f"; {endings}{_without(order)}"
    elif not made and not all(map(os.path.isabs, missing)):
        error += "; tasks work in a copy of the project, so write to relative paths"
    if made:
        error += f"; new or changed since it began: {made}"
    return error


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
