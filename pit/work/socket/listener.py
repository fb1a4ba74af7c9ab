"""One attempt's socket: whose it is, who may come in, and what is being done for it.

A listener is opened by the thread that performs the attempt, before the task's process starts, and
closed by it when the process and all that it started are gone. Between the two, requests are
served by other threads; whatever is still being served then is told to stop, and waited for by
nobody.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from pit.errors import Refused, on_error
from pit.model import Load, Save
from pit.work.masking import Masks
from pit.work.process.cancel import Cancel
from pit.work.socket import files
from pit.work.socket.access import Access
from pit.work.socket.call import Caller, Facts, Secret
from pit.work.socket.peers import Root

OVER = "the attempt that asked is over"

BACKLOG = 512
"""Clients that wait to be let in; the system may allow fewer."""

MOST_CALLS = 16
"""Requests of one attempt that are served at once; others wait for their turn."""

Line = Callable[[str], None]
Move = Callable[[Load | Save, str, Cancel], int]
"""Loads or saves on the database with this URL, until it is cancelled; how many rows."""


class Listener:
    """The socket of one attempt."""

    def __init__(
        self, caller: Caller, marker: str, address: str, log: Line, move: Move | None = None
    ) -> None:
        self.caller = caller
        self.move = move
        self.address = address
        self.root: Root | None = None
        self.over = False
        self.connections = 0
        self.refusals = 0
        """Connections of clients that are being told that there is no room for them."""
        self._marker = os.fsencode(f"PIT_MARKER={marker}")
        self._log = log
        self._lock = threading.Lock()
        self._calls: set[RunningCall] = set()
        self._waiting: list[Callable[[], None]] = []
        self._serving = 0
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with on_error(self.sock.close):
            self.sock.setblocking(False)
            self.sock.bind(address)
            self.sock.listen(BACKLOG)

    def belongs_to(self, pid: int, start: int) -> None:
        """The task's process has started; only now can anybody be told from others."""
        self.root = Root(pid, start, self._marker)

    def log(self, text: str) -> None:
        """A line for the task's log, as long as there is one."""
        with self._lock:
            if not self.over:
                self._log(text)

    def seal(self) -> None:
        """Nobody comes in any more; what is being served is told to stop."""
        with self._lock:
            self.over = True
            calls, self._waiting = list(self._calls), []
        for call in calls:
            call.stop()
        with suppress(OSError):
            os.unlink(self.address)

    # ------------------------------------------------------------------ calls

    def enter(self, call: RunningCall) -> bool:
        """Count a call that is about to be served; False when it is too late for that."""
        with self._lock:
            if self.over:
                return False
            self._calls.add(call)
            return True

    def leave(self, call: RunningCall) -> None:
        """The call has been served."""
        with self._lock:
            self._calls.discard(call)

    def in_turn(self, serve: Callable[[], None]) -> bool:
        """Whether a call may be served now; if not, it is kept until one ends."""
        with self._lock:
            if self._serving < MOST_CALLS:
                self._serving += 1
                return True
            self._waiting.append(serve)
            return False

    def next(self) -> Callable[[], None] | None:
        """A call has ended: the one that has waited longest, if any."""
        with self._lock:
            if self._waiting:
                return self._waiting.pop(0)
            self._serving -= 1
            return None


class Services:
    """What requests work with: one for a run."""

    def __init__(self, access: Access, facts: Facts, masks: Masks) -> None:
        self.access, self.facts, self.masks = access, facts, masks


class RunningCall:
    """One request while it is served: the `Call` that its method gets."""

    def __init__(
        self, listener: Listener, services: Services, method: str, params: msgspec.Raw
    ) -> None:
        self.method, self.params = method, params
        self._listener = listener
        self._services = services
        self._stopped = threading.Event()
        self._stops: list[Callable[[], object]] = []

    @property
    def caller(self) -> Caller:
        """Who asks."""
        return self._listener.caller

    @property
    def facts(self) -> Facts:
        """The small facts of the run."""
        return self._services.facts

    def secret(self, key: str) -> Secret:
        """A secret that the caller may have."""
        self._check()
        return self._services.access.secret(self.caller, key)

    def connection(self, key: str) -> str:
        """The database URL that a secret holds or that its fields make."""
        self._check()
        return self._services.access.connection(self.caller, key)

    def path(self, name: str, *, exists: bool = False) -> Path:
        """The file called `name` in the run's data folder."""
        self._check()
        return files.resolved(self.caller.data, name, exists=exists)

    def wait(self, seconds: float) -> bool:
        """Sleep; False at once when the attempt is over, or the caller has hung up."""
        return not self._stopped.wait(seconds)

    @contextmanager
    def ending(self, stop: Callable[[], object]) -> Iterator[None]:
        """While the block lasts, `stop` is called when `wait` would say False; it never raises."""
        self._stops.append(stop)
        try:
            if self._stopped.is_set():
                stop()
            yield
        finally:
            self._stops.remove(stop)

    def reveals(self, text: str) -> bool:
        """Whether a text contains a secret that this run has handed out."""
        return self._services.masks.reveals(text)

    def conceal(self, text: str) -> None:
        """Mask a text as if it were a secret."""
        self._services.masks.add(text)

    def move(self, work: Load | Save, url: str) -> int:
        """Move rows between a file and the database with this URL; how many."""
        self._check()
        if self._listener.move is None:
            raise Refused("this run cannot use databases")
        cancel = Cancel()
        try:
            with self.ending(cancel.request):
                return self._listener.move(work, url, cancel)
        finally:
            cancel.close()

    def log(self, text: str) -> None:
        """Write a line of Pit's own to the task's log."""
        self._listener.log(text)

    def stop(self) -> None:
        """The attempt is over or the caller has hung up: nobody waits for this any more."""
        self._stopped.set()
        for stop in list(self._stops):
            stop()

    @property
    def stopped(self) -> bool:
        """Whether nobody waits for it any more."""
        return self._stopped.is_set()

    def _check(self) -> None:
        if self._listener.over:
            raise Refused(OVER)
