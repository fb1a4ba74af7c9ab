"""What a request will be, before anything of it is sent: params in, a plan out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from pit.errors import Refused
from pit.model import Record
from pit.work.connectors.fields import positive
from pit.work.connectors.http import body as bodies
from pit.work.connectors.http import credentials as forms
from pit.work.connectors.http.address import address, joined
from pit.work.connectors.http.answer import Wanted
from pit.work.connectors.http.body import Body, Enclosed
from pit.work.connectors.http.client import Trust
from pit.work.connectors.http.coding import accepted
from pit.work.connectors.http.credentials import TOKEN, Credentials
from pit.work.connectors.http.hops import Hop
from pit.work.connectors.landing import destination
from pit.work.socket.call import Call
from pit.work.socket.files import reading

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))
_CERTIFICATES = 1 << 20
"""Bytes that are read of a file of certificates."""
_BODIES = ("json", "body", "file", "form", "files")


class HttpRequest(Record):
    """The params of `http_request`; docs/connectors.md explains each."""

    url: str = ""
    method: str = "GET"
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    query: dict[str, Any] = msgspec.field(default_factory=dict)
    json: Any = msgspec.UNSET
    body: str | None = None
    file: str | None = None
    form: dict[str, str] | None = None
    files: dict[str, str] | None = None
    save_to: str | None = None
    secret: str | None = None
    auth: str | None = None
    timeout: float | str = "30s"
    max_time: float | str = "10m"
    retries: int = 3
    retry_delay: float | str = "500ms"
    retry_max_delay: float | str = "30s"
    retry_unsafe: bool = False
    follow_redirects: bool = True
    expect: int | list[int] | str | None = None
    ca: str | None = None
    verify: bool = True


class Plan(Record):
    """A request made ready: everything read and checked, nothing sent."""

    first: Hop
    body: Body
    trust: Trust
    wanted: Wanted
    credentials: Credentials | None
    timeout: float
    until: float
    attempts: int
    base: float
    longest: float
    repeatable: bool
    follow: bool

    @property
    def doing(self) -> str:
        """What is done, for messages."""
        return f"{self.first.method} {self.first.address.shown}"


def credentials(call: Call, params: HttpRequest) -> Credentials | None:
    """What the named secret holds; None where no secret is named."""
    if params.secret is None:
        if params.auth is not None:
            raise Refused("auth says how a secret is sent, but no secret is named")
        return None
    return forms.of(params.secret, call.secret(params.secret), params.auth)


def plan(call: Call, params: HttpRequest, known: Credentials | None, began: float) -> Plan:
    """The plan of a request that began at a time of the monotonic clock; raises Refused."""
    method = params.method.upper()
    if not TOKEN.fullmatch(method) or method == "CONNECT":
        raise Refused("method is not the name of an HTTP method")
    body = _body(call, params)
    headers = _headers(params, body, known)
    where = address(joined(known.base if known else "", params.url)).asking(params.query)
    if known is not None:
        known.check(where.origin)
    first = Hop(
        method=method,
        address=where,
        headers=headers,
        with_body=True,
        credentials=known,
        private=known is not None or bool({"authorization", "cookie"} & _names(headers)),
    )
    wanted = Wanted(
        data=call.caller.data,
        save=destination(call, params.save_to) if params.save_to is not None else None,
        name=params.save_to or "",
        expect=_expected(params.expect),
    )
    return Plan(
        first=first,
        body=body,
        trust=_trust(call, params, known),
        wanted=wanted,
        credentials=known,
        timeout=positive(params.timeout, "timeout"),
        until=began + positive(params.max_time, "max_time"),
        attempts=1 + max(0, params.retries),
        base=positive(params.retry_delay, "retry_delay"),
        longest=positive(params.retry_max_delay, "retry_max_delay"),
        repeatable=params.retry_unsafe
        or method in _IDEMPOTENT
        or "idempotency-key" in _names(headers),
        follow=params.follow_redirects,
    )


def _names(headers: Mapping[str, str]) -> set[str]:
    return {name.lower() for name in headers}


def _expected(expect: int | list[int] | str | None) -> frozenset[int]:
    if expect is None:
        return frozenset()
    texts = str(expect).strip("[]").split(",")
    if not all(text.strip().isdigit() for text in texts):
        raise Refused("expect must be a status such as 200, or several")
    return frozenset(int(text) for text in texts)


def _headers(params: HttpRequest, body: Body, known: Credentials | None) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in params.headers.items():
        if not TOKEN.fullmatch(name):
            raise Refused("headers: a name has a character that is not allowed")
        if _CONTROL.search(value):
            raise Refused(f"headers: the value of {name} holds a line break or control character")
        if forms.is_pits(name):
            raise Refused(f"headers: {name} is set by Pit alone")
        headers[name] = value.strip()
    names = _names(headers)
    if len(names) < len(headers):
        raise Refused("headers: a name is given twice")
    if known is not None and names & ({"host"} | _names(known.headers)):
        raise Refused("headers: Host, and what the secret sets itself, do not go with a secret")
    if body.content_type and "content-type" not in names:
        headers["Content-Type"] = body.content_type
    # A file is kept as the server has it, and a range is one of the body as it is sent: only what
    # is read at once, and whole, may come compressed.
    plain = params.save_to is not None or "range" in names
    coding = "identity" if plain else accepted()
    for name, value in (("Accept-Encoding", coding), ("User-Agent", "pit"), ("Accept", "*/*")):
        if name.lower() not in names:
            headers[name] = value
    return headers


def _body(call: Call, params: HttpRequest) -> Body:
    given = [name for name in _BODIES if getattr(params, name) not in (None, msgspec.UNSET)]
    if params.json is None:
        given.append("json")
    if len(given) > 1 and given != ["form", "files"]:
        raise Refused(f"{' and '.join(given)} do not go together: a request has one body")
    if "json" in given:
        return bodies.text(msgspec.json.encode(params.json).decode(), "application/json")
    if params.body is not None:
        return bodies.text(params.body)
    if params.file is not None:
        return bodies.file(_enclosed(call, params.file))
    if params.files is not None:
        files = [(name, _enclosed(call, file)) for name, file in params.files.items()]
        return bodies.multipart(params.form or {}, files)
    return bodies.form(params.form) if params.form is not None else Body()


def _enclosed(call: Call, name: str) -> Enclosed:
    return Enclosed(data=call.caller.data, path=call.path(name, exists=True))


def _trust(call: Call, params: HttpRequest, known: Credentials | None) -> Trust:
    if known is not None:
        if params.ca is not None or not params.verify:
            raise Refused(
                "a request with a secret cannot choose whom to trust",
                f'Give the secret "{known.key}" a field ca, or verify = "false"',
            )
        return Trust(ca=known.ca, verify=known.verify)
    if params.ca is None:
        return Trust(verify=params.verify)
    with reading(call.caller.data, call.path(params.ca, exists=True)) as file:
        ca = file.read(_CERTIFICATES).decode("ascii", "replace")
    # Else it would be taken for the path of a file, which could lie anywhere.
    if "-----BEGIN" not in ca:
        raise Refused(f'"{params.ca}" holds no certificates in PEM')
    return Trust(ca=ca, verify=params.verify)
