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
from pit.engine.scheduling.executor import Finished, Threads
from pit.model import Order, Reason

ORDER = Order(run="r", dag="d", task="t", attempt=1, attempts=1, log="", cwd="", env={}, marker="")

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


@pytest.mark.parametrize(("error", "reason", "sentence"), ERRORS)
def test_an_error_beside_the_work(error: Exception, reason: Reason, sentence: str) -> None:
    def fail(*_: object) -> Any:
        raise error

    mailbox: SimpleQueue[Any] = SimpleQueue()
    with closing(Threads(fail, mailbox, 1)) as threads:
        threads.submit(ORDER)
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
