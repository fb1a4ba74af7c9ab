"""One process of a task, from its start to the end of everything that it started.

`run` is what a task's attempt comes down to: it starts a program in a session of its own,
hands its output on as it comes, and returns when the program and all that it left behind
are gone. `capture` is the same for tools whose output is wanted whole, `spawn_session` for
a child that is spoken to over pipes for a longer time. No one else in Pit starts processes.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from types import FrameType
from typing import TypedDict

from pit.errors import on_error
from pit.model import Reason, Record
from pit.work.process import procfs
from pit.work.process.cancel import Cancel as Cancel
from pit.work.process.descent import descent, family
from pit.work.process.guardian import Guardian, Living, end, end_marked_by, wait_for_any
from pit.work.process.orphans import Own, orphans
from pit.work.process.signals import ENDING, Handler, handling
from pit.work.process.signals import Signals as Signals
from pit.work.process.signals import ending_in_order as ending_in_order
from pit.work.process.signals import install_signals as install_signals
from pit.work.process.signals import signal_name as signal_name
from pit.work.process.supervisor import Attendance, Output, Pausing

_CAPTURED = 1 << 20
_MAXRSS_UNIT = 1024 if sys.platform == "linux" else 1

# No program that has begun its work uses less memory than this.
_A_PROGRAM = 1 << 20


class Exit(Record, frozen=True):
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


# ---------------------------------------------------------------- who this process is


def become_subreaper() -> bool:
    """Make orphans of everything below this process its children; False where that is unknown.

    Call it in the main thread, before the first child is started.
    """
    # With SIGCHLD ignored, as a careless parent may have left it, exit codes would be lost.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return orphans.adopt_all()


class Identity(TypedDict):
    """Who this process is, in the words of `RunStarted`."""

    pid: int
    pid_started: float
    boot_id: str


def identity() -> Identity:
    """This process's id, start time (`procfs.Stat.start`) and the kernel's id of this boot."""
    own = procfs.stat(os.getpid())
    started = float(own.start) if own else 0.0
    return Identity(pid=os.getpid(), pid_started=started, boot_id=procfs.boot_id())


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
        marker = marker or os.urandom(8).hex()
        variable, pipe = f"PIT_MARKER={marker}", os.fstat(files[1]).st_ino
        orphans.expect()
        with on_error(orphans.give_up):
            before = procfs.clock()
            self._popen, mark = _popen(argv, cwd, {**env, "PIT_MARKER": marker}, files)
            self.pid = self._popen.pid
            start = _start_time(self.pid, before)
            self._own = Own(self.pid, start, os.fsencode(variable), pipe, mark)
        orphans.register(self._own)
        self.usage: resource.struct_rusage | None = None
        self._guardian = guardian
        self._wanderers: set[tuple[int, int]] = set()
        if guardian:
            guardian.told(self.pid, self._own.start)

    @property
    def start(self) -> int:
        """When it started, as `procfs.Stat.start`."""
        return self._own.start

    @property
    def exit_code(self) -> int | None:
        """As `subprocess` has it: minus the signal's number if one ended it; None until reaped."""
        return self._popen.returncode

    def living(self) -> Living:
        """All that lives of it: itself, its descendants, the orphans that it has left."""
        found = _living_below(self._roots)
        self._follow({one.identity for one in found.values() if one.session != self.pid})
        return found

    def _roots(self) -> list[int]:
        """Itself if it lives, and then, so that none is missed if it did not: the orphans."""
        own = procfs.stat(self.pid) if self.exit_code is None else None
        roots = [self.pid] if own and own.alive else []
        if not orphans.quiet(self.pid):
            roots += [orphan.pid for orphan in orphans.left_by(self._own)]
        return roots

    def _follow(self, wanderers: set[tuple[int, int]]) -> None:
        """Remember who has left the session: once their parents are gone, nothing else tells."""
        if wanderers == self._wanderers:
            return
        orphans.note(self.pid, wanderers)
        if self._guardian:
            for pid, _ in self._wanderers - wanderers:
                self._guardian.forgotten(pid)
            for pid, start in wanderers - self._wanderers:
                self._guardian.told(pid, start, leader=False)
        self._wanderers = wanderers

    @property
    def sessions(self) -> tuple[int, ...]:
        """The session that is all its own, as long as nobody else can have its id."""
        return () if self.exit_code is not None else (self.pid,)

    def peek(self) -> int | None:
        """Its exit code if it has ended; it is not reaped, for its id still stands for its tree."""
        if self.exit_code is not None:
            return self.exit_code
        try:
            ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except (AttributeError, ChildProcessError):
            self.reap()
            return self.exit_code
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def reap(self) -> bool:
        """Take its exit status if it has ended; True if so."""
        if self._popen.returncode is None:
            ended = orphans.reap(self.pid)
            if ended is None:
                return False
            self._popen.returncode = os.waitstatus_to_exitcode(ended[0])
            self.usage = ended[1]
        return True

    def forget(self) -> None:
        """Tell the guardian that nothing of it is left."""
        if self._guardian:
            for pid in (self.pid, *(pid for pid, _ in self._wanderers)):
                self._guardian.forgotten(pid)
        self._wanderers = set()


