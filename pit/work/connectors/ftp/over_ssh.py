"""SFTP by asyncssh: one connection, driven step by step from the thread that asks.

Nothing comes from the machine's own SSH set-up: no agent, no ~/.ssh/config, no known_hosts. The
secret says all, so that a run behaves alike wherever it is.
"""

from __future__ import annotations

import asyncio
import posixpath
import stat as modes
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from pit.errors import ConnectorFailed, MissingExtra, Refused, on_error
from pit.work.connectors.fields import Fields, clean, reason
from pit.work.connectors.ftp.remote import Absent, Account, Entry, Lost, checked_name, joined
from pit.work.connectors.loggers import silence
from pit.work.connectors.retry import over

if TYPE_CHECKING:
    import asyncssh

T = TypeVar("T")

_TICK = 0.2
_FAREWELL = 3.0
_BLOCK = 1 << 20
_MOST = 1_000_000
_KEEPALIVE = 15
_KEY_TYPES = ("ssh-", "ecdsa-", "sk-")
_RSA = ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")


def _library() -> Any:
    try:
        import asyncssh
    except ImportError:
        raise MissingExtra("SFTP", "sftp") from None
    silence("asyncssh")
    return asyncssh


class SftpRemote:
    """One SFTP connection."""

    def __init__(self, account: Account) -> None:
        self._ssh = _library()
        self._account = account
        self._stopped = False
        self._heard = 0
        """Grows as a step gets on that consists of several."""
        self._runner = asyncio.Runner()
        # What is still under way when a connection goes would be complained about on stderr.
        self._runner.get_loop().set_exception_handler(lambda loop, context: None)
        self._connection: asyncssh.SSHClientConnection | None = None
        with on_error(self.close):
            self._client = self._log_in(_Trust(self._ssh, account))

    # ------------------------------------------------------------------------ the connection

    def _log_in(self, trust: _Trust) -> asyncssh.SFTPClient:
        account, ssh = self._account, self._ssh
        options: dict[str, Any] = {
            "username": account.user,
            "password": account.password or None,
            "client_keys": _keys(ssh, account.fields),
            "client_factory": trust.client,
            "known_hosts": ([], [], []),
            "server_host_key_algs": trust.algorithms or (),
            "config": None,
            "agent_path": None,
            "x509_trusted_certs": None,
            "gss_host": None,
            "connect_timeout": account.silence,
            "login_timeout": account.silence,
            "keepalive_interval": _KEEPALIVE,
        }
        with self._told("connecting"):
            try:
                connecting = ssh.connect(account.host, account.port, **options)
                self._connection = self._do(_awaited(connecting))
            except (ssh.HostKeyNotVerifiable, ssh.KeyExchangeFailed):
                raise trust.refusal() from None
            except ssh.PermissionDenied:
                raise ConnectorFailed(
                    f'{account}: logging in as "{account.user}" was refused',
                    f'Check user and password or private_key of secret "{account.fields.key}"',
                ) from None
        with self._told("starting SFTP"):
            assert self._connection is not None
            starting = self._connection.start_sftp_client(
                path_encoding=account.encoding, path_errors="surrogateescape"
            )
            client: asyncssh.SFTPClient = self._do(_awaited(starting))
            return client

    def _do(self, step: Coroutine[Any, Any, T]) -> T:
        """One step; it may take as long as a server may be silent, and longer while it gets on."""
        return self._runner.run(self._bounded(step))

    async def _bounded(self, step: Coroutine[Any, Any, T]) -> T:
        task = asyncio.ensure_future(step)
        waited, tick, heard = 0.0, min(_TICK, self._account.silence), self._heard
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=tick)
                if task.done():
                    break
                waited = waited + tick if self._heard == heard else 0.0
                heard = self._heard
                if self._stopped:
                    raise over(str(self._account))
                if waited >= self._account.silence:
                    raise TimeoutError
            return task.result()
        finally:
            task.cancel()

    @contextmanager
    def _told(self, doing: str, path: str = "") -> Iterator[None]:
        """Turns what asyncssh raises into this connector's errors."""
        ssh = self._ssh
        where = f"{self._account}: {doing}" + (f' "{clean(path)}"' if path else "")
        try:
            yield
        except (ssh.SFTPNoSuchFile, ssh.SFTPNoSuchPath):
            raise Absent(f"{where}: no such file or folder") from None
        except (ssh.SFTPNoConnection, ssh.SFTPConnectionLost, ssh.ConnectionLost):
            raise Lost(f"{where}: the server closed the connection") from None
        except ssh.SFTPError as error:
            raise ConnectorFailed(f"{where}: {self._said(error.reason)}") from None
        except ssh.DisconnectError as error:
            raise Lost(f"{where}: {self._said(error.reason)}") from None
        except TimeoutError:
            silence = self._account.silence
            raise Lost(f"{where}: the server was silent for {silence:g} seconds") from None
        except UnicodeEncodeError:
            raise Refused(
                f'"{path}" cannot be encoded in {self._account.encoding.upper()}'
            ) from None
        except ssh.Error as error:
            raise ConnectorFailed(f"{where}: {self._said(str(error))}", retryable=True) from None
        except OSError as error:
            raise Lost(f"{where}: {reason(error)}") from None

    def _said(self, text: str) -> str:
        return self._account.fields.hide(text) or "the server gives no reason"

    def stop(self) -> None:
        """Let the step that another thread is in end."""
        self._stopped = True

    def close(self) -> None:
        """Disconnect; a server that does not answer is left."""
        connection, self._connection = self._connection, None

        async def part() -> None:
            if connection is not None:
                connection.close()
                with suppress(TimeoutError):
                    await asyncio.wait_for(connection.wait_closed(), _FAREWELL)

        # RuntimeError: a step that does not end is in another thread's hands still.
        with suppress(OSError, RuntimeError, self._ssh.Error):
            self._runner.run(part())
            self._runner.close()

    # ------------------------------------------------------------------------ looking

    def files(self, directory: str, wanted: Callable[[str], bool]) -> list[Entry]:
        """The files of a folder; what a symbolic link leads to counts."""

        async def look() -> list[Entry]:
            found: list[Entry] = []
            began = self._heard
            async for each in self._client.scandir(directory or "."):
                self._heard += 1
                if self._heard - began > _MOST:
                    raise ConnectorFailed(f'{self._account}: the list of "{directory}" never ends')
                name = str(each.filename)
                if name in (".", "..") or not wanted(name):
                    continue
                entry = self._entry(
                    joined(directory, checked_name(name, self._account)), each.attrs
                )
                if _is_link(each.attrs):
                    entry = await self._stat(joined(directory, name))
                found += [entry] if entry else []
            return found

        with self._told("listing", directory or "."):
            return sorted(self._do(look()), key=lambda entry: entry.name)

    def stat(self, path: str) -> Entry | None:
        """A file's size and time."""
        with self._told("looking for", path):
            return self._do(self._stat(path))

    async def _stat(self, path: str) -> Entry | None:
        try:
            return self._entry(path, await self._client.stat(path))
        except (self._ssh.SFTPNoSuchFile, self._ssh.SFTPNoSuchPath):
            return None

    def _entry(self, path: str, attrs: asyncssh.SFTPAttrs) -> Entry | None:
        if attrs.permissions is not None and modes.S_ISDIR(attrs.permissions):
            return None
        when = None if attrs.mtime is None else float(attrs.mtime)
        return Entry(name=posixpath.basename(path), path=path, size=attrs.size, modified=when)

    # ------------------------------------------------------------------------ carrying

    def read(self, path: str, offset: int) -> Iterator[bytes]:
        """What a file holds from `offset` on."""
        with self._told("reading", path):
            file = self._do(_awaited(self._client.open(path, "rb")))
            try:
                while chunk := self._do(file.read(_BLOCK, offset)):
                    assert isinstance(chunk, bytes)
                    offset += len(chunk)
                    yield chunk
            finally:
                self._leave(file)

    def write(self, path: str, chunks: Iterable[bytes]) -> None:
        """Write a file."""
        with self._told("writing", path):
            file = self._do(_awaited(self._client.open(path, "wb")))
            with on_error(lambda: self._leave(file)):
                for chunk in chunks:
                    self._do(file.write(chunk))
                # A server reports a full disk here at the latest.
                self._do(file.close())

    def _leave(self, file: asyncssh.SFTPClientFile) -> None:
        with suppress(OSError, TimeoutError, self._ssh.Error, ConnectorFailed):
            self._do(file.close())

    # ------------------------------------------------------------------------ changing

    def rename(self, source: str, target: str) -> None:
        """Rename in one step where the server can, else after removing what is at the target."""
        with self._told("renaming", source):
            try:
                self._do(self._client.posix_rename(source, target))
                return
            except self._ssh.SFTPOpUnsupported:
                pass
            if self._do(self._stat(target)):
                self._do(self._client.remove(target))
            self._do(self._client.rename(source, target))

    def delete(self, path: str) -> None:
        """Remove a file."""
        with self._told("deleting", path):
            self._do(self._client.remove(path))

    def make_folder(self, path: str) -> None:
        """Make a folder and those above it."""
        with self._told("making", path):
            self._do(self._client.makedirs(path, exist_ok=True))


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


