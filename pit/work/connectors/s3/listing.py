"""Lists of objects, asked of the storage itself: by the prefix as it is, with the keys as they are.

obstore lists folders, and gives up all of a page of a thousand keys for one that it has no path for
(`a//b`, `./a`, a control character). A list reads keys, and keys may be anything; so here is the
one request that is needed, ListObjectsV2, signed as Amazon wants it (signature version 4).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_plus

from pit.errors import ConnectorFailed, MissingExtra
from pit.model import Record
from pit.work.connectors import backoff
from pit.work.connectors.attended import attended
from pit.work.connectors.http.address import Address, address
from pit.work.connectors.http.body import Body
from pit.work.connectors.http.client import Broken, Exchange, Trust, chunks
from pit.work.connectors.loggers import silence
from pit.work.connectors.s3.errors import answered, unreached
from pit.work.connectors.s3.store import FIRST_PAUSE, LONGEST_PAUSE, Patience, Storage
from pit.work.socket.call import Call

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_LARGEST = 64 << 20
"""Bytes of a page: a thousand keys of a kilobyte, each letter written as three, and room."""
_EMPTY = hashlib.sha256(b"").hexdigest()
_STRANGE = "the storage answers with something that is no list of objects"


class Found(Record):
    """An object of a list, as tasks read it; `modified` in ISO 8601."""

    key: str
    size: int
    etag: str
    modified: str


class _Page(Record):
    """A part of a list, and where the next one begins; "" at the end."""

    objects: tuple[Found, ...]
    more: str


class Listing(Record):
    """What is to be listed, for whom and with how much patience; `until` is a monotonic time."""

    call: Call
    storage: Storage
    patience: Patience
    until: float
    doing: str

    def objects(self, prefix: str) -> Iterator[Found]:
        """The objects whose keys begin with a prefix, in the order of the storage.

        Those that stand for a folder are left out: empty ones with a slash at their end.
        """
        _available()
        more = ""
        while True:
            page = self._page(prefix, more)
            for found in page.objects:
                is_folder = found.key.endswith("/") and not found.size
                if found.key.startswith(prefix) and not is_folder:
                    yield found
            if not page.more or page.more == more:
                return
            more = page.more

    def _page(self, prefix: str, more: str) -> _Page:
        """One page, asked for again while that may help."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._asked(prefix, more)
            except ConnectorFailed as error:
                pause = backoff.delay(attempt, FIRST_PAUSE, LONGEST_PAUSE)
                again = error.retryable and attempt <= self.patience.retries
                if not again or monotonic() + pause >= self.until or not self.call.wait(pause):
                    raise

    def _asked(self, prefix: str, more: str) -> _Page:
        storage = self.storage
        exchange = Exchange(Trust(ca=storage.ca, verify=storage.verify), self.patience.timeout)
        try:
            status, body = attended(
                self.call,
                lambda: _exchanged(exchange, storage, prefix, more),
                stop=exchange.stop,
                drop=lambda _: None,
                until=self.until,
                doing=self.doing,
            )
        except Broken as error:
            raise unreached(error, self.doing, storage) from None
        if status != 200:
            raise answered(status, body.decode(errors="replace"), self.doing, storage)
        try:
            return _read(body)
        except (ValueError, SyntaxError):  # the latter is ElementTree's
            raise ConnectorFailed(f"{self.doing}: {_STRANGE}") from None


def _available() -> None:
    try:
        import urllib3  # noqa: F401
    except ImportError:
        raise MissingExtra("S3", "s3") from None
    silence("urllib3")


# ---------------------------------------------------------------------------------- the request


def _exchanged(exchange: Exchange, storage: Storage, prefix: str, more: str) -> tuple[int, bytes]:
    """The status and the body of an answer; no redirect is followed, for the key is not its."""
    query = {"list-type": "2", "prefix": prefix, "encoding-type": "url"}
    if more:
        query["continuation-token"] = more
    where = _where(storage, query)
    with exchange.answer("GET", where, _headers(storage, where), Body()) as response:
        kept = bytearray()
        for chunk in chunks(response):
            kept += chunk
            if len(kept) > _LARGEST:
                raise ConnectorFailed(f"{storage.where}: {_STRANGE}")
        return response.status, bytes(kept)


def _where(storage: Storage, query: dict[str, str]) -> Address:
    """The bucket's address, with the query as it is signed: in order, each value encoded."""
    base = address(storage.url, "endpoint")
    path = base.path.rstrip("/")
    if storage.path_style:
        path = f"{path}/{storage.bucket}"
    pairs = sorted(f"{name}={quote(value, safe='-_.~')}" for name, value in query.items())
    return Address(origin=base.origin, path=path or "/", query="&".join(pairs))


def _headers(storage: Storage, where: Address) -> dict[str, str]:
    """The headers of a request without a body, signed if there are keys."""
    plain = {"Accept-Encoding": "identity", "User-Agent": "pit", "Accept": "*/*"}
    if not storage.access_key:
        return plain
    signed = {
        "host": where.shown.partition("://")[2].partition("/")[0],
        "x-amz-content-sha256": _EMPTY,
        "x-amz-date": datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
    }
    if storage.session_token:
        signed["x-amz-security-token"] = storage.session_token
    return {**plain, **signed, "Authorization": _authorization(storage, where, signed)}


def _authorization(storage: Storage, where: Address, headers: dict[str, str]) -> str:
    """The signature of a GET with these headers, which are in order."""
    date, names = headers["x-amz-date"], ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = "\n".join(("GET", where.path, where.query, lines, names, _EMPTY))
    scope = (date[:8], storage.region, "s3", "aws4_request")
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join(("AWS4-HMAC-SHA256", date, "/".join(scope), digest))
    key = f"AWS4{storage.secret_key}".encode()
    for part in (*scope, text):
        key = hmac.digest(key, part.encode(), "sha256")
    credential = "/".join((storage.access_key, *scope))
    return f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={key.hex()}"


# ----------------------------------------------------------------------------------- the answer


def _read(body: bytes) -> _Page:
    """A page as the storage writes it; ValueError or ParseError for what is none."""
    from xml.etree import ElementTree

    if b"<!DOCTYPE" in body:
        raise ValueError("no storage declares entities")
    root = ElementTree.fromstring(body)
    if _name(root) != "ListBucketResult":
        raise ValueError(_name(root))
    encoded = _text(root, "EncodingType") == "url"
    objects = tuple(_found(each, encoded) for each in root if _name(each) == "Contents")
    more = _text(root, "NextContinuationToken")
    return _Page(objects=objects, more=more if _text(root, "IsTruncated") == "true" else "")


def _found(element: Element, encoded: bool) -> Found:
    key = _text(element, "Key")
    return Found(
        key=unquote_plus(key, errors="strict") if encoded else key,
        size=int(_text(element, "Size") or 0),
        etag=_text(element, "ETag").strip('"'),
        modified=datetime.fromisoformat(_text(element, "LastModified")).isoformat(),
    )


def _text(element: Element, name: str) -> str:
    """The text of a part of an element; storages differ in the namespace that they name."""
    return next((each.text or "" for each in element if _name(each) == name), "")


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2]