def _living_below(roots: Callable[[], list[int]]) -> Living:
    """The living among `roots()` and all that descends from them.

    If all roots have died in the meantime, what they left has become ours: ask again.
    """
    while True:
        asked = roots()
        found = procfs.descendants(asked)
        if found or not asked:
            return found


def _start_time(pid: int, before: int | None) -> int:
    """When a child started that was not there `before` and has not been waited for yet."""
    now = procfs.clock()
    if now is not None and now == before:
        return now
    process = procfs.stat(pid)
    return process.start if process else 0


_BUSY_TRIES = 6


def _popen(
    argv: Sequence[str], cwd: str | Path, env: Mapping[str, str], files: tuple[int, int, int]
) -> tuple[subprocess.Popen[bytes], int]:
    """Start the program, and its mark; a script that somebody has open for writing is tried again.

    It need not be our doing: any process forked while the file was written keeps it open
    until its own exec.
    """

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=files[0],
            stdout=files[1],
            stderr=files[2],
            start_new_session=True,
        )

    for again in range(1, _BUSY_TRIES + 1):
        try:
            return descent.start(start)
        except OSError as error:
            if error.errno != errno.ETXTBSY or again == _BUSY_TRIES:
                raise
            time.sleep(0.005 * 2**again)
    raise AssertionError("unreachable")


def _why_not(
    argv: Sequence[str], cwd: str | Path, error: OSError | ValueError
) -> tuple[Reason, str]:
    """Why a program could not be started: a reason, and a sentence for people."""
    name = argv[0]
    if isinstance(error, ValueError):
        return Reason.SETUP, f"{name} cannot be started: {error}"
    words = (error.strerror or str(error)).lower()
    if not os.path.isdir(cwd):
        return Reason.SETUP, f"the working directory {cwd} does not exist"
    if error.errno == errno.ENOENT:
        return Reason.NOT_FOUND, _missing(name, cwd)
    if error.errno == errno.EACCES:
        return Reason.NOT_FOUND, f"{name} may not be executed ({words}): is its execute bit set?"
    if error.errno == errno.ENOEXEC:
        return Reason.NOT_FOUND, f"{name} is not a program: its first line is not #!<interpreter>"
    if error.errno == errno.E2BIG:
        return Reason.SETUP, f"{name} cannot be started: its arguments and variables are too long"
    if error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
        return Reason.INTERNAL, f"{name} cannot be started: {words}"
    return Reason.NOT_FOUND, f"{name} cannot be executed: {words}"


def _missing(name: str, cwd: str | Path) -> str:
    if "/" not in name:
        return f'command "{name}" not found; install it, or put its folder into PATH'
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


# ---------------------------------------------------------------- to the end


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
    started: Callable[[int, int], None] | None = None,
    pausing: Pausing | None = None,
) -> Exit:
    """Run a program to its end and the end of all that it started; any thread, many at once.

    `output` gets stdout and stderr, merged, as they come, and must not keep the view. If it
    raises, the tree is ended and the error raised again, but for a full disk, which is the
    process's own ending. Standard input is empty. The environment is `env` and PIT_MARKER.
    `started` hears the process's id and start time; `pausing` is told when output pauses.
    """
    begun = time.time(), time.monotonic()
    if cancel and cancel.level:
        return _exit(begun, ending=cancel.reason, error="cancelled before it was started")
    deadline = None if timeout is None else begun[1] + timeout
    try:
        child, reader = _start(argv, cwd, env, marker, guardian)
    except (OSError, ValueError) as error:
        ending, sentence = _why_not(argv, cwd, error)
        return _exit(begun, ending=ending, error=sentence)
    attendance = Attendance(child, Output(reader, output, pausing), deadline, grace, cancel)
    try:
        if started is not None:
            started(child.pid, child.start)
        attendance.attend()
    finally:
        child.reap()
        child.forget()
    return _told(begun, attendance, child)


def _start(
    argv: Sequence[str],
    cwd: str | Path,
    env: Mapping[str, str],
    marker: str,
    guardian: Guardian | None,
) -> tuple[_Started, int]:
    """Start a program whose output comes out of the handle that is returned with it."""
    reader, writer = os.pipe()
    try:
        with on_error(lambda: os.close(reader)):
            return _Started(argv, cwd, env, marker, (_null(), writer, writer), guardian), reader
    finally:
        os.close(writer)


@cache
def _null() -> int:
    return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)


