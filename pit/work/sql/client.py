"""A SQL process seen from Pit: many scripts talk with it at once, and each hears when it dies."""

from __future__ import annotations

import os
import queue
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec.structs import replace

from pit.model import Record
from pit.sql import protocol

_WAITING = 256
"""How many messages of one script may wait to be read before the SQL process has to wait."""
_LAST_LINES = 4000
"""How much of what a dying process said is shown, in bytes."""
_GRACE = 1.0


class Child(Protocol):
    """What is needed of a started process; `launch.Child` is one."""

    @property
    def returncode(self) -> int | None:
        """Exit code, minus the signal's number if one ended it, None while it runs."""

    def send(self, data: bytes) -> None:
        """Write to its stdin."""

    def receive(self, size: int = ...) -> bytes:
        """Read from its stdout; empty at the end."""

    def end(self, grace: float) -> int | None:
        """End it, whatever it does; its `returncode`."""

    def close(self) -> None:
        """Give the pipes back."""


class Gone(Record, frozen=True):
    """The process is dead: how, whether this script is to blame, and what it said on stderr.

    `ended`: Pit ended it. `alone`: no other script was under way, so it was this one's doing.
    `begun`: it had heard of this script.
    """

    returncode: int
    ended: bool
    alone: bool
    begun: bool
    words: str


class Talk(AbstractContextManager["Talk"]):
    """One script's conversation with the process; use it as a context manager."""

    def __init__(self, sql: SqlProcess, number: int) -> None:
        self.number = number
        self.begun = False
        self._sql = sql
        self._messages: queue.Queue[protocol.Told | Gone] = queue.Queue(_WAITING)
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._open = True
        self._lock = threading.Lock()

    def put(self, message: protocol.Told | Gone) -> None:
        """Deliver a message; waits while the script's thread is behind with reading."""
        while self._open:
            try:
                self._messages.put(message, timeout=0.2)
            except queue.Full:
                continue
            self._wake()
            return

    def _wake(self) -> None:
        with self._lock:  # once closed, the handle may be anybody's
            if self._open:
                with suppress(BlockingIOError):  # so many wake-up calls that one more is none
                    os.write(self._writer, b".")

    def hear(self, also: int | None, seconds: float | None) -> Iterator[protocol.Told | Gone]:
        """What has been said; waits for something, for `also` to be readable, or so long."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        if also is not None:
            poll.register(also, select.POLLIN)
        happened = poll.poll(None if seconds is None else 1000 * max(0.0, seconds))
        if any(handle == self._reader for handle, _ in happened):
            os.read(self._reader, _WAITING)
        while True:
            try:
                yield self._messages.get_nowait()
            except queue.Empty:
                return

    def interrupt(self) -> None:
        """Ask the process to end this script."""
        self._sql.send(protocol.Interrupt(id=self.number))

    def end_process(self) -> None:
        """End the process; this script and all others in it hear `Gone`."""
        self._sql.end()

    def __exit__(self, *_: object) -> None:
        self._sql.forget(self.number)
        with self._lock:
            self._open = False
            os.close(self._reader)
            os.close(self._writer)


class SqlProcess:
    """The process, a thread that reads from it, and one that writes to it.

    Writing has its own thread because a stopped process reads nothing, and a task must be able to
    run out of time all the same.
    """

    def __init__(self, spawn: Callable[[], Child], stderr: Path) -> None:
        self._stderr = stderr
        self._said = _size(stderr)
        self._child = spawn()
        self._lock = threading.Lock()
        self._talks: dict[int, Talk] = {}
        self._last = 0
        self._gone = False
        self._ended = False
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=work, name=f"sql-{work.__name__.strip('_')}", daemon=True)
            for work in (self._read, self._write)
        ]
        for thread in self._threads:
            thread.start()

    def begin(self, request: protocol.Work) -> Talk | None:
        """Send a request, numbered; None if the process is dead, so that another is needed."""
        with self._lock:
            if self._gone or self._ended:
                return None
            self._last += 1
            talk = self._talks[self._last] = Talk(self, self._last)
        self.send(replace(request, id=talk.number))
        return talk

    @property
    def busy(self) -> bool:
        """Whether a script talks with it."""
        with self._lock:
            return bool(self._talks)

    def send(self, request: protocol.Request) -> None:
        """Write a request, some time soon."""
        self._outbox.put(protocol.encode(request))

    def forget(self, number: int) -> None:
        """Deliver nothing more to this script."""
        with self._lock:
            self._talks.pop(number, None)

    def end(self) -> None:
        """End the process, whatever it does."""
        with self._lock:
            self._ended = True
        self._child.end(_GRACE)

    def close(self) -> None:
        """End the process and give everything back. Only when no script talks with it any more."""
        self.end()
        self._outbox.put(None)
        for thread in self._threads:
            thread.join()
        self._child.close()

    # ------------------------------------------------------------ the two threads

    def _write(self) -> None:
        while (data := self._outbox.get()) is not None:
            try:
                self._child.send(data)
            except OSError:
                return  # it is dead or dying, as the reading thread is about to find out

    def _read(self) -> None:
        pieces: list[bytes] = []  # of a line that is not whole; it may hold a cell of any size
        try:
            while data := self._child.receive():
                *ends, rest = data.split(b"\n")
                for end in ends:
                    self._deliver(protocol.reply(b"".join((*pieces, end))))
                    pieces.clear()
                pieces.append(rest)
        except msgspec.MsgspecError:
            pass  # not a word of ours; it cannot be trusted any more
        self._bury()

    def _deliver(self, reply: protocol.Reply) -> None:
        with self._lock:
            talk = self._talks.get(reply.id)
        if talk is None:
            return
        if isinstance(reply, protocol.Begun):
            talk.begun = True
        else:
            talk.put(reply)

    def _bury(self) -> None:
        returncode = self._child.end(_GRACE)
        with self._lock:
            self._gone = True
            talks = list(self._talks.values())
        gone = Gone(
            returncode=0 if returncode is None else returncode,
            ended=self._ended,
            alone=sum(talk.begun for talk in talks) == 1,
            begun=True,
            words=_tail(self._stderr, self._said),
        )
        for talk in talks:
            talk.put(gone if talk.begun else replace(gone, begun=False))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _tail(path: Path, start: int) -> str:
    """The last lines of what was written to a file since it had `start` bytes.

    No half of a line, for it may begin with half of a secret, which nobody would know for one.
    """
    first = max(start, _size(path) - _LAST_LINES)
    try:
        with path.open("rb") as file:
            file.seek(first)
            told = file.read(_LAST_LINES)
    except OSError:
        return ""
    if first > start:
        told = told.partition(b"\n")[2] or told.partition(b" ")[2]
    return told.decode(errors="replace").strip()


def remaining(until: float | None) -> float | None:
    """Seconds left until a time on the monotonic clock; None for ever."""
    return None if until is None else until - time.monotonic()
