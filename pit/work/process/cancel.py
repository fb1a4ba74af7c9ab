"""A request to stop, which any number of threads can see and sleep on."""

from __future__ import annotations

import os
import select
from contextlib import suppress

from pit.model import Reason


class Cancel:
    """A request to stop, seen by any number of threads: level 0 no, 1 gracefully, 2 at once.

    The level only ever rises. `request` may be called from a signal handler: it takes no
    lock, and each of its steps may be repeated or interrupted.
    """

    def __init__(self) -> None:
        self._pipes: tuple[tuple[int, int], ...] = (os.pipe(), os.pipe())
        for _, writer in self._pipes:
            os.set_blocking(writer, False)  # one byte is enough; a full pipe must not stop us
        self._asked = False
        self._at_once = False
        self._reason: Reason | None = None

    @property
    def level(self) -> int:
        """How urgent it is."""
        return 2 if self._at_once else int(self._asked)

    @property
    def reason(self) -> Reason | None:
        """Why, as the first request said."""
        return self._reason

    def request(self, level: int = 1, reason: Reason = Reason.CANCELLED) -> None:
        """Ask everything that watches this to stop."""
        if level < 1:
            return
        self._reason = self._reason or reason
        self._asked = True
        self._at_once = self._at_once or level > 1
        for _, writer in self._pipes[:level]:
            with suppress(OSError):
                os.write(writer, b".")

    def fileno(self) -> int:
        """Readable, for ever, as soon as the level is 1 or more. Never read from it."""
        return self._pipes[0][0]

    def urgent_fileno(self) -> int:
        """Readable, for ever, as soon as the level is 2."""
        return self._pipes[1][0]

    def wait(self, seconds: float) -> bool:
        """Sleep, less if asked to stop; whether that was asked."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return bool(poll.poll(1000 * seconds)) or self._asked

    def close(self) -> None:
        """Give the file descriptors back; nobody may watch any more."""
        pipes, self._pipes = self._pipes, ()
        for pipe in pipes:
            for handle in pipe:
                os.close(handle)
