"""The statement that is under way through ODBC, which another thread may cancel."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyodbc

AGAIN = 1.0
"""Seconds after which a cancel that has ended nothing is repeated."""


class UnderWay:
    """At most one cursor at a time.

    Microsoft's driver ends the whole process with SIGSEGV when a cancel meets the end of its
    statement. So no cursor is closed while it is being cancelled, and no statement is cancelled
    again while the first cancel is just ending it. Nor can it be left at one: a cancel that comes
    before the driver has sent the statement is lost.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cursor: pyodbc.Cursor | None = None
        self._next = 0.0

    @contextmanager
    def on(self, cursor: pyodbc.Cursor) -> Iterator[None]:
        """While the block lasts this cursor can be cancelled, and not after it."""
        with self._lock:
            self._cursor, self._next = cursor, 0.0
        try:
            yield
        finally:
            with self._lock:
                self._cursor = None

    def cancel(self) -> None:
        """Cancel what is being executed, if anything is; from any thread, as often as you like."""
        import pyodbc

        with self._lock, suppress(pyodbc.Error):
            now = time.monotonic()
            if self._cursor is not None and now >= self._next:
                self._next = now + AGAIN
                self._cursor.cancel()
