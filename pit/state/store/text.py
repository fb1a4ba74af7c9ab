"""Texts as the database takes them.

File names and program output that are not UTF-8 arrive with surrogates, which SQLite refuses.
"""

from __future__ import annotations

LONGEST = 20_000
"""Characters of an error or another text that nobody looks up."""


def unbroken(value: str) -> str:
    """A text without the halves of characters that SQLite refuses."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


def bounded(value: str, longest: int = LONGEST) -> str:
    """The same, and without its middle if it is very long."""
    if len(value) > longest:
        value = f"{value[: longest // 2]} … {value[-longest // 2 :]}"
    return unbroken(value)
