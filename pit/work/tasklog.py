"""A task's log file: what its process wrote, byte for byte, as it came."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import TracebackType

Tap = Callable[[str, bytes], None]
"""Hears the output of every task as it comes: `(task, bytes)`; called from several threads."""


class TaskLog:
    """The open log of one attempt, appended to; a line is drawn between attempts."""

    def __init__(self, path: str, task: str, tap: Tap | None = None) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._task = task
        self._tap = tap

    def write(self, data: memoryview | bytes) -> None:
        """Append bytes; OSError when the disk is full."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        if self._tap is not None:
            self._tap(self._task, bytes(data))

    def line(self, text: str) -> None:
        """Append one line of Pit's own."""
        self.write(f"{text}\n".encode(errors="replace"))

    def separate(self, attempt: int, attempts: int) -> None:
        """Draw the line above a further attempt."""
        lead = "" if self._ends_with_newline() else "\n"
        self.line(f"{lead}--- attempt {attempt} of {attempts} ---")

    def _ends_with_newline(self) -> bool:
        size = os.fstat(self._fd).st_size
        return size == 0 or os.pread(self._fd, 1, size - 1) == b"\n"

    def __enter__(self) -> TaskLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)
