"""What goes wrong beside an attempt is said in a sentence, with the reason that it has."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import closing
from queue import SimpleQueue
from typing import Any

import pytest

from pit.engine.scheduling.checker import Broken, Judged, StalenessChecker
from pit.engine.scheduling.executor import Ends, Finished, Threads
from pit.errors import StoreUnavailable
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


@pytest.mark.parametrize("settled", [False, True])
def test_an_order_passes_its_ends_one_after_the_other(settled: bool) -> None:
    done: list[str] = []
    outcome = Outcome(started_at=1.0, ended_at=2.0, seconds=1.0)

    def perform(order: Order) -> Outcome:
        done.append(f"perform {order.task}")
        return outcome

    def after(order: Order, how: Outcome) -> Finished:
        done.append(f"after {order.task}")
        return Finished(order=order, outcome=how, remark=Reason.SUPERSEDED)

    mailbox: SimpleQueue[Any] = SimpleQueue()
    ends = Ends(
        barrier=lambda: done.append("barrier"),
        before=lambda o: done.append(f"before {o.task}"),
        perform=perform,
        after=after,
    )
    with closing(Threads(ends, mailbox, 1)) as threads:
        threads.submit(ORDER, settled=settled)
        told = mailbox.get(timeout=60)
    assert told == Finished(order=ORDER, outcome=outcome, remark=Reason.SUPERSEDED)
    assert done == [*(["barrier"] * settled), "before t", "perform t", "after t"]


def test_an_order_is_not_performed_where_what_was_told_is_not_durable() -> None:
    def barrier() -> None:
        raise StoreUnavailable("the store is gone")

    mailbox: SimpleQueue[Any] = SimpleQueue()
    ends = Ends(barrier=barrier, before=never, perform=never, after=never)
    with closing(Threads(ends, mailbox, 1)) as threads:
        threads.submit(ORDER, settled=True)
        outcome = mailbox.get(timeout=60).outcome
    assert (outcome.reason, outcome.retryable) == (Reason.INTERNAL, False)


def test_an_order_that_cannot_be_prepared_is_not_performed() -> None:
    def before(order: Order) -> None:
        raise OSError(0, "changed while this run was going on", "a")

    mailbox: SimpleQueue[Any] = SimpleQueue()
    with closing(
        Threads(Ends(barrier=never, before=before, perform=never, after=never), mailbox, 1)
    ) as threads:
        threads.submit(ORDER, settled=False)
        outcome = mailbox.get(timeout=60).outcome
    assert (outcome.reason, outcome.retryable) == (Reason.INPUT_CHANGED, False)


@pytest.mark.parametrize(("error", "reason", "sentence"), ERRORS)
def test_an_error_beside_the_work(error: Exception, reason: Reason, sentence: str) -> None:
    def fail(*_: object) -> Any:
        raise error

    mailbox: SimpleQueue[Any] = SimpleQueue()
    with closing(
        Threads(Ends(barrier=never, before=nothing, perform=fail, after=fail), mailbox, 1)
    ) as threads:
        threads.submit(ORDER, settled=False)
        finished = mailbox.get(timeout=60)
    with closing(StalenessChecker(fail, mailbox, 1)) as checker:
        checker.ask("t")
        broken = mailbox.get(timeout=60)
    assert isinstance(finished, Finished)
    assert (finished.outcome.reason, finished.outcome.error) == (reason, sentence)
    assert isinstance(broken, Broken)
    assert (broken.reason, broken.error) == (reason, sentence)


def test_what_cannot_be_recalled_is_judged_all_the_same() -> None:
    def recall(tasks: Sequence[str]) -> None:
        raise ValueError("the store cannot be read")

    decision: Any = object()
    mailbox: SimpleQueue[Any] = SimpleQueue()
    with closing(StalenessChecker(lambda task: (decision, ""), mailbox, 2, recall)) as checker:
        for name in ("a", "b"):
            checker.ask(name)
            judged = mailbox.get(timeout=60)
            assert isinstance(judged, Judged)
            assert judged.task == name
