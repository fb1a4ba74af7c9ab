"""The fields of a structured secret, read one by one; no error shows a value."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Iterable
from typing import NoReturn

from pit.errors import Refused, nearest
from pit.text import durations
from pit.work.masking import Masks
from pit.work.socket.call import Secret

_CONFIDENTIAL = ("password", "passphrase", "private_key")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\s]+")
_LONGEST_ANSWER = 400
_YES = frozenset({"true", "yes", "on", "1"})
_NO = frozenset({"false", "no", "off", "0", ""})


class Fields:
    """One structured secret; `key` is its name, the only thing of it that errors show.

    Fields that no connector asks for are left alone: a secret may serve others as well.
    """

    __slots__ = ("_fields", "key")

    def __init__(self, key: str, secret: Secret, form: str) -> None:
        """`form` tells people what the secret should look like. Raises Refused for a plain one."""
        if isinstance(secret, str):
            raise Refused(f'secret "{key}" is a plain value; this needs fields', form)
        self.key = key
        self._fields = secret

    def __repr__(self) -> str:
        return f"Fields({self.key!r})"

    def text(self, name: str, default: str = "") -> str:
        """A field, or `default` where it is absent or empty."""
        return self._fields.get(name, "") or default

    def need(self, name: str) -> str:
        """A field that must be there."""
        value = self.text(name)
        if not value:
            near = nearest(name, [each for each in self._fields if each != name])
            raise Refused(
                f'secret "{self.key}" has no field "{name}"',
                f'Rename its field "{near}"' if near else f'Add {name} = "…" to it',
            )
        return value

    def flag(self, name: str, default: bool) -> bool:
        """A field that is yes or no."""
        value = self._fields.get(name)
        if value is None:
            return default
        if value.strip().lower() in _YES | _NO:
            return value.strip().lower() in _YES
        return self.wrong(name, 'it is neither "true" nor "false"')

    def choice(self, name: str, choices: Iterable[str]) -> str:
        """A field that is one of `choices`, in small letters; "" where it is absent."""
        value, known = self.text(name).strip().lower(), tuple(choices)
        if value and value not in known:
            self.wrong(name, f"it is not one of {', '.join(known)}")
        return value

    def port(self) -> int | None:
        """The field `port`; None where it is absent."""
        text = self.text("port").strip()
        if not text:
            return None
        if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
            self.wrong("port", "it is not a number from 1 to 65535")
        return int(text)

    def seconds(self, name: str, default: float) -> float:
        """A field that is a duration, in seconds."""
        text = self.text(name)
        return seconds(text, f'field "{name}" of secret "{self.key}"') if text else default

    def wrong(self, name: str, why: str) -> NoReturn:
        """Raise for a field with a value that makes no sense."""
        raise Refused(f'secret "{self.key}": field "{name}" is wrong: {why}')

    def tls(self) -> ssl.SSLContext:
        """How to talk TLS: `ca` adds an authority, `verify = "false"` believes everybody."""
        try:
            return trusting(self.text("ca"), verify=self.flag("verify", True))
        except (OSError, ValueError):
            self.wrong("ca", "it is neither a certificate in PEM nor the path of a file with one")

    def hide(self, text: str) -> str:
        """What a server said, on one line, bounded, without what is confidential here."""
        values, masks = [self.text(name) for name in _CONFIDENTIAL], Masks()
        for value in values:
            masks.add(value)  # in every form: servers send back what they got, in base64 too
        text = masks.hide(text)
        for value in values:
            if len(value) >= 3:
                text = text.replace(value, "***")
        return clean(text)


def trusting(ca: str, *, verify: bool) -> ssl.SSLContext:
    """How to talk TLS: `ca` (PEM text, or the path of a file) is trusted besides the system's.

    Raises OSError or ValueError for a `ca` that is neither.
    """
    context = ssl.create_default_context()
    # Python heeds SSLKEYLOGFILE: with these keys, whoever sees the packets reads the passwords.
    context.keylog_filename = None  # type: ignore[assignment]
    if "-----BEGIN" in ca:
        context.load_verify_locations(cadata=ca)
    elif ca:
        context.load_verify_locations(cafile=os.path.expanduser(ca))
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def one_line(text: str) -> str:
    """A text on one line, without control characters."""
    return _UNPRINTABLE.sub(" ", text).strip()


def clean(text: str) -> str:
    """What another side said, for an error: on one line, without control characters, bounded."""
    text = one_line(text)
    return text if len(text) <= _LONGEST_ANSWER else f"{text[:_LONGEST_ANSWER]}…"


def reason(error: OSError) -> str:
    """What the system says about a failure, without the address that Python may add to it."""
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno).lower()
    return clean(error.strerror or str(error)).lower() or type(error).__name__


def seconds(value: str | float, what: str) -> float:
    """A duration in seconds: "30s", 30, or "30" as a shell says it; Refused names `what`."""
    try:
        found = float(value)
    except ValueError:
        try:
            return durations.parse(str(value))
        except ValueError as error:
            raise Refused(f"{what}: {error}") from None
    if not 0 <= found <= durations.LONGEST:
        raise Refused(f"{what}: {value} is not a number of seconds")
    return found


def positive(value: str | float, what: str) -> float:
    """A duration above zero, in seconds; Refused names `what`."""
    found = seconds(value, what)
    if not found > 0:
        raise Refused(f"{what} must be greater than zero")
    return found


def is_loopback(host: str) -> bool:
    """Whether an address, as a socket tells it, is this machine's own."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
