"""Staying with a running process: its output, its limits, the end of its tree.

All of it happens in the thread that waits for the process, around one `poll`: the pipe, the
process's own end, a request to stop, and the time. Nothing here knows how it was started.
"""

from __future__ import annotations

import fcntl
import os
import select
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

from pit.errors import on_error
from pit.model import Reason
from pit.work.process import procfs
from pit.work.process.cancel import Cancel
from pit.work.process.guardian import Living, end, watching
from pit.work.process.orphans import orphans

# One read takes up to _PIECE bytes; a pipe that once had _MUCH waiting is made that large.
_PIECE, _MUCH = 1 << 20, 1 << 16

# The tree is looked at (peak memory, children that wander off) at intervals that grow from
# the first to the last, and never so often that it takes more than a hundredth of the time.
_FIRST_LOOK, _LAST_LOOK, _GROWTH, _IDLENESS = 0.001, 0.5, 2.0, 100

# How long the output may be silent and still open after the whole tree has ended. It takes a
# process that is no descendant, and was handed the pipe, to use this time up.
_SILENCE = 1.0


class Attended(Protocol):
    """A process that was started, as far as attending to it goes."""

    pid: int

    @property
    def sessions(self) -> tuple[int, ...]:
        """The session that is all its own, as long as nobody else can have its id."""

    def living(self) -> Living:
        """All that lives of it: itself, its descendants, the orphans that it has left."""

    def reap(self) -> bool:
        """Take its exit status if it has ended; True if so."""


class Pausing(Protocol):
    """Who gets the output, where it wants to know that no more comes for the moment."""

    @property
    def due(self) -> float | None:
        """When to say so unless more comes before, on the monotonic clock; None for never."""

    def release(self) -> None:
        """It is that time."""


class Output:
    """The merged output of a process: read in large pieces, handed on, never kept."""

    _buffers = threading.local()

    def __init__(
        self, handle: int, output: Callable[[memoryview], None], pausing: Pausing | None = None
    ) -> None:
        self.handle = handle
        self.failure: Exception | None = None
        self._output = output
        self._pausing = pausing
        self._enlarged = False

    @property
    def open(self) -> bool:
        """Whether more may come."""
        return self.handle >= 0

    @property
    def due(self) -> float | None:
        """When to call `rest` if there is no output before, on the monotonic clock."""
        return self._pausing.due if self._pausing is not None else None

    def rest(self) -> None:
        """Say that no more comes for the moment."""
        if self._pausing is not None and self.failure is None:
            self._hand_on(self._pausing.release)

    def _hand_on(self, work: Callable[[], object]) -> None:
        try:
            work()
        # Any: it is the failure of whoever takes the output, and the tree must end before it
        # is raised again.
        except Exception as failure:
            self.failure = failure

    def take(self) -> bool:
        """Read once, when something is there, and hand it on; False at the end."""
        view = self._buffer()
        count = os.readv(self.handle, [view])
        if count and self.failure is None:
            self._hand_on(lambda: self._output(view[:count]))
        if count >= _MUCH and not self._enlarged:
            self._enlarge()
        return count > 0

    def _buffer(self) -> memoryview:
        view: memoryview | None = getattr(self._buffers, "view", None)
        if view is None:
            view = self._buffers.view = memoryview(bytearray(_PIECE))
        return view

    def _enlarge(self) -> None:
        """A larger pipe, for those who write much: fewer turns for both sides."""
        self._enlarged = True
        with suppress(AttributeError, OSError):
            fcntl.fcntl(self.handle, fcntl.F_SETPIPE_SZ, _PIECE)

    def close(self) -> None:
        """Read no more."""
        if self.open:
            os.close(self.handle)
            self.handle = -1


