"""Facts about running processes: who they are, whose children, what they carry.

On Linux everything is read from /proc, which costs 10 to 20 µs a process and needs no
library. Where there is no /proc (macOS) psutil answers the same questions.

A process is identified by its id *and* its start time: an id alone may have been given to
somebody else since it was noted. Start times are in clock ticks since boot (Linux) or
microseconds since 1970 (elsewhere); they are only ever compared for equality and order.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from pit.text import regex

_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")

# The kernel may be built without the `children` files; then parents are looked up one by one.
_PROC = os.path.exists("/proc/self/stat")
_OCTAL = regex.lazy(r"\\([0-7]{3})")
_LISTED = os.path.exists(f"/proc/self/task/{os.getpid()}/children")


class Stat(NamedTuple):
    """One process at one instant."""

    pid: int
    start: int
    state: str
    parent: int
    group: int
    session: int
    threads: int

    @property
    def identity(self) -> tuple[int, int]:
        """Process id and start time: what names this process and no later one."""
        return self.pid, self.start

    @property
    def alive(self) -> bool:
        """Whether any of its threads may still run (a dead main thread looks like a zombie)."""
        return self.threads > 1 or self.state not in "ZX"


def stat(pid: int) -> Stat | None:
    """What the system knows about process `pid`, None if there is none."""
    if not _PROC:
        return _stat_elsewhere(pid)
    try:
        line = _read_once(f"/proc/{pid}/stat")
    except OSError:
        return None
    # The name stands in parentheses and may itself contain parentheses and spaces.
    field = line[line.rfind(b")") + 2 :].split()
    return Stat(
        pid=pid,
        start=int(field[19]),
        state=chr(field[0][0]),
        parent=int(field[1]),
        group=int(field[2]),
        session=int(field[3]),
        threads=int(field[17]),
    )


def lives(pid: int, start: float, boot: str) -> bool:
    """Whether the process of this id, start time and boot is there."""
    found = stat(pid) if boot == boot_id() else None
    return found is not None and found.alive and found.start == start


def clock() -> int | None:
    """Now, on the clock of `Stat.start`; None where that clock cannot be read.

    A child started while it showed one and the same value has that value as its start time,
    which saves a look into /proc for nearly every child.
    """
    if not _PROC:
        return None
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // _TICK


def children(pid: int) -> list[int]:
    """The ids of the children of all threads of `pid`, zombies included."""
    if not _LISTED:
        return [process.pid for process in everyone() if process.parent == pid]
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        found += children_of_thread(pid, thread)
    return found


def children_of_thread(pid: int, thread: int | str) -> list[int]:
    """The ids of the children of one thread; orphans fall to the main thread (its id is `pid`)."""
    if not _LISTED:
        return children(pid)
    try:
        return [int(word) for word in _read(f"/proc/{pid}/task/{thread}/children").split()]
    except OSError:
        return []


def descendants(roots: Iterable[int]) -> dict[int, Stat]:
    """The living processes among `roots` and all that descends from them, by id."""
    if not _LISTED:
        return _descendants_of(set(roots), list(everyone()))
    found: dict[int, Stat] = {}
    looked: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid in looked:
            continue
        looked.add(pid)
        process = stat(pid)
        if process is None:
            continue
        if process.alive:
            found[pid] = process
            waiting += children(pid)
    return found


def _descendants_of(roots: set[int], everybody: list[Stat]) -> dict[int, Stat]:
    """`descendants` from a list of all processes."""
    kin = set(roots)
    grown = True
    while grown:
        more = {process.pid for process in everybody if process.parent in kin} - kin
        kin |= more
        grown = bool(more)
    return {process.pid: process for process in everybody if process.pid in kin and process.alive}


def everyone() -> Iterator[Stat]:
    """Every process of the machine that may be seen."""
    for pid in _ids():
        process = stat(pid)
        if process is not None:
            yield process


def ancestors(pid: int) -> set[int]:
    """`pid` itself, its parent, and so on up to the first process."""
    line: set[int] = set()
    while pid > 0 and pid not in line:
        line.add(pid)
        process = stat(pid)
        pid = process.parent if process else 0
    return line


def memory(pid: int) -> tuple[int, int]:
    """Resident size of a process and the most that it ever was, in bytes; zeros if it is gone.

    Of the several places where Linux tells it, this is the one that is exact on all kernels
    and in which the peak does not begin with the parent's.
    """
    if not _PROC:
        return _memory_elsewhere(pid)
    try:
        text = _read_once(f"/proc/{pid}/status")
    except OSError:
        return 0, 0
    return _kilobytes(text, b"VmRSS:"), _kilobytes(text, b"VmHWM:")


def _kilobytes(text: bytes, name: bytes) -> int:
    """The value of a line like `VmRSS:    1234 kB`, in bytes."""
    at = text.find(name)
    return 0 if at < 0 else 1024 * int(text[at + len(name) : text.index(b"kB", at)])


def name(pid: int) -> str:
    """The name of the program that a process executes, cut at 15 characters; empty if unknown."""
    try:
        return _read_once(f"/proc/{pid}/comm").decode(errors="replace").rstrip("\n")
    except OSError:
        return ""


def carries(pid: int, variable: bytes) -> bool:
    """Whether `NAME=value` stands in the environment that the process was started with."""
    return variable in environment(pid)


def environment(pid: int) -> list[bytes]:
    """The `NAME=value` entries a process was started with; empty if they may not be read."""
    if not _PROC:
        return _environment_elsewhere(pid)
    try:
        return _read(f"/proc/{pid}/environ").split(b"\0")
    except OSError:
        return []


def holds_pipe(pid: int, inode: int) -> bool:
    """Whether the process has the pipe with this inode number open."""
    name = f"pipe:[{inode}]"
    folder = f"/proc/{pid}/fd"
    with suppress(OSError):
        for entry in os.listdir(folder):
            with suppress(OSError):
                if os.readlink(f"{folder}/{entry}") == name:
                    return True
    return False


def openers(path: str) -> int:
    """How many processes that may be looked into have a file open."""
    found = 0
    for pid in _ids() if _PROC else ():
        folder = f"/proc/{pid}/fd"
        with suppress(OSError):
            found += any(_leads_to(f"{folder}/{entry}", path) for entry in os.listdir(folder))
    return found


def _leads_to(link: str, path: str) -> bool:
    try:
        return os.readlink(link) == path
    except OSError:
        return False


def in_use(folder: str) -> bool:
    """Whether a process that may be looked into works in a folder, has something below it open, or
    sees it mounted elsewhere or something mounted in it; True where nobody can tell."""
    if not _PROC:
        return True
    below = f"{os.path.realpath(folder)}/"
    seen: set[int] = set()
    for pid in _ids():
        with suppress(OSError):
            space = os.stat(f"/proc/{pid}/ns/mnt").st_ino
            if space not in seen and _is_mounted(below, _read(f"/proc/{pid}/mountinfo")):
                return True
            seen.add(space)
            if any(f"{aim}/".startswith(below) for aim in _aims(f"/proc/{pid}")):
                return True
    return False


def _is_mounted(below: str, mounts: bytes) -> bool:
    # Where a folder lies on its disk is not known; its last names are like no others.
    names = f"/{'/'.join(below.split('/')[-3:])}"
    for line in os.fsdecode(mounts).splitlines():
        root, point = (_OCTAL.sub(_character, each) for each in line.split(" ")[3:5])
        if f"{point}/".startswith(below) or names in f"{root}/":
            return True
    return False


def _character(code: re.Match[str]) -> str:
    return chr(int(code[1], 8))


def _aims(process: str) -> Iterator[str]:
    """Where a process works, and what it has open."""
    with suppress(OSError):
        yield os.readlink(f"{process}/cwd")
        for entry in os.listdir(f"{process}/fd"):
            with suppress(OSError):
                yield os.readlink(f"{process}/fd/{entry}")


def boot_id() -> str:
    """The kernel's name for the time since the last boot, empty where there is none."""
    try:
        return _read_once("/proc/sys/kernel/random/boot_id").decode().strip()
    except OSError:
        return ""