def _is_link(attrs: asyncssh.SFTPAttrs) -> bool:
    return attrs.permissions is not None and modes.S_ISLNK(attrs.permissions)


def _keys(ssh: Any, fields: Fields) -> list[Any] | None:
    text = fields.text("private_key")
    if not text:
        return None
    try:
        return [ssh.import_private_key(text, fields.text("passphrase") or None)]
    except (ssh.KeyImportError, ssh.KeyEncryptionError):
        fields.wrong("private_key", "it cannot be read, or its passphrase is not the right one")


class _Trust:
    """The host keys that a secret names, and the key that the server showed."""

    def __init__(self, ssh: Any, account: Account) -> None:
        self._account = account
        self._shown = ""
        self._known: set[str] = set()
        self.algorithms: list[str] = []
        for line in account.fields.text("host_key").splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                self._learn(ssh, line.split())
        trust = self

        class Client(ssh.SSHClient):  # type: ignore[misc]
            """Answers asyncssh's question whether a host key is the right one."""

            def validate_host_public_key(
                self, host: str, addr: str, port: int, key: asyncssh.SSHKey
            ) -> bool:
                """Whether the secret names this key."""
                trust._shown = key.get_fingerprint()
                return trust._shown in trust._known

        self.client: type = Client

    def _learn(self, ssh: Any, words: list[str]) -> None:
        """A fingerprint, a public key, or a line of known_hosts."""
        prints = [word.rstrip("=") for word in words if word.startswith("SHA256:")]
        types = [at for at, word in enumerate(words) if word.startswith(_KEY_TYPES)]
        if prints:
            self._known |= set(prints)
            return
        try:
            key = ssh.import_public_key(" ".join(words[types[0] : types[0] + 2]))
        except (IndexError, ssh.KeyImportError):
            self._account.fields.wrong(
                "host_key", 'it is neither a fingerprint "SHA256:…" nor a line of known_hosts'
            )
        self._known.add(key.get_fingerprint())
        kind = words[types[0]]
        self.algorithms += _RSA if kind == "ssh-rsa" else [kind]

    def refusal(self) -> ConnectorFailed:
        """Why the server is not trusted, and what to do."""
        key, shown = self._account.fields.key, self._shown
        if not shown:
            return ConnectorFailed(
                f"{self._account}: the server offers no host key of the kind that is known, "
                "or no SSH that Pit speaks",
                f'Compare host_key of secret "{key}" with: ssh-keyscan {self._account.host}',
            )
        hint = f'If that is the server\'s own, put host_key = "{shown}" into secret "{key}"'
        if self._known:
            return ConnectorFailed(f"{self._account}: the host key has changed: {shown}", hint)
        return ConnectorFailed(f"{self._account}: the host key is unknown: {shown}", hint)
