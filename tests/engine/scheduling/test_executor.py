"""What goes wrong beside an attempt is said in a sentence, with the reason that it has."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any

import pytest

from pit.engine.scheduling.executor import Broken, Ends, Finished, Judged, Threads
from pit.model import Reason
from pit.order import Order, Outcome

ORDER = Order(run="r", dag="d", task="t", attempt=1, attempts=1, marker="", log="", runner="bash")

ERRORS = [
    (
        PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/data/x"),
        Reason.NOT_FOUND,
        "/data/x: permission denied",
    ),
    (
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/run/x"),
        Reason.DISK_FULL,
        "/run/x: no space left on device",
    ),
    (
        OSError(0, "changed while this run was going on", "a"),
        Reason.INPUT_CHANGED,
        "a: changed while this run was going on",
    ),
    (ValueError("odd"), Reason.INTERNAL, "ValueError: odd"),
]


def nothing(order: Order) -> None:
    """What is done before an order that needs nothing."""


def never(*_: object) -> Any:
    """What is not called."""
    raise AssertionError


UNUSED = Ends(before=never, perform=never, after=never)


def test_an_order_passes_its_three_ends_one_after_the_other() -> None:
    done: list[str] = []
    outcome = Outcome(started_at=1.0, ended_at=2.0, seconds=1.0)

    def perform(order: Order) -> Outcome:
        done.append(f"perform {order.task}")
        return outcome

    def after(order: Order, how: Outcome) -> Finished:
        done.append(f"after {order.task}")
        return Finished(order=order, outcome=how, remark=Reason.SUPERSEDED)

    mailbox: SimpleQueue[Any] = SimpleQueue()
    ends = Ends(before=lambda o: done.append(f"before {o.task}"), perform=perform, after=after)
    threads = Threads(ends, never, mailbox, 1)
    threads.submit(ORDER)
    told = mailbox.get(timeout=60)
    threads.close()
    assert told == Finished(order=ORDER, outcome=outcome, remark=Reason.SUPERSEDED)
    assert done == ["before t", "perform t", "after t"]


def test_an_order_that_cannot_be_prepared_is_not_performed() -> None:
    def before(order: Order) -> None:
        raise OSError(0, "changed while this run was going on", "a")

    mailbox: SimpleQueue[Any] = SimpleQueue()
    threads = Threads(Ends(before=before, perform=never, after=never), never, mailbox, 1)
    threads.submit(ORDER)
    outcome = mailbox.get(timeout=60).outcome
    threads.close()
    assert (outcome.reason, outcome.retryable) == (Reason.INPUT_CHANGED, False)


@pytest.mark.parametrize(("error", "reason", "sentence"), ERRORS)
def test_an_error_beside_the_work(error: Exception, reason: Reason, sentence: str) -> None:
    def fail(*_: object) -> Any:
        raise error

    mailbox: SimpleQueue[Any] = SimpleQueue()
    threads = Threads(Ends(before=nothing, perform=fail, after=fail), fail, mailbox, 1)
    threads.submit(ORDER)
    finished = mailbox.get(timeout=60)
    threads.judge("t")
    broken = mailbox.get(timeout=60)
    threads.close()
    assert isinstance(finished, Finished)
    assert (finished.outcome.reason, finished.outcome.error) == (reason, sentence)
    assert isinstance(broken, Broken)
    assert (broken.reason, broken.error) == (reason, sentence)


def test_what_cannot_be_recalled_is_judged_all_the_same() -> None:
    def recall(tasks: Sequence[str]) -> None:
        raise ValueError("the store cannot be read")

    decision: Any = object()
    mailbox: SimpleQueue[Any] = SimpleQueue()
    threads = Threads(UNUSED, lambda task: decision, mailbox, 2, recall)
    for name in ("a", "b"):
        threads.judge(name)
        judged = mailbox.get(timeout=60)
        assert isinstance(judged, Judged)
        assert judged.task == name
    threads.close()
