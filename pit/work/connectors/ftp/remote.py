"""A file server as the `ftp_*` methods see it, whatever it speaks: FTP, FTPS or SFTP."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Protocol

from pit.errors import ConnectorFailed, Refused
from pit.model import Record
from pit.work.connectors.fields import Fields

CHUNK = 1 << 18
"""Bytes that are in memory at once."""

FORM = 'Such as: [global.files], host = "…", user = "…", password = "…", protocol = "sftp"'
_PROTOCOLS = ("ftp", "ftps", "sftp")
_TLS = ("explicit", "implicit", "none", "true", "false")
_IMPLICIT_PORT, _SFTP_PORT = 990, 22
_SILENCE = 30.0
_ASCII = "".join(map(chr, range(128)))


class Lost(ConnectorFailed):
    """The connection is gone, or the server says nothing: another connection may do better."""

    def __init__(self, sentence: str, hint: str = "") -> None:
        super().__init__(sentence, hint, retryable=True)


class Absent(ConnectorFailed):
    """The server has no such file or folder, or does not show it to this user."""


class Account(Record):
    """Where to log in and how: a secret, understood. `tls` is none, explicit or implicit."""

    fields: Fields
    host: str
    port: int
    protocol: str
    tls: str
    user: str
    password: str
    silence: float
    encoding: str

    def __repr__(self) -> str:
        return f"Account({self})"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def account(fields: Fields) -> Account:
    """The account that a secret describes; raises Refused."""
    port, tls = fields.port(), fields.choice("tls", _TLS)
    protocol = fields.choice("protocol", _PROTOCOLS) or fields.choice("driver", _PROTOCOLS)
    if not protocol:
        is_ssh = port == _SFTP_PORT or fields.text("host_key") or fields.text("private_key")
        protocol = "sftp" if is_ssh else "ftp"
    if protocol == "sftp":
        tls = "none"
    elif tls in ("none", "false", "") and (protocol == "ftps" or port == _IMPLICIT_PORT):
        if tls:
            fields.wrong("tls", f"{'FTPS' if protocol == 'ftps' else 'port 990'} is FTP with TLS")
        tls = "implicit" if port == _IMPLICIT_PORT else "explicit"
    elif tls != "implicit":
        tls = "explicit" if tls in ("explicit", "true") else "none"
    usual = _SFTP_PORT if protocol == "sftp" else _IMPLICIT_PORT if tls == "implicit" else 21
    return Account(
        fields=fields,
        host=fields.need("host"),
        port=port or usual,
        protocol=protocol,
        tls=tls,
        user=fields.need("user"),
        password=fields.text("password"),
        silence=max(0.1, fields.seconds("timeout", _SILENCE)),
        encoding=_encoding(fields),
    )


def _encoding(fields: Fields) -> str:
    name = fields.text("encoding", "utf-8")
    try:
        is_plain = _ASCII.encode(name) == _ASCII.encode()
    except LookupError:
        fields.wrong("encoding", "Python has no encoding of that name")
    if not is_plain:
        # In others a letter can hold the bytes of a line end, which would begin a command.
        fields.wrong("encoding", "it is not one that extends ASCII")
    return name


class Entry(Record):
    """A file on the server; size in bytes and time in Unix seconds where the server tells them."""

    name: str
    path: str
    size: int | None = None
    modified: float | None = None

    def details(self) -> dict[str, Any]:
        """What a task gets to see of it."""
        when = self.modified
        told = None if when is None else datetime.fromtimestamp(when, UTC)
        return {
            "name": self.name,
            "path": self.path,
            "size": self.size,
            "modified": told and told.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


class Remote(Protocol):
    """One connection, logged in. Everything raises Lost, Absent or ConnectorFailed."""

    def files(self, directory: str, wanted: Callable[[str], bool]) -> list[Entry]:
        """The files of a folder whose name is wanted, by name."""

    def stat(self, path: str) -> Entry | None:
        """A file, or None if there is none (a folder is none)."""

    def read(self, path: str, offset: int) -> Iterator[bytes]:
        """What a file holds from `offset` on; ends without an error only at its end."""

    def write(self, path: str, chunks: Iterable[bytes]) -> None:
        """Make a file, or make it anew."""

    def rename(self, source: str, target: str) -> None:
        """Rename a file; what is at the target goes."""

    def delete(self, path: str) -> None:
        """Remove a file."""

    def make_folder(self, path: str) -> None:
        """Make a folder and those above it, as far as they are not there."""

    def stop(self) -> None:
        """Make what another thread is doing here fail soon."""

    def close(self) -> None:
        """Say goodbye; never raises and never takes long."""


def joined(directory: str, name: str) -> str:
    """The path of what a folder holds; "" is the folder after login."""
    return posixpath.join(directory, name) if directory else name


def checked_name(name: str, account: Account) -> str:
    """A file name that a server told, if it can be one; what it is not never reaches a disk."""
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        shown = account.fields.hide(name.encode(errors="replace").decode())
        raise ConnectorFailed(f'{account}: the server lists a file called "{shown}"')
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = name.encode(errors="replace").decode()
        raise ConnectorFailed(
            f'{account}: the name of the file "{shown}" is not {account.encoding.upper()} text',
            'Name its encoding in the secret, such as encoding = "latin-1"',
        ) from None
    return name


def checked_path(path: str, what: str) -> str:
    """A path on the server as a task gives it; Refused where no server could mean it."""
    if not path:
        raise Refused(f"{what} is empty")
    if "\0" in path or "\r" in path or "\n" in path:
        raise Refused(f"{what} contains a line break or a NUL character")
    return path
