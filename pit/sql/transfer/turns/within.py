"""Turns within this process, for a database whose files no other process opens: DuckDB."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable

from pit.errors import on_error

_LOOK = 0.1
"""Seconds after which somebody who waits looks whether he is to end."""


class _Ticket:
    """A place in a queue; `shared` ones next to each other are served together."""

    def __init__(self, shared: bool) -> None:
        self.shared = shared


class Queues:
    """A queue for each thing, served in the order of arrival."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queues: dict[Hashable, list[_Ticket]] = {}

    def take(
        self, thing: Hashable, shared: bool, waits: Callable[[], None], heed: Callable[[], None]
    ) -> Callable[[], None]:
        """Wait for one's turn; what gives it back.

        `waits` is called once if it has to be waited for, `heed` while it is, and may raise.
        """
        ticket = _Ticket(shared)
        with self._changed:
            queue = self._queues.setdefault(thing, [])
            queue.append(ticket)
            served = _is_served(queue, ticket)
        with on_error(lambda: self._leave(thing, ticket)):
            if not served:
                waits()
                self._stand(queue, ticket, heed)
        return lambda: self._leave(thing, ticket)

    def _stand(self, queue: list[_Ticket], ticket: _Ticket, heed: Callable[[], None]) -> None:
        while True:
            heed()
            with self._changed:
                if _is_served(queue, ticket):
                    return
                self._changed.wait(_LOOK)

    def _leave(self, thing: Hashable, ticket: _Ticket) -> None:
        with self._changed:
            queue = self._queues[thing]
            queue.remove(ticket)
            if not queue:
                del self._queues[thing]
            self._changed.notify_all()


def _is_served(queue: list[_Ticket], ticket: _Ticket) -> bool:
    """Whether nobody is ahead, or only such as share."""
    if queue[0] is ticket:
        return True
    ahead = queue[: queue.index(ticket)]
    return ticket.shared and all(one.shared for one in ahead)
