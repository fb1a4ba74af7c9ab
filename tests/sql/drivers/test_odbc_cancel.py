"""Cancelling through ODBC: from another thread, and never where a driver cannot bear it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pit.sql.drivers import odbc_cancel
from pit.sql.drivers.odbc_cancel import UnderWay


class Cursor:
    """A driver's cursor whose cancel takes its time, as that of a remote server does."""

    def __init__(self) -> None:
        self.cancels = 0
        self.cancelling, self.closed = threading.Event(), threading.Event()
        self.closed_meanwhile = False

    def cancel(self) -> None:
        self.cancels += 1
        self.cancelling.set()
        self.closed_meanwhile = self.closed.wait(0.1)


@pytest.fixture
def cursor() -> Any:
    """A cursor at work."""
    return Cursor()


def test_what_is_being_cancelled_is_not_closed_meanwhile(cursor: Any) -> None:
    under_way = UnderWay()
    with under_way.on(cursor):
        thread = threading.Thread(target=under_way.cancel)
        thread.start()
        assert cursor.cancelling.wait(60)
    cursor.closed.set()
    thread.join()
    assert cursor.cancels == 1
    assert not cursor.closed_meanwhile


def test_a_cancel_is_repeated_when_the_first_has_had_its_time(
    cursor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor.closed.set()
    under_way = UnderWay()
    with under_way.on(cursor):
        monkeypatch.setattr(odbc_cancel, "AGAIN", 3600.0)
        under_way.cancel()
        under_way.cancel()
        assert cursor.cancels == 1
    monkeypatch.setattr(odbc_cancel, "AGAIN", 0.0)
    with under_way.on(cursor):
        under_way.cancel()
        under_way.cancel()
        assert cursor.cancels == 3
    under_way.cancel()
    assert cursor.cancels == 3, "nothing is under way"
