"""Whether two patterns may match one and the same path, told from their texts alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from pit.fs.patterns import compiled, parts
from pit.text import regex

_TOKEN = regex.lazy(r"\*+|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)
_SAMPLES = [chr(code) for code in range(1, 0x250) if chr(code) != "/"]
"""Characters by which two sets in brackets are compared; whatever else they share is a "!" set."""


@lru_cache(maxsize=4096)
def may_meet(one: str, other: str) -> bool:
    """Whether there may be a path that both patterns match; either may be a literal path."""
    return _paths(_parts(one), _parts(other))


def _parts(pattern: str) -> tuple[str, ...]:
    names = tuple(parts(pattern))
    return (*names, "*") if names[-1] == "**" else names  # at the end, it is at least one name


def _paths(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two lists of names, with `**` for any number of folders, have one in common.

    Row by row: `meet[b]` tells whether what is left of `one` and of `other` from `b` on do.
    """
    below = [False] * (len(other) + 1)
    for a in range(len(one), -1, -1):
        meet = [False] * (len(other) + 1)
        for b in range(len(other), -1, -1):
            if a == len(one) and b == len(other):
                meet[b] = True
            else:
                meet[b] = _step(one[a : a + 1], other[b : b + 1], below, meet, b)
        below = meet
    return below[0]


def _step(
    one: Sequence[str], other: Sequence[str], below: list[bool], meet: list[bool], b: int
) -> bool:
    """Whether what is left meets, from what is known of less; `one` and `other` are the next name
    of each, if there is one, and `below` is without it."""
    if one and one[0] == "**":
        return below[b] or (bool(other) and _is_open(other[0]) and meet[b + 1])
    if other and other[0] == "**":
        return meet[b + 1] or (bool(one) and _is_open(one[0]) and below[b])
    return bool(one and other) and below[b + 1] and _names(one[0], other[0])


def _is_open(name: str) -> bool:
    """Whether `**` passes through a folder of this name: not if it is hidden."""
    return not name.startswith(".")


@lru_cache(maxsize=4096)
def _names(one: str, other: str) -> bool:
    """Whether there may be a name that both match, by the same table, over their characters."""
    if (one[:1] in "*?[" and other[:1] == ".") or (other[:1] in "*?[" and one[:1] == "."):
        return False
    first, second = _TOKEN.findall(one), _TOKEN.findall(other)
    below = [False] * (len(second) + 1)
    for a in range(len(first), -1, -1):
        meet = [False] * (len(second) + 1)
        for b in range(len(second), -1, -1):
            left, right = first[a : a + 1], second[b : b + 1]
            if left and left[0].startswith("*"):
                meet[b] = below[b] or (bool(right) and meet[b + 1])
            elif right and right[0].startswith("*"):
                meet[b] = meet[b + 1] or (bool(left) and below[b])
            elif left and right:
                meet[b] = below[b + 1] and _characters(left[0], right[0])
            else:
                meet[b] = not left and not right
        below = meet
    return below[0]


@lru_cache(maxsize=4096)
def _characters(one: str, other: str) -> bool:
    """Whether a character, `?` or set in brackets has anything in common with another."""
    if one == other or "?" in (one, other):
        return True
    if len(one) == len(other) == 1:
        return False
    if one.startswith("[!") and other.startswith("[!"):
        return True
    first, second = compiled(f"x{one}").fullmatch, compiled(f"x{other}").fullmatch
    known = [each for each in (one, other) if len(each) == 1] or _SAMPLES
    return any(first(f"x{each}") and second(f"x{each}") for each in known)