def _told(begun: tuple[float, float], attendance: Attendance, started: _Started) -> Exit:
    """The Exit of a process that ran; raises what its `output` raised."""
    ending, error = attendance.ending, attendance.error
    failure = attendance.failure
    if isinstance(failure, OSError) and failure.errno in (errno.ENOSPC, errno.EDQUOT):
        ending, error = Reason.DISK_FULL, f"its output could not be kept: {failure.strerror}"
    elif failure is not None:
        raise failure
    return _exit(begun, started, attendance.peak, ending=ending, error=error)


def _exit(
    begun: tuple[float, float],
    started: _Started | None = None,
    peak: int = 0,
    *,
    ending: Reason | None = None,
    error: str = "",
) -> Exit:
    code = None if started is None else started.exit_code
    usage = None if started is None else started.usage
    return Exit(
        started_at=begun[0],
        ended_at=time.time(),
        seconds=time.monotonic() - begun[1],
        exit_code=code if code is not None and code >= 0 else None,
        signal=-code if code is not None and code < 0 else None,
        cpu_seconds=usage.ru_utime + usage.ru_stime if usage else None,
        peak_memory=_peak(peak, usage),
        ending=ending,
        error=error,
    )


def _peak(sampled: int, usage: resource.struct_rusage | None) -> int | None:
    """The most memory in bytes: the samples, or the kernel's word where it can be believed.

    A child begins with the peak of the process that forked it, so only a higher one is its
    own. One that ended before it could be sampled, or was only sampled before it came to
    anything, is told by its page faults: each brought in a page, and few were given back.
    """
    if usage is None:
        return sampled or None
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = usage.ru_maxrss * _MAXRSS_UNIT if usage.ru_maxrss > own else 0
    if max(sampled, told) >= _A_PROGRAM:
        return max(sampled, told)
    return max(sampled, (usage.ru_minflt + usage.ru_majflt) * resource.getpagesize())


# ---------------------------------------------------------------- other ways to run something


def capture(
    argv: Sequence[str],
    *,
    cwd: str | Path,
    env: Mapping[str, str],
    timeout: float | None = None,
    grace: float = 5.0,
    cancel: Cancel | None = None,
    guardian: Guardian | None = None,
) -> tuple[int, bytes]:
    """Exit code and output, stdout and stderr merged, of a tool; of the output the last 1 MB.

    The codes are a shell's: 127 not found, 126 not executable, 124 timed out, 130 cancelled,
    128 + n ended by signal n. What could not be started says why in place of an output.
    """
    kept = bytearray()

    def keep(piece: memoryview) -> None:
        kept.extend(piece)
        if len(kept) > 2 * _CAPTURED:
            del kept[:-_CAPTURED]

    ended = run(
        argv,
        cwd=cwd,
        env=env,
        output=keep,
        timeout=timeout,
        grace=grace,
        cancel=cancel,
        guardian=guardian,
    )
    if ended.error:
        kept += ended.error.encode(errors="replace")
    return _shell_code(ended), bytes(kept[-_CAPTURED:])


_SHELL_CODES = {Reason.TIMEOUT: 124, Reason.CANCELLED: 130, Reason.NOT_FOUND: 127}


def _shell_code(ended: Exit) -> int:
    if ended.ending is not None:
        return _SHELL_CODES.get(ended.ending, 126)
    if ended.signal is not None:
        return 128 + ended.signal
    return 255 if ended.exit_code is None else ended.exit_code


class Child:
    """A long-lived child in its own session, spoken to over its stdin and stdout."""

    def __init__(self, started: _Started, stdin_fd: int, stdout_fd: int) -> None:
        self.pid = started.pid
        self.stdin_fd = stdin_fd
        self.stdout_fd = stdout_fd
        self._started = started
        self._lock = threading.Lock()

    @property
    def returncode(self) -> int | None:
        """Exit code, minus the signal's number if one ended it, None while it runs."""
        with self._lock:
            return self._started.peek()

    def send(self, data: bytes) -> None:
        """Write all of it to the child's stdin; BrokenPipeError if it is gone."""
        view = memoryview(data)
        while view:
            view = view[os.write(self.stdin_fd, view) :]

    def receive(self, size: int = 1 << 16) -> bytes:
        """What the child has written to its stdout, waiting for something; empty at the end."""
        return os.read(self.stdout_fd, size)

    def wait(self, seconds: float) -> bool:
        """Wait for the child to end by itself; whether it has."""
        limit = time.monotonic() + seconds
        while self.returncode is None and (left := limit - time.monotonic()) > 0:
            wait_for_any({self.pid: None}, left)
        return self.returncode is not None

    def end(self, grace: float) -> int | None:
        """End it and all below it, from any thread, as often as you like; its `returncode`.

        Those who read from it get what is left of its output, and then the end.
        """
        if self.returncode is None or not orphans.quiet(self.pid):
            end(self._started.living, grace, sessions=self._started.sessions)
        with self._lock:
            self._started.reap()
            self._started.forget()
            return self._started.exit_code

    def close(self) -> None:
        """Give both pipes back, when nobody reads or writes any more."""
        pipes, self.stdin_fd, self.stdout_fd = {self.stdin_fd, self.stdout_fd}, -1, -1
        for handle in pipes - {-1}:
            os.close(handle)


