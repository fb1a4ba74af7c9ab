"""Bodies that come compressed: whole ones are decoded however they come, cut ones never count."""

from __future__ import annotations

import base64
import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from pit.errors import ConnectorFailed
from pit.work.connectors.http import coding
from pit.work.connectors.http import methods as http
from tests.servers import http as server
from tests.servers.http import Origin
from tests.work.connectors.direct import DirectCall

REQUEST = http.METHODS["http_request"]
CONTENT = os.urandom(3000) + bytes(60_000) + b"the end"


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with server.serving() as running:
        yield running


@pytest.fixture
def call(tmp_path: Path) -> DirectCall:
    data = tmp_path / "data"
    data.mkdir()
    return DirectCall(data)


def raw_deflate(content: bytes) -> bytes:
    """As servers send it that have not read the standard."""
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(content) + stream.flush()


def brotli(content: bytes) -> bytes:
    return bytes(pytest.importorskip("brotli").compress(content, quality=1))


def zstd(content: bytes) -> bytes:
    try:
        library: Any = import_module("compression.zstd")
    except ImportError:
        library = pytest.importorskip("backports.zstd")
    return bytes(library.compress(content))


CODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "as it was called once": ("X-GZIP", gzip.compress),
    "members": (
        "gzip",
        lambda all: gzip.compress(all[:999]) + gzip.compress(all[999:]),
    ),
    "deflate": ("deflate", zlib.compress),
    "deflate without a frame": ("deflate", raw_deflate),
    "twice": ("deflate, gzip", lambda all: gzip.compress(zlib.compress(all))),
    "with nothing": ("identity, gzip", gzip.compress),
    "brotli": ("br", brotli),
    "zstd": ("zstd", zstd),
    "frames": ("zstd", lambda all: zstd(all[:999]) + zstd(all[999:])),
}

CLOSE = "Connection: close"
CHUNK = b"%x\r\n%s\r\n"
FRAMES: dict[str, Callable[[bytes], tuple[str, bytes]]] = {
    "length": lambda body: (f"1.1 200 OK\r\nContent-Length: {len(body)}\r\n{CLOSE}", body),
    "chunked": lambda body: (
        f"1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{CLOSE}",
        b"".join(CHUNK % (len(piece), piece) for piece in (body[:700], body[700:]) if piece)
        + b"0\r\n\r\n",
    ),
    "close": lambda body: (f"1.1 200 OK\r\n{CLOSE}", body),
    "HTTP/1.0": lambda body: ("1.0 200 OK", body),
}
"""How an answer of just these bytes may come; none of them says that bytes are missing."""


def answer(origin: Origin, name: str, coding: str, frame: str, body: bytes) -> str:
    """The URL of such an answer."""
    head, framed = FRAMES[frame](body)
    origin.raw[name] = f"HTTP/{head}\r\nContent-Encoding: {coding}\r\n\r\n".encode() + framed
    return f"{origin.url}/raw/{name}"


def content_of(call: DirectCall, told: dict[str, Any]) -> bytes:
    """The body that a result tells, or the file that it names."""
    if "file" in told:
        return (call.data / told["file"]).read_bytes()
    return base64.b64decode(told["base64"]) if "base64" in told else told["body"].encode()


@pytest.mark.parametrize("kind", CODINGS)
def test_a_compressed_body_counts_when_its_end_was_seen(
    origin: Origin, call: DirectCall, kind: str
) -> None:
    coding, coded = CODINGS[kind]
    body = coded(CONTENT)
    for frame in FRAMES:
        whole = answer(origin, "whole", coding, frame, body)
        for save in ({}, {"save_to": "out.bin"}):
            told = call.ask(REQUEST, url=whole, retries=0, **save)
            assert content_of(call, told) == CONTENT
        (call.data / "out.bin").unlink()
        call.saved.clear()
        # Within the head, the data and the check sum, and just before the end.
        for number, size in enumerate((1, 5, 2000, len(body) - 9, len(body) - 2, len(body) - 1)):
            cut = answer(origin, "cut", coding, frame, body[:size])
            save = {"save_to": "out.bin"} if number % 2 else {}
            with pytest.raises(ConnectorFailed, match="answer was cut off") as caught:
                call.ask(REQUEST, url=cut, retries=0, **save)
            assert caught.value.retryable
        assert list(call.data.iterdir()) == []
        assert call.saved == []


def test_a_second_member_that_was_cut_is_missed(origin: Origin, call: DirectCall) -> None:
    first, second = gzip.compress(b"first "), gzip.compress(b"second")
    for size in (1, 2, 12, len(second) - 1):
        cut = answer(origin, "cut", "gzip", "length", first + second[:size])
        with pytest.raises(ConnectorFailed, match="was cut off"):
            call.ask(REQUEST, url=cut, retries=0)
    for padding in (b"", bytes(512), b"\nno member", b"\x1f no member"):
        url = answer(origin, "padded", "gzip", "length", first + second + padding)
        assert call.ask(REQUEST, url=url, retries=0)["body"] == "first second"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_damaged_body_is_told(origin: Origin, call: DirectCall, coding: str) -> None:
    body = bytearray(CODINGS[coding][1](CONTENT))
    body[-1] ^= 1  # of the check sum
    for damaged in (bytes(body), b"\xffnot compressed at all"):
        url = answer(origin, "damaged", coding, "length", damaged)
        with pytest.raises(ConnectorFailed, match="coding is damaged"):
            call.ask(REQUEST, url=url, retries=0)


