"""Addresses of database servers: the part of a URL behind `scheme://`, taken apart.

    user:password@host:port/database?option=value

Each part may be percent-encoded. A password with a raw `@`, `/`, `#` or `:` is understood all the
same; one with a raw `?` or `%` is not. Errors never repeat any part of the text, since a mistake in
a URL easily makes a piece of the password look like a port.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote

from msgspec import field

from pit.errors import InvalidConnection
from pit.model import Record

ENCODE = "Percent-encode what is not a letter or digit in user and password, as in p%40ss for p@ss"


class Address(Record, frozen=True):
    """A server's address; empty parts were not given. Several hosts come comma-separated."""

    host: str = ""
    port: str = ""
    user: str = ""
    password: str = ""
    path: str = ""
    options: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Address({self.host})"


def parse_address(text: str) -> Address:
    """The address in the text behind `scheme://`; raises InvalidConnection."""
    head, _, query = text.partition("?")
    login, _, rest = head.rpartition("@")
    place, _, path = rest.partition("/")
    user, _, password = login.partition(":")
    hosts, ports = _hosts(place)
    return Address(
        host=hosts,
        port=ports,
        user=unquote(user),
        password=unquote(password),
        path=unquote(path),
        options=parse_options(query),
    )


def parse_options(query: str) -> dict[str, str]:
    """The options behind the `?`, their names in lower case; `+` is a plus, not a space."""
    pairs = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)
    return {name.lower(): value for name, value in pairs}


def _hosts(place: str) -> tuple[str, str]:
    """Hosts and ports, each comma-separated where there are several; `h,1433` is SQL Server's."""
    if place.startswith("[tcp:") and place.endswith("]"):
        place = place[1:-1]  # brackets that a colon has earned it
    hosts: list[str] = []
    ports: list[str] = []
    for one in place.removeprefix("tcp:").split(","):
        if one.isdecimal() and len(hosts) == 1 and not ports[0]:
            ports[0] = _port(one)
            continue
        host, port = _host(one)
        hosts.append(host)
        ports.append(port)
    return ",".join(hosts), ",".join(ports) if any(ports) else ""


def _host(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise InvalidConnection("the connection's host has a bracket out of place", ENCODE)
        return unquote(host), _port(rest[1:])
    host, _, port = text.rpartition(":") if ":" in text else (text, "", "")
    return unquote(host), _port(port)


def _port(text: str) -> str:
    numbers = unquote(text).split(",")
    for number in numbers if text else ():
        if not (number.isascii() and number.isdecimal() and 0 < int(number) < 65536):
            raise InvalidConnection("the connection's port is not a number up to 65535", ENCODE)
    return ",".join(numbers)
