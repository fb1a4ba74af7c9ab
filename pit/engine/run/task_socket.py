"""What the tasks of a run may ask for while they run: secrets, facts, connectors, over sockets.

As long as no task asks, all of it costs no more than a socket a task.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pit.engine.planning import missing_secrets
from pit.engine.run.lifecycle import OpenRun
from pit.errors import PitError, SecretsError
from pit.events import Fact
from pit.model import Reason, Save, Task
from pit.order import Order, Outcome
from pit.work.socket.access import Access
from pit.work.socket.answers.task_values import RunFacts
from pit.work.socket.call import Caller

if TYPE_CHECKING:
    from pit.state.secrets.secrets import Secrets
    from pit.work.socket.server import Server


class TaskServices:
    """One run's masks, access to secrets, facts, and the server where its tasks ask."""

    def __init__(self, run: OpenRun, secrets: Secrets | None, left_out: Mapping[str, str]) -> None:
        self._run, self._secrets = run, secrets
        self.has_secrets = secrets is not None
        self.masks = run.masks
        self._dag = run.target.dag.declared
        self.access = Access(secrets, self._emit, self._barrier, self.masks)
        self.facts = RunFacts(
            run.dir.id,
            emit=self._emit,
            mailbox=run.mailbox,
            store=run.services.store,
            tasks=list(run.target.dag.tasks),
            above=run.target.dag.upstream,
            left_out=left_out,
        )
        self._server: Server | None = None
        self._making = threading.Lock()
        run.held.callback(self.close)

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

    def _caller(self, order: Order) -> Caller:
        data = self._run.dir.data
        return Caller(
            run=order.run, dag=order.dag, task=order.task, attempt=order.attempt, data=data
        )

    def connection(self, order: Order) -> str:
        """The URL of the connection that an order names, masked, and audited durably."""
        try:
            return self.access.connection(self._caller(order), order.connection)
        finally:
            # Pit has been given it, not the task: what that may have, its `secrets` say.
            self.access.forget(order.task, order.attempt)

    def lacks_connection(self, order: Order) -> str:
        """Why an order cannot have its connection, in a sentence; empty if it can."""
        try:
            self.access.check_connection(self._caller(order), order.connection)
        except SecretsError as error:
            self.access.forget(order.task, order.attempt)
            return self.told(error)
        return ""

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
            path = self._run.dir.data / order.work.output
            self.facts.saved(self._caller(order), path)

    # Of a store that fails, the thread that asked hears first; the run must hear of it too.

    def _emit(self, fact: Fact) -> None:
        try:
            self._run.services.store.emit(fact)
        except PitError as error:
            self._run.mailbox.put(error)
            raise

    def _barrier(self) -> None:
        try:
            self._run.services.store.barrier()
        except PitError as error:
            self._run.mailbox.put(error)
            raise
