"""Places: paths in a project as records and messages spell them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from pit.fs.patterns import matches
from pit.project import selection
from pit.text import regex


def spelled(place: str) -> str:
    """A place as text that every file and database takes, different for different places.

    Bytes that are not UTF-8 are spelled with a backslash, so a backslash is doubled.
    """
    if place.isascii() and "\\" not in place:
        return place
    return selection.shown(place.replace("\\", "\\\\"))


def unspelled(place: str) -> str:
    """The place that was spelled so, as it is on the disk."""
    if "\\" not in place:
        return place
    raw = place.encode("utf-8", "surrogateescape")
    return os.fsdecode(_SPELLED.sub(_raw, raw))


_SPELLED = regex.lazy(rb"\\\\|\\x([89a-f][0-9a-f])")


def _raw(found: re.Match[bytes]) -> bytes:
    return bytes.fromhex(found[1].decode()) if found[1] else b"\\"


def is_named(place: str, patterns: Iterable[str]) -> bool:
    """Whether one of the inputs names a place, itself or by the folder that it lies in."""
    return any(
        matches(pattern, place) or place.startswith(f"{pattern.rstrip('/')}/")
        for pattern in patterns
    )
