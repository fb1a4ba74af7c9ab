"""Waiting for many sockets at once: epoll, or poll where there is none (macOS).

Handles may be added and taken away by any thread while another waits. With poll that is noticed
when the waiting ends, which it does several times a second for that reason.
"""

from __future__ import annotations

import select
from typing import Protocol

READ, WRITE, GONE = select.POLLIN, select.POLLOUT, select.POLLHUP | select.POLLERR
"""What is waited for. GONE is told in any case: the other side has closed altogether."""

_TURN = 0.05


class Readiness(Protocol):
    """The handles that are waited for."""

    def register(self, fd: int, events: int) -> None:
        """Wait for this handle too."""

    def modify(self, fd: int, events: int) -> None:
        """Wait for something else of it."""

    def unregister(self, fd: int) -> None:
        """Wait for it no more."""

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        """The handles at which something has happened, and what; none after `timeout` seconds."""

    def close(self) -> None:
        """The end of it."""


class _Poll:
    """The same by `poll`, for systems without epoll."""

    def __init__(self) -> None:
        self._events: dict[int, int] = {}

    def register(self, fd: int, events: int) -> None:
        self._events[fd] = events

    modify = register

    def unregister(self, fd: int) -> None:
        del self._events[fd]

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        poll = select.poll()
        for fd, events in list(self._events.items()):
            poll.register(fd, events)
        seconds = _TURN if timeout is None else min(timeout, _TURN)
        return poll.poll(1000 * seconds)

    def close(self) -> None:
        self._events.clear()


def readiness() -> Readiness:
    """The best that the system has."""
    return select.epoll() if hasattr(select, "epoll") else _Poll()
