"""FTP and FTPS by the standard library's ftplib, mended where servers need more than it does."""

from __future__ import annotations

import ftplib
import posixpath
import re
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from pit.errors import ConnectorFailed, Refused, on_error
from pit.work.connectors.fields import clean, reason
from pit.work.connectors.ftp.remote import CHUNK, Absent, Account, Entry, Lost, checked_name, joined

_FAREWELL = 3.0
_LONGEST_LISTING = 64 << 20
_LONGEST_ANSWER = 1 << 20
_GONE = ("421", "425", "426")
_UNKNOWN_COMMAND = ("500", "501", "502", "504")
_FOLDERS = ("dir", "cdir", "pdir")
_TIME = re.compile(r"(\d{14})")
_BYTES = "latin-1"
"""Latin-1 takes every byte as it is: ftplib carries names untouched, and they are decoded here."""


class _Plain(ftplib.FTP):
    """FTP whose answers end: a server that sends lines for ever is an error."""

    _heard = 0

    def putline(self, line: str) -> None:
        """Send a command, which has an answer of its own."""
        self._heard = 0
        super().putline(line)

    def getline(self) -> str:
        """One line of an answer."""
        line = super().getline()
        self._heard += len(line)
        if self._heard > _LONGEST_ANSWER:
            raise ftplib.error_proto("it never ends")
        return line


class _Explicit(_Plain, ftplib.FTP_TLS):
    """FTPS whose data connections go on with the session of the control connection.

    vsftpd and FileZilla demand that, as a proof that both belong to the same client.
    """

    def ntransfercmd(
        self, cmd: str, rest: int | str | None = None
    ) -> tuple[socket.socket, int | None]:
        """A data connection, private like the control connection."""
        connection, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        control = self.sock
        session = control.session if isinstance(control, ssl.SSLSocket) else None
        with on_error(connection.close):
            return (
                self.context.wrap_socket(connection, server_hostname=self.host, session=session),
                size,
            )


class _Implicit(_Explicit):
    """FTPS that speaks TLS from the first byte."""

    def connect(
        self,
        host: str = "",
        port: int = 0,
        timeout: float = -999,
        source_address: tuple[str, int] | None = None,
    ) -> str:
        """Connect, shake hands, and read the greeting."""
        self.host, self.port, self.timeout = host, port, timeout
        plain = socket.create_connection((host, port), timeout)
        self.af = plain.family
        with on_error(plain.close):
            self.sock = self.context.wrap_socket(plain, server_hostname=host)
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()
        return self.welcome


