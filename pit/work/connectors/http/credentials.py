"""What a secret says about HTTP: which credentials, in which form, and who may be shown them.

A plain secret is a bearer token, unless `auth` says otherwise. The fields of a structured one:

| field | meaning |
|---|---|
| `endpoint` or `url` | its origin is the only place for the secret; the base of relative URLs |
| `host`, `port` | the same without a base; several hosts are parted by commas |
| `token` | a bearer token |
| `user`, `password` | basic authentication |
| `header`, `value` | a header of that name |
| `query`, `value` | a query parameter of that name |
| `auth` | the form, as the parameter `auth` names it |
| `ca` | certificates to trust besides the system's: PEM text, or the path of a file |
| `verify` | "false": certificates are not checked |
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from urllib.parse import unquote_plus

import msgspec

from pit.errors import Refused
from pit.model import Record
from pit.work.connectors.fields import Fields
from pit.work.connectors.http.address import Origin, address, is_local, shown
from pit.work.masking import Masks
from pit.work.socket.call import Secret

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What the name of a header or of a method is made of."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HOST = re.compile(r"[^/?#@]+")
_CARRIED = ("token", "value", "password")
_PITS = frozenset(
    (
        *("connection", "content-length", "expect", "keep-alive"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    )
)


def is_pits(header: str) -> bool:
    """Whether a header says how the message travels, which is for Pit alone to say."""
    return header.lower() in _PITS or header.lower().startswith("proxy-")


class Credentials(Record):
    """What to add to a request, and where that may be sent.

    `origins` holds (scheme, host, port) with "" for a scheme that the secret does not name; None
    stands for anywhere. `masks` knows what must not come back to anybody.
    """

    key: str
    masks: Masks
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    query: dict[str, str] = msgspec.field(default_factory=dict)
    origins: tuple[Origin, ...] | None = None
    base: str = ""
    ca: str = ""
    verify: bool = True

    def __repr__(self) -> str:
        return f"Credentials({self.key!r})"

    def check(self, origin: Origin) -> None:
        """Refused unless the credentials may be sent to this origin."""
        scheme, host, port = origin
        if self.origins is not None and not any(
            (known_scheme or scheme, known_host, known_port) == origin
            for known_scheme, known_host, known_port in self.origins
        ):
            raise Refused(
                f'secret "{self.key}" does not belong to {shown(origin)}',
                f"It belongs to {', '.join(shown(known) for known in self.origins)}",
            )
        named = self.origins is not None and origin in self.origins
        if scheme != "https" and not named and not is_local(host):
            raise Refused(
                f'secret "{self.key}" would travel unencrypted to {shown(origin)}',
                f'Use https, or give the secret the field endpoint = "{scheme}://{host}:{port}"',
            )

    def betrayed(self, url: str) -> bool:
        """Whether a URL holds the secret, in any spelling."""
        return self.masks.reveals(url) or self.masks.reveals(unquote_plus(url))

    def hide(self, text: str) -> str:
        """The text without the secret, also where it stands quoted, escaped or in base64."""
        return self.masks.hide(text)


def of(key: str, secret: Secret, auth: str | None) -> Credentials:
    """The credentials that a secret holds, in the form that `auth` or the secret names."""
    fields = {"token": secret.strip()} if isinstance(secret, str) else dict(secret)
    form = auth or fields.get("auth") or _form(key, fields)
    headers, query = _placed(key, secret, fields, form)
    for text in (*headers.values(), *query.values()):
        if _CONTROL.search(text):
            raise Refused(f'secret "{key}" holds a line break or another control character')
    return Credentials(
        key=key,
        masks=_masks(fields, headers),
        headers=headers,
        query=query,
        origins=_origins(key, fields),
        base=_base(fields),
        ca=fields.get("ca", ""),
        verify=Fields(key, fields, "").flag("verify", True),
    )


def _form(key: str, fields: Mapping[str, str]) -> str:
    if fields.get("header"):
        return f"header:{fields['header']}"
    if fields.get("query"):
        return f"query:{fields['query']}"
    if fields.get("token"):
        return "bearer"
    if fields.get("user"):
        return "basic"
    raise Refused(
        f'secret "{key}" holds no credentials for HTTP',
        "It needs token, or user and password, or header and value, or query and value",
    )


def _placed(
    key: str, secret: Secret, fields: Mapping[str, str], form: str
) -> tuple[dict[str, str], dict[str, str]]:
    """The headers and query parameters that carry the secret."""
    kind, _, name = form.partition(":")
    if kind == "basic" and not name:
        pair = _pair(key, secret, fields)
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}, {}
    value = next((fields[field] for field in _CARRIED if fields.get(field)), "")
    if not value:
        raise Refused(f'secret "{key}" has no "token" or "value" to send')
    if kind == "bearer" and not name:
        return {"Authorization": f"Bearer {value}"}, {}
    if kind == "header" and (is_pits(name) or name.lower() == "host"):
        raise Refused(f"a secret cannot be sent as the header {name}", "It is set by Pit alone")
    if kind == "header" and TOKEN.fullmatch(name):
        return {name: value}, {}
    if kind == "query" and name:
        return {}, {name: value}
    raise Refused(
        f'"{form}" is not a form of authentication',
        'Use "bearer", "basic", "header:NAME", "query:NAME"',
    )


def _pair(key: str, secret: Secret, fields: Mapping[str, str]) -> str:
    if isinstance(secret, str):
        if ":" not in secret:
            raise Refused(f'secret "{key}" is not "user:password", as basic authentication needs')
        return secret.strip()
    if ":" in fields.get("user", ""):
        raise Refused(
            f'secret "{key}": a user name with a colon does not go with basic authentication'
        )
    return f"{fields.get('user', '')}:{fields.get('password', '')}"


def _origins(key: str, fields: Mapping[str, str]) -> tuple[Origin, ...] | None:
    found: list[Origin] = []
    if base := _base(fields):
        found.append(address(base, f'the URL of secret "{key}"').origin)
    default = fields.get("port", "")
    for place in fields.get("host", "").lower().split(","):
        if place.strip():
            found.append(_place(key, place.strip(), default))
    return tuple(found) or None


def _base(fields: Mapping[str, str]) -> str:
    return fields.get("endpoint") or fields.get("url", "")


def _place(key: str, place: str, default: str) -> Origin:
    """The origin that `host`, `host:port` or an IPv6 address means, spelled as in a URL."""
    if place.count(":") > 1 and not place.startswith("["):
        place = f"[{place}]"
    host, colon, port = place.rpartition(":")
    if not colon or place.endswith("]"):
        host, port = place, default or "443"
    if not port.isdigit() or not _HOST.fullmatch(host):
        raise Refused(f'secret "{key}": its field "host" is not a host or host:port')
    _, host, number = address(f"https://{host}:{port}", f'the host of secret "{key}"').origin
    return "", host, number


def _masks(fields: Mapping[str, str], headers: Mapping[str, str]) -> Masks:
    masks = Masks()
    for field in _CARRIED:
        masks.add(fields.get(field, ""))
    for header in headers.values():
        masks.add(header.rpartition(" ")[2])
    masks.add(fields.get("token", "").partition(":")[2])  # the password of a plain user:password
    return masks
