"""How a process tree is ended, and the guardian that does it when Pit itself has died.

`end` is the one place where processes are killed: terminate, wait up to the grace, freeze,
kill, again until none is left. It never signals a process id without having made sure,
through a pidfd, that the id still belongs to the process that was meant.

The guardian is a fork of `pit run`, made before its first thread. It sleeps until the pipe
to Pit closes, for whatever reason. Which children live it reads from a table in memory that
both share (so telling it costs no system call and never blocks), and then ends them, their
sessions and descendants, and everything that carries the run's id in its environment or
the mark of a child of Pit (see `descent`), which even a daemon that was born a moment ago
and has cut every other tie has inherited. It holds the run's lock until that is done, so
nobody takes the run for over before it is.
"""

from __future__ import annotations

import gc
import mmap
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Protocol

from pit.work.process import procfs
from pit.work.process.descent import belongs, descent
from pit.work.process.orphans import Own, orphans
from pit.work.process.procfs import Stat
from pit.work.process.signals import no_room

Living = dict[int, Stat]

# After SIGKILL a process can only be left over while it is stuck in the kernel (a dead
# network disk, say). It will never run again; waiting for it longer would only hang Pit.
PATIENCE = 20.0

_POLLED_AT_ONCE = 64
_LOOKS = 3


class Pause(Protocol):
    """Waits at most `seconds`, less if one of the processes ends."""

    def __call__(self, living: Living, seconds: float) -> None:
        """Wait."""


# ---------------------------------------------------------------- ending processes


def end(
    find: Callable[[], Living],
    grace: float,
    *,
    pause: Pause | None = None,
    hurry: Callable[[], bool] = lambda: False,
    freeze: bool = False,
    sessions: Collection[int] = (),
) -> Living:
    """End all that `find` finds, now and later; what could not be ended is returned.

    `hurry` cuts the grace short. With `freeze` everything is stopped for a moment before it
    is told to terminate, so that no child is born unseen: for callers to whom an orphan of
    an ended process would be lost. `sessions` are known to hold nothing but such processes.
    """
    pause = pause or wait_for_any
    living = _freeze(find, sessions) if freeze else find()
    if living and grace > 0 and not hurry():
        living = _terminate(find, living, time.monotonic() + grace, pause, hurry)
    limit = time.monotonic() + PATIENCE
    while living and time.monotonic() < limit:
        if not _kill(_freeze(find, sessions), sessions):
            break
        pause(living, 0.2)
        living = find()
    return living


def end_marked_by(variable: bytes, grace: float, family: int = 0) -> int:
    """End all that carries `variable` (`NAME=value`) in its environment; how many there were.

    And all that carries a mark of that family (`descent.family`), if one is given.
    """
    return _end_lost(_Marked(variable, family), grace)


def _end_lost(find: Callable[[], Living], grace: float, sessions: Collection[int] = ()) -> int:
    """`end` for processes of which somebody else is the parent, so that none may be overlooked.

    In the midst of an exec a process seems to carry nothing, and one that hands on to a child
    and dies may slip through a look: so several looks in a row must find nothing.
    """
    count = looks = 0
    while looks < _LOOKS:
        living = find()
        looks = 0 if living else looks + 1
        count = max(count, len(living))
        if living and end(find, grace, freeze=True, sessions=sessions):
            break
        time.sleep(0.02)
    return count


def _terminate(
    find: Callable[[], Living],
    living: Living,
    deadline: float,
    pause: Pause,
    hurry: Callable[[], bool],
) -> Living:
    told: set[tuple[int, int]] = set()
    _ask(living.values(), told)
    while living and not hurry():
        left = deadline - time.monotonic()
        if left <= 0:
            break
        pause(living, left)
        living = find()
        # What a process starts while it cleans up is its own business; but what has lost its
        # parent meanwhile was born while the signals went out, and must hear of it too.
        _ask((process for process in living.values() if process.parent not in living), told)
    return living


def _ask(processes: Iterable[Stat], told: set[tuple[int, int]]) -> None:
    """Ask these to terminate, each once; a stopped process cannot hear, so wake it as well."""
    for process in processes:
        if process.identity not in told:
            told.add(process.identity)
            send(process, signal.SIGTERM)
            send(process, signal.SIGCONT)


def _freeze(find: Callable[[], Living], sessions: Collection[int]) -> Living:
    """Stop all that `find` finds until it finds nothing new: then nobody is left to fork.

    A fork that is under way when the signal arrives is abandoned by the kernel, so a look
    that begins after all known processes were signalled sees every child they ever had.
    """
    stopped: set[tuple[int, int]] = set()
    limit = time.monotonic() + 2.0
    while True:
        living = find()
        moving = [process for process in living.values() if process.identity not in stopped]
        if not moving or time.monotonic() > limit:
            return living
        for process in moving:
            stopped.add(process.identity)
            send(process, signal.SIGSTOP)
        _signal_groups(living, signal.SIGSTOP, sessions)


