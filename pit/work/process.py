"""One process of a task, from its start to the end of everything that it started.

`run` is what a task's attempt comes down to: it starts a program in a session of its own,
hands its output on as it comes, and returns when the program and all that it left behind
are gone. `capture` is the same for tools whose output is wanted whole, `spawn_session` for
a child that is spoken to over pipes for a longer time. No one else in Pit starts processes
or handles signals.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import uuid4

from pit.model import Reason, Record
from pit.work import tree
from pit.work.guardian import Guardian, Living, Marked, end, watching
from pit.work.orphans import Own, orphans

PIECE = 1 << 20
_PIPE = 1 << 20
_CAPTURED = 1 << 20

# The tree is looked at (peak memory, children that wander off) at growing intervals, and
# never so often that looking takes more than one hundredth of the time.
_FIRST_LOOK, _LAST_LOOK, _GROWTH, _IDLENESS = 0.005, 0.5, 1.6, 100

# How long the output may be silent and still open after the whole tree has ended. It takes a
# process that is no descendant, and was handed the pipe, to use this time up.
_SILENCE = 1.0


class Exit(Record):
    """How a process ended: `exit_code` or `signal`, both None if it could not be started.

    `ending` says that Pit ended it and why, or why it could not be started; `error` says it
    in words where there is more to say. Sizes in bytes, times in seconds.
    """

    started_at: float
    ended_at: float
    seconds: float
    exit_code: int | None = None
    signal: int | None = None
    cpu_seconds: float | None = None
    peak_memory: int | None = None
    ending: Reason | None = None
    error: str = ""


# ---------------------------------------------------------------- being asked to stop


class Cancel:
    """A request to stop, seen by any number of threads: level 0 no, 1 gracefully, 2 at once.

    The level only ever rises. `request` may be called from a signal handler: it takes no
    lock, and each of its steps may be repeated or interrupted.
    """

    def __init__(self) -> None:
        self._pipes = (os.pipe(), os.pipe())
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
        pipes, self._pipes = self._pipes, ()  # type: ignore[assignment]
        for pipe in pipes:
            for handle in pipe:
                os.close(handle)


_HEEDED = ("SIGINT", "SIGTERM", "SIGHUP")


class Signals:
    """Pit's handlers of INT, TERM and HUP while they are installed."""

    def __init__(self, on_first: Callable[[], None], on_second: Callable[[], None]) -> None:
        self._calls = [on_second, on_first]
        self._before: dict[int, Any] = {}
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
        for name in _HEEDED:
            number = getattr(signal, name)
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)

    def restore(self) -> None:
        """Put back what was there before."""
        while self._before:
            signal.signal(*self._before.popitem())


def install_signals(on_first: Callable[[], None], on_second: Callable[[], None]) -> Signals:
    """Handle INT, TERM and HUP: the first calls `on_first`, the second `on_second`."""
    signals = Signals(on_first, on_second)
    signals.install()
    return signals


def become_subreaper() -> bool:
    """Make orphans of everything below this process its children; False where that is unknown.

    Call it in the main thread, before the first child is started.
    """
    # With SIGCHLD ignored, as a careless parent may have left it, exit codes would be lost.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return orphans.adopt_all()


# ---------------------------------------------------------------- starting


