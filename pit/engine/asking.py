"""What the tasks of a run may ask for while they run: secrets, facts, connectors, over sockets.

As long as no task asks, all of it costs no more than a socket a task.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pit.engine.lifetime import Lifetime
from pit.errors import PitError
from pit.model import Event
from pit.spec import graph
from pit.work.sdk.access import Access
from pit.work.sdk.facts import RunFacts
from pit.work.sdk.visit import Caller

if TYPE_CHECKING:
    from pit.state.secrets import Secrets
    from pit.work.sdk.server import Desk


class Asking:
    """One run's masks, access to secrets, facts, and the desk where its tasks ask."""

    def __init__(
        self, life: Lifetime, secrets: Secrets | None, left_out: Mapping[str, str]
    ) -> None:
        self._life = life
        self._promised = False
        self.has_secrets = secrets is not None
        self.masks = life.masks
        dag = life.resolved.dag
        self.access = Access(secrets, self._emit, self._barrier, self.masks)
        self.facts = RunFacts(
            life.dir.id,
            emit=self._emit,
            mailbox=life.mailbox,
            past=life.services.history,
            tasks=[task.name for task in dag.tasks],
            above=lambda task: graph.above(dag, {task}),
            left_out=left_out,
        )
        self._desk: Desk | None = None
        self._making = threading.Lock()
        life.stack.callback(self.close)

    def close(self) -> None:
        """No socket is left, and nothing that was set is unsaid."""
        if self._desk is not None:
            self._desk.end()
        self.facts.close()

    def desk(self) -> Desk:
        """Where tasks ask, made when the first of them can."""
        with self._making:
            if self._desk is None:
                from pit.work.sdk.server import Desk

                self._desk = Desk(self.access, self.facts, self.masks)
            return self._desk

    def connection(self, task: str, key: str) -> str:
        """The URL of a connection that pit.toml names for a task, audited and masked.

        Before an attempt may use it, the audit must be on the disk: `keep`.
        """
        life = self._life
        caller = Caller(
            run=life.dir.id,
            dag=life.resolved.dag.name,
            task=task,
            attempt=0,
            data=life.dir.data,
        )
        self._promised = True
        return self.access.connection(caller, key, durable=False)

    def keep(self) -> None:
        """The audit of all connections so far is on the disk."""
        if self._promised:
            self._promised = False
            self._barrier()

    # Of a store that fails, the thread that asked hears first; the run must hear of it too.

    def _emit(self, event: Event) -> None:
        try:
            self._life.services.history.emit(event)
        except PitError as error:
            self._life.mailbox.put(error)
            raise

    def _barrier(self) -> None:
        try:
            self._life.services.history.barrier()
        except PitError as error:
            self._life.mailbox.put(error)
            raise
