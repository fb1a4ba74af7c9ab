"""A mail server on loopback, by aiosmtpd: STARTTLS, TLS or neither, with or without a login."""

from __future__ import annotations

import logging
import ssl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.servers.certificate import Certified
from tests.servers.loop import running

USER, PASSWORD = "mallory@example.com", "correct horse: bättery"


class Letter:
    """One mail as it came: the envelope, the bytes, and the message in them."""

    def __init__(self, envelope: Envelope) -> None:
        assert isinstance(envelope.content, bytes)
        self.sender, self.recipients = envelope.mail_from, list(envelope.rcpt_tos)
        self.raw = envelope.content
        message = message_from_bytes(self.raw, policy=default)
        assert isinstance(message, EmailMessage)
        self.message = message


class Post:
    """A running server: `letters` that came, and what it answers.

    `refuse` maps a recipient to the reply that it gets; `replies` are given to the next mails
    instead of taking them, "hang up" after taking one closes the connection without an answer.
    """

    host = "127.0.0.1"

    def __init__(self) -> None:
        self.port = 0
        self.letters: list[Letter] = []
        self.refuse: dict[str, str] = {}
        self.replies: list[str] = []
        self.logins: list[str] = []
        self.server: Any = None

    def secret(self, **more: str) -> dict[str, str]:
        """The fields of a secret without a login."""
        where = {"host": self.host, "port": str(self.port), "from": "Pit <pit@example.com>"}
        return where | {"timeout": "20s"} | more

    def login(self, **more: str) -> dict[str, str]:
        """The fields of a secret with a login."""
        return self.secret(user=USER, password=PASSWORD) | more

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        reply = self.replies.pop(0) if self.replies else ""
        if reply and reply != "hang up":
            return reply
        self.letters.append(Letter(envelope))
        if reply:
            assert server.transport is not None
            server.transport.abort()
        return "250 taken"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append(mechanism)
        given = (data.login.decode(), data.password.decode())
        return AuthResult(success=given == (USER, PASSWORD), handled=False)


def _quietly(*args: Any, **options: Any) -> SMTP:
    with warnings.catch_warnings():
        # That a login without TLS is no good idea.
        warnings.simplefilter("ignore")
        return SMTP(*args, **options)


@contextmanager
def serving(
    certified: Certified | None = None,
    *,
    implicit: bool = False,
    login: bool = False,
    limit: int = 32 << 20,
    utf8: bool = True,
) -> Iterator[Post]:
    """A server; with a certificate it offers STARTTLS, or speaks TLS from the start."""
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)
    post = Post()
    context = None
    if certified is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certified.files)

    with running() as loop:

        async def listen() -> Any:
            import asyncio

            def conversation() -> SMTP:
                return _quietly(
                    post,
                    hostname="localhost",
                    enable_SMTPUTF8=utf8,
                    tls_context=None if implicit else context,
                    authenticator=post.authenticate if login else None,
                    auth_required=login,
                    # Without a login it is to offer none, which it does where TLS is lacking.
                    auth_require_tls=not login or (context is not None and not implicit),
                    data_size_limit=limit,
                    loop=asyncio.get_running_loop(),
                )

            return await asyncio.get_running_loop().create_server(
                conversation, post.host, 0, ssl=context if implicit else None
            )

        server = loop.run(listen())
        post.port = server.sockets[0].getsockname()[1]
        try:
            yield post
        finally:

            async def close() -> None:
                server.close()

            loop.run(close())
