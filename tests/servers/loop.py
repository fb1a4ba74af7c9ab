"""An event loop in a thread, for servers that are asynchronous; a silent and an endless server."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")


class Loop:
    """Runs coroutines for other threads."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns."""
        return asyncio.run_coroutine_threadsafe(step, self._loop).result(30)

    def close(self) -> None:
        """Cancel what is left and end the thread."""
        self.run(self._cancel())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _cancel(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def running() -> Iterator[Loop]:
    """A loop for the length of a block."""
    loop = Loop()
    try:
        yield loop
    finally:
        loop.close()


class Silent:
    """Takes connections and says nothing; `came` is set by the first."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._socket.getsockname()
        self.came = threading.Event()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            self.came.set()

    def close(self) -> None:
        """End it and all that is connected."""
        # Closing alone would not wake the thread that accepts.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._open:
            connection.close()


class Endless(Silent):
    """Says the same again and again, as long as somebody listens."""

    def __init__(self, words: bytes) -> None:
        self._words = words
        super().__init__()

    def _accept(self) -> None:
        with suppress(OSError):
            connection, _ = self._socket.accept()
            self._open.append(connection)
            while True:
                connection.sendall(self._words)


@contextmanager
def talking(words: bytes) -> Iterator[Endless]:
    """A server that never stops, for one client and the length of a block."""
    server = Endless(words)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def silence() -> Iterator[Silent]:
    """A server that says nothing, for the length of a block."""
    server = Silent()
    try:
        yield server
    finally:
        server.close()