def test_an_empty_body_needs_a_sign_of_its_end(origin: Origin, call: DirectCall) -> None:
    """Servers name a coding for answers without a body, too."""
    for frame in ("length", "chunked"):
        told = call.ask(REQUEST, url=answer(origin, "none", "gzip", frame, b""), retries=0)
        assert told["body"] == ""
    head = answer(origin, "head", "gzip", "length", b"")
    origin.raw["head"] = origin.raw["head"].replace(b"Length: 0", b"Length: 4711")
    assert call.ask(REQUEST, url=head, method="HEAD", retries=0)["status"] == 200
    origin.raw["unchanged"] = (
        b"HTTP/1.1 304 Not Modified\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n"
    )
    assert call.ask(REQUEST, url=f"{origin.url}/raw/unchanged")["status"] == 304
    for frame in ("close", "HTTP/1.0"):
        with pytest.raises(ConnectorFailed, match="was cut off"):
            call.ask(REQUEST, url=answer(origin, "none", "gzip", frame, b""), retries=0)


def test_what_is_cut_is_asked_for_again(origin: Origin, call: DirectCall) -> None:
    body = gzip.compress(CONTENT)
    url = answer(origin, "cut", "gzip", "close", body[:1000])
    with pytest.raises(ConnectorFailed):
        call.ask(REQUEST, url=url, retries=2, retry_delay="1ms", save_to="out.bin")
    assert [line.partition("; again")[0] for line in call.lines] == [
        f"http_request: {origin.url}: the compressed answer was cut off"
    ] * 2


def test_what_is_not_wanted_need_not_be_whole(origin: Origin, call: DirectCall) -> None:
    """The status of an unwelcome answer is told, and a redirect is followed."""
    body = gzip.compress(b"no such thing, for a reason" * 9)[:-4]
    url = answer(origin, "error", "gzip", "length", body)
    origin.raw["error"] = origin.raw["error"].replace(b"200 OK", b"404 Not Found")
    with pytest.raises(ConnectorFailed, match="404 Not Found"):
        call.ask(REQUEST, url=url, retries=0)
    url = answer(origin, "moved", "gzip", "length", body)
    moved = b"302 Found\r\nLocation: /text"
    origin.raw["moved"] = origin.raw["moved"].replace(b"200 OK", moved)
    assert call.ask(REQUEST, url=url, retries=0)["body"] == "grüße"


def test_a_range_is_asked_for_uncompressed(origin: Origin, call: DirectCall) -> None:
    told = call.ask(REQUEST, url=f"{origin.url}/echo", headers={"Range": "bytes=0-99"})
    assert told["json"]["headers"]["Accept-Encoding"] == "identity"
    body = gzip.compress(CONTENT)
    for part in (body[:1000], body[1000:2000], body[2000:]):
        url = answer(origin, "part", "gzip", "length", part)
        origin.raw["part"] = origin.raw["part"].replace(b"200 OK", b"206 Partial Content")
        for save in ({}, {"save_to": "out.bin"}):
            with pytest.raises(ConnectorFailed, match="a part of a compressed body") as caught:
                call.ask(REQUEST, url=url, headers={"Range": "bytes=1-"}, retries=0, **save)
            assert not caught.value.retryable
    assert list(call.data.iterdir()) == []


def test_what_is_accepted_is_what_can_be_decoded(origin: Origin, call: DirectCall) -> None:
    told = call.ask(REQUEST, url=f"{origin.url}/echo")["json"]["headers"]["Accept-Encoding"]
    known = [name.strip() for name in told.split(",")]
    assert known[:2] == ["gzip", "deflate"]
    assert {*known} == {*coding._decoders()} - {"x-gzip"}
    url = answer(origin, "strange", "gzip, strange", "length", b"\xff as it is")
    assert content_of(call, call.ask(REQUEST, url=url)) == b"\xff as it is"


@pytest.mark.parametrize("kind", ["gzip", "deflate", "deflate without a frame", "brotli", "zstd"])
def test_no_step_gives_much(kind: str) -> None:
    """16 MB in one piece; with the coding put on twice as well."""
    name, coded = CODINGS[kind]
    bomb = coded(bytes(16 << 20))
    for body, header in ((bomb, name), (gzip.compress(bomb), f"{name}, gzip")):
        pieces = [len(piece) for piece in coding.decoded([body], header, framed=True)]
        assert sum(pieces) == 16 << 20
        assert max(pieces) <= 1 << 20
    with pytest.raises(coding.Undecodable, match="too many"):
        list(coding.decoded([bomb], ", ".join(["gzip"] * 6), framed=True))
