"""Where work is done: threads of this process that put what they made of it into a mailbox.

An order has three ends: `before` it, `perform`, `after` it. The middle one is the same call
wherever it happens, and may be sent to another machine; the others stay with the run. Looking
whether a task is current is done beside it, by `checker`, so that reading big inputs never holds
up the run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from pit.engine.scheduling.checker import Judging
from pit.engine.staleness.planner import Decision
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


class Judged(Record):
    """It is known whether a task is current."""

    task: str
    decision: Decision


class Broken(Record):
    """Looking whether a task is current has failed."""

    task: str
    error: str
    reason: Reason = Reason.INTERNAL


class Ends(Record):
    """What is done for each order: what it needs is handed over `before`, and what it has made is
    published and recorded `after`."""

    before: Callable[[Order], None]
    perform: Callable[[Order], Outcome]
    after: Callable[[Order, Outcome], Finished]


class Executor(Protocol):
    """Somebody who performs orders and judges tasks, and answers each in any order."""

    def submit(self, order: Order) -> None:
        """Take one order; never blocks."""

    def judge(self, task: str) -> None:
        """Take one question; never blocks."""

    def close(self) -> None:
        """Return when nothing is being done any more."""


class Threads:
    """Works in threads of this process, at most `size` at once, started when needed."""

    def __init__(
        self,
        ends: Ends,
        judge: Callable[[str], Decision],
        mailbox: SimpleQueue[Any],
        size: int,
        recall: Callable[[Sequence[str]], None] = lambda tasks: None,
    ) -> None:
        self._ends, self._judge = ends, judge
        self._recall = recall
        self._judging = Judging(self._judged, mailbox, size, self._recalled)
        self._mailbox = mailbox
        self._size = size
        self._work: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._open = 0
        self._lock = threading.Lock()

    def submit(self, order: Order) -> None:
        """Perform an order in a thread."""
        self._put(lambda: self._performed(order))

    def judge(self, task: str) -> None:
        """Judge a task in a thread."""
        self._judging.ask(task)

    def _put(self, work: Callable[[], Any]) -> None:
        """Queue work, with one more thread for it if all are busy."""
        with self._lock:
            self._open += 1
            if self._open > len(self._threads) < self._size:
                self._start()
        self._work.put(work)

    def _start(self) -> None:
        name = f"attempt-{len(self._threads) + 1}"
        thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _loop(self) -> None:
        while (work := self._work.get()) is not None:
            message = work()
            with self._lock:
                self._open -= 1
            self._mailbox.put(message)

    def _performed(self, order: Order) -> Finished:
        started, begun = time.time(), time.monotonic()

        def failed(error: Exception) -> Finished:
            reason, sentence = _told(error)
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
            self._ends.before(order)
            return self._ends.after(order, self._ends.perform(order))

        return _answered(finished, failed)

    def _judged(self, task: str) -> Judged | Broken:
        # An unreadable input fails the task that declares it, not the run.
        def failed(error: Exception) -> Broken:
            reason, sentence = _told(error)
            return Broken(task=task, error=sentence, reason=reason)

        return _answered(lambda: Judged(task=task, decision=self._judge(task)), failed)

    def _recalled(self, tasks: Sequence[str]) -> None:
        # If it fails, each is judged without, which says what is wrong.
        _answered(lambda: self._recall(tasks), lambda error: None)

    def close(self) -> None:
        """End the threads once their work is done."""
        self._judging.close()
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()


def _answered(work: Callable[[], T], failed: Callable[[Exception], F]) -> T | F:
    """What the work returns; of its errors what `failed` makes: a thread always answers."""
    try:
        return work()
    # A defect in one attempt must end that task, never hang the run that waits for it.
    except Exception as error:
        return failed(error)


def _told(error: Exception) -> tuple[Reason, str]:
    """The reason and the sentence of what went wrong beside an attempt."""
    match error:
        case PitError():
            return Reason.INTERNAL, str(error)
        case OSError(filename=str(where), strerror=str(what)):
            changed = None if error.errno else Reason.INPUT_CHANGED
            reason = attempts.disk_reason(error) or changed or Reason.NOT_FOUND
            return reason, f"{where}: {what[:1].lower()}{what[1:]}"
    return Reason.INTERNAL, f"{type(error).__name__}: {error}"
