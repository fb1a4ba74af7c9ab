"""A mail, composed: addresses checked, headers that nobody can break out of, files attached."""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Iterator
from email.errors import InvalidHeaderDefect, MessageError
from email.headerregistry import Address, AddressHeader
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8, EmailPolicy
from email.utils import localtime, make_msgid
from typing import Any

from pit.errors import Refused
from pit.model import Record
from pit.work.connectors.fields import clean
from pit.work.socket.call import Call
from pit.work.socket.files import reading

Several = str | list[str]

MOST_BYTES = 50 << 20
"""Attachments together; most servers take less, and a mail has to be in memory whole."""
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")
_LOCAL = re.compile(r"[^\s@<>(),;:\\\"\[\]]+")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_LONGEST_ADDRESS, _LONGEST_LOCAL, _LONGEST_LIST = 254, 64, 100_000


class Letter(Record):
    """A mail as it goes over the wire: the envelope's addresses, and what follows DATA.

    `utf8` says that an address has letters beyond ASCII before its @, which not every server takes.
    """

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    utf8: bool


def composed(
    call: Call,
    *,
    sender: str,
    to: Several,
    cc: Several,
    bcc: Several,
    reply_to: Several,
    subject: str,
    text: str,
    html: str,
    attachments: Several,
) -> tuple[Letter, EmailMessage]:
    """The letter, and the message in it; Refused says which param makes no mail."""
    (author,) = _addresses("from", sender, "from or the secret's field from") or (None,)
    receivers = {name: _addresses(name, given) for name, given in (("to", to), ("cc", cc))}
    hidden, answers = _addresses("bcc", bcc), _addresses("reply_to", reply_to)
    everybody = [*receivers["to"], *receivers["cc"], *hidden]
    if author is None or not everybody:
        raise Refused("send_mail needs somebody to send to", "Name addresses in to, cc or bcc")
    if not text and not html:
        raise Refused("send_mail needs something to send", "Give text or html, or both")
    utf8 = any(not each.addr_spec.isascii() for each in (author, *everybody, *answers))
    message = EmailMessage(_policy(utf8))
    message["From"] = author
    for header, addresses in (("To", receivers["to"]), ("Cc", receivers["cc"])):
        if addresses:
            message[header] = addresses
    if answers:
        message["Reply-To"] = answers
    message["Subject"] = _one_line("subject", subject)
    message["Date"] = localtime()
    message["Message-ID"] = make_msgid(domain=author.domain)
    # So that nobody's absence note answers it.
    message["Auto-Submitted"] = "auto-generated"
    _fill(message, text, html)
    _attach(call, message, attachments)
    recipients = tuple(dict.fromkeys(each.addr_spec for each in everybody))
    return Letter(
        sender=author.addr_spec, recipients=recipients, content=_bytes(message), utf8=utf8
    ), message


def _policy(utf8: bool) -> EmailPolicy[EmailMessage]:
    # 7 bits go through every server.
    return (SMTPUTF8 if utf8 else SMTP).clone(cte_type="7bit")


def _bytes(message: EmailMessage) -> bytes:
    try:
        return message.as_bytes()
    except (MessageError, UnicodeError, ValueError) as error:
        raise Refused(f"this cannot be made into a mail: {error}") from None


def _fill(message: EmailMessage, text: str, html: str) -> None:
    try:
        if text:
            message.set_content(text)
        if html and text:
            message.add_alternative(html, subtype="html")
        elif html:
            message.set_content(html, subtype="html")
    except UnicodeEncodeError:
        raise Refused("text or html holds half a character (a lone surrogate)") from None


def _attach(call: Call, message: EmailMessage, attachments: Several) -> None:
    left = MOST_BYTES
    for name in [attachments] if isinstance(attachments, str) and attachments else attachments:
        path = call.path(name, exists=True)
        if path.is_dir():
            raise Refused(f'"{name}" is a folder; only files can be attached')
        with reading(call.caller.data, path) as file:
            content = file.read(left + 1)
        left -= len(content)
        if left < 0:
            raise Refused(
                f"attachments of more than {MOST_BYTES >> 20} MB cannot be sent by mail",
                "Put the file where it can be fetched, and send the address",
            )
        main, _, sub = _media_type(path.name).partition("/")
        message.add_attachment(
            content, maintype=main, subtype=sub, filename=_one_line("attachment", path.name)
        )


def _media_type(name: str) -> str:
    guessed, encoding = mimetypes.guess_type(os.path.basename(name))
    return guessed if guessed and not encoding else "application/octet-stream"


# ---------------------------------------------------------------- addresses


def _addresses(param: str, given: Several, wanted: str = "") -> list[Address]:
    texts = [given] if isinstance(given, str) else given
    found = [each for text in texts if text.strip() for each in _parsed(param, text)]
    if wanted and len(found) != 1:
        raise Refused(f"send_mail needs one sender, in {wanted}; there are {len(found)}")
    return [_checked(param, each) for each in found]


def _parsed(param: str, text: str) -> Iterator[Address]:
    """The addresses in `A <a@example.com>, b@example.com`."""
    told: dict[str, Any] = {"defects": []}
    try:
        AddressHeader.parse(_one_line(param, text[:_LONGEST_LIST]), told)
        wrong = any(isinstance(defect, InvalidHeaderDefect) for defect in told["defects"])
    except (MessageError, ValueError, LookupError, AttributeError, RecursionError):
        wrong = True
    if wrong or len(text) > _LONGEST_LIST:
        raise Refused(f'{param}: "{clean(text)}" is not an address', "Write name@example.com")
    for group in told["groups"]:
        yield from group.addresses


def _checked(param: str, address: Address) -> Address:
    """An address that can be one, its domain in the ASCII form that servers look up."""
    local, domain, shown = address.username, address.domain, address.addr_spec
    _one_line(param, address.display_name)
    try:
        host = domain.encode("idna").decode() if domain else ""
    except UnicodeError:
        host = ""
    is_domain = all(_LABEL.fullmatch(label) for label in host.split(".")) if host else False
    fits = len(local.encode(errors="replace")) <= _LONGEST_LOCAL and len(shown) <= _LONGEST_ADDRESS
    if not (is_domain and fits and _LOCAL.fullmatch(local)) or ".." in f".{local}.":
        raise Refused(f'{param}: "{shown}" is not an address', "Write name@example.com")
    return Address(display_name=address.display_name, username=local, domain=host)


def _one_line(param: str, text: str) -> str:
    """A text for a header; a line break in it would begin another header."""
    if _CONTROL.search(text):
        raise Refused(f"{param} contains a line break or another control character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Refused(f"{param} holds half a character (a lone surrogate)") from None
    return text
