"""An SFTP server on loopback, by asyncssh, with faults to order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncssh

from tests.servers.loop import running

USER, PASSWORD = "mallory", "correct horse: battery"


class Faults:
    """`cut_after` ends the connection when a read or write comes to that offset, once;
    `stall_after` never answers it; `names` are told in listings beside what is there, with a pause
    of so many seconds before each.
    """

    def __init__(self) -> None:
        self.cut_after: int | None = None
        self.stall_after: int | None = None
        self.names: list[bytes] = []
        self.pause = 0.0
        self.offsets: list[int] = []
        self.stalled = threading.Event()
        self.lose_answer = False
        self.opened: list[Any] = []


class _Files(asyncssh.SFTPServer):
    """Serves one folder as if it were all."""

    def __init__(self, chan: Any, root: Path, faults: Faults) -> None:
        super().__init__(chan, chroot=bytes(root))
        self._faults = faults

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> Any:
        file = super().open(path, pflags, attrs)
        self._faults.opened.append(file)
        return file

    async def _fault(self, offset: int) -> None:
        faults = self._faults
        faults.offsets.append(offset)
        if faults.cut_after is not None and offset >= faults.cut_after:
            faults.cut_after = None
            self.connection.abort()
        if faults.stall_after is not None and offset >= faults.stall_after:
            faults.stalled.set()
            await asyncio.sleep(3600)

    async def read(self, file_obj: Any, offset: int, size: int) -> bytes:  # type: ignore[override]
        await self._fault(offset)
        return super().read(file_obj, offset, size)  # type: ignore[return-value]

    async def write(self, file_obj: Any, offset: int, data: bytes) -> int:  # type: ignore[override]
        await self._fault(offset)
        return super().write(file_obj, offset, data)  # type: ignore[return-value]

    async def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:  # type: ignore[override]
        super().posix_rename(oldpath, newpath)
        if self._faults.lose_answer:
            self._faults.lose_answer = False
            self.connection.abort()

    async def scandir(self, path: bytes) -> Any:
        async for each in super().scandir(path):
            yield each
        for name in self._faults.names:
            await asyncio.sleep(self._faults.pause)
            yield asyncssh.SFTPName(name, attrs=asyncssh.SFTPAttrs(size=5, permissions=0o100644))


class _Login(asyncssh.SSHServer):
    """Takes one password, and the public keys that it is told of."""

    def __init__(self, keys: list[asyncssh.SSHKey]) -> None:
        self._keys = keys

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return any(key.public_data == known.public_data for known in self._keys)


class Server:
    """A running server; `root` is the folder that it serves."""

    host = "127.0.0.1"

    def __init__(self, root: Path, port: int, key: asyncssh.SSHKey, faults: Faults) -> None:
        self.root, self.port, self.key, self.faults = root, port, key, faults

    @property
    def fingerprint(self) -> str:
        """Of its host key."""
        return self.key.get_fingerprint()

    @property
    def known_host(self) -> str:
        """Its line in a file of known hosts."""
        public = self.key.export_public_key().decode().strip()
        return f"[{self.host}]:{self.port} {public}"

    def secret(self, **more: str) -> dict[str, str]:
        """The fields of a secret that opens it."""
        where = {"host": self.host, "port": str(self.port), "protocol": "sftp"}
        login = {"user": USER, "password": PASSWORD, "timeout": "20s"}
        return where | login | {"host_key": self.fingerprint} | more


@contextmanager
def serving(root: Path, keys: list[asyncssh.SSHKey] | None = None) -> Iterator[Server]:
    """A server for a folder; `keys` may log in as well as the password."""
    root.mkdir(exist_ok=True)
    faults = Faults()
    key = asyncssh.generate_private_key("ssh-ed25519")

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            Server.host,
            0,
            server_host_keys=[key],
            server_factory=lambda: _Login(keys or []),
            sftp_factory=lambda chan: _Files(chan, root, faults),
            allow_scp=False,
        )

    with running() as loop:
        acceptor = loop.run(listen())
        try:
            yield Server(root, acceptor.get_port(), key, faults)
        finally:

            async def close() -> None:
                acceptor.close()

            loop.run(close())
    # A connection that was cut leaves them open.
    for file in faults.opened:
        file.close()
