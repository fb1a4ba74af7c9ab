"""What came back: kept as text, JSON or a file, and told to the task."""

from __future__ import annotations

import base64
import http
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pit.errors import ConnectorFailed, on_error
from pit.model import Record
from pit.work.connectors import backoff
from pit.work.connectors.fields import one_line
from pit.work.connectors.http.client import chunks
from pit.work.connectors.http.coding import Undecodable
from pit.work.connectors.http.hops import Hop
from pit.work.connectors.landing import Landing

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

LARGEST = 16 << 20
"""Bytes of a body that is not saved to a file."""
_WITH_CONTENT = frozenset(range(200, 300)) - {204, 205}
"""Statuses of answers that are what was asked for, so that they may become a file."""
_PARTIAL = 206
_EXCERPT = 300
"""Characters of an unwelcome answer that the error quotes."""
_GLIMPSE = 1 << 16
"""Bytes that are read of an unwelcome answer."""


_NO_CHARSETS = frozenset({"punycode", "idna", "undefined", "unicode-escape", "raw-unicode-escape"})
"""Codecs of Python's that no text comes in; a few megabytes of the first take it hours."""
_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))


class Unwelcome(ConnectorFailed):
    """An answer with a status that was not expected, and the beginning of what it says."""

    def __init__(self, sentence: str, excerpt: str, *, passing: bool) -> None:
        quoted = excerpt if len(excerpt) <= _EXCERPT else f"{excerpt[:_EXCERPT]} …"
        super().__init__(f"{sentence}: {quoted}" if quoted else sentence, retryable=passing)
        self.sentence, self.excerpt = sentence, excerpt


class Wanted(Record):
    """What to do with the answer: where to save it, under which name, which statuses are good."""

    data: Path
    save: Path | None
    name: str
    expect: frozenset[int]

    def welcome(self, status: int) -> bool:
        """Whether the status is one of those expected; without any, all below 400 are."""
        return status in self.expect if self.expect else status < 400


class Answer(AbstractContextManager["Answer"]):
    """An answer whose body has come, as bytes or as a file that is yet to be published."""

    def __init__(
        self,
        response: BaseHTTPResponse,
        hop: Hop,
        wanted: Wanted,
        redirects: int,
        content: bytes | Landing,
    ) -> None:
        self.status = response.status
        self.retry_after = backoff.retry_after(response.headers.get("Retry-After"))
        # By name, as this joins a header that comes several times.
        self._headers = {name.lower(): response.headers[name] for name in response.headers}
        self._reason = response.reason or _reason(response.status)
        self._hop, self._wanted, self._redirects = hop, wanted, redirects
        self._content = content

    def trouble(self, doing: str) -> ConnectorFailed | None:
        """The error that the status is, if it is not welcome."""
        if self._wanted.welcome(self.status):
            return None
        words = one_line(f"{self.status} {self._reason}")
        excerpt = ""
        if isinstance(self._content, bytes):
            excerpt = one_line(self._content.decode(errors="replace"))
        return Unwelcome(f"{doing} was answered with {words}", excerpt, passing=self.passing)

    @property
    def passing(self) -> bool:
        """Whether the status says that it may be otherwise in a while."""
        return self.status in _PASSING

    def publish(self) -> Path | None:
        """Makes the file appear in the data folder, if there is one; which it is."""
        if not isinstance(self._content, Landing):
            return None
        self._content.publish()
        return self._wanted.save

    def discard(self) -> None:
        """Removes what has come."""
        if isinstance(self._content, Landing):
            self._content.discard()

    def told(self, attempts: int, seconds: float) -> dict[str, Any]:
        """The result as the task gets it."""
        return {
            "status": self.status,
            "url": self._hop.address.url,
            "headers": self._headers,
            **self._body(),
            "redirects": self._redirects,
            "attempts": attempts,
            "seconds": round(seconds, 3),
        }

    def _body(self) -> dict[str, Any]:
        content = self._content
        if isinstance(content, Landing):
            return {"file": self._wanted.name, "size": content.size, "sha256": content.sha256}
        kind, charset = _type(self._headers.get("content-type", ""))
        if kind == "application/json" or kind.endswith("+json"):
            try:
                return {"json": msgspec.json.decode(content)}
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                pass  # it only says that it is JSON, or is nested without an end
        text = _text(content, charset)
        if text is None:
            return {"base64": base64.b64encode(content).decode()}
        return {"body": text}

    def __exit__(self, *_: object) -> None:
        self.discard()


def received(response: BaseHTTPResponse, hop: Hop, wanted: Wanted, redirects: int) -> Answer:
    """Reads the body of an answer: into a file if it is welcome and one was asked for.

    Raises Undecodable for one that is not whole.
    """
    try:
        return _kept(response, hop, wanted, redirects)
    except Undecodable:
        if response.status == _PARTIAL:
            raise ConnectorFailed(
                "the answer is a part of a compressed body, which cannot be decoded",
                "A request with a header Range wants Accept-Encoding: identity",
            ) from None
        raise


def _kept(response: BaseHTTPResponse, hop: Hop, wanted: Wanted, redirects: int) -> Answer:
    welcome = wanted.welcome(response.status)
    if wanted.save is None or not welcome or response.status not in _WITH_CONTENT:
        content = _read(response, LARGEST if welcome else _GLIMPSE, strict=welcome)
        return Answer(response, hop, wanted, redirects, content)
    landing = Landing(wanted.data, wanted.save)
    with on_error(landing.discard):
        _pour(response, landing.write)
    return Answer(response, hop, wanted, redirects, landing)


def glimpse(response: BaseHTTPResponse) -> bytes:
    """The beginning of a body that nobody wants; a short one to its end, so that the connection
    can be used again."""
    return _read(response, _GLIMPSE, strict=False)


def _pour(response: BaseHTTPResponse, write: Callable[[bytes], None]) -> None:
    for chunk in chunks(response):
        write(chunk)


def _read(response: BaseHTTPResponse, most: int, *, strict: bool) -> bytes:
    """The beginning of a body; if `strict` all of it, which may not be longer."""
    kept = bytearray()
    try:
        for chunk in chunks(response):
            kept += chunk
            if len(kept) > most:
                break
    except Undecodable:
        if strict:
            raise
    if strict and len(kept) > most:
        raise ConnectorFailed(
            f"the answer is larger than {most >> 20} MB", "Save it to a file: save_to"
        )
    return bytes(kept[:most])


def _text(content: bytes, charset: str) -> str | None:
    """The content as text, if it is some."""
    import codecs

    try:
        if codecs.lookup(charset).name in _NO_CHARSETS:
            return None
        return content.decode(charset)
    except (ValueError, LookupError):  # also what is wrong with the name itself
        return None


def _type(header: str) -> tuple[str, str]:
    """The media type and the charset of a Content-Type header."""
    from email.message import Message

    message = Message()
    message["Content-Type"] = header
    return message.get_content_type() if header else "", message.get_content_charset("utf-8")


def _reason(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""
