"""Attempts that are ready, but for a database file that another run uses: they hold no slot.

The first one for a database asks now and then whether the way is free; those behind it wait for it
without asking, so that ten thousand who wait cost no more than one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from pit.engine.scheduling.phases import Entry
from pit.order import Order

_LOOK_AGAIN = 0.2
"""Seconds between two looks at what another run uses."""

_NEVER = float("inf")


class Place:
    """One attempt that waits: since when, on the monotonic clock, and for what."""

    __slots__ = ("entry", "obstacle", "order", "since")

    def __init__(self, entry: Entry, order: Order, since: float, obstacle: str) -> None:
        self.entry, self.order, self.since, self.obstacle = entry, order, since, obstacle

    @property
    def until(self) -> float:
        """When the wait has taken as long as an attempt may; an attempt without limit waits on."""
        return _NEVER if self.order.timeout is None else self.since + self.order.timeout


class Blocked:
    """All that are blocked, in order for each connection.

    `reserve` keeps an order's database for it, or says what it has to wait for; "" is free.
    """

    def __init__(self, reserve: Callable[[Order], str]) -> None:
        self._reserve = reserve
        self._lines: dict[str, deque[Place]] = {}
        self._next_look = 0.0
        self._first_late = _NEVER

    def __bool__(self) -> bool:
        return bool(self._lines)

    def place(self, entry: Entry, order: Order, now: float) -> Place | None:
        """The place in the line where an order has to wait; None if it may begin."""
        if not order.connection:
            return None
        line = self._lines.get(order.connection)
        obstacle = line[0].obstacle if line else self._reserve(order)
        if not obstacle:
            return None
        place = Place(entry, order, now, obstacle)
        if not self._lines:
            self._next_look = now + _LOOK_AGAIN
        self._lines.setdefault(order.connection, deque()).append(place)
        self._first_late = min(self._first_late, place.until)
        return place

    def is_first(self, place: Place) -> bool:
        """Whether nobody waits longer for the same."""
        return self._lines[place.order.connection][0] is place

    def free(self, now: float) -> Iterator[Place]:
        """Those who wait no more, one after the other, if it is time for a look.

        Whoever takes one has room for it; whoever has none left takes no further one.
        """
        if now < self._next_look:
            return
        for connection in list(self._lines):
            while (line := self._lines.get(connection)) and self._is_free(line[0]):
                yield self._leave(line[0])
        self._next_look = now + _LOOK_AGAIN  # who stopped before may look on at once

    def _is_free(self, place: Place) -> bool:
        place.obstacle = self._reserve(place.order)
        return not place.obstacle

    def late(self, now: float) -> list[Place]:
        """Those who have waited for as long as an attempt may take; they wait no more."""
        if now < self._first_late:
            return []
        found = [self._leave(place) for place in self._all() if place.until <= now]
        self._first_late = min((place.until for place in self._all()), default=_NEVER)
        return found

    def _leave(self, place: Place) -> Place:
        line = self._lines[place.order.connection]
        line.remove(place)
        if not line:
            del self._lines[place.order.connection]
        return place

    def _all(self) -> list[Place]:
        return [place for line in self._lines.values() for place in line]

    def clear(self) -> list[Place]:
        """All of them; nobody waits any more."""
        found = self._all()
        self._lines.clear()
        return found

    def next_look(self, has_room: bool) -> float:
        """When to come back, on the monotonic clock; infinity where nothing would change."""
        if not self._lines:
            return _NEVER
        return min(self._first_late, self._next_look) if has_room else self._first_late
