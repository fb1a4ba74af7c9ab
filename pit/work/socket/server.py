"""The sockets of one run, and the one thread that waits for all of them.

    attempts ──open, close──▶ listeners ◀── one thread: accept, read, answer, write
                                              │  ▲
                              what takes time ▼  │ its answer
                                          a pool of threads

Nothing is started before the first attempt of a run opens its listener; one that nobody connects to
costs a socket and no switch of threads. Nothing that a client does or fails to do is waited for.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pit.order import Order
from pit.work.masking import Masks
from pit.work.socket import peers, refusal, socket_folder
from pit.work.socket.access import Access
from pit.work.socket.call import Caller, Facts
from pit.work.socket.connection import Connection
from pit.work.socket.listener import Line, Listener, Move, Services
from pit.work.socket.readiness import READ, Readiness, readiness
from pit.work.socket.refusal import Refusal

if TYPE_CHECKING:
    from pit.work.socket.requests import Requests

MOST_OF_A_TASK, MOST_OF_A_RUN = 64, 512
"""Connections at once."""

_LATER = "Wait for an answer, then ask again"
_ACCEPTED_AT_A_TURN = 64
_SPARE = 4
_PATIENCE = 5.0
_TICK = 1.0
_PAUSE = 0.1
_NO_HANDLES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Server:
    """Where the tasks of one run ask; any number of attempts at once."""

    def __init__(self, access: Access, facts: Facts, masks: Masks) -> None:
        self._services = Services(access, facts, masks)
        self._lock = threading.RLock()
        self._folder: socket_folder.SocketDir | None = None
        self._listeners: dict[int, Listener] = {}
        self._connections: dict[int, Connection] = {}
        self._refusals: dict[int, Refusal] = {}
        self._unidentified: deque[Connection] = deque()
        self._paused: list[Listener] = []
        self._posted: deque[Callable[[], None]] = deque()
        self._waking = threading.Lock()
        self._wake_reader = self._wake_writer = -1
        self._woken = False
        self._over = False
        self._thread: threading.Thread | None = None

    @cached_property
    def _requests(self) -> Requests:
        from pit.work.socket.requests import Requests  # most tasks never ask

        return Requests(self._services, self._hand_back)

    # ------------------------------------------------------------------ for attempts

    def open(self, order: Order, data: Path, log: Line, move: Move | None = None) -> Listener:
        """A socket for an attempt that is about to start; OSError if there is no room for one.

        `log` writes a line into the task's log, `move` moves rows for it.
        """
        caller = Caller(
            run=order.run,
            dag=order.dag,
            task=order.task,
            attempt=order.attempt,
            data=data,
            secrets=order.secrets,
        )
        with self._lock:
            if self._thread is None:
                self._start()
            assert self._folder is not None
            listener = Listener(caller, order.marker, self._folder.name(), log, move)
            self._listeners[listener.sock.fileno()] = listener
            self._ready.register(listener.sock.fileno(), READ)
        return listener

    def started(self, listener: Listener, pid: int, start: int) -> None:
        """The process of an attempt runs: from now on it is known who belongs to it."""
        listener.belongs_to(pid, start)
        if self._unidentified:
            self._post(self._identify_all)

    def close(self, listener: Listener) -> None:
        """An attempt is over: its socket is gone, and nothing is done for it any more."""
        with self._lock:
            fd = listener.sock.fileno()
            if self._listeners.pop(fd, None) is not None:
                self._ready.unregister(fd)
            listener.sock.close()
        listener.seal()
        if listener.connections or listener.refusals:
            self._post(lambda: self._drop_all(listener))
        caller = listener.caller
        self._services.access.forget(caller.task, caller.attempt)
        self._services.facts.settle(caller.task)

    def _start(self) -> None:
        self._folder = socket_folder.new()
        self._ready: Readiness = readiness()
        self._spare = _Spare()
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)
        self._ready.register(self._wake_reader, READ)
        self._thread = threading.Thread(target=self._loop, name="sdk", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """The run is over: no socket, no thread, no folder is left."""
        with self._lock:
            listeners = list(self._listeners.values())
        for listener in listeners:
            self.close(listener)
        if "_requests" in self.__dict__:
            self._requests.close()
        if self._thread is None or self._over:
            return
        self._over = True
        self._post(lambda: None)
        self._thread.join(_PATIENCE)
        assert self._folder is not None
        self._folder.close()
        if self._thread.is_alive():
            return  # it looks at a process that is stuck in the kernel; that must not hang the run
        self._ready.close()
        self._spare.close()
        with self._waking:
            os.close(self._wake_reader)
            os.close(self._wake_writer)
            self._wake_writer = -1

    # ------------------------------------------------------------------ the thread that waits

    def _post(self, work: Callable[[], None]) -> None:
        """Have something done by the thread that waits, soon; not at all once the run is over."""
        self._posted.append(work)
        with self._waking:  # so that the handle is what it was
            if not self._woken and self._wake_writer >= 0:
                self._woken = True
                with suppress(BlockingIOError):
                    os.write(self._wake_writer, b".")

    def _loop(self) -> None:
        while not self._over:
            for fd, events in self._ready.poll(self._patience()):
                self._happened(fd, events)
            self._run_posted()
            self._look_at_the_clock(time.monotonic())
        for connection in list(self._connections.values()):
            self.drop(connection)
        for refused in list(self._refusals.values()):
            self._dismiss(refused)

    def _patience(self) -> float | None:
        if self._posted:
            return 0.0
        if self._paused:
            return _PAUSE
        return _TICK if self._connections or self._refusals else None

    def _happened(self, fd: int, events: int) -> None:
        connection = self._connections.get(fd)
        if connection is not None:
            self._guarded(connection, lambda: connection.ready(events, time.monotonic()))
        elif fd == self._wake_reader:
            with self._waking, suppress(BlockingIOError):
                os.read(self._wake_reader, 64)
                self._woken = False
        elif (listener := self._listeners.get(fd)) is not None:
            self._accept(listener)
        elif (refused := self._refusals.get(fd)) is not None and refused.is_over():
            self._dismiss(refused)

    def _guarded(self, connection: Connection, work: Callable[[], None]) -> None:
        try:
            work()
        # A defect met by one client's request must not silence the sockets of all others.
        except Exception as error:
            connection.listener.log(f"[pit] defect in the socket: {type(error).__name__}")
            self.drop(connection)

    def _run_posted(self) -> None:
        for _ in range(len(self._posted)):
            self._posted.popleft()()

    def _look_at_the_clock(self, now: float) -> None:
        """Once a second: who has taken too long; and who may come in again."""
        if self._paused:
            with self._lock:
                for listener in self._paused:
                    fd = listener.sock.fileno()
                    if self._listeners.get(fd) is listener:  # it has not been closed meanwhile
                        self._ready.modify(fd, READ)
            self._paused = []
        if (self._connections or self._refusals) and now >= self._next_look:
            self._next_look = now + _TICK
            for refused in list(self._refusals.values()):
                if now >= refused.deadline:
                    self._dismiss(refused)
            for connection in list(self._connections.values()):
                if now >= connection.deadline:
                    self._guarded(connection, lambda late=connection: late.late(now))  # type: ignore[misc]

    _next_look = 0.0

    # ------------------------------------------------------------------ who comes in

    def _accept(self, listener: Listener) -> None:
        for _ in range(_ACCEPTED_AT_A_TURN):
            with self._lock:  # so that the handle is this listener's as long as it is used
                if listener.over or listener.sock.fileno() < 0:
                    return
                if self._is_crowded(listener):
                    return self._pause(listener)
                try:
                    sock, _ = listener.sock.accept()
                except BlockingIOError:
                    return
                except OSError as error:
                    if error.errno in _NO_HANDLES:
                        return self._pause(listener)
                    continue
            self._admit(sock, listener)

    def _pause(self, listener: Listener) -> None:
        """Let nobody in for a moment; whoever knocks waits in the kernel's queue."""
        self._ready.modify(listener.sock.fileno(), 0)
        self._paused.append(listener)

    def _is_crowded(self, listener: Listener) -> bool:
        """Whether so many are being told that there is no room that others have to wait for it."""
        of_all = len(self._refusals) >= refusal.MOST_OF_A_RUN
        return of_all or listener.refusals >= refusal.MOST_OF_A_TASK

    def _admit(self, sock: socket.socket, listener: Listener) -> None:
        sock.setblocking(False)
        if full := self._full(listener):
            refused = Refusal(sock, listener, full, time.monotonic())
            self._refusals[refused.fd] = refused
            listener.refusals += 1
            self._ready.register(refused.fd, READ)
            return
        connection = Connection(sock, listener, self._requests.ask, self)
        self._connections[connection.fd] = connection
        listener.connections += 1
        self._ready.register(connection.fd, 0)
        self._identify(connection)

    def _full(self, listener: Listener) -> str:
        """Why nobody else can be let in; empty if there is room."""
        if listener.connections >= MOST_OF_A_TASK:
            return f"too many connections at once: a task may have {MOST_OF_A_TASK} ({_LATER})"
        if len(self._connections) >= MOST_OF_A_RUN:
            return f"too many connections at once: a run may have {MOST_OF_A_RUN} ({_LATER})"
        return ""

    def _dismiss(self, refused: Refusal) -> None:
        """Close the connection of somebody who was told that there is no room."""
        del self._refusals[refused.fd]
        refused.listener.refusals -= 1
        self._ready.unregister(refused.fd)
        refused.sock.close()

    def _identify(self, connection: Connection) -> None:
        """Who is it? That can only be told when the task's process is known."""
        root = connection.listener.root
        if root is None:
            self._unidentified.append(connection)
            if connection.listener.root is None:
                return
            self._unidentified.remove(connection)
            root = connection.listener.root
        assert root is not None
        others = self._others(root)
        objection = peers.objection(connection.sock, root, others)
        if objection:  # unless it was only that no file could be opened to look at
            with self._spare.lent():
                objection = peers.objection(connection.sock, root, others)
        connection.identified(objection, time.monotonic())

    def _others(self, root: peers.Root) -> Callable[[], set[int]]:
        def others() -> set[int]:
            with self._lock:
                roots = {
                    listener.root.pid
                    for listener in self._listeners.values()
                    if listener.root is not None
                }
            return roots - {root.pid}

        return others

    def _identify_all(self) -> None:
        for _ in range(len(self._unidentified)):
            connection = self._unidentified.popleft()
            if self._connections.get(connection.fd) is connection:
                self._identify(connection)

    # ------------------------------------------------------------------ `connection.Waits`

    def want(self, connection: Connection, events: int) -> None:
        """Wait for these events from now on."""
        self._ready.modify(connection.fd, events)

    def again(self, connection: Connection) -> None:
        """Come back to a connection after the others have had their turn."""
        self._posted.append(lambda: self._resume(connection))

    def _hand_back(self, connection: Connection, work: Callable[[], None]) -> None:
        """Have a connection's work done by the thread that waits."""
        self._post(lambda: self._guarded(connection, work))

    def _resume(self, connection: Connection) -> None:
        if self._connections.get(connection.fd) is connection:
            self._guarded(connection, lambda: connection.advance(time.monotonic()))

    def drop(self, connection: Connection) -> None:
        """Close a connection; what is being served for it is told to stop."""
        if self._connections.get(connection.fd) is not connection:
            return
        del self._connections[connection.fd]
        connection.listener.connections -= 1
        self._ready.unregister(connection.fd)
        connection.sock.close()
        call, connection.call = connection.call, None
        if call is not None:
            call.stop()

    def _drop_all(self, listener: Listener) -> None:
        for connection in list(self._connections.values()):
            if connection.listener is listener:
                self.drop(connection)
        for refused in list(self._refusals.values()):
            if refused.listener is listener:
                self._dismiss(refused)


class _Spare:
    """A few file handles kept back, so that it can still be told who asks when there are none."""

    def __init__(self) -> None:
        self._handles: list[int] = []
        self._take()

    def _take(self) -> None:
        with suppress(OSError):
            while len(self._handles) < _SPARE:
                self._handles.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    @contextmanager
    def lent(self) -> Iterator[None]:
        """They are free for others while the block lasts."""
        self.close()
        try:
            yield
        finally:
            self._take()

    def close(self) -> None:
        """Give them back."""
        while self._handles:
            os.close(self._handles.pop())
