"""The SQL process on plain pipes, and other programs that hold a database file."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from pit.sql import protocol
from pit.sql.connection.urls import parse
from pit.sql.driver import Unavailable
from pit.sql.drivers.odbc import library
from pit.sql.protocol import Done
from pit.sql.server import command
from tests.servers import tds


class Conversation:
    """A SQL process and what it has said so far."""

    def __init__(self, cwd: Path) -> None:
        self.process = subprocess.Popen(
            command(),
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._next = 0
        self.begin_anew(cwd)

    def begin_anew(self, cwd: Path) -> None:
        """Forget what was said; databases that are files lie in `cwd` from now on."""
        self.cwd = cwd
        self.first = self._next
        self.logs: dict[int, list[str]] = {}
        self.done: dict[int, Done] = {}

    @property
    def busy(self) -> bool:
        """Whether something that was begun has not ended, as far as has been heard."""
        return len(self.done) < self._next - self.first

    def start(self, text: str, url: str = "duckdb://w.duckdb", **variables: str) -> int:
        """Send a script; its number."""
        self._next += 1
        database = parse(url, self.cwd)
        self.send(
            protocol.Run(
                id=self._next,
                script="tasks/x.sql",
                text=text,
                database=database,
                variables=variables,
            )
        )
        return self._next

    def begin(self, request: protocol.Work) -> int:
        """Send any request under the next number, which is returned."""
        self._next += 1
        self.send(msgspec.structs.replace(request, id=self._next))
        return self._next

    def send(self, request: protocol.Request) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(protocol.encode(request))
        self.process.stdin.flush()

    def hear(self) -> protocol.Reply | None:
        """The next thing that it says; None at the end."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            return None
        reply = protocol.reply(line)
        if isinstance(reply, Done):
            self.done[reply.id] = reply
        elif not isinstance(reply, protocol.Begun):
            self.logs.setdefault(reply.id, []).append(reply.text)
        return reply

    def wait(self, number: int) -> Done:
        """How that script ended."""
        while number not in self.done:
            assert self.hear() is not None, self._end()
        return self.done[number]

    def until(self, number: int, words: str) -> None:
        """Wait for words in that script's log."""
        while words not in self.log(number):
            assert self.hear() is not None, self._end()
            assert number not in self.done, self.log(number)

    def _end(self) -> str:
        """How the process ended, that should not have."""
        assert self.process.stderr is not None
        return f"ended with {self.process.wait()}: {self.process.stderr.read().decode()}"

    def run(self, text: str, url: str = "duckdb://w.duckdb", **variables: str) -> Done:
        """Send a script and wait for its end; its log is `log(-1)`."""
        return self.wait(self.start(text, url, **variables))

    def log(self, number: int = 0) -> str:
        """What that script has logged; the latest by default."""
        return "\n".join(self.logs.get(number or self._next, []))

    def errors(self) -> str:
        """End the conversation; what came on stderr."""
        assert self.process.stdin is not None
        assert self.process.stderr is not None
        self.process.stdin.close()
        while self.hear() is not None:
            pass
        self.process.wait(60)
        return self.process.stderr.read().decode()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


@pytest.fixture(scope="session")
def sqlserver() -> Iterator[tds.Server]:
    """A server that speaks SQL Server's protocol."""
    with tds.running() as server:
        yield server


@pytest.fixture(scope="session")
def odbc_drivers() -> list[str]:
    """The names of the ODBC drivers that this machine has."""
    try:
        # As Pit has it, without the driver manager's pool: what is asked first decides on that.
        return list(library().drivers())
    except Unavailable as error:
        pytest.skip(f"needs unixodbc: apt-get install unixodbc ({error})")


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Conversation]:
    conversation = Conversation(tmp_path)
    yield conversation
    conversation.close()


@pytest.fixture(scope="session")
def _lasting() -> Iterator[list[Conversation]]:
    """The conversation of `lasting`, once there is one."""
    kept: list[Conversation] = []
    yield kept
    for conversation in kept:
        conversation.close()


@pytest.fixture
def lasting(tmp_path: Path, _lasting: list[Conversation]) -> Iterator[Conversation]:
    """A conversation with a SQL process that has served other tests before.

    For tests of what happens to data, which is most: the libraries are loaded once. Paths in SQL
    itself must be absolute.
    """
    if not _lasting:
        _lasting.append(Conversation(tmp_path))
    (conversation,) = _lasting
    conversation.begin_anew(tmp_path)
    yield conversation
    if conversation.process.poll() is not None or conversation.busy:
        _lasting.clear()
        conversation.close()


_HOLD = (
    "import duckdb,sys; c=duckdb.connect(sys.argv[1]); print('held',flush=True); sys.stdin.read()"
)


@pytest.fixture
def hold() -> Iterator[Callable[[Path], subprocess.Popen[bytes]]]:
    """Has another process open a DuckDB file until its stdin is closed."""
    holders: list[subprocess.Popen[bytes]] = []

    def start(path: Path) -> subprocess.Popen[bytes]:
        holder = subprocess.Popen(
            (sys.executable, "-c", _HOLD, str(path)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        holders.append(holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        return holder

    yield start
    for holder in holders:
        holder.kill()
        holder.wait()
        for pipe in (holder.stdin, holder.stdout):
            assert pipe is not None
            pipe.close()


def eventually(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