def _kill(living: Living, sessions: Collection[int]) -> bool:
    """Kill all; False if not one of them may be signalled (they belong to another user)."""
    _signal_groups(living, signal.SIGKILL, sessions)
    allowed = [send(process, signal.SIGKILL) for process in living.values()]
    return any(allowed) or not living


def _signal_groups(living: Living, number: int, sessions: Collection[int]) -> None:
    """Signal whole process groups, each at one instant, which no fork bomb outruns.

    Only in sessions that are ours as a whole: those given, and those whose leader is among
    the living, for nobody enters a session but by birth. The living have been stopped, and a
    group with a stopped member keeps its id.
    """
    groups = {
        process.group
        for process in living.values()
        if process.session in sessions or process.session in living
    }
    for group in groups - {0, 1}:
        with suppress(OSError):
            os.killpg(group, number)


def send(process: Stat, number: int) -> bool:
    """Signal exactly this process; False if that is forbidden, True too when it is gone."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    except (AttributeError, OSError):
        return _send_by_id(process, number)
    try:
        if _is_there(process):
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        return False
    finally:
        os.close(handle)
    return True


def _send_by_id(process: Stat, number: int) -> bool:
    """`send` where there are no pidfds, or no file descriptors left for one."""
    try:
        if _is_there(process):
            os.kill(process.pid, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        return False
    return True


def _is_there(process: Stat) -> bool:
    now = procfs.stat(process.pid)
    return now is not None and now.start == process.start


def wait_for_any(living: Iterable[int], seconds: float) -> None:
    """Wait at most `seconds`, less if one of the processes ends."""
    poll = select.poll()
    with watching(poll, living) as complete:
        poll.poll(1000 * (seconds if complete else min(seconds, 0.05)))


@contextmanager
def watching(poll: select.poll, living: Iterable[int]) -> Iterator[bool]:
    """Make `poll` wake up when one of these ends; yields whether that holds for all of them."""
    handles: list[int] = []
    pids = list(living)
    try:
        with suppress(AttributeError, OSError):
            for pid in pids[:_POLLED_AT_ONCE]:
                with suppress(ProcessLookupError):
                    handles.append(os.pidfd_open(pid))
                    poll.register(handles[-1], select.POLLIN)
        yield len(handles) == len(pids)
    finally:
        for handle in handles:
            poll.unregister(handle)
            os.close(handle)


class _Marked:
    """Finds what carries a variable or a mark of a family, and what descends from that.

    What was found once is known for good: its children are followed even after it has died
    or changed its environment. This process, its ancestors and its children are spared.
    """

    def __init__(self, variable: bytes, family: int) -> None:
        self._variable = variable
        self._family = family
        self._known: set[tuple[int, int]] = set()
        self._spared = procfs.ancestors(os.getpid()) | procfs.descendants([os.getpid()]).keys()

    def __call__(self) -> Living:
        """All that live now, by process id."""
        everybody = {process.pid: process for process in procfs.everyone()}
        found: Living = {}
        waiting = [process for process in everybody.values() if self._is_root(process)]
        offspring: dict[int, list[Stat]] = {}
        for process in everybody.values():
            offspring.setdefault(process.parent, []).append(process)
        while waiting:
            process = waiting.pop()
            if process.pid not in found and process.pid not in self._spared:
                found[process.pid] = process
                waiting += offspring.get(process.pid, ())
        self._known.update(process.identity for process in found.values())
        return {pid: process for pid, process in found.items() if process.alive}

    def _is_root(self, process: Stat) -> bool:
        if process.identity in self._known:
            return True
        if self._family and belongs(process.pid, self._family):
            return True
        return procfs.carries(process.pid, self._variable)


# ---------------------------------------------------------------- the guardian

_SLOTS = 4096
_LEADER = 1 << 62
_FAREWELL = b"."
_POLITE = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGPIPE,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


class _Table:
    """Which processes Pit has started: pairs (id, start time) in memory shared by a fork.

    The id is written last and cleared first, each in one aligned store, so a reader never
    sees half an entry whenever the writer was killed.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SLOTS * 16)
        self._words = memoryview(self._memory).cast("Q")
        self._free = list(range(_SLOTS))
        self._slots: dict[int, int] = {}

    def add(self, pid: int, start: int, leader: bool) -> None:
        """Enter a process; when the table is full it is left to its mark to find it."""
        self.remove(pid)
        with suppress(IndexError):
            slot = self._slots[pid] = self._free.pop()
            self._words[2 * slot + 1] = start
            self._words[2 * slot] = pid | (_LEADER if leader else 0)

    def remove(self, pid: int) -> None:
        """Strike a process out, if it is there."""
        slot = self._slots.pop(pid, None)
        if slot is not None:
            self._words[2 * slot] = 0
            self._free.append(slot)

    def entries(self) -> list[tuple[int, int, bool]]:
        """Process id, start time, and whether its session is meant as well, of each."""
        pairs = zip(self._words[::2], self._words[1::2], strict=True)
        return [(pid % _LEADER, start, pid >= _LEADER) for pid, start in pairs if pid]

    def close(self) -> None:
        """Give the memory back."""
        self._words.release()
        self._memory.close()