class _Started:
    """A child process in its own session, registered with `orphans` and the guardian."""

    def __init__(
        self,
        argv: Sequence[str],
        cwd: str | Path,
        env: Mapping[str, str],
        marker: str,
        files: tuple[int, int, int],
        guardian: Guardian | None,
    ) -> None:
        variable = "PIT_MARKER=" + marker
        pipe = os.fstat(files[1]).st_ino
        orphans.expect()
        try:
            self._popen = _popen(argv, cwd, {**env, "PIT_MARKER": marker}, files)
        except BaseException:
            orphans.give_up()
            raise
        self.pid = self._popen.pid
        # It cannot be gone, for nobody has waited for it; elsewhere than on Linux it can.
        first = tree.stat(self.pid)
        self.begun = first.start if first else 0
        self.memory = first.memory if first else 0
        orphans.register(Own(self.pid, self.begun, os.fsencode(variable), pipe))
        self._guardian = guardian
        self._guarded = [self.pid]
        if guardian:
            guardian.told(self.pid, self.begun)
        self.status: int | None = None
        self.usage: Any = None

    def living(self) -> Living:
        """All that lives of it: itself, its descendants, the orphans that it has left."""
        left = [] if orphans.quiet(self.pid) else [one.pid for one in orphans.left_by(self.pid)]
        roots = left if self.status is not None else [self.pid, *left]
        found = tree.descendants(roots)
        self._note_wanderers(found)
        return found

    def _note_wanderers(self, found: Living) -> None:
        """Remember those that left the session: if they lose their parent, they are still ours."""
        gone = [one for one in found.values() if one.session != self.pid]
        if not gone:
            return
        orphans.note(gone, self.pid)
        for one in gone:
            if self._guardian and one.pid not in self._guarded:
                self._guardian.told(one.pid, one.start)
                self._guarded.append(one.pid)

    def reap(self) -> bool:
        """Take its exit status if it has ended; True if so, from then on its id is free."""
        if self.status is None:
            ended = orphans.reap(self.pid)
            if ended is None:
                return False
            self.status, self.usage = ended
            self._popen.returncode = os.waitstatus_to_exitcode(self.status)
        return True

    def forget(self) -> None:
        """Tell the guardian that nothing of it is left."""
        if self._guardian:
            for pid in self._guarded:
                self._guardian.forgotten(pid)


_BUSY_TRIES = 6


def _popen(
    argv: Sequence[str], cwd: str | Path, env: Mapping[str, str], files: tuple[int, int, int]
) -> subprocess.Popen[bytes]:
    """Start the program; a script that somebody still has open for writing is tried again.

    It need not be our doing: any process forked while the file was written keeps it open
    until its own exec.
    """
    for again in range(1, _BUSY_TRIES + 1):
        try:
            return subprocess.Popen(
                argv,
                cwd=cwd,
                env=env,
                stdin=files[0],
                stdout=files[1],
                stderr=files[2],
                start_new_session=True,
            )
        except OSError as error:
            if error.errno != errno.ETXTBSY or again == _BUSY_TRIES:
                raise
            time.sleep(0.005 * 2**again)
    raise AssertionError("unreachable")


def _why_not(argv: Sequence[str], cwd: str | Path, error: OSError) -> tuple[Reason, str]:
    """Why a program could not be started: a reason, and a sentence for people."""
    name = argv[0]
    words = (error.strerror or str(error)).lower()
    if not os.path.isdir(cwd):
        return Reason.SETUP, f"the working directory {cwd} does not exist"
    if error.errno == errno.ENOENT:
        return Reason.NOT_FOUND, _missing(name, cwd)
    if error.errno == errno.EACCES:
        return Reason.NOT_FOUND, f"{name} may not be executed ({words}): is its run bit set?"
    if error.errno == errno.ENOEXEC:
        return Reason.NOT_FOUND, f"{name} is not a program: its first line is not #!<interpreter>"
    if error.errno == errno.E2BIG:
        return Reason.SETUP, f"{name} cannot be started: its arguments and variables are too long"
    if error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
        return Reason.INTERNAL, f"{name} cannot be started: {words}"
    return Reason.NOT_FOUND, f"{name} cannot be executed: {words}"


def _missing(name: str, cwd: str | Path) -> str:
    if "/" not in name:
        return f'command "{name}" not found'
    path = Path(cwd, name)
    if not path.exists():
        return f"{name} not found"
    with suppress(OSError), path.open("rb") as script:
        first = script.readline(256)
        if first.startswith(b"#!"):
            wanted = first[2:].split(b"\n")[0].strip(b" \t").decode(errors="replace")
            if wanted.endswith("\r"):
                return f"{name} has Windows line endings (CRLF): its first line cannot be followed"
            return f"the interpreter of {name} not found: {wanted}"
    return f"{name} cannot be executed: its loader or interpreter is missing"


# ---------------------------------------------------------------- attending


