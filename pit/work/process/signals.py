"""Signals to Pit itself: who is told of them, and that the main thread wakes up for it.

The kernel gives a signal to any thread of a process. Python runs its handlers in the main thread
alone, and that may be asleep in a lock or a queue, which nobody else's signal interrupts: Ctrl-C
would be heeded when something else happens to wake it. So a thread of its own is told of every
signal that comes, and rouses the main thread with one that means nothing, until it is awake.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from pit.errors import SetupError

_HEEDED = ("SIGINT", "SIGTERM", "SIGHUP")

_ROUSING = signal.SIGURG
"""Ignored by who does not ask for it, programs that are started included."""

_AGAIN = 0.05
"""Seconds until the main thread is roused anew: it may have been about to fall asleep."""

Handler = Callable[[int, FrameType | None], None]


class Signals:
    """Pit's handlers of INT, TERM and HUP while they are installed."""

    def __init__(self, on_first: Callable[[], None], on_second: Callable[[], None]) -> None:
        self._calls = [on_second, on_first]
        self._before: dict[int, Any] = {}
        self._rouser = _Rouser()
        self.received: int | None = None

    @property
    def exit_code(self) -> int | None:
        """130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP, None if there was none."""
        return None if self.received is None else 128 + self.received

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.received is None:
            self.received = number
        if self._calls:
            self._calls.pop()()

    def install(self) -> None:
        """Take over; what the caller of Pit has chosen to ignore (nohup) stays ignored."""
        self._rouser.start()
        for name in _HEEDED:
            number = getattr(signal, name)
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)

    def restore(self) -> None:
        """Put back what was there before."""
        while self._before:
            signal.signal(*self._before.popitem())
        self._rouser.end()


def install_signals(on_first: Callable[[], None], on_second: Callable[[], None]) -> Signals:
    """Handle INT, TERM and HUP: the first calls `on_first`, the second `on_second`."""
    signals = Signals(on_first, on_second)
    signals.install()
    return signals


class _Rouser:
    """Wakes the main thread, whatever it waits for, when any thread has taken a signal."""

    def __init__(self) -> None:
        self._is_awake = False
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; for the main thread alone. If it cannot, nothing has changed."""
        reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        thread = threading.Thread(target=self._attend, args=(reader,), name="signals", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            os.close(reader)
            os.close(self._writer)
            raise no_room("the thread that hears signals") from None
        self._thread = thread
        self._handler_before = signal.signal(_ROUSING, self._note)
        self._told_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def _note(self, number: int, frame: FrameType | None) -> None:
        # No lock, as an Event has: this may interrupt itself.
        self._is_awake = True

    def _attend(self, reader: int) -> None:
        main = threading.main_thread().ident
        assert main is not None
        while heard := os.read(reader, 64):
            if not set(heard) - {_ROUSING}:
                continue
            # Once the main thread has run this one's handler, it has run those of all before.
            self._is_awake = False
            while not (self._is_awake or self._over.is_set()):
                signal.pthread_kill(main, _ROUSING)
                self._over.wait(_AGAIN)
        os.close(reader)

    def end(self) -> None:
        """Leave everything as it was; no thread is left."""
        if self._thread is None:
            return
        signal.set_wakeup_fd(self._told_before, warn_on_full_buffer=False)
        self._over.set()
        os.close(self._writer)
        self._thread.join()
        self._thread = None
        signal.signal(_ROUSING, self._handler_before)


def no_room(who: str) -> SetupError:
    """The error of one whom the system lets start no more processes and threads."""
    return SetupError(
        f"{who} cannot be started: the system allows no more processes and threads",
        "See how many there may be (ulimit -u; in a container its pids limit), and free memory",
    )


def signal_name(number: int) -> str:
    """`SIGKILL` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:  # the real-time ones between the first and the last have no name
        return f"signal {number}"


# ---------------------------------------------------------------- while a command lasts


ENDING = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def handling(handlers: Mapping[int, Handler]) -> Iterator[None]:
    """While it lasts, these signals to Pit call these functions; for the main thread alone."""
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ending_in_order() -> Iterator[None]:
    """While it lasts, SIGTERM and SIGHUP raise SystemExit, so that what is open is put away."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    with handling(dict.fromkeys(ENDING, leave)):
        yield
