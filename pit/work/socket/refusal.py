"""A client for whom there is no room: told so at once, and heard out.

Whoever closes a socket while the other side is writing breaks its request off, and the client says
that nobody answers, in place of what it was told. So what it has to say is read, and dropped.
"""

from __future__ import annotations

import socket
from contextlib import suppress

from pit.work.socket import wire
from pit.work.socket.listener import Listener

PATIENCE = 5.0
"""Seconds in which the client may have its say."""

MOST_OF_A_TASK, MOST_OF_A_RUN = 64, 256
"""Clients that are heard out at once; more are let in when these are gone."""

_PIECE = 1 << 16


class Refusal:
    """A connection that has had its answer and is closed when its request has come."""

    def __init__(self, sock: socket.socket, listener: Listener, why: str, now: float) -> None:
        self.sock, self.listener = sock, listener
        self.fd = sock.fileno()
        self.deadline = now + PATIENCE
        with suppress(OSError):  # it has hung up already
            sock.send(wire.failure(why))
            sock.shutdown(socket.SHUT_WR)

    def is_over(self) -> bool:
        """Whether the client has said what it wanted, or is gone; something came of it."""
        try:
            data = self.sock.recv(_PIECE)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return not data or b"\n" in data
