"""One connection to a task's socket: its requests one after the other, its answers in order.

All of it happens in the one thread of the run that waits for sockets. A request that takes time is
handed to another; until it is answered, and until the client has taken its answers, the connection
does not read on. What has not been read stays with the client, so nobody can make Pit keep much.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from typing import Protocol

from pit.work.socket import wire
from pit.work.socket.listener import Listener, RunningCall
from pit.work.socket.readiness import GONE, READ, WRITE

WHOLE_WITHIN = 30.0
"""Seconds from the first byte of a request to its last, and for an answer without any progress."""

IDLE = 600.0
"""Seconds that a connection may be silent."""

STRANGERS = 5.0
"""Seconds in which somebody who is refused may say what he wanted."""

_PIECE = 1 << 16
_AT_A_TURN = 32

Ask = Callable[["Connection", bytes], bytes | None]
"""Answers a request at once, or sets `Connection.call` and has `Connection.answered` called."""


class Waits(Protocol):
    """What a connection needs of the one who waits for it."""

    def want(self, connection: Connection, events: int) -> None:
        """Wait for these events from now on."""

    def again(self, connection: Connection) -> None:
        """Call its `advance` after the others have had their turn."""

    def drop(self, connection: Connection) -> None:
        """Close it."""


class Connection:
    """A client, as far as it has come."""

    def __init__(self, sock: socket.socket, listener: Listener, ask: Ask, waits: Waits) -> None:
        self.sock, self.listener = sock, listener
        self.fd = sock.fileno()
        self.objection = ""
        """Why whoever it is may not ask."""
        self.call: RunningCall | None = None
        """The request that is being served."""
        self.over = False
        """Whether it is closed as soon as the client has its answers."""
        self.deadline = math.inf
        self.wanted = 0
        self._ask, self._waits = ask, waits
        self._buffer = bytearray()
        self._seen = 0  # so much of the buffer has no newline in it
        self._half = False  # whether the buffer holds half a request, which has its time
        self._ended = False
        self._more = False
        self._out = memoryview(b"")

    def identified(self, objection: str, now: float) -> None:
        """It is known now who it is: begin to read."""
        self.objection = objection
        self.deadline = now + (STRANGERS if objection else IDLE)
        self._want(READ)

    def ready(self, events: int, now: float) -> None:
        """Something has happened on the socket."""
        if events & READ and self.wanted & READ:
            self._read(now)
        elif events & WRITE and self.wanted & WRITE:
            self.advance(now)
        elif events & GONE:
            self._waits.drop(self)

    def answered(self, answer: bytes, now: float) -> None:
        """The request that took time has been served."""
        self.call = None
        self._out = memoryview(bytes(self._out) + answer)
        self.advance(now)

    def late(self, now: float) -> None:
        """Its time is up."""
        if self._out or self.over or not (self._buffer or self.objection):
            return self._waits.drop(self)
        if self.objection:
            answer = self._ask(self, bytes(self._buffer)) or b""
        else:
            answer = wire.failure("invalid request: it was cut off")
        self.over, self._out = True, memoryview(answer)
        self.advance(now)

    def _read(self, now: float) -> None:
        try:
            data = self.sock.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            return self._waits.drop(self)
        self._ended = not data
        self._buffer += data
        self.advance(now)

    def advance(self, now: float) -> None:
        """Answer what has come, send the answers, and say what to wait for."""
        if not self._out and not self.over:
            self._out = memoryview(self._answers())
        if self._out and not self._sent(now):
            return self._waits.drop(self)
        if self._out:
            self._want(WRITE)
        elif self.over:
            self._waits.drop(self)
        elif self.call is not None:
            self.deadline = math.inf
            self._want(0)
        elif self._more:
            self._want(0)
            self._waits.again(self)
        elif self._ended:
            self._waits.drop(self)
        else:
            self._listen(now)

    def _answers(self) -> bytes:
        """The answers to what has come whole, until one takes time or others want their turn."""
        answers: list[bytes] = []
        try:
            for _ in range(_AT_A_TURN):
                line = self._line()
                self._more = line is not None
                if line is None:
                    break
                answer = b"" if line.isspace() or not line else self._ask(self, line)
                if answer is None:
                    break
                answers.append(answer)
                if self.over:
                    break
        except wire.TooLong as error:
            self.over = True
            answers.append(wire.failure(error))
        return b"".join(answers)

    def _line(self) -> bytes | None:
        """The next request that has come whole, without its newline; None if there is none."""
        at = self._buffer.find(b"\n", self._seen)
        whole = at >= 0 or (self._ended and bool(self._buffer))
        end = at if at >= 0 else len(self._buffer)
        if end > wire.LONGEST:
            raise wire.TooLong
        self._seen = 0 if whole else end
        if not whole:
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _sent(self, now: float) -> bool:
        """Send as much as the client takes now; False if it is gone."""
        try:
            sent = self.sock.send(self._out)
        except BlockingIOError:
            sent = 0
        except OSError:
            return False
        self._out = self._out[sent:]
        if sent or not self.wanted & WRITE:
            self.deadline = now + WHOLE_WITHIN
        return True

    def _listen(self, now: float) -> None:
        """Wait for more; half a request has its time from when its first byte came."""
        half = bool(self._buffer)
        if not (half and self._half) and not self.objection:
            self.deadline = now + (WHOLE_WITHIN if half else IDLE)
        self._half = half
        self._want(READ)

    def _want(self, events: int) -> None:
        if events != self.wanted:
            self.wanted = events
            self._waits.want(self, events)
