"""A mail server as a secret describes it, and one delivery to it."""

from __future__ import annotations

import base64
import re
import smtplib
import socket
import ssl
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from pit.errors import ConnectorFailed, Refused
from pit.model import Record
from pit.work.connectors.fields import Fields, is_loopback, reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pit.work.connectors.mail.letter import Letter

FORM = 'Such as: [global.mail], host = "…", user = "…", password = "…", from = "…"'
_SECURITY = ("starttls", "tls", "none")
_TLS_PORT, _RELAY_PORT, _SUBMISSION_PORT = 465, 25, 587
_SILENCE = 30.0
_LINE_END, _DOT = re.compile(rb"\r\n|\r|\n"), re.compile(rb"^\.", re.MULTILINE)
_SHUTTING_DOWN = 421
_LONGEST_REPLY = 1 << 20


class MailServer(Record):
    """Where mail is handed in and how: a secret, understood."""

    fields: Fields
    host: str
    port: int
    security: str
    user: str
    password: str
    silence: float

    def __repr__(self) -> str:
        return f"MailServer({self})"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def mail_server(fields: Fields) -> MailServer:
    """The server that a secret describes; raises Refused."""
    user, security = fields.text("user"), fields.choice("security", _SECURITY)
    port = fields.port() or {"tls": _TLS_PORT, "none": _RELAY_PORT}.get(security, _SUBMISSION_PORT)
    if not security:
        relay = "none" if port == _RELAY_PORT and not user else "starttls"
        security = "tls" if port == _TLS_PORT else relay
    return MailServer(
        fields=fields,
        host=fields.need("host"),
        port=port,
        security=security,
        user=user,
        password=fields.need("password") if user else "",
        silence=max(0.1, fields.seconds("timeout", _SILENCE)),
    )


