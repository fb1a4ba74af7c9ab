"""The clock of a run: it waits for messages, and for signals too."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from time import monotonic
from typing import Any

import pytest

from pit.engine.events import Clock


@pytest.fixture
def deaf() -> Iterator[None]:
    """The main thread takes no SIGUSR1, so that the kernel gives it to another."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    yield
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})


@pytest.mark.usefixtures("deaf")
def test_a_signal_that_another_thread_has_taken_is_heeded() -> None:
    mailbox: SimpleQueue[Any] = SimpleQueue()
    over = threading.Event()

    def take_it() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        over.wait(0.2)  # let the main thread fall asleep
        os.kill(os.getpid(), signal.SIGUSR1)
        if not over.wait(20):
            mailbox.put("too late")

    before = signal.signal(signal.SIGUSR1, lambda *_: mailbox.put("signalled"))
    thread = threading.Thread(target=take_it)
    thread.start()
    try:
        assert Clock().wait(mailbox, None) == "signalled"
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.7])
def test_it_waits_as_long_as_it_is_told(seconds: float) -> None:
    began = monotonic()
    assert Clock().wait(SimpleQueue(), seconds) is None
    assert monotonic() - began >= seconds


def test_a_message_ends_the_wait() -> None:
    mailbox: SimpleQueue[Any] = SimpleQueue()
    threading.Timer(0.05, mailbox.put, ("here",)).start()
    assert Clock().wait(mailbox, None) == "here"
