"""Where attempts are performed: an executor takes orders and puts `Finished` into a mailbox."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol

from pit.model import Order, Outcome, Reason, Record

Perform = Callable[[Order], Outcome]


class Finished(Record):
    """An order has been carried out."""

    order: Order
    outcome: Outcome


class Executor(Protocol):
    """Somebody who performs orders and answers each with a `Finished`, in any order."""

    def submit(self, order: Order) -> None:
        """Take one order; never blocks."""

    def close(self) -> None:
        """Return when no order is being performed any more."""


class Threads:
    """Performs orders in threads of this process, at most `size` at once, started when needed."""

    def __init__(self, perform: Perform, mailbox: SimpleQueue[Any], size: int) -> None:
        self._perform = perform
        self._mailbox = mailbox
        self._size = size
        self._orders: SimpleQueue[Order | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._open = 0
        self._lock = threading.Lock()

    def submit(self, order: Order) -> None:
        """Queue an order, with one more thread for it if all are busy."""
        with self._lock:
            self._open += 1
            if self._open > len(self._threads) < self._size:
                self._start()
        self._orders.put(order)

    def _start(self) -> None:
        thread = threading.Thread(
            target=self._work, name=f"attempt-{len(self._threads) + 1}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            outcome = self._perform_safely(order)
            with self._lock:
                self._open -= 1
            self._mailbox.put(Finished(order=order, outcome=outcome))

    def _perform_safely(self, order: Order) -> Outcome:
        started, begun = time.time(), time.monotonic()
        try:
            return self._perform(order)
        # A defect in one attempt must end that task, never hang the run that waits for it.
        except Exception as error:
            return Outcome(
                started_at=started,
                ended_at=time.time(),
                seconds=time.monotonic() - begun,
                reason=Reason.INTERNAL,
                error=f"{type(error).__name__}: {error}",
                retryable=False,
            )

    def close(self) -> None:
        """End the threads once their orders are done."""
        for _ in self._threads:
            self._orders.put(None)
        for thread in self._threads:
            thread.join()