class Attendance:
    """Everything about one running process: its output, its limits, its end."""

    def __init__(
        self,
        started: Attended,
        output: Output,
        deadline: float | None,
        grace: float,
        cancel: Cancel | None,
    ) -> None:
        self.ending: Reason | None = None
        self.error = ""
        self.peak = 0
        self._started = started
        self._output = output
        self._deadline = deadline
        self._grace = grace
        self._cancel = cancel
        self._exited = False
        self._poll = select.poll()
        self._poll.register(output.handle, select.POLLIN)
        self._interval = _FIRST_LOOK
        self._next_look = time.monotonic() + _FIRST_LOOK
        self._exit_handle = _pidfd(started.pid)
        if self._exit_handle >= 0:
            self._poll.register(self._exit_handle, select.POLLIN)

    @property
    def failure(self) -> Exception | None:
        """What handing the output on has raised."""
        return self._output.failure

    def attend(self) -> None:
        """Stay until the process and all that it started are gone and its output is read."""
        try:
            with on_error(self._end_at_once):
                self._watch()
                if self.ending is not None or not orphans.quiet(self._started.pid):
                    self._end()
                self._drain()
        finally:
            self._output.close()
            if self._exit_handle >= 0:
                os.close(self._exit_handle)

    def _end_at_once(self) -> None:
        self._grace, self._poll = 0.0, select.poll()
        self._end()

    def _watch(self) -> None:
        """Hand on output until the process ends, or has to be ended: then `ending` says why."""
        if self._cancel:
            self._poll.register(self._cancel.fileno(), select.POLLIN)
        while not self._exited and self.ending is None:
            self._wait(self._due())
            if not self._exited:
                self._decide(time.monotonic())
        if self._cancel:
            self._poll.unregister(self._cancel.fileno())

    def _due(self) -> float:
        """When to look up at the latest, on the monotonic clock."""
        if self._deadline is None:
            return self._next_look
        return min(self._next_look, self._deadline)

    def _decide(self, now: float) -> None:
        if self._cancel and self._cancel.level:
            self.ending = self._cancel.reason
        elif self._output.failure is not None:
            self.ending = Reason.INTERNAL
        elif self._deadline is not None and now >= self._deadline:
            self.ending = Reason.TIMEOUT
        elif now >= self._next_look:
            self._look(now)

    def _look(self, now: float) -> None:
        """Take the tree's memory, and see who leaves the session; at first only the former."""
        if self._interval == _FIRST_LOOK:
            self._weigh([self._started.pid])
        else:
            self._weigh(self._started.living())
        spent = time.monotonic() - now
        self._interval = max(min(self._interval * _GROWTH, _LAST_LOOK), spent * _IDLENESS)
        self._next_look = now + self._interval

    def _weigh(self, pids: Iterable[int]) -> None:
        """The peak is what all use together now, or what one of them has ever used alone."""
        together = 0
        for pid in pids:
            resident, most = procfs.memory(pid)
            together += resident
            self.peak = max(self.peak, most)
        self.peak = max(self.peak, together)

    def _wait(self, until: float) -> list[int]:
        """Wait for something to happen and take what output there is; the handles it was."""
        due = self._output.due
        if due is None or due > until:
            return self._wait_for(until)
        happened = self._wait_for(due)
        if happened or self._exited:
            return happened
        self._output.rest()
        return self._wait_for(until)

    def _wait_for(self, until: float) -> list[int]:
        seconds = max(0.0, until - time.monotonic())
        if self._exit_handle < 0:
            seconds = min(seconds, 0.01)
            self._exited = self._exited or self._started.reap()
        happened = [handle for handle, _ in self._poll.poll(1000 * seconds)]
        if self._exit_handle in happened:
            self._poll.unregister(self._exit_handle)
            self._exited = True
        if self._output.handle in happened:
            self._take()
        return happened

    def _take(self) -> None:
        """Take output once. The first of it shows that a program is at work: weigh it then."""
        if not self._output.take():
            self._poll.unregister(self._output.handle)
            self._output.close()
        elif not self.peak:
            self._weigh([self._started.pid])

    # ------------------------------------------------------------ ending

    def _end(self) -> None:
        """Terminate, grace, kill: until none is left."""
        if self._cancel:
            self._poll.register(self._cancel.urgent_fileno(), select.POLLIN)
        left = end(
            self._started.living,
            self._grace,
            pause=self._pause,
            hurry=self._hurry,
            sessions=self._started.sessions,
        )
        if self._cancel:
            self._poll.unregister(self._cancel.urgent_fileno())
        if left:
            self.error = f"could not be ended: {', '.join(f'process {pid}' for pid in left)}"

    def _hurry(self) -> bool:
        return self._cancel is not None and self._cancel.level > 1

    def _pause(self, living: Living, seconds: float) -> None:
        """Take output until a process ends, the user becomes urgent, or the time is over."""
        until = time.monotonic() + seconds
        with watching(self._poll, living):
            while happened := self._wait(until):
                if happened != [self._output.handle] or time.monotonic() >= until:
                    break

    def _drain(self) -> None:
        """Read the rest of the output; give up when a stranger to the task keeps it open."""
        limit = time.monotonic() + 5 * _SILENCE
        while self._output.open and (now := time.monotonic()) < limit:
            if not self._wait(now + _SILENCE):
                break


def _pidfd(pid: int) -> int:
    """A handle that becomes readable when the process ends; -1 where there are none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1
