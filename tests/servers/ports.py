"""Ports on loopback for servers that cannot have the system choose one."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress

_FIRST, _MANY = 20_000, 10_000
"""Below what systems give out by themselves, to servers as to clients."""


def free() -> int:
    """A port that nobody has, nor will be given by chance until the server has begun."""
    while True:
        port = _FIRST + secrets.randbelow(_MANY)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
