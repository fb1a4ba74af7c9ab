"""What the tasks of a run may ask for while they run: secrets, facts, connectors, over sockets.

As long as no task asks, all of it costs no more than a socket a task.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pit.engine.planning import missing_secrets
from pit.engine.run.lifecycle import Lifetime
from pit.errors import PitError, SecretsError
from pit.events import Event
from pit.model import Order, Outcome, Reason, Save, Task
from pit.work.socket.access import Access
from pit.work.socket.answers.task_values import RunFacts
from pit.work.socket.call import Caller

if TYPE_CHECKING:
    from pit.state.secrets.secrets import Secrets
    from pit.work.socket.server import Server


class Asking:
    """One run's masks, access to secrets, facts, and the server where its tasks ask."""

    def __init__(
        self, life: Lifetime, secrets: Secrets | None, left_out: Mapping[str, str]
    ) -> None:
        self._life, self._secrets = life, secrets
        self.has_secrets = secrets is not None
        self.masks = life.masks
        self._dag = life.target.dag.declared
        self.access = Access(secrets, self._emit, self._barrier, self.masks)
        self.facts = RunFacts(
            life.dir.id,
            emit=self._emit,
            mailbox=life.mailbox,
            store=life.services.store,
            tasks=list(life.target.dag.tasks),
            above=life.target.dag.upstream,
            left_out=left_out,
        )
        self._server: Server | None = None
        self._making = threading.Lock()
        life.stack.callback(self.close)

    def close(self) -> None:
        """No socket is left, and nothing that was set is unsaid."""
        if self._server is not None:
            self._server.end()
        self.facts.close()

    def server(self) -> Server:
        """Where tasks ask, made when the first of them can."""
        with self._making:
            if self._server is None:
                from pit.work.socket.server import Server

                self._server = Server(self.access, self.facts, self.masks)
            return self._server

    def _caller(self, task: str, attempt: int) -> Caller:
        life = self._life
        return Caller(
            run=life.dir.id,
            dag=life.target.dag.name,
            task=task,
            attempt=attempt,
            data=life.dir.data,
        )

    def connection(self, task: str, attempt: int, key: str) -> str:
        """The URL of a connection that pit.toml names for a task, audited and masked.

        Never waits: before the attempt may use it, `keep` has the audit put on the disk.
        """
        try:
            return self.access.connection(self._caller(task, attempt), key, durable=False)
        finally:
            # Pit has been given it, not the task: what that may have, its `secrets` say.
            self.access.forget(task, attempt)

    def lack(self, task: Task) -> str:
        """What a task's `secrets` name and it would not get, in a sentence; empty if nothing."""
        if self._secrets is None or not task.secrets:
            return ""
        lacks = missing_secrets.lacks(self._secrets, self._dag, task)
        found = (lack.error for lack in lacks if lack.reason is Reason.MISSING_SECRET)
        return next(map(self.told, found), "")

    def told(self, error: SecretsError) -> str:
        """What an error says, with the name that was meant where one is near."""
        assert self._secrets is not None  # without any, nothing is asked for
        return missing_secrets.sentence(error, self._secrets, self._dag)

    def saved(self, order: Order, outcome: Outcome) -> None:
        """The file of a save that succeeded is one that its task hands on."""
        if outcome.reason is None and isinstance(order.work, Save):
            path = self._life.dir.data / order.work.output
            self.facts.saved(self._caller(order.task, order.attempt), path)

    def keep(self, order: Order) -> None:
        """The audit of the connection that an order has is on the disk."""
        if order.database:
            self._barrier()

    # Of a store that fails, the thread that asked hears first; the run must hear of it too.

    def _emit(self, event: Event) -> None:
        try:
            self._life.services.store.emit(event)
        except PitError as error:
            self._life.mailbox.put(error)
            raise

    def _barrier(self) -> None:
        try:
            self._life.services.store.barrier()
        except PitError as error:
            self._life.mailbox.put(error)
            raise
