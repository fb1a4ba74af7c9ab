"""Values that come from a person or a pipe, and not from the command line."""

from __future__ import annotations

import sys
from contextlib import suppress

from pit.cli.terminal.console import Console
from pit.errors import BadArgument, SecretsInvalid
from pit.state.secrets.secretfile import LARGEST

_NEXT = "Pipe the value in, or run this at a terminal"


def value(console: Console, what: str, *, piped: bool = False) -> str:
    """The value of `what`: typed twice at a terminal, else all of standard input.

    Of what is piped, one line end is dropped. BadArgument if it is empty or two answers differ.
    """
    if is_piped():
        return from_stdin(what)
    if piped:
        raise BadArgument(f"nothing is piped in for {what}", _NEXT)
    return twice(console, f"Value of {what}")


def is_piped() -> bool:
    """Whether standard input is something else than a terminal."""
    return sys.stdin is None or not sys.stdin.isatty()


def from_stdin(what: str) -> str:
    """All of standard input but one line end at its end."""
    content = sys.stdin.buffer.read(LARGEST + 1) if sys.stdin is not None else b""
    if len(content) > LARGEST:
        raise SecretsInvalid(f"what is piped in for {what} is larger than 16 MB")
    if b"\0" in content:
        raise SecretsInvalid(f"what is piped in for {what} is not text; encode it, as with base64")
    text = None
    with suppress(UnicodeDecodeError):
        text = content.decode("utf-8").removesuffix("\n").removesuffix("\r")
    if text is None:
        raise SecretsInvalid(f"what is piped in for {what} is not UTF-8; encode it, as with base64")
    if not text:
        raise BadArgument(f"nothing was piped in for {what}", _NEXT)
    return text


def twice(console: Console, question: str) -> str:
    """What a person types two times alike, not shown; BadArgument if nobody can be asked."""
    if not console.is_attended:
        raise BadArgument(
            f"nobody is there to be asked: {question[0].lower()}{question[1:]}", _NEXT
        )
    first = console.hidden(question)
    if not first:
        raise BadArgument("nothing was typed")
    if console.hidden("Again") != first:
        raise BadArgument("the two were not the same", "Nothing was changed; try again")
    return first
