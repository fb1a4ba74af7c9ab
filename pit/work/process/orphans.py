"""Which children of this process are its own, and which it has inherited.

Pit makes itself the *sub-reaper* of everything it starts: a process whose parent dies
becomes a child of Pit, whatever it did to its session, group or environment. So every
process that a task left behind is below Pit, and those whose parents are gone are its
direct children. They are told apart from Pit's own children by a register, and traced to
the task that left them, in this order:

1. its session is the task's; or it carries the task's mark (see `descent`), which only what
   means to shed it can shed; or, should there be no mark, it was seen below the task while
   its parents lived, the task's marker stands in its environment, or it holds the task's
   output pipe;
2. failing all that, every task that was running when it was first seen is a suspect. It
   belongs to the last suspect: when all others have ended, it cannot be anybody else's.

Two kinds of children are never touched: those that the program before Pit left to it by
`exec`, and whatever lives in Pit's own session (a task's processes never do: they cannot
enter a session that they did not make). Where there are children of the first kind, the
second rule above is not used, because they may leave orphans too; nor in the first process
of a container, if there are marks, because whatever somebody else starts in the container
is left to that one. Who remains nobody's then is `doubtful`.

A sweep and a spawn exclude each other, so that a child between its birth and its
registration is never taken for an orphan. Spawns do not exclude one another.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from pit.work.process import procfs
from pit.work.process.descent import belongs, descent, marks
from pit.work.process.procfs import Stat

_PR_SET_CHILD_SUBREAPER = 36

# The wait status of a child whose real one nobody can tell any more: exit code 255.
LOST = 255 << 8

# The suspect where an orphan may have come from elsewhere: it never ends.
_NOBODY = 0


class Own(NamedTuple):
    """A child that Pit started, with what its descendants inherit.

    `marker` stands in their environment, `pipe` is the inode of their output, 0 if they have
    none, and `mark` their limit, 0 where there are no marks. A child without a marker is Pit's
    own helper, never suspected of leaving anything behind.
    """

    pid: int
    start: int
    marker: bytes = b""
    pipe: int = 0
    mark: int = 0


class Told(Protocol):
    """Who is to end the processes it was told of if Pit dies."""

    def told(self, pid: int, start: int, leader: bool = True) -> None:
        """That process is now in its care, with all of its session if it is the `leader`."""

    def forgotten(self, pid: int) -> None:
        """That process is not any more."""


class Orphans:
    """The register of Pit's children; one per process, because being a parent is."""

    def __init__(self) -> None:
        self._gate = threading.Condition()
        self._spawning = 0
        self._sweeping = 0
        self._own: dict[int, Own] = {}
        self._foreign: set[int] = set()
        self._strict = False
        self._adopting = False
        self._died = False
        self._seen: dict[int, set[tuple[int, int]]] = {}
        self._suspects: dict[int, set[int]] = {}
        self._told: Told | None = None
        self._unsettled: set[tuple[int, int]] = set()
        self._pid = os.getpid()
        self._session = os.getsid(0)

    # ------------------------------------------------------------ own children

    def adopt_all(self) -> bool:
        """Become the sub-reaper; False where the system has no such thing."""
        if not self._adopting:
            self._pid, self._session = os.getpid(), os.getsid(0)
            self._foreign = set(procfs.children(self._pid)) - self._own.keys()
            self._strict = bool(self._foreign) or (self._pid == 1 and descent.family > 0)
            self._adopting = sys.platform == "linux" and _set_subreaper()
        return self._adopting

    def expect(self) -> None:
        """A child is about to be started: no sweep until `register` or `give_up`."""
        with self._gate:
            while self._sweeping:
                self._gate.wait()
            self._spawning += 1

    def register(self, child: Own) -> None:
        """The expected child lives."""
        with self._gate:
            self._own[child.pid] = child
            self._arrived()

    def give_up(self) -> None:
        """The expected child could not be started."""
        with self._gate:
            self._arrived()

    def _arrived(self) -> None:
        self._spawning -= 1
        if self._sweeping:
            self._gate.notify_all()

    def reap(self, pid: int, options: int = os.WNOHANG) -> tuple[int, Any] | None:
        """Wait status and resource usage of an own child that has ended, else None.

        From then on the id is free for others, and nobody suspects this child any more.
        """
        with self._gate:
            if pid not in self._own:  # another thread was first, and has the answer
                return None
            try:
                ended, status, usage = os.wait4(pid, options)
            except ChildProcessError:  # somebody else has waited for it: how it ended is lost
                ended, status, usage = pid, LOST, None
            if ended != pid:
                return None
            self._forget(pid)
            return status, usage

    def _forget(self, pid: int) -> None:
        self._own.pop(pid, None)
        for suspects in self._suspects.values():
            suspects.discard(pid)
        self._seen.pop(pid, None)

    # ------------------------------------------------------------ inherited ones

    def quiet(self, root: int) -> bool:
        """Whether a glance finds nothing that `root` may have left: a few microseconds.

        Orphans fall to the main thread, so its list of children is the one to look at.
        """
        if not self._adopting:
            return False
        with self._gate:  # the kernel skips entries while others are taken off the list
            listed = procfs.children_of_thread(self._pid, self._pid)
        for pid in listed:
            if pid in self._own or pid in self._foreign:
                continue
            suspects = self._suspects.get(pid)
            if suspects is None or suspects <= {root}:
                return False
        return True

    def note(self, root: int, processes: set[tuple[int, int]]) -> None:
        """Remember that these (id, start time) were seen below `root` and outside its session.

        What was noted before and is not among them is forgotten unless it is still there: a
        look at a tree that changes meanwhile may miss somebody.
        """
        with self._gate:
            if root in self._own:
                before = self._seen.get(root, set()) - processes
                self._seen[root] = processes | {who for who in before if _is_there(*who)}

    def left_by(self, own: Own) -> list[Stat]:
        """The living orphans that are `own`'s; reaps all that are dead."""
        if not self._adopting:
            return _scattered(own)
        with self._gate:
            found = self._sweep()
            return [process for process in found if self._suspects[process.pid] <= {own.pid}]

    def left_by_anyone(self) -> list[Stat]:
        """The living orphans of all tasks; reaps all that are dead."""
        if not self._adopting:
            return []
        with self._gate:
            found = self._sweep()
            return [process for process in found if _NOBODY not in self._suspects[process.pid]]

    def over(self) -> bool:
        """Whether it is certain that nothing lives of any task: neither a child of this process
        that may leave something behind, nor an orphan that may be a task's."""
        if not self._adopting:
            return False
        with self._gate:
            found = self._sweep()
            if descent.family:
                found = [each for each in found if _NOBODY not in self._suspects[each.pid]]
            return not found and not any(own.marker for own in self._own.values())

    def doubtful(self) -> list[Stat]:
        """The living orphans that may be a task's, or may have come from elsewhere.

        Where there are marks, who carries none has come from elsewhere.
        """
        if not self._adopting or descent.family:
            return []
        with self._gate:
            found = self._sweep()
            return [process for process in found if _NOBODY in self._suspects[process.pid]]

    def report_to(self, told: Told | None) -> None:
        """Tell this one of the orphans with several suspects, for nobody else does."""
        with self._gate:
            self._told, self._unsettled = told, set()

    def _sweep(self) -> list[Stat]:
        self._sweeping += 1
        try:
            while self._spawning:
                self._gate.wait()
            return self._look()
        finally:
            self._sweeping -= 1
            self._gate.notify_all()

    def _look(self) -> list[Stat]:
        """All living orphans. One that dies meanwhile may have left its children to us: again."""
        self._died = True
        while self._died:
            self._died = False
            listed = procfs.children(self._pid)
            orphans = [process for pid in listed if (process := self._orphan(pid))]
        living = {process.pid for process in orphans}
        self._suspects = {pid: who for pid, who in self._suspects.items() if pid in living}
        for process in orphans:
            self._judge(process)
        self._report(orphans)
        return orphans

    def _report(self, orphans: list[Stat]) -> None:
        """Tell of those with several suspects, once; and of their ends."""
        if self._told is None:
            return
        living = {process.identity for process in orphans}
        for pid, _ in self._unsettled - living:
            self._told.forgotten(pid)
        self._unsettled &= living
        for process in orphans:
            several = len(self._suspects[process.pid]) > 1
            if several and process.identity not in self._unsettled:
                self._unsettled.add(process.identity)
                self._told.told(*process.identity, leader=False)

    def _orphan(self, pid: int) -> Stat | None:
        """`pid` if it is an orphan and lives; reaped if it is one and dead."""
        if pid in self._own or pid in self._foreign:
            return None
        process = procfs.stat(pid)
        if process is None or process.session == self._session:
            return None
        if process.alive:
            return process
        with suppress(ChildProcessError):
            ended, _ = os.waitpid(pid, os.WNOHANG)
            self._died = self._died or ended == pid
        return None

    def _judge(self, process: Stat) -> None:
        """Settle which own children may have left `process`; try again while it is not settled."""
        before = self._suspects.get(process.pid)
        if before is not None and len(before) < 2 and _NOBODY not in before:
            return
        root = self._traced(process, patient=before is None)
        if root is not None:
            self._suspects[process.pid] = {root}
        elif before is None:
            self._suspects[process.pid] = self._suspected_of(process)

    def _suspected_of(self, process: Stat) -> set[int]:
        """Who may have left a process that nothing traces to a child that lives."""
        if descent.family and belongs(process.pid, descent.family):
            return set()
        return {_NOBODY} if self._strict else self._running_at(process)

    def _running_at(self, process: Stat) -> set[int]:
        """The own children that were there when `process` began."""
        return {own.pid for own in self._own.values() if own.marker and own.start <= process.start}

    def _traced(self, process: Stat, patient: bool) -> int | None:
        if process.session in self._own:
            return process.session
        inherited = marks(process.pid)
        for own in self._own.values():
            if own.mark in inherited:
                return own.pid
        for root, seen in self._seen.items():
            if process.identity in seen:
                return root
        carried = self._environment(process.pid, patient)
        for own in self._own.values():
            if own.marker and own.marker in carried:
                return own.pid
        for own in self._own.values():
            if own.pipe and procfs.holds_pipe(process.pid, own.pipe):
                return own.pid
        return None

    def _environment(self, pid: int, patient: bool) -> list[bytes]:
        """What a process carries; if `patient`, not what it seems to carry in mid-exec: nothing."""
        carried = procfs.environment(pid)
        for _ in range(3 if patient else 0):
            if any(carried):
                break
            time.sleep(0.002)
            carried = procfs.environment(pid)
        return carried


def _scattered(own: Own) -> list[Stat]:
    """`left_by` where orphans fall to the system: what carries the marker or is in the session."""
    return [
        process
        for process in procfs.everyone()
        if process.alive
        and process.pid != own.pid
        and (process.session == own.pid or procfs.carries(process.pid, own.marker))
    ]


def _is_there(pid: int, start: int) -> bool:
    process = procfs.stat(pid)
    return process is not None and process.start == start


def _set_subreaper() -> bool:
    import ctypes

    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


orphans = Orphans()
