"""The SQL sessions of one run, opened when a task first needs a database: most runs need none."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pit.engine.run.lifecycle import Lifetime
from pit.events import Logged
from pit.order import Order
from pit.work.process import launch
from pit.work.site import Site

if TYPE_CHECKING:
    from collections.abc import Callable

    from pit.work.sql.sessions import Sessions


class OnDemand:
    """Gives the run's `Sessions` to whoever calls it.

    `url` gives that of a connection: which file a task has to wait for is to be known before it is
    asked for.
    """

    def __init__(self, life: Lifetime, site: Site, url: Callable[[str], str | None]) -> None:
        self._life, self._site, self._url = life, site, url
        self._made: Sessions | None = None
        self._making = threading.Lock()

    def __call__(self) -> Sessions:
        """The sessions, made by the first who asks; any thread."""
        with self._making:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> Sessions:
        from pit.work.sql.sessions import Sessions

        site = self._site
        return Sessions(
            spawn=launch.spawn_session,
            cwd=site.project,
            env=site.variables,
            stderr=site.logs / ".sql.log",
            workspace=site.workspace,
            guardian=self._life.guardian,
            waits=self._waits,
        )

    def _waits(self, task: str, what: str) -> None:
        """Say at once why a task that has begun does nothing."""
        life = self._life
        told = life.masks.hide(what)
        life.mailbox.put(
            Logged(run=life.dir.id, at=life.clock.now(), task=task, level="warning", message=told)
        )

    def reserve(self, order: Order) -> str:
        """Keep an order's database file for it, or say what it has to wait for; never waits."""
        return self().reserve(order, self._url(order.connection) or "")

    def dismiss(self, order: Order) -> None:
        """The order has ended, or need not begin any more."""
        if order.connection:
            self().dismiss(order)

    def close(self) -> None:
        """End every SQL process. Only when no order is being performed any more."""
        if self._made is not None:
            self._made.close()
