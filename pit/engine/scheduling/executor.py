"""Where orders are performed: threads of this process that put what came of it into a mailbox.

An order has three ends: `before` it, `perform`, `after` it. The middle one is the same call
wherever it happens, and may be sent to another machine; the others stay with the run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from pit.errors import PitError
from pit.model import Reason, Record, TaskRecord
from pit.order import Order, Outcome
from pit.work import attempts

T = TypeVar("T")
F = TypeVar("F")


class Finished(Record):
    """An order has been carried out; `record` is what a tracked task's success leaves."""

    order: Order
    outcome: Outcome
    record: TaskRecord | None = None
    remark: Reason | None = None


class Ends(Record):
    """What is done for each order: what it needs is handed over `before`, and what it has made is
    published and recorded `after`; `barrier` waits until all told so far is durable."""

    barrier: Callable[[], None]
    before: Callable[[Order], None]
    perform: Callable[[Order], Outcome]
    after: Callable[[Order, Outcome], Finished]


class Threads:
    """Performs orders in at most `size` threads of this process, started when needed."""

    def __init__(self, ends: Ends, mailbox: SimpleQueue[Any], size: int) -> None:
        self._ends, self._mailbox, self._size = ends, mailbox, size
        self._orders: SimpleQueue[tuple[Order, bool] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._open = 0
        self._lock = threading.Lock()

    def submit(self, order: Order, *, settled: bool) -> None:
        """Queue an order, with one more thread for it if all are busy."""
        with self._lock:
            self._open += 1
            if self._open > len(self._threads) < self._size:
                self._start()
        self._orders.put((order, settled))

    def _start(self) -> None:
        name = f"attempt-{len(self._threads) + 1}"
        thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _loop(self) -> None:
        while (taken := self._orders.get()) is not None:
            message = self._performed(*taken)
            with self._lock:
                self._open -= 1
            self._mailbox.put(message)

    def _performed(self, order: Order, settled: bool) -> Finished:
        started, begun = time.time(), time.monotonic()

        def failed(error: Exception) -> Finished:
            reason, sentence = reason_of(error)
            outcome = Outcome(
                started_at=started,
                ended_at=time.time(),
                seconds=time.monotonic() - begun,
                reason=reason,
                error=sentence,
                retryable=False,
            )
            return Finished(order=order, outcome=outcome)

        def finished() -> Finished:
            if settled:
                self._ends.barrier()
            self._ends.before(order)
            return self._ends.after(order, self._ends.perform(order))

        return answered(finished, failed)

    def close(self) -> None:
        """End the threads once their work is done."""
        for _ in self._threads:
            self._orders.put(None)
        for thread in self._threads:
            thread.join()


def answered(work: Callable[[], T], failed: Callable[[Exception], F]) -> T | F:
    """What the work returns; of its errors what `failed` makes: a thread always answers."""
    try:
        return work()
    # A defect in one attempt must end that task, never hang the run that waits for it.
    except Exception as error:
        return failed(error)


def reason_of(error: Exception) -> tuple[Reason, str]:
    """The reason and the sentence of what went wrong beside an attempt."""
    match error:
        case PitError():
            return Reason.INTERNAL, str(error)
        case OSError(filename=str(where), strerror=str(what)):
            changed = None if error.errno else Reason.INPUT_CHANGED
            reason = attempts.disk_reason(error) or changed or Reason.NOT_FOUND
            return reason, f"{where}: {what[:1].lower()}{what[1:]}"
    return Reason.INTERNAL, f"{type(error).__name__}: {error}"
