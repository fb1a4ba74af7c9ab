"""What a request sends, as a stream that can be begun again for each attempt.

Files are read while they are sent, so that a large one takes no memory.
"""

from __future__ import annotations

import mimetypes
import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import IO
from urllib.parse import quote, unquote_plus, urlencode

from pit.errors import Refused
from pit.model import Record
from pit.work.socket.files import reading


class Enclosed(Record):
    """A file of the data folder that is sent; `path` is what the call's `path` gave."""

    data: Path
    path: Path


Piece = bytes | Enclosed

_BLOCK = 1 << 20
_OVERLAP = 1 << 16
"""Bytes of a block that the next one begins with, so that no secret is cut in two."""


class Body(Record):
    """Pieces sent one after the other, and their content type; without pieces nothing is sent."""

    pieces: tuple[Piece, ...] = ()
    content_type: str = ""

    def open(self, stack: ExitStack) -> Stream | None:
        """The bytes from the start; files are closed with the stack."""
        if not self.pieces:
            return None
        return Stream([_opened(piece, stack) for piece in self.pieces])

    def holds(self, is_secret: Callable[[str], bool]) -> bool:
        """Whether a text of what is sent is a secret, also where a form spells it."""
        with ExitStack() as stack:
            stream = self.open(stack)
            before = b""
            while stream is not None and (block := stream.read(_BLOCK)):
                text = (before + block).decode(errors="replace")
                if is_secret(text) or is_secret(unquote_plus(text)):
                    return True
                before = (before + block)[-_OVERLAP:]
        return False


class Stream:
    """Several streams as one of known length, as urllib3 wants it: with `read(amount)`.

    No more is read of a file than it held when it was opened, as its length goes ahead of it.
    """

    def __init__(self, parts: Sequence[tuple[IO[bytes], int]]) -> None:
        self.length = sum(size for _, size in parts)
        self._parts = list(reversed(parts))

    def read(self, amount: int = 1 << 16) -> bytes:
        """The next bytes, at most `amount`; empty at the end."""
        while self._parts:
            source, left = self._parts.pop()
            data = source.read(min(amount, left)) if left else b""
            if data:
                self._parts.append((source, left - len(data)))
                return data
            if left:
                raise Refused("a file became shorter while it was sent")
        return b""


def _opened(piece: Piece, stack: ExitStack) -> tuple[IO[bytes], int]:
    if isinstance(piece, bytes):
        return BytesIO(piece), len(piece)
    source = stack.enter_context(reading(piece.data, piece.path))
    return source, os.fstat(source.fileno()).st_size


def text(content: str, content_type: str = "text/plain; charset=utf-8") -> Body:
    """A body of text."""
    return Body(pieces=(content.encode(),), content_type=content_type)


def file(content: Enclosed) -> Body:
    """A body that is a file."""
    return Body(pieces=(content,), content_type=_type_of(content.path.name))


def form(fields: Mapping[str, str]) -> Body:
    """A body as a form in a web page sends it."""
    return text(urlencode(fields), "application/x-www-form-urlencoded")


def multipart(fields: Mapping[str, str], files: Iterable[tuple[str, Enclosed]]) -> Body:
    """A body as a form with files in a web page sends it: fields first, then the files."""
    boundary = f"pit-{secrets.token_hex(16)}"
    pieces: list[Piece] = []
    for name, value in fields.items():
        pieces.append(f"{_head(boundary, name)}\r\n\r\n{value}\r\n".encode())
    for name, content in files:
        file_name = content.path.name
        head = f'{_head(boundary, name)}; filename="{_quoted(file_name)}"'
        head += f"\r\nContent-Type: {_type_of(file_name)}\r\n\r\n"
        pieces += [head.encode(), content, b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    return Body(pieces=tuple(pieces), content_type=f"multipart/form-data; boundary={boundary}")


def _head(boundary: str, name: str) -> str:
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"'


def _quoted(name: str) -> str:
    """A name within quotation marks, as browsers write it: it cannot end the line."""
    return "".join(quote(c) if c in '"\r\n\0' else c for c in name)


def _type_of(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
