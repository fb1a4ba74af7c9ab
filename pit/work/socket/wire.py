"""What goes over a task's socket: a request is one line of JSON, and so is its answer.

    {"method": "get_secret", "params": {"key": "claims_db"}}
    {"result": "…"}    or    {"result": "", "error": "…"}

The result is always a string: text as it is, anything else as JSON text. A request ends at a
newline, or where the client shuts down its side of the connection.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pit.errors import PitError, Refused
from pit.model import Record

LONGEST = 1 << 20
"""Bytes of one request, without its newline."""


class Request(Record):
    """One request as it came; `params` is JSON that nobody has looked at yet."""

    method: str
    params: msgspec.Raw = msgspec.Raw(b"{}")


class TooLong(Refused):
    """A request longer than LONGEST; nobody knows where the next one begins."""

    def __init__(self) -> None:
        super().__init__(f"invalid request: longer than {LONGEST:,} bytes")


_decoder = msgspec.json.Decoder(Request)
_encoder = msgspec.json.Encoder()


def parsed(line: bytes | bytearray) -> Request:
    """The request that a line is; Refused says what is wrong with it."""
    try:
        return _decoder.decode(line)
    except RecursionError:
        raise Refused("invalid request: nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeError, ValueError) as error:
        raise Refused(f"invalid request: {_short(error)}") from None


def _short(error: Exception) -> str:
    """What is wrong, without the line itself, which may hold anything."""
    return str(error)[:200]


def text(result: Any) -> str:
    """A method's result as the string that goes over the socket."""
    if result is None:
        return ""
    if isinstance(result, str):
        return result
    return _encoder.encode(result).decode()


def answer(result: str) -> bytes:
    """The line for a result."""
    return _line({"result": result})


def failure(error: PitError | str) -> bytes:
    """The line for what came to nothing."""
    text = sentence(error) if isinstance(error, PitError) else error
    return _line({"result": "", "error": text})


def sentence(error: PitError) -> str:
    """What is wrong, and the hint behind it in brackets."""
    return f"{error} ({error.hint})" if error.hint else str(error)


def _line(message: dict[str, str]) -> bytes:
    try:
        return _encoder.encode(message) + b"\n"
    except UnicodeEncodeError:  # lone surrogates, as undecodable file names have
        clean = {k: v.encode("utf-8", "backslashreplace").decode() for k, v in message.items()}
        return _encoder.encode(clean) + b"\n"
