"""Pieces of shell that leave a process behind which has cut every tie to who started it.

Each appends its process id to the file `pids` and lives for ten minutes, without the parent,
the session, the environment or an open file that it was born with. A test that expects it to
live kills it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from pit.work.process import procfs

_ALONE = "> /dev/null 2>&1 < /dev/null"

DAEMONS = {
    "double fork": f"""
        env -i setsid bash -c '(setsid bash -c "echo \\$\\$ >> pids; exec sleep 600" &)' {_ALONE}
    """,
    "many hands": f"""
        env -i setsid bash -c '(setsid -f bash -c "(setsid -f bash -c \\"
            echo \\\\\\$\\\\\\$ >> pids; exec sleep 600\\" &)" &)' {_ALONE}
    """,
    "deaf": f"""
        env -i setsid bash -c '(setsid bash -c "
            trap : TERM HUP INT; echo \\$\\$ >> pids; while :; do sleep 1; done" &)' {_ALONE}
    """,
}

WITHOUT_MARKS = "ulimit -S -H -x 1000; ulimit -S -H -R 1000\n"
"""Shell that lowers the limits in which Pit hands down its marks, so that it can have none."""


def left(kind: str, name: str = "pids") -> str:
    """Shell that leaves a daemon of that kind and goes on when it is there."""
    count = f"$(cat {name} 2> /dev/null | wc -l)"
    daemon = DAEMONS[kind].strip().replace("pids", name)
    return f"before={count}\n{daemon}\nuntil [ {count} -gt $before ]; do sleep 0.01; done"


def pids(folder: Path, count: int = 1, name: str = "pids") -> list[int]:
    """The process ids in the file of that name, as soon as there are `count`."""
    path = folder / name
    assert until(lambda: path.exists() and path.read_text().count("\n") >= count)
    return [int(line) for line in path.read_text().split()]


def alive(pid: int) -> bool:
    """Whether there is such a process, and not only its exit code."""
    found = procfs.stat(pid)
    return found is not None and found.alive


def until(condition: Callable[[], object], seconds: float = 60.0) -> bool:
    """Whether it comes true in this time."""
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.01)
    return True


def kill(pid: int) -> None:
    """kill -9, if it is still there."""
    if pid > 0 and alive(pid):
        os.kill(pid, 9)
