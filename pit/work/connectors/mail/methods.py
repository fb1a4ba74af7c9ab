"""The method `send_mail`, by the standard library's smtplib.

Apprise, which serves `notify`, could send mail too, but it keeps what the server says to itself:
which recipients were refused and why, and whether trying again can help.
"""

from __future__ import annotations

from email.message import EmailMessage
from time import monotonic
from typing import Any

import msgspec

from pit.errors import ConnectorFailed
from pit.model import Record
from pit.work.connectors.attended import attended
from pit.work.connectors.fields import Fields
from pit.work.connectors.mail.letter import Letter, Several, composed
from pit.work.connectors.mail.server import FORM, Delivery, MailServer, mail_server
from pit.work.connectors.retry import NEVER, RETRIES, again
from pit.work.socket.call import Call, Method


class MailParams(Record):
    """A mail; lists may be one text, addresses parted by commas. `attachments` are files of the
    data folder; without `from` the secret's field `from`, or else its `user`, is the sender.
    """

    secret: str
    to: Several
    subject: str
    text: str = ""
    html: str = ""
    cc: Several = ""
    bcc: Several = ""
    reply_to: Several = ""
    attachments: Several = ""
    sender: str = msgspec.field(name="from", default="")
    retries: int = RETRIES


def send_mail(call: Call, params: MailParams) -> dict[str, Any]:
    """`message_id`, the addresses `accepted`, and those `refused` with the server's reason.

    Raises ConnectorFailed where nobody gets it. It is never sent twice: once the whole mail is
    with the server, a lost answer is told and not tried again.
    """
    fields = Fields(params.secret, call.secret(params.secret), FORM)
    server = mail_server(fields)
    sender = params.sender or fields.text("from") or server.user
    letter, message = composed(
        call,
        sender=sender,
        to=params.to,
        cc=params.cc,
        bcc=params.bcc,
        reply_to=params.reply_to,
        subject=params.subject,
        text=params.text,
        html=params.html,
        attachments=params.attachments,
    )
    return _sent(call, server, letter, message, params.retries)


def _sent(
    call: Call, server: MailServer, letter: Letter, message: EmailMessage, retries: int
) -> dict[str, Any]:
    refused = again(call, retries, str(server), lambda: _deliver(call, server, letter))
    for address, reason in refused.items():
        call.log(f"{server}: the recipient {address} was refused: {reason}")
    return {
        "message_id": str(message["Message-ID"]),
        "accepted": [address for address in letter.recipients if address not in refused],
        "refused": refused,
    }


def _deliver(call: Call, server: MailServer, letter: Letter) -> dict[str, str]:
    delivery = Delivery(server, letter)
    try:
        return attended(
            call,
            delivery.carry_out,
            stop=delivery.stop,
            drop=lambda _: None,
            until=monotonic() + NEVER,
            doing=str(server),
        )
    except ConnectorFailed as error:
        if delivery.handed_over and not delivery.answered:
            raise ConnectorFailed(
                f"{error}; whether the mail was sent is not known",
                "Ask a recipient before sending it again",
            ) from None
        raise


METHODS = {"send_mail": Method(params=MailParams, serve=send_mail, doc="Send a mail.")}