class _Reply:
    """What a server answers, line by line; OSError once it never ends."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._heard = 0
        self.close = file.close

    def begin(self) -> None:
        """A new answer is awaited."""
        self._heard = 0

    def readline(self, limit: int) -> bytes:
        """The next line, as of a file."""
        line = self._file.readline(limit)
        self._heard += len(line)
        if self._heard > _LONGEST_REPLY:
            raise OSError("the server's answer never ends")
        return line


class _Plain(smtplib.SMTP):
    """SMTP whose answers end: smtplib would keep all lines of one that does not."""

    def getreply(self) -> tuple[int, bytes]:
        """The code and text of an answer."""
        if self.file is None and self.sock is not None:
            self.file = _Reply(self.sock.makefile("rb"))
        if isinstance(self.file, _Reply):
            self.file.begin()
        return super().getreply()


class _Private(_Plain, smtplib.SMTP_SSL):
    """The same over TLS from the first byte."""


class Delivery:
    """One try to hand a letter in.

    `handed_over`: the end of the mail was sent, so it may be under way; `answered`: the server
    has said whether it took it.
    """

    def __init__(self, server: MailServer, letter: Letter) -> None:
        self._server, self._letter = server, letter
        self._smtp: smtplib.SMTP | None = None
        self._over = False
        self.handed_over = False
        self.answered = False

    def stop(self) -> None:
        """Shut the connection down under the thread that carries the letter."""
        self._over = True
        connection = self._smtp.sock if self._smtp else None
        with suppress(OSError):
            if connection is not None:
                # Of the socket below TLS: TLS itself would wait for the server.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def carry_out(self) -> dict[str, str]:
        """The recipients that the server refused, with its reasons; at least one was accepted."""
        with self._told("connecting"):
            smtp = self._smtp = self._connected()
        try:
            self._log_in(smtp)
            refused = self._address(smtp)
            self._send(smtp)
        finally:
            smtp.close()
        return refused

    def _connected(self) -> smtplib.SMTP:
        server = self._server
        if server.security == "tls":
            context = server.fields.tls()
            return _Private(server.host, server.port, timeout=server.silence, context=context)
        return _Plain(server.host, server.port, timeout=server.silence)

    def _log_in(self, smtp: smtplib.SMTP) -> None:
        server = self._server
        with self._told("greeting"):
            smtp.ehlo_or_helo_if_needed()
            if server.security == "starttls":
                if not smtp.has_extn("starttls"):
                    raise ConnectorFailed(
                        f"{server}: the server does not offer STARTTLS",
                        f'If this is meant, set security = "none" in secret "{server.fields.key}"',
                    )
                smtp.starttls(context=server.fields.tls())
                smtp.ehlo()
        if server.user:
            self._check_privacy(smtp)
            with self._told(f'logging in as "{server.user}"'):
                _authenticate(smtp, server)

    def _check_privacy(self, smtp: smtplib.SMTP) -> None:
        """Refuses to say a password where others could hear it."""
        server, connection = self._server, smtp.sock
        if server.security != "none" or server.fields.flag("insecure_login", False):
            return
        if connection is None or not is_loopback(str(connection.getpeername()[0])):
            raise Refused(
                f"{server}: the password would travel unencrypted",
                f'Set security = "starttls" or "tls" in secret "{server.fields.key}", '
                'or insecure_login = "true" if that is meant',
            )

    def _address(self, smtp: smtplib.SMTP) -> dict[str, str]:
        letter, server = self._letter, self._server
        options = []
        if letter.utf8:
            if not smtp.has_extn("smtputf8"):
                raise ConnectorFailed(
                    f"{server}: the server does not accept addresses with non-ASCII letters"
                )
            options = ["SMTPUTF8", "BODY=8BITMIME"]
        if smtp.has_extn("size"):
            self._check_size(smtp.esmtp_features["size"])
            options.append(f"SIZE={len(letter.content)}")
        with self._told(f'naming the sender "{letter.sender}"'):
            _expect(smtp.mail(letter.sender, options), 250)
        refused, worst = {}, 0
        for recipient in letter.recipients:
            with self._told("naming the recipients"):
                code, said = smtp.rcpt(recipient)
                if code == _SHUTTING_DOWN:
                    raise smtplib.SMTPResponseException(code, said)
            if code not in (250, 251, 252):
                refused[recipient] = self._said(code, said)
                worst = max(worst, code)
        if len(refused) == len(letter.recipients):
            reasons = "; ".join(f"{address}: {reason}" for address, reason in refused.items())
            raise ConnectorFailed(
                f"{server}: every recipient was refused: {reasons}", retryable=worst < 500
            )
        return refused

    def _check_size(self, limit: str) -> None:
        size = len(self._letter.content)
        if limit.isdigit() and 0 < int(limit) < size:
            raise ConnectorFailed(
                f"{self._server}: the mail has {size:,} bytes, the server takes {int(limit):,}",
                "Put the file where it can be fetched, and send the address",
            )

    def _send(self, smtp: smtplib.SMTP) -> None:
        with self._told("handing the mail over"):
            _expect(smtp.docmd("DATA"), 354)
            if self._over:
                raise EOFError
            smtp.send(_on_the_wire(self._letter.content))
            self.handed_over = True
            smtp.send(b".\r\n")
            reply = smtp.getreply()
            self.answered = True
            _expect(reply, 250)
        with suppress(OSError, smtplib.SMTPException):
            smtp.quit()

    # ------------------------------------------------------------------------ what goes wrong

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """Turns what smtplib raises into this connector's errors."""
        where, server = f"{self._server}: {doing}", self._server
        try:
            yield
        except smtplib.SMTPNotSupportedError:
            raise ConnectorFailed(
                f"{where}: the server offers no way to log in",
                f'Without user in secret "{server.fields.key}", Pit does not log in',
            ) from None
        except smtplib.SMTPResponseException as error:
            said = self._said(error.smtp_code, error.smtp_error)
            raise ConnectorFailed(f"{where}: {said}", retryable=error.smtp_code < 500) from None
        except ssl.SSLCertVerificationError as error:
            raise ConnectorFailed(
                f"{where}: the server's certificate is not to be trusted: {error.verify_message}",
                f'Put its authority into field "ca" of secret "{server.fields.key}"',
            ) from None
        except (smtplib.SMTPException, EOFError, TimeoutError) as error:
            said = server.fields.hide(str(error)).lower() or "the connection is gone"
            if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
                said = f"the server was silent for {server.silence:g} seconds"
            raise ConnectorFailed(f"{where}: {said}", retryable=True) from None
        except OSError as error:
            raise ConnectorFailed(f"{where}: {reason(error)}", retryable=True) from None

    def _said(self, code: int, text: bytes | str) -> str:
        said = text.decode(errors="replace") if isinstance(text, bytes) else text
        return self._server.fields.hide(f"{code} {said}")


def _on_the_wire(content: bytes) -> bytes:
    """Lines end with CR LF, and none is the lone dot that would end the mail."""
    lines = _DOT.sub(b"..", _LINE_END.sub(b"\r\n", content))
    return lines if lines.endswith(b"\r\n") else lines + b"\r\n"


def _expect(reply: tuple[int, bytes], code: int) -> None:
    if reply[0] != code:
        raise smtplib.SMTPResponseException(*reply)


def _authenticate(smtp: smtplib.SMTP, server: MailServer) -> None:
    """Log in; smtplib alone cannot say a password with letters beyond ASCII."""
    if server.user.isascii() and server.password.isascii():
        smtp.login(server.user, server.password)
        return
    if "PLAIN" not in smtp.esmtp_features.get("auth", "").upper().split():
        raise Refused(
            f"{server}: user or password has non-ASCII letters, which this server does not accept"
        )
    words = base64.b64encode(f"\0{server.user}\0{server.password}".encode()).decode()
    _expect(smtp.docmd("AUTH", f"PLAIN {words}"), 235)
