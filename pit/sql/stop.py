"""The wish that a piece of work end soon: it may come from any thread, and is never taken back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, InvalidStateError, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any, TypeVar

from pit.sql.driver import CANCELLED, Failure, SqlFailure

_Opened = TypeVar("_Opened")


class Stop:
    """Not wished at first; what is under way looks at it between two steps."""

    def __init__(self) -> None:
        self._wish: Future[Any] = Future()

    def wish(self) -> None:
        """End soon."""
        with suppress(InvalidStateError):  # it has been wished before
            self._wish.set_result(None)

    @property
    def wished(self) -> bool:
        """Whether it has been wished."""
        return self._wish.done()

    def heed(self) -> None:
        """SqlFailure if it has been wished."""
        if self.wished:
            raise SqlFailure(Failure(message="interrupted", kind=CANCELLED, retryable=False))

    def pause(self, seconds: float) -> None:
        """Do nothing for so long, unless it is wished: then SqlFailure."""
        wait((self._wish,), seconds)
        self.heed()

    def opened(self, opening: Callable[[], _Opened], close: Callable[[_Opened], None]) -> _Opened:
        """What `opening` returns, such as a connection, which nothing can interrupt.

        It is done in a thread of its own and left alone when the wish comes first: a server that
        does not answer is not waited for. What is opened after all is closed again.
        """
        pool = ThreadPoolExecutor(1)
        future = pool.submit(opening)
        pool.shutdown(wait=False)
        either: tuple[Future[Any], ...] = (future, self._wish)
        wait(either, return_when=FIRST_COMPLETED)
        if not future.done():
            future.add_done_callback(lambda late: _dropped(late, close))
            self.heed()
        return future.result()


def _dropped(late: Future[_Opened], close: Callable[[_Opened], None]) -> None:
    if late.exception() is None:
        close(late.result())
