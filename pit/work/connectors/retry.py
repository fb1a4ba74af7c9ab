"""Trying again: what may yet succeed is repeated after a pause that grows, a few times."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from pit.errors import ConnectorFailed
from pit.work.connectors.backoff import delay
from pit.work.socket.call import Call

T = TypeVar("T")

RETRIES = 3
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
NEVER = threading.TIMEOUT_MAX / 2
"""Seconds: as good as for ever, for waits that want a number."""


def over(what: str) -> ConnectorFailed:
    """The error for work that is given up because nobody waits for it any more."""
    return ConnectorFailed(f"{what}: the attempt is over")


def again(call: Call, retries: int, what: str, work: Callable[[], T]) -> T:
    """What `work` returns; up to `retries` repetitions where its failure is `retryable`."""
    for number in range(1, retries + 1):
        try:
            return work()
        except ConnectorFailed as error:
            if not error.retryable:
                raise
            said = str(error)
            told = said if said.startswith(what) else f"{what}: {said}"
            call.log(f"{told}; trying again ({number} of {retries})")
            if not call.wait(delay(number, FIRST_PAUSE, LONGEST_PAUSE)):
                raise over(what) from None
    return work()
