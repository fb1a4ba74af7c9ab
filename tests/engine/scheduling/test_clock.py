"""The clock of a run: it waits for messages."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from time import monotonic
from typing import Any

import pytest

from pit.engine.scheduling.clock import Clock


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.7])
def test_it_waits_as_long_as_it_is_told(seconds: float) -> None:
    began = monotonic()
    assert Clock().wait(SimpleQueue(), seconds) is None
    assert monotonic() - began >= seconds


def test_a_message_ends_the_wait() -> None:
    mailbox: SimpleQueue[Any] = SimpleQueue()
    threading.Timer(0.05, mailbox.put, ("here",)).start()
    assert Clock().wait(mailbox, None) == "here"