class _Output:
    """The merged output of a process: read in large pieces, handed on, never kept."""

    _buffers = threading.local()

    def __init__(self, handle: int, output: Callable[[memoryview], None]) -> None:
        self.handle = handle
        self.failure: BaseException | None = None
        self._output = output
        self._enlarged = False

    @property
    def open(self) -> bool:
        """Whether more may come."""
        return self.handle >= 0

    def take(self) -> None:
        """Read once, when something is there, and hand it on."""
        view = self._buffer()
        count = os.readv(self.handle, [view])
        if count == 0:
            self.close()
        elif self.failure is None:
            self._hand_on(view[:count])
            if count >= 1 << 16 and not self._enlarged:
                self._enlarge()

    def _hand_on(self, piece: memoryview) -> None:
        try:
            self._output(piece)
        except Exception as failure:  # whatever it is, the tree must end before it is raised
            self.failure = failure

    def _buffer(self) -> memoryview:
        try:
            return self._buffers.view  # type: ignore[no-any-return]
        except AttributeError:
            view = self._buffers.view = memoryview(bytearray(PIECE))
            return view

    def _enlarge(self) -> None:
        """A larger pipe, for those who write much: fewer turns for both sides."""
        self._enlarged = True
        with suppress(AttributeError, OSError):
            fcntl.fcntl(self.handle, fcntl.F_SETPIPE_SZ, _PIPE)

    def close(self) -> None:
        """Read no more."""
        if self.open:
            os.close(self.handle)
            self.handle = -1


class _Attendance:
    """Everything about one running process: its output, its limits, its end."""

    def __init__(
        self,
        started: _Started,
        output: _Output,
        deadline: float | None,
        grace: float,
        cancel: Cancel | None,
    ) -> None:
        self.ending: Reason | None = None
        self.error = ""
        self.peak = started.memory
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

    def attend(self) -> None:
        """Stay until the process and all that it started are gone and its output is read."""
        try:
            self._watch()
            if self.ending is not None or not orphans.quiet(self._started.pid):
                self._end()
            self._drain()
        except BaseException:
            self._grace = 0.0
            self._end()
            raise
        finally:
            self._output.close()
            if self._exit_handle >= 0:
                os.close(self._exit_handle)

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
        """Take the tree's memory, and see who leaves the session."""
        self._living()
        spent = time.monotonic() - now
        self._interval = max(min(self._interval * _GROWTH, _LAST_LOOK), spent * _IDLENESS)
        self._next_look = now + self._interval

    def _living(self) -> Living:
        living = self._started.living()
        self.peak = max(self.peak, sum(process.memory for process in living.values()))
        return living

    def _wait(self, until: float) -> list[int]:
        """Wait for something to happen and take what output there is; the handles it was."""
        seconds = max(0.0, until - time.monotonic())
        if self._exit_handle < 0:
            seconds = min(seconds, 0.01)
            self._exited = self._exited or self._started.reap()
        happened = [handle for handle, _ in self._poll.poll(1000 * seconds)]
        if self._exit_handle in happened:
            self._poll.unregister(self._exit_handle)
            self._exited = True
        if self._output.handle in happened and not self._output.take():
            self._poll.unregister(self._output.handle)
            self._output.close()
        return happened

    # ------------------------------------------------------------ ending

    def _end(self) -> None:
        """Terminate, grace, kill: until none is left."""
        if self._cancel:
            self._poll.register(self._cancel.urgent_fileno(), select.POLLIN)
        left = end(self._living, self._grace, pause=self._pause, hurry=self._hurry)
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


def run(
    argv: Sequence[str],
    *,
    cwd: str | Path,
    env: Mapping[str, str],
    output: Callable[[memoryview], None],
    timeout: float | None = None,
    grace: float = 10.0,
    cancel: Cancel | None = None,
    guardian: Guardian | None = None,
    marker: str = "",
) -> Exit:
    """Run a program to its end and the end of all that it started; any thread, many at once.

    `output` gets stdout and stderr, merged, as they come, and must not keep the view. If it
    raises, the tree is ended and the error raised again, but for a full disk, which is the
    process's own ending. Standard input is empty. The environment is `env` and PIT_MARKER.
    """
    begun = time.time(), time.monotonic()
    if cancel and cancel.level:
        return _exit(begun, ending=cancel.reason, error="cancelled before it was started")
    deadline = None if timeout is None else begun[1] + timeout
    try:
        started, reader = _start(argv, cwd, env, marker, guardian)
    except (OSError, ValueError) as error:
        ending, sentence = _why_not(argv, cwd, error)
        return _exit(begun, ending=ending, error=sentence)
    attendance = _Attendance(started, _Output(reader, output), deadline, grace, cancel)
    try:
        attendance.attend()
    finally:
        started.reap()
        started.forget()
    return _told(begun, attendance, started)
