"""Who is on the other end of a task's socket, and whether that is the task.

The kernel tells which process made the connection. It must run as the same user and belong to the
task's tree: its session is the task's, or the task is among its ancestors, or it carries the
task's marker, an orphan that has fallen to Pit. Another task of the run that copies the marker is
told by its own session or ancestors, a process that Pit did not start by its ancestors.

A process id may be given to somebody else between two looks. Where the kernel hands out the
process itself (SO_PEERPIDFD, Linux 6.5) the facts count only if it is still alive after they were
read; elsewhere its start time must be the same before and after.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import NamedTuple

from pit.work.process import procfs

_LINUX = sys.platform.startswith("linux")
_SO_PEERPIDFD = 77
_UCRED = struct.Struct("iII")

# macOS: <sys/un.h> and <sys/ucred.h>
_SOL_LOCAL, _LOCAL_PEERCRED, _LOCAL_PEERPID = 0, 1, 2
_XUCRED = struct.Struct("IIh")


class Root(NamedTuple):
    """The process that a task's attempt is, and the `NAME=value` that it hands down."""

    pid: int
    start: int
    marker: bytes


class Peer(NamedTuple):
    """The process that has connected; the id is 0 where it lives in another container."""

    pid: int
    uid: int


def peer_of(connection: socket.socket) -> Peer:
    """Who has made a connection; OSError if that cannot be told."""
    if _LINUX:
        pid, uid, _ = _UCRED.unpack(
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        )
        return Peer(pid, uid)
    _, uid, _ = _XUCRED.unpack_from(connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, 76))
    return Peer(connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID), uid)


def objection(connection: socket.socket, root: Root, others: Callable[[], Collection[int]]) -> str:
    """Why the process on the other end may not speak for the task `root`; empty if it may.

    `others` gives the processes of the other attempts that are running now.
    """
    try:
        peer = peer_of(connection)
    except OSError:
        return "it cannot be determined who is asking"
    if peer.uid != os.geteuid():
        return f"process {peer.pid} runs as another user ({peer.uid})"
    handle = _handle(connection)
    try:
        before = None if handle >= 0 else procfs.stat(peer.pid)
        if not _belongs(peer.pid, root, others):
            return f"process {peer.pid} is not part of it"
        if _is_the_same(peer.pid, handle, before):
            return ""
        return f"process {peer.pid} has ended"
    finally:
        if handle >= 0:
            os.close(handle)


def _handle(connection: socket.socket) -> int:
    """A handle of the process itself, -1 where the kernel has none to give."""
    if _LINUX:
        with suppress(OSError):
            return connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    return -1


def _is_the_same(pid: int, handle: int, before: procfs.Stat | None) -> bool:
    if handle < 0:
        now = procfs.stat(pid)
        return before is not None and now is not None and before.start == now.start
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return not poll.poll(0)


def _belongs(pid: int, root: Root, others: Callable[[], Collection[int]]) -> bool:
    try:
        session = os.getsid(pid)
    except OSError:
        return False
    if session == root.pid:
        return True
    line = _line(pid)
    if root.pid in line:
        return line[root.pid] == root.start or not root.start
    if _LINUX and os.getpid() not in line:
        return False
    if session in (strangers := others()) or not line.keys().isdisjoint(strangers):
        return False
    return procfs.carries(pid, root.marker)


def _line(pid: int) -> dict[int, int]:
    """A process and its ancestors up to this one, with their start times."""
    line: dict[int, int] = {}
    own = os.getpid()
    while pid > 0 and pid not in line:
        process = procfs.stat(pid)
        if process is None:
            break
        line[pid] = process.start
        if pid == own:
            break
        pid = process.parent
    return line
