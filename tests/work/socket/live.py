"""A server with real sockets, and tasks that are real processes: what the tests of both share."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from pit.errors import PitError
from pit.events import SecretRequested
from pit.order import Order
from pit.state.secrets.secrets import Secrets
from pit.work.masking import Masks
from pit.work.process import launch
from pit.work.socket.access import Access
from pit.work.socket.listener import Listener
from pit.work.socket.server import Server

SECRETS = """
[global]
token = "a-token-that-nobody-knows"
narrow = "for-another-dag-alone"
[shop.db]
host = "db.example"
user = "me"
password = "correct horse battery"
[other]
token = "of-the-other-dag"
[acl]
narrow = ["other"]
"""

# What tasks do: `ask` as an SDK does, `raw` whatever else a client can do to a server.
CLIENT = """
import json, os, socket, subprocess, sys, threading, time

def connect(address=None, seconds=20):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(seconds)
    sock.connect(address or os.environ["PIT_SOCKET"])
    return sock

def read(sock):
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data

def line(sock):
    data = bytearray()
    while not data.endswith(b"\\n"):
        piece = sock.recv(65536)
        if not piece:
            break
        data += piece
    return bytes(data)

def request(method, /, **params):
    return json.dumps({"method": method, "params": params}).encode() + b"\\n"

def ask(method, address=None, /, **params):
    sock = connect(address)
    sock.sendall(request(method, **params))
    return json.loads(line(sock))

def raw(data, address=None, half=True):
    sock = connect(address)
    try:
        sock.sendall(data)
        if half:
            sock.shutdown(socket.SHUT_WR)
    except BrokenPipeError:
        pass
    try:
        return read(sock)
    except ConnectionResetError:
        return b""
"""


class NoFacts:
    """A run in which nobody tells anything."""

    def settle(self, task: str) -> None:
        """Nothing is held back."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was not expected")


class LiveServer:
    """A server, what it has told, and how to start a task that asks there."""

    def __init__(self, root: Path, secrets: str | None = SECRETS) -> None:
        self.root = root
        self.data = root / "data"
        self.data.mkdir(exist_ok=True)
        (root / "client.py").write_text(CLIENT)
        self.told: list[Any] = []
        self.failure: PitError | None = None
        self.masks = Masks()
        known = None
        if secrets is not None:
            (root / "secrets.toml").write_text(secrets)
            (root / "secrets.toml").chmod(0o600)
            known = Secrets.load(root / "secrets.toml")
        self.access = Access(known, self.told.append, self.barrier, self.masks)
        self.server = Server(self.access, NoFacts(), self.masks)  # type: ignore[arg-type]
        self.lines: list[str] = []

    def barrier(self) -> None:
        """What is told is on the disk, unless the disk is full."""
        if self.failure is not None:
            raise self.failure
        self.told.append("barrier")

    @property
    def audit(self) -> list[tuple[str, str, str]]:
        """Task, key and verdict of each request."""
        requests = [event for event in self.told if isinstance(event, SecretRequested)]
        return [(event.task, event.key, event.verdict.value) for event in requests]

    @contextmanager
    def listener(self, task: str = "ask", attempt: int = 1, **order: Any) -> Iterator[Listener]:
        """A listener that is open while the block lasts."""
        listener = self.server.open(
            self.order(task, attempt, **order), self.data, self.lines.append
        )
        try:
            yield listener
        finally:
            self.server.close(listener)

    def order(self, task: str, attempt: int, **facts: Any) -> Order:
        """An order as far as a listener looks at it."""
        given: dict[str, Any] = {"run": "r1", "dag": "shop", "marker": f"m-{task}-{attempt}"}
        given |= {"attempts": 1, "log": "log", "runner": "python"} | facts
        return Order(task=task, attempt=attempt, **given)

    def run(
        self,
        script: str,
        task: str = "ask",
        during: Callable[[Listener], None] | None = None,
        cancel: launch.Cancel | None = None,
        **order: Any,
    ) -> str:
        """The output of a task that runs a Python script with the client's functions at hand."""
        output = bytearray()
        with self.listener(task, **order) as listener:
            marker = listener._marker.decode().partition("=")[2]

            def started(pid: int, start: int) -> None:
                self.server.started(listener, pid, start)
                if during is not None:
                    threading.Thread(target=during, args=(listener,), daemon=True).start()

            ended = launch.run(
                [sys.executable, "-c", f"from client import *\n{script}"],
                cwd=self.root,
                env=self.env(listener),
                output=output.extend,
                timeout=60,
                grace=0.2,
                cancel=cancel,
                marker=marker,
                started=started,
            )
        text = bytes(output).decode(errors="replace")
        assert ended.exit_code == 0 or cancel is not None, text
        return text

    def env(self, listener: Listener | None = None) -> dict[str, str]:
        """The variables of a task."""
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(self.root),
            "PIT_DATA_DIR": str(self.data),
        }
        return env | ({"PIT_SOCKET": listener.address} if listener else {})

    def asked(self, script: str, **given: Any) -> Any:
        """What a task has printed, as JSON."""
        return msgspec.json.decode(self.run(f"print(json.dumps({script}))", **given))
