"""`pit.work.process.cancel`: levels that only rise, and that everybody sees."""

from __future__ import annotations

import select
import signal
import threading
from collections.abc import Iterator

import pytest

from pit.model import Reason
from pit.work.process.cancel import Cancel


@pytest.fixture
def cancel() -> Iterator[Cancel]:
    request = Cancel()
    yield request
    request.close()


def readable(handle: int) -> bool:
    return bool(select.select([handle], [], [], 0)[0])


def test_nothing_was_asked_at_first(cancel: Cancel) -> None:
    assert (cancel.level, cancel.reason) == (0, None)
    assert not readable(cancel.fileno())
    assert not cancel.wait(0)


def test_level_one_is_seen_for_ever_and_is_not_urgent(cancel: Cancel) -> None:
    cancel.request(1, Reason.TIMEOUT)
    assert (cancel.level, cancel.reason) == (1, Reason.TIMEOUT)
    assert readable(cancel.fileno())
    assert readable(cancel.fileno())
    assert not readable(cancel.urgent_fileno())


def test_the_level_never_falls_and_the_first_reason_stays(cancel: Cancel) -> None:
    cancel.request(2, Reason.CANCELLED)
    cancel.request(1, Reason.TIMEOUT)
    cancel.request(0)
    assert (cancel.level, cancel.reason) == (2, Reason.CANCELLED)
    assert readable(cancel.urgent_fileno())


def test_it_may_be_asked_a_hundred_thousand_times(cancel: Cancel) -> None:
    for _ in range(100_000):
        cancel.request(2)
    assert cancel.level == 2


def test_all_sleepers_wake(cancel: Cancel) -> None:
    woken: list[bool] = []
    threads = [threading.Thread(target=lambda: woken.append(cancel.wait(30))) for _ in range(4)]
    for thread in threads:
        thread.start()
    cancel.request()
    for thread in threads:
        thread.join(60)
    assert woken == [True] * 4


def test_a_signal_handler_may_ask_while_the_main_thread_sleeps(cancel: Cancel) -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: cancel.request())
    main = threading.get_ident()
    timer = threading.Timer(0.1, lambda: signal.pthread_kill(main, signal.SIGUSR1))
    timer.start()
    try:
        assert cancel.wait(3600)
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)


def test_a_request_after_the_end_is_harmless() -> None:
    cancel = Cancel()
    cancel.close()
    cancel.request(2)
    assert cancel.level == 2