def spawn_session(
    argv: Sequence[str],
    *,
    cwd: str | Path,
    env: Mapping[str, str],
    stderr: int | str | Path,
    guardian: Guardian | None = None,
    marker: str = "",
) -> Child:
    """Start a child to talk to; `stderr` is a file descriptor, or a file to append to.

    Raises OSError if it cannot be started. Whoever starts it ends it, with `Child.end`.
    """
    with ExitStack() as theirs, ExitStack() as ours:
        stdin, to_child = _pipe(theirs, ours)
        from_child, stdout = _pipe(ours, theirs)
        files = (stdin, stdout, _log(stderr, theirs))
        started = _Started(argv, cwd, env, marker, files, guardian)
        ours.pop_all()
        return Child(started, to_child, from_child)
    raise AssertionError("unreachable")


def _pipe(reading: ExitStack, writing: ExitStack) -> tuple[int, int]:
    """A pipe whose two ends are closed by these two stacks."""
    reader, writer = os.pipe()
    reading.callback(os.close, reader)
    writing.callback(os.close, writer)
    return reader, writer


def _log(stderr: int | str | Path, stack: ExitStack) -> int:
    if isinstance(stderr, int):
        return stderr
    handle = os.open(stderr, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    stack.callback(os.close, handle)
    return handle


# ---------------------------------------------------------------- ending what is left


def end_marked(run_id: str, grace: float = 10.0, pit: Identity | None = None) -> int:
    """End every process that carries the id of a run that has died; how many there were.

    With `pit`, the process that the run was executed by, all that descends from its children
    too, if it has died. For recovery after a crash. This process, its ancestors and its
    children are spared.
    """
    variable = b"PIT_RUN_ID=" + os.fsencode(run_id)
    if (
        pit is None
        or not pit["pid"]
        or procfs.lives(pit["pid"], pit["pid_started"], pit["boot_id"])
    ):
        return end_marked_by(variable, grace)
    dead = family(pit["pid"], int(pit["pid_started"]), pit["boot_id"])
    return end_marked_by(variable, grace, dead)


def end_all(grace: float = 10.0, cancel: Cancel | None = None) -> int:
    """End every orphan that no task could be made responsible for; how many there were.

    For the end of a run, when no task is left. Own children are not touched.
    """

    def find() -> Living:
        return _living_below(lambda: [orphan.pid for orphan in orphans.left_by_anyone()])

    count = len(find())
    if count:
        end(find, grace, hurry=lambda: cancel is not None and cancel.level > 1)
    return count


def nothing_left() -> bool:
    """Whether it is certain that nothing lives of what this process has started for tasks."""
    return orphans.over()


def doubtful() -> list[tuple[int, str]]:
    """Id and name of each orphan that may be a task's and may be somebody else's: it is spared.

    There are some only where the program that became Pit had children and limits cannot be set.
    """
    return [(orphan.pid, procfs.name(orphan.pid)) for orphan in orphans.doubtful()]


# ---------------------------------------------------------------- a program at the terminal


def attended(argv: Sequence[str], *, cwd: str | Path, env: Mapping[str, str]) -> int:
    """Exit code, as a shell's, of a program that has the terminal to itself, such as an editor.

    Ctrl-C is for that program alone. SIGTERM and SIGHUP end it, and SystemExit is raised then.
    """
    ends: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        # Raising here could lose the child while it is being started.
        ends.append(number)

    # Ctrl-C is handled, for what is ignored the program would ignore too.
    handlers: dict[int, Handler] = {**dict.fromkeys(ENDING, note), signal.SIGINT: lambda *_: None}
    try:
        with handling(handlers), subprocess.Popen(argv, cwd=cwd, env=env) as child:
            code = _attend(child, ends)
    except FileNotFoundError:
        return 127
    except OSError:
        return 126
    if ends:
        raise SystemExit(128 + ends[0])
    return 128 - code if code < 0 else code


def _attend(child: subprocess.Popen[bytes], ends: Sequence[int], grace: float = 5.0) -> int:
    until = None
    while True:
        try:
            return child.wait(0.2)
        except subprocess.TimeoutExpired:
            if ends and until is None:
                until = time.monotonic() + grace
                child.terminate()
            elif until is not None and time.monotonic() > until:
                child.kill()
