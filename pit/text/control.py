"""Text that others wrote, without what would command the terminal."""

from __future__ import annotations

from pit.text import regex

CONTROL = regex.lazy(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b\]|\x9d)[^\x07\x1b\n]*(?:\x07|\x1b\\)?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
"""Escape sequences and control characters."""


def printable(text: str) -> str:
    """Text without escape sequences and control characters, so that it cannot move the cursor."""
    return text if text.isascii() and text.isprintable() else CONTROL.sub("", text)
