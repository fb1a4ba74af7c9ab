"""The codings that a body may be sent in: undone piece by piece, and only to an end that was seen.

urllib3 takes what has come of a compressed body for all of it. Where the connection's end is the
only sign of the body's end, or a proxy has cut it and told the shorter length, nothing but the
coding itself knows that something is missing. So its end is asked for here.

| coding | its end |
|---|---|
| `gzip`, `x-gzip` | the check sum of a member; members may follow, and padding that is none |
| `deflate` | the check sum of zlib, or the last block where a server leaves zlib's frame out |
| `br`, `zstd` | the last block; frames of zstd may follow. Only with their libraries |

A small body may hold a very large one: no step gives many more than `_STEP` bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any, Protocol

_STEP = 1 << 18
"""Bytes that are decoded at a time."""
_MOST = 5
"""Codings on top of each other."""


class Undecodable(Exception):
    """A body is not in the coding that it is said to be in, or ends before its end."""


class Decoder(Protocol):
    """Undoes one coding, as the pieces of a body come."""

    @property
    def whole(self) -> bool:
        """Whether the end has been seen, and nothing more has begun."""

    def fed(self, data: bytes) -> Iterator[bytes]:
        """What more there is with more of the body; raises Undecodable."""


def accepted() -> str:
    """The codings that are undone, as Accept-Encoding names them."""
    return ", ".join(name for name in _decoders() if name != "x-gzip")


def decoded(pieces: Iterable[bytes], header: str, *, framed: bool) -> Iterator[bytes]:
    """A body without the codings that a Content-Encoding header names; raises Undecodable.

    `framed` tells that HTTP itself has a sign of the body's end: then it may be empty. With a
    coding that is not known the body stays as it is.
    """
    names = [name for each in header.lower().split(",") if (name := each.strip())]
    names = [name for name in names if name != "identity"]
    known = _decoders()
    if all(name in known for name in names):
        if len(names) > _MOST:
            raise Undecodable("the answer has too many codings")
        for name in reversed(names):
            pieces = _through(known[name](), pieces, framed)
    yield from pieces


def _through(decoder: Decoder, pieces: Iterable[bytes], framed: bool) -> Iterator[bytes]:
    """The pieces, decoded; Undecodable if they end before the coding does."""
    empty = True
    for piece in pieces:
        empty = empty and not piece
        yield from decoder.fed(piece)
    if not decoder.whole and not (empty and framed):
        raise Undecodable("the compressed answer was cut off")


# --------------------------------------------------------------------------------- gzip, deflate


class _Gzip:
    """One member after the other."""

    whole = False

    def __init__(self) -> None:
        self._member: Any = None
        self._waiting = b""
        self._padding = False

    def fed(self, data: bytes) -> Iterator[bytes]:
        data, self._waiting = self._waiting + data, b""
        while data and not self._padding:
            if self._member is None and not self._begins(data):
                return
            yield from _inflated(self._member, data)
            data = b""
            if self._member.eof:
                data, self._member, self.whole = self._member.unused_data, None, True

    def _begins(self, data: bytes) -> bool:
        """Whether a member begins here, or the first one, which has to; what follows the last one
        and is none is padding."""
        if self.whole and not data.startswith(_MAGIC):
            if _MAGIC.startswith(data):
                self._waiting, self.whole = data, False
            else:
                self._padding = True
            return False
        self._member, self.whole = zlib.decompressobj(16 + zlib.MAX_WBITS), False
        return True


_MAGIC = b"\x1f\x8b"


class _Deflate:
    """With zlib's frame, as the standard wants it, or without, as some servers send it."""

    def __init__(self) -> None:
        self._stream: Any = None
        self._head = b""

    @property
    def whole(self) -> bool:
        return self._stream is not None and bool(self._stream.eof)

    def fed(self, data: bytes) -> Iterator[bytes]:
        if self._stream is None:
            data = self._head = self._head + data
            if len(data) < 2:
                return
            framed = data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2], "big") % 31 == 0
            self._stream = zlib.decompressobj(zlib.MAX_WBITS if framed else -zlib.MAX_WBITS)
        if not self._stream.eof:
            yield from _inflated(self._stream, data)


def _inflated(stream: Any, data: bytes) -> Iterator[bytes]:
    """What a stream of zlib makes of data, up to the stream's end."""
    while True:
        try:
            made = stream.decompress(data, _STEP)
        except zlib.error:
            raise _damaged() from None
        if made:
            yield made
        data = stream.unconsumed_tail
        if stream.eof or not (data or len(made) == _STEP):
            return


def _damaged() -> Undecodable:
    return Undecodable("the answer's coding is damaged")


# ------------------------------------------------------------------------------------- br, zstd


class _Brotli:
    """Brotli, which cannot be followed by anything."""

    def __init__(self, library: Any) -> None:
        self._error = library.error
        self._stream = library.Decompressor()
        self._process = getattr(self._stream, "process", None) or self._stream.decompress

    @property
    def whole(self) -> bool:
        return bool(self._stream.is_finished())

    def fed(self, data: bytes) -> Iterator[bytes]:
        while data or not self.whole:
            try:
                made = self._process(data, output_buffer_limit=_STEP)
            except self._error:
                raise _damaged() from None
            if not made and self._stream.can_accept_more_data():
                return
            yield made
            data = b""


class _Zstd:
    """One frame of Zstandard after the other."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._frame = library.ZstdDecompressor()

    @property
    def whole(self) -> bool:
        return bool(self._frame.eof)

    def fed(self, data: bytes) -> Iterator[bytes]:
        while data or not (self._frame.eof or self._frame.needs_input):
            if self._frame.eof:
                self._frame = self._library.ZstdDecompressor()
            try:
                made = self._frame.decompress(data, max_length=_STEP)
            except self._library.ZstdError:
                raise _damaged() from None
            if made:
                yield made
            data = self._frame.unused_data if self._frame.eof else b""


@lru_cache(maxsize=1)
def _decoders() -> Mapping[str, Callable[[], Decoder]]:
    """The decoders that this installation has, by the names of their codings."""
    found: dict[str, Callable[[], Decoder]] = {"gzip": _Gzip, "x-gzip": _Gzip, "deflate": _Deflate}
    brotli = _library("brotlicffi", "brotli")
    # Before 1.2 it could not be told how much to decode at a time.
    if brotli is not None and hasattr(brotli.Decompressor, "can_accept_more_data"):
        found["br"] = lambda: _Brotli(brotli)
    zstd = _library("compression.zstd", "backports.zstd")
    if zstd is not None:
        found["zstd"] = lambda: _Zstd(zstd)
    return found


def _library(*names: str) -> Any:
    """The first of these modules that is installed; None if none is."""
    for name in names:
        try:
            return import_module(name)
        except ImportError:
            continue
    return None