def _read_once(path: str) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(handle, 4096)
    finally:
        os.close(handle)


def _read(path: str) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        whole = b""
        while piece := os.read(handle, 1 << 17):
            whole += piece
        return whole
    finally:
        os.close(handle)


def _ids() -> list[int]:
    if _PROC:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    import psutil

    return list(psutil.pids())


def _stat_elsewhere(pid: int) -> Stat | None:
    import psutil

    try:
        process: Any = psutil.Process(pid)
        with process.oneshot():
            return Stat(
                pid=pid,
                start=int(process.create_time() * 1_000_000),
                state="Z" if process.status() == psutil.STATUS_ZOMBIE else "S",
                parent=process.ppid() or 0,
                group=os.getpgid(pid),
                session=os.getsid(pid),
                threads=1,
            )
    except (psutil.Error, OSError):
        return None


def _memory_elsewhere(pid: int) -> tuple[int, int]:
    import psutil

    try:
        resident = psutil.Process(pid).memory_info().rss
    except (psutil.Error, OSError):
        return 0, 0
    return resident, resident


def _environment_elsewhere(pid: int) -> list[bytes]:
    import psutil

    try:
        found = psutil.Process(pid).environ()
    except (psutil.Error, OSError):
        return []
    return [os.fsencode(f"{name}={value}") for name, value in found.items()]
