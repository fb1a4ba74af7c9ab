"""URLs, read once and by the parser of the library that opens them.

Were a URL checked by one parser and opened by another, a text that the two read differently could
send a secret to the wrong host.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urljoin

from pit.errors import Refused
from pit.model import Record
from pit.work.connectors.fields import is_loopback

Origin = tuple[str, str, int]
"""Scheme, host and port."""

PORTS = {"http": 80, "https": 443}
_ODD = re.compile(r"[\x00-\x20\x7f\\]")


def shown(origin: Origin) -> str:
    """An origin for people: the port only where it is not the scheme's own."""
    scheme, host, port = origin
    place = host if PORTS.get(scheme or "https") == port else f"{host}:{port}"
    return f"{scheme}://{place}" if scheme else place


def is_local(host: str) -> bool:
    """Whether a host is this very machine by its name: what goes there meets no network."""
    return host == "localhost" or is_loopback(host.strip("[]"))


class Address(Record):
    """An http or https URL, taken apart; `path` is never empty, `query` has no question mark."""

    origin: Origin
    path: str
    query: str = ""

    @property
    def target(self) -> str:
        """What stands in the request line."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def url(self) -> str:
        """The whole URL."""
        return f"{shown(self.origin)}{self.target}"

    @property
    def shown(self) -> str:
        """The URL without its query, for people and logs."""
        return f"{shown(self.origin)}{self.path}"

    def asking(self, query: Mapping[str, Any]) -> Address:
        """The same with more query parameters; a list gives one for each value, None gives none."""
        pairs = [
            (name, _text(value))
            for name, given in query.items()
            for value in (given if isinstance(given, list) else [given])
            if value is not None
        ]
        if not pairs:
            return self
        joined = "&".join(part for part in (self.query, urlencode(pairs)) if part)
        return Address(origin=self.origin, path=self.path, query=joined)

    def follow(self, location: str) -> Address:
        """Where a redirect from here leads."""
        return address(urljoin(self.url, location.strip()), "a redirect")


def address(url: str, what: str = "url") -> Address:
    """A URL taken apart; Refused for what is no plain http or https URL."""
    from urllib3.exceptions import LocationParseError
    from urllib3.util import parse_url

    if _ODD.search(url):
        raise Refused(f"{what} holds a space, a backslash or a control character")
    try:
        parsed = parse_url(url)
    except LocationParseError:
        raise Refused(f"{what} is not a URL") from None
    if parsed.scheme not in PORTS or not parsed.host:
        raise Refused(f"{what} must begin with http:// or https:// and name a host")
    if parsed.auth is not None:
        raise Refused(
            f"{what} holds a user name or password", "Put them into a secret: secret = NAME"
        )
    origin = (parsed.scheme, parsed.host.lower(), parsed.port or PORTS[parsed.scheme])
    return Address(origin=origin, path=parsed.path or "/", query=parsed.query or "")


def joined(base: str, url: str) -> str:
    """A URL relative to the base that a secret names; as it is where it is absolute."""
    if not base or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", url):
        return url
    return f"{base.rstrip('/')}/{url.lstrip('/')}" if url else base


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping | Sequence) and not isinstance(value, str):
        raise Refused("a value of query is neither text nor a number")
    return str(value)