class Guardian:
    """The handle that Pit holds of its guardian process."""

    def __init__(self, pid: int, pipe: int, table: _Table) -> None:
        self.pid = pid
        self._pipe = pipe
        self._table = table

    @classmethod
    def start(cls, locks: Iterable[int], run_id: str, grace: float) -> Guardian:
        """Fork the guardian, before the first thread; it keeps the file descriptors in `locks`.

        A lock made with `flock` belongs to all who share the open file: it is free when Pit and
        the guardian have closed it, and at once if either of them unlocks it. Raises SetupError
        if there is no room for another process; nothing has changed then.
        """
        family = descent.family
        with ExitStack() as undoing:
            reader, writer = os.pipe()
            undoing.callback(os.close, writer)
            undoing.callback(os.close, reader)
            table = _Table()
            undoing.callback(table.close)
            gc.freeze()  # so that the collector never touches, and thereby copies, shared pages
            undoing.callback(gc.unfreeze)
            orphans.expect()
            undoing.callback(orphans.give_up)
            try:
                pid = _fork_deaf()
            except OSError:
                raise no_room("the guardian of the run") from None
            undoing.pop_all()
        if pid == 0:
            _guard(reader, set(locks), lambda: _Abandoned(table, run_id, family), grace)
        orphans.register(Own(pid, 0))
        os.close(reader)
        guardian = cls(pid, writer, table)
        orphans.report_to(guardian)
        return guardian

    def told(self, pid: int, start: int, leader: bool = True) -> None:
        """Process `pid`, started at `start` (`procfs.Stat.start`), is now in its care.

        A `leader` is a child that Pit has not waited for: its id cannot be anybody else's, and
        so all of its session is in the guardian's care with it.
        """
        self._table.add(pid, start, leader)

    def forgotten(self, pid: int) -> None:
        """Process `pid` has ended and was waited for."""
        self._table.remove(pid)

    def alive(self) -> bool:
        """Whether the guardian is still there; if somebody has killed it, only Pit is left."""
        process = procfs.stat(self.pid)
        return process is not None and process.alive

    def close(self) -> None:
        """Dismiss it: the run is over and its processes are gone."""
        if self._pipe < 0:
            return
        orphans.report_to(None)
        with suppress(OSError):
            os.write(self._pipe, _FAREWELL)
        os.close(self._pipe)
        self._pipe = -1
        orphans.reap(self.pid, 0)


def _fork_deaf() -> int:
    """Fork a child that ignores all polite signals from its first moment."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _POLITE)
    try:
        pid = os.fork()
        if pid == 0:
            for number in _POLITE:
                signal.signal(number, signal.SIG_IGN)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _guard(pipe: int, locks: set[int], left: Callable[[], _Abandoned], grace: float) -> None:
    """The guardian's whole life; never returns. `left` finds what a dead Pit has left."""
    try:
        _withdraw({pipe, *locks})
        # Without POLLIN in the mask only the end of the other side wakes it.
        poll = select.poll()
        poll.register(pipe, 0)
        poll.poll()
        if os.read(pipe, 1) != _FAREWELL:
            find = left()
            _end_lost(find, grace, find.sessions)
    finally:
        # Whatever happened, never return into the code of Pit, of which this is a copy.
        os._exit(0)


def _withdraw(keep: set[int]) -> None:
    """Take leave of everything that the fork shares with Pit but `keep`."""
    gc.disable()
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for standard in {0, 1, 2} - keep:
        os.dup2(null, standard)
    first = 3
    for handle in sorted(keep):
        os.closerange(first, handle)
        first = max(first, handle + 1)
    os.closerange(first, _open_files_limit())
    if sys.platform == "linux":
        with suppress(OSError), open("/proc/self/comm", "w") as name_of_process:
            name_of_process.write("pit-guardian")


def _open_files_limit() -> int:
    try:
        return max(map(int, os.listdir("/proc/self/fd"))) + 1
    except OSError:
        return os.sysconf("SC_OPEN_MAX")


class _Abandoned(_Marked):
    """What a dead Pit has left running: marked, told, or in the session of one that was told.

    Made when it has died: what was told is taken from the table at that moment.
    """

    def __init__(self, table: _Table, run_id: str, family: int) -> None:
        super().__init__(b"PIT_RUN_ID=" + os.fsencode(run_id), family)
        entries = table.entries()
        self._known |= {(pid, start) for pid, start, _ in entries}
        self.sessions = {pid: start for pid, start, leader in entries if leader}

    def _is_root(self, process: Stat) -> bool:
        return self._in_session(process) or super()._is_root(process)

    def _in_session(self, process: Stat) -> bool:
        """Whether its session was made by one that was told.

        A session outlives its leader, and while it lasts its id is given to nobody else. So it
        is another one only if its leader is seen to be another process.
        """
        begun = self.sessions.get(process.session)
        if begun is None or process.start < begun:
            return False
        leader = procfs.stat(process.session)
        return leader is None or leader.start == begun
