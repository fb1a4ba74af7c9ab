"""An FTP server on loopback, by pyftpdlib: plain or with TLS, and with faults to order."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from OpenSSL import SSL

from tests.servers.certificate import Certified

with warnings.catch_warnings():
    # It stands on asyncore, at whose import Python 3.11 complains.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import DTPHandler, FTPHandler, TLS_DTPHandler, TLS_FTPHandler
    from pyftpdlib.ioloop import IOLoop
    from pyftpdlib.servers import FTPServer

USER, PASSWORD = "mallory", "correct horse: battery"
PERMISSIONS = "elradfmwMT"


class Faults:
    """What the server does wrong, and what it has seen.

    `cut_after` closes a transfer with its control connection once so many bytes went over, once;
    `stall_after` stops there instead; `lose_answer` names a command that is carried out and never
    answered, once; `before` is called with each command.
    """

    def __init__(self) -> None:
        self.cut_after: int | None = None
        self.stall_after: int | None = None
        self.lose_answer = ""
        self.before: Any = None
        self.commands: list[str] = []
        self.reused: list[bool] = []
        self.stalled = threading.Event()
        self.offsets: list[int] = []


class _Data:
    """The faults of a data connection."""

    cmd_channel: Any
    tot_bytes_sent: int
    tot_bytes_received: int

    def initiate_send(self) -> None:
        if not self._fault(self.tot_bytes_sent):
            super().initiate_send()  # type: ignore[misc]

    def handle_read_event(self) -> None:
        if not self._fault(self.tot_bytes_received):
            super().handle_read_event()  # type: ignore[misc]

    def _fault(self, carried: int) -> bool:
        faults: Faults = self.cmd_channel.faults
        if faults.cut_after is not None and carried > faults.cut_after:
            faults.cut_after = None
            self.cmd_channel.close()
            return True
        if faults.stall_after is not None and carried > faults.stall_after:
            faults.stalled.set()
            return True
        return False


class _Control:
    """The faults of a control connection."""

    faults: Faults

    def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
        self.faults.commands.append(line)
        if cmd == "REST":
            self.faults.offsets.append(int(arg))
        if self.faults.before:
            self.faults.before(line)
        super().pre_process_command(line, cmd, arg)  # type: ignore[misc]

    def respond(self, resp: str, logfun: Any = None) -> None:
        last = self.faults.commands[-1].split()[0] if self.faults.commands else ""
        if last and last == self.faults.lose_answer and resp.startswith("250"):
            self.faults.lose_answer = ""
            self.close()  # type: ignore[attr-defined]
            return
        super().respond(resp) if logfun is None else super().respond(resp, logfun)  # type: ignore[misc]


class _PlainData(_Data, DTPHandler):
    pass


class _PrivateData(_Data, TLS_DTPHandler):
    def handle_ssl_established(self) -> None:
        """Notes whether the client went on with its session, as strict servers demand."""
        reused = SSL._lib.SSL_session_reused(self.socket._ssl)
        self.cmd_channel.faults.reused.append(bool(reused))
        super().handle_ssl_established()


class Server:
    """A running server; `root` is the folder that it serves."""

    host = "127.0.0.1"

    def __init__(self, root: Path, port: int, faults: Faults) -> None:
        self.root, self.port, self.faults = root, port, faults

    def secret(self, **more: str) -> dict[str, str]:
        """The fields of a secret that opens it."""
        login = {"user": USER, "password": PASSWORD, "timeout": "20s"}
        return {"host": self.host, "port": str(self.port)} | login | more


def _handler(
    root: Path, faults: Faults, without: frozenset[str], tls: Certified | None, implicit: bool
) -> type[FTPHandler]:
    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, PASSWORD, str(root), perm=PERMISSIONS)
    known = {name: entry for name, entry in FTPHandler.proto_cmds.items() if name not in without}
    common = {
        "authorizer": authorizer,
        "faults": faults,
        "use_sendfile": False,
        "auth_failed_timeout": 0,
        "encoding": "utf8",
        "unicode_errors": "surrogateescape",
    }
    if tls is None:
        extra = {"dtp_handler": _PlainData, "proto_cmds": known}
        return type("Handler", (_Control, FTPHandler), common | extra)
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_chain_file(tls.certificate)
    context.use_privatekey_file(tls.key)
    context.set_session_id(b"pit")
    secured = {
        "dtp_handler": _PrivateData,
        "ssl_context": context,
        "proto_cmds": {**TLS_FTPHandler.proto_cmds},
        "tls_data_required": True,
        "tls_control_required": not implicit,
    }
    if implicit:

        def handle(self: Any) -> None:
            self.secure_connection(self.ssl_context)
            self._prot = True

        def established(self: Any) -> None:
            super(TLS_FTPHandler, self).handle()

        secured |= {"handle": handle, "handle_ssl_established": established}
    return type("SecureHandler", (_Control, TLS_FTPHandler), common | secured)


@contextmanager
def serving(
    root: Path,
    tls: Certified | None = None,
    *,
    implicit: bool = False,
    without: frozenset[str] = frozenset(),
) -> Iterator[Server]:
    """A server for a folder; `without` takes commands away from it."""
    # With a handler of its own it sets up none that writes to the terminal.
    logger = logging.getLogger("pyftpdlib")
    logger.setLevel(logging.CRITICAL)
    logger.addHandler(logging.NullHandler())
    root.mkdir(exist_ok=True)
    faults, loop = Faults(), IOLoop()
    handler = _handler(root, faults, without, tls, implicit)
    server = FTPServer((Server.host, 0), handler, ioloop=loop)
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            loop.loop(timeout=0.02, blocking=False)
        server.close_all()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield Server(root, server.address[1], faults)
    finally:
        over.set()
        thread.join(20)


def exists(path: Path) -> bool:
    """Whether something of that name is there, a dangling link included."""
    return os.path.lexists(path)