class FtpRemote:
    """One FTP or FTPS connection."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._carrier: socket.socket | None = None
        self._ftp = _made(account)
        self._features: dict[str, str] = {}
        with on_error(self._ftp.close):
            self._log_in()

    # ------------------------------------------------------------------------ the connection

    def _log_in(self) -> None:
        account, ftp = self._account, self._ftp
        with self._told("connecting"):
            ftp.connect(account.host, account.port, timeout=account.silence)
            if isinstance(ftp, _Explicit) and not isinstance(ftp, _Implicit):
                ftp.auth()
        with self._told(f'logging in as "{account.user}"'):
            # FTP.login: that of FTP_TLS would ask for TLS once more.
            password = self._word(account.password, "the password")
            ftplib.FTP.login(ftp, self._word(account.user), password)
            if isinstance(ftp, _Explicit):
                ftp.prot_p()
            self._features = self._told_features()
            if "UTF8" in self._features and account.encoding.lower() in ("utf-8", "utf8"):
                with suppress(ftplib.error_perm, ftplib.error_temp):
                    ftp.sendcmd("OPTS UTF8 ON")
            ftp.voidcmd("TYPE I")

    def _told_features(self) -> dict[str, str]:
        try:
            answer = self._ftp.sendcmd("FEAT")
        except ftplib.error_perm:
            return {}
        lines = [line.strip().partition(" ") for line in answer.splitlines()[1:-1]]
        return {name.upper(): rest for name, _, rest in lines}

    @contextmanager
    def _told(self, doing: str, path: str = "") -> Iterator[None]:
        """Turns what ftplib raises into this connector's errors."""
        where = f"{self._account}: {doing}" + (f' "{clean(path)}"' if path else "")
        try:
            yield
        except ftplib.error_perm as error:
            kind = Absent if path and str(error).startswith("550") else ConnectorFailed
            raise kind(f"{where}: {self._said(error)}") from None
        except ftplib.error_temp as error:
            if str(error).startswith(_GONE):
                raise Lost(f"{where}: {self._said(error)}") from None
            raise ConnectorFailed(f"{where}: {self._said(error)}", retryable=True) from None
        except ssl.SSLCertVerificationError as error:
            raise ConnectorFailed(
                f"{where}: the server's certificate is not to be trusted: {error.verify_message}",
                f'Put its authority into field "ca" of secret "{self._account.fields.key}"',
            ) from None
        except TimeoutError:
            silence = self._account.silence
            raise Lost(f"{where}: the server was silent for {silence:g} seconds") from None
        except ftplib.Error as error:
            raise ConnectorFailed(f"{where}: unexpected answer: {self._said(error)}") from None
        except EOFError:
            raise Lost(f"{where}: the server closed the connection") from None
        except OSError as error:
            raise Lost(f"{where}: {reason(error)}") from None

    def _said(self, error: Exception) -> str:
        text = str(error).encode(_BYTES, "replace").decode(self._account.encoding, "replace")
        return self._account.fields.hide(text)

    def stop(self) -> None:
        """Shut both connections down under whoever waits for them."""
        for connection in (self._carrier, self._ftp.sock):
            with suppress(OSError):
                if connection is not None:
                    # Of the socket below TLS: TLS itself would wait for the server.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def close(self) -> None:
        """QUIT and close; a server that does not answer is left."""
        with suppress(OSError, EOFError, ftplib.Error):
            if self._ftp.sock is not None:
                self._ftp.sock.settimeout(_FAREWELL)
                self._ftp.quit()
        with suppress(OSError):
            self._ftp.close()

    # ------------------------------------------------------------------------ names

    def _word(self, text: str, shown: str = "") -> str:
        """A path as it goes into a command; a line end in it would begin another command.

        Errors call it `shown`, where it is not to be seen itself.
        """
        shown = shown or f'"{clean(text)}"'
        if "\r" in text or "\n" in text or "\0" in text:
            raise Refused(f"{shown} has a line break, which cannot be sent over FTP")
        try:
            return text.encode(self._account.encoding, "surrogateescape").decode(_BYTES)
        except UnicodeEncodeError:
            raise Refused(
                f"{shown} cannot be encoded in {self._account.encoding.upper()}"
            ) from None

    def _name(self, raw: bytes) -> str:
        return raw.decode(self._account.encoding, "surrogateescape")

    # ------------------------------------------------------------------------ looking

    def files(self, directory: str, wanted: Callable[[str], bool]) -> list[Entry]:
        """The files of a folder; MLSD where the server has it, else NLST and a look at each."""
        offered = "MLST" in self._features or "MLSD" in self._features
        found = self._by_mlsd(directory, wanted) if offered else self._by_nlst(directory, wanted)
        return sorted(found, key=lambda entry: entry.name)

    def _by_mlsd(self, directory: str, wanted: Callable[[str], bool]) -> list[Entry]:
        found = []
        for line in self._listing("MLSD", directory):
            facts, space, raw = line.partition(b" ")
            if not space:
                continue
            name, told = self._name(raw), _facts(facts.decode(_BYTES))
            if told.get("type", "").lower() not in _FOLDERS and wanted(name):
                entry = self._of_facts(joined(directory, self._checked(name)), told)
                found += [entry] if entry else []
        return found

    def _by_nlst(self, directory: str, wanted: Callable[[str], bool]) -> list[Entry]:
        lines: list[bytes] = []
        with suppress(Absent):
            lines = self._listing("NLST", directory)
        if not lines:
            # Some servers say 550 of a folder that is empty, others nothing of one that is absent.
            self._enter(directory)
        found = []
        for line in lines:
            name = posixpath.basename(self._name(line))
            if name and name not in (".", "..") and wanted(name):
                path = joined(directory, self._checked(name))
                # A name with a line break can be told, not asked for.
                entry = Entry(name=name, path=path) if "\n" in name else self.stat(path)
                found += [entry] if entry else []
        return found

    def _enter(self, directory: str) -> None:
        """Go to a folder and back, for the error if it is none."""
        with self._told("changing to", directory or "."):
            home = self._ftp.pwd()
            self._ftp.cwd(self._word(directory) or ".")
            self._ftp.cwd(home)

    def _checked(self, name: str) -> str:
        return checked_name(name, self._account)

    def _listing(self, command: str, directory: str) -> list[bytes]:
        word = self._word(directory)
        with self._told("listing", directory or "."):
            connection = self._ftp.transfercmd(f"{command} {word}" if word else command)
            received = bytearray()
            for chunk in self._received(connection):
                received += chunk
                if len(received) > _LONGEST_LISTING:
                    raise ConnectorFailed(f'{self._account}: the list of "{directory}" never ends')
            self._ftp.voidresp()
        # A name may hold a bare line feed; only servers that never send CR LF end lines with it.
        lines = bytes(received).split(b"\r\n" if b"\r\n" in received else b"\n")
        return [line for line in lines if line]

    def stat(self, path: str) -> Entry | None:
        """A file's size and time by MLST, or else by SIZE and MDTM."""
        if "MLST" not in self._features:
            return self._by_size(path)
        try:
            with self._told("looking for", path):
                lines = self._ftp.sendcmd(f"MLST {self._word(path)}").splitlines()
        except Absent:
            return None
        return self._of_facts(
            path, _facts(lines[1].strip().partition(" ")[0]) if len(lines) > 1 else {}
        )

    def _of_facts(self, path: str, told: dict[str, str]) -> Entry | None:
        kind = told.get("type", "").lower()
        if kind in _FOLDERS:
            return None
        # A symbolic link; its own size and time say nothing of the file that it leads to.
        return self._by_size(path) if kind.startswith("os.") else self._entry(path, told)

    def _by_size(self, path: str) -> Entry | None:
        try:
            with self._told("looking for", path):
                word = self._word(path)
                facts = {"size": self._fact(f"SIZE {word}"), "modify": self._fact(f"MDTM {word}")}
                return self._entry(path, facts)
        except Absent:
            return None

    def _fact(self, command: str) -> str:
        """What a server answers; nothing if it does not know the command."""
        try:
            return self._ftp.sendcmd(command)[3:].strip()
        except ftplib.error_perm as error:
            if str(error).startswith(_UNKNOWN_COMMAND):
                return ""
            raise

    def _entry(self, path: str, facts: dict[str, str]) -> Entry:
        size, when = facts.get("size", ""), _TIME.match(facts.get("modify", ""))
        return Entry(
            name=posixpath.basename(path),
            path=path,
            size=int(size) if size.isascii() and size.isdigit() and len(size) < 20 else None,
            modified=_unix(when[1]) if when else None,
        )

    # ------------------------------------------------------------------------ carrying

    def read(self, path: str, offset: int) -> Iterator[bytes]:
        """What a file holds from `offset` on."""
        with self._told("reading", path):
            command = f"RETR {self._word(path)}"
            connection = self._ftp.transfercmd(command, rest=offset or None)
            yield from self._received(connection)
            self._ftp.voidresp()

    def _received(self, connection: socket.socket) -> Iterator[bytes]:
        with self._carrying(connection):
            while chunk := connection.recv(CHUNK):
                yield chunk
            _part(connection)

    def write(self, path: str, chunks: Iterable[bytes]) -> None:
        """Store a file."""
        with self._told("writing", path):
            connection = self._ftp.transfercmd(f"STOR {self._word(path)}")
            with self._carrying(connection):
                for chunk in chunks:
                    rest = memoryview(chunk)
                    while rest:  # not sendall: its time-out would be for the whole chunk
                        rest = rest[connection.send(rest) :]
                _part(connection)
            self._ftp.voidresp()

    @contextmanager
    def _carrying(self, connection: socket.socket) -> Iterator[None]:
        self._carrier = connection
        try:
            with connection:
                yield
        finally:
            self._carrier = None

    # ------------------------------------------------------------------------ changing

    def rename(self, source: str, target: str) -> None:
        """Rename; where a server refuses to overwrite, what is at the target is removed first."""
        try:
            self._rename(source, target)
        except (Absent, ConnectorFailed) as error:
            if error.retryable or self.stat(source) is None or self.stat(target) is None:
                raise
            self.delete(target)
            self._rename(source, target)

    def _rename(self, source: str, target: str) -> None:
        with self._told("renaming", source):
            self._ftp.rename(self._word(source), self._word(target))

    def delete(self, path: str) -> None:
        """Remove a file."""
        with self._told("deleting", path):
            self._ftp.delete(self._word(path))

    def make_folder(self, path: str) -> None:
        """Make a folder and those above it; one that is there is answered with an error."""
        parts = path.split("/")
        for length in range(1, len(parts) + 1):
            folder = "/".join(parts[:length])
            if folder:
                with suppress(Absent), self._told("making", folder):
                    self._ftp.mkd(self._word(folder))


def _made(account: Account) -> ftplib.FTP:
    if account.tls == "none":
        return _Plain(encoding=_BYTES)
    kind = _Implicit if account.tls == "implicit" else _Explicit
    return kind(context=account.fields.tls(), encoding=_BYTES)


def _facts(text: str) -> dict[str, str]:
    """The facts of an MLSD line, names in small letters."""
    pairs = (fact.partition("=") for fact in text.split(";"))
    return {name.lower(): value for name, equals, value in pairs if equals}


def _unix(digits: str) -> float | None:
    try:
        return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _part(connection: socket.socket) -> None:
    """End TLS on a data connection properly; a server that only hangs up is common."""
    if isinstance(connection, ssl.SSLSocket):
        connection.settimeout(_FAREWELL)
        with suppress(OSError, ValueError):
            connection.unwrap()
