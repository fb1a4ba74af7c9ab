"""A task's log file: what its process wrote, byte for byte, as it came, but for secrets."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from pit.work.masking import Masks, Stream

Tap = Callable[[str, bytes], None]
"""Hears the output of every task as it comes: `(task, bytes)`; called from several threads."""

_SILENCE = 0.1
"""Seconds after which what a prompt may end in is written, though a secret may begin with it."""


class TaskLog(AbstractContextManager["TaskLog"]):
    """The open log of one attempt, appended to; a line is drawn between attempts.

    Once the run has handed out a secret, what may be the beginning of one is held back until more
    output decides, or the end. `due` says when a pause has been long enough to tell a prompt from a
    secret (monotonic seconds), and whoever waits for more output calls `release` then.
    """

    def __init__(
        self, path: str, task: str, tap: Tap | None = None, masks: Masks | None = None
    ) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._task = task
        self._tap = tap
        self._masks = masks
        self._stream: Stream | None = None
        self._lock = threading.Lock()
        self.due: float | None = None

    def write(self, data: memoryview | bytes) -> None:
        """Append bytes; OSError when the disk is full."""
        if self._masks is None or not self._masks.armed:
            return self._append(data)
        with self._lock:
            self._masked(bytes(data), self._masks)

    def line(self, text: str) -> None:
        """Append one line of Pit's own; of the process's output, what is held back stays so."""
        data = f"{text}\n".encode(errors="replace")
        if self._masks is None or not self._masks.armed:
            return self._append(data)
        with self._lock:
            self._append(self._masks.known.hide(data))

    def release(self) -> None:
        """Write what a prompt may end in, since nothing has followed."""
        self.due = None
        with self._lock:
            if self._stream is not None and (told := self._stream.rest()):
                self._append(told)

    def finish(self) -> None:
        """Write what was held back, masked if need be, since nothing will follow."""
        self.due = None
        with self._lock:
            if self._stream is not None and (rest := self._stream.flush()):
                self._append(rest)

    def _masked(self, data: bytes, masks: Masks) -> None:
        if self._stream is None:
            self._stream = masks.stream()
        if clear := self._stream.feed(data):
            self._append(clear)
        self.due = time.monotonic() + _SILENCE if self._stream.waiting else None

    def _append(self, data: memoryview | bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        if self._tap is not None:
            self._tap(self._task, bytes(data))

    def separate(self, attempt: int, attempts: int) -> None:
        """Draw the line above a further attempt."""
        lead = "" if self._ends_with_newline() else "\n"
        self.line(f"{lead}--- attempt {attempt} of {attempts} ---")

    def _ends_with_newline(self) -> bool:
        size = os.fstat(self._fd).st_size
        return size == 0 or os.pread(self._fd, 1, size - 1) == b"\n"

    def __exit__(self, *_: object) -> None:
        try:
            self.finish()
        finally:
            os.close(self._fd)
