"""Judging: threads that look whether tasks are current, and put what they find into a mailbox.

They are other threads than those of the attempts: reading big inputs never holds up the run.

Most tasks are judged in some ten microseconds, and several threads would only be in each other's
way: so one does it all, and tells what it has found now and then instead of task by task. Where a
task takes long, because big inputs must be read, what is known is told, and other threads go on
with the rest.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any

from pit.engine.scheduling.executor import answered, reason_of
from pit.engine.staleness.planner import Decision
from pit.model import Reason, Record

_BATCH = 256
"""How many tasks are recalled at once."""

_TOLD_EVERY = 0.005
"""Seconds after which something that was found is told."""

_LAST_LOOK = 1.0
"""Seconds that are left, at the end, to those who still look."""

_SLOW = 0.02
"""Seconds without any task judged after which one more thread takes part."""


class Judged(Record):
    """It is known whether a task is current, and `why` it runs or what it is current by."""

    task: str
    decision: Decision
    why: str


class Broken(Record):
    """Looking whether a task is current has failed."""

    task: str
    error: str
    reason: Reason = Reason.INTERNAL


class Many(Record):
    """Several messages at once, in order."""

    messages: tuple[Any, ...]


class StalenessChecker:
    """Judges tasks in at most `size` threads, which are started when needed.

    `judge` says what is to happen with one task, and why; `recall` is told before which tasks come
    next, so that what is known of them is fetched together.
    """

    def __init__(
        self,
        judge: Callable[[str], tuple[Decision, str]],
        mailbox: SimpleQueue[Any],
        size: int,
        recall: Callable[[Sequence[str]], None] = lambda tasks: None,
    ) -> None:
        self._judge, self._recall = judge, recall
        self._mailbox, self._size = mailbox, size
        self._asked: deque[str] = deque()
        self._recalled: deque[str] = deque()
        self._found: list[Any] = []
        self._told_at = 0.0
        self._busy = self._judged = self._helpers = 0
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._turn = threading.Condition()

    def ask(self, task: str) -> None:
        """Take one question; never blocks for long."""
        with self._turn:
            self._asked.append(task)
            if not self._threads:
                self._start(self._front)
                self._start(self._watch)
            self._turn.notify_all()

    def close(self) -> None:
        """Return when nothing is looked at any more; what has not been begun is dropped.

        A look that still takes long is one of a run that was told to stop: it is left to itself,
        for it only reads, and ends with the process at the latest.
        """
        with self._turn:
            self._closed = True
            self._asked.clear()
            self._recalled.clear()
            self._turn.notify_all()
        until = time.monotonic() + _LAST_LOOK
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    # ------------------------------------------------------------------ the threads

    def _start(self, work: Callable[[], None]) -> None:
        name = f"judge-{len(self._threads) + 1}"
        thread = threading.Thread(target=work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _pending(self) -> bool:
        return bool(self._asked or self._recalled)

    def _front(self) -> None:
        """Judges whatever is asked."""
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._closed or self._pending())
                if self._closed:
                    return
            self._work()

    def _watch(self) -> None:
        """Sees to it that one slow task holds up neither the others nor what is known of them."""
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._closed or self._pending() or self._busy > 0)
                judged = self._judged
                if self._closed or self._turn.wait_for(lambda: self._closed, _SLOW):
                    return
                if self._judged != judged:
                    continue
                self._tell()
                if self._pending() and 1 + self._helpers < self._size:
                    self._helpers += 1
                    self._start(self._help)

    def _help(self) -> None:
        """Judges beside the first thread, as long as there is something to judge."""
        self._work()
        with self._turn:
            self._helpers -= 1

    def _work(self) -> None:
        """Judges until nothing is left to be begun."""
        while (task := self._take()) is not None:
            message = self._answer(task)
            with self._turn:
                self._busy -= 1
                self._judged += 1
                self._found.append(message)
                if not self._pending() or time.monotonic() - self._told_at > _TOLD_EVERY:
                    self._tell()

    def _answer(self, task: str) -> Judged | Broken:
        # An unreadable input fails the task that declares it, not the run.
        def judged() -> Judged:
            decision, why = self._judge(task)
            return Judged(task=task, decision=decision, why=why)

        def failed(error: Exception) -> Broken:
            reason, sentence = reason_of(error)
            return Broken(task=task, error=sentence, reason=reason)

        return answered(judged, failed)

    def _take(self) -> str | None:
        with self._turn:
            if not self._recalled and self._asked:
                batch = [self._asked.popleft() for _ in range(min(_BATCH, len(self._asked)))]
                # If it fails, each is judged without, which says what is wrong.
                answered(partial(self._recall, batch), lambda error: None)
                self._recalled.extend(batch)
            if not self._recalled:
                return None
            self._busy += 1
            return self._recalled.popleft()

    def _tell(self) -> None:
        if self._found:
            found, self._found = tuple(self._found), []
            self._mailbox.put(found[0] if len(found) == 1 else Many(messages=found))
        self._told_at = time.monotonic()
