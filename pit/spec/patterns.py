"""Paths and glob patterns as `inputs` and `targets` use them, without touching a disk.

`*`, `?` and `[…]` stay within one folder, `**` crosses folders, and as in a shell none of
them matches a name that begins with a dot.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

_WILD = re.compile(r"[*?\[]")
_WILDCARD = re.compile(r"\*+|\?|\[!?\]?[^\]/]*\]")
_FOLDERS = r"(?:(?!\.)[^/]+/)*"
_HIGHEST = "\U0010ffff"


def is_pattern(path: str) -> bool:
    """Whether `path` has wildcards."""
    return _WILD.search(path) is not None


def matches(pattern: str, path: str) -> bool:
    """Whether an input or target as written, literal or pattern, matches `path`."""
    if not is_pattern(pattern):
        return pattern.rstrip("/") == path.rstrip("/")
    return matcher(pattern)(path.rstrip("/"))


def compiled(pattern: str) -> re.Pattern[str]:
    """A regular expression whose `fullmatch` tells whether a path matches the pattern."""
    return re.compile(_translated(pattern.rstrip("/").split("/")), re.DOTALL)


def matcher(pattern: str) -> Callable[[str], bool]:
    """A predicate on paths; the common pattern with a single `*` needs no regular expression."""
    head, star, end = pattern.rstrip("/").partition("*")
    if star and not is_pattern(head + end) and "/" not in end:
        return lambda path: _matches_star(path, head, end)
    matches = compiled(pattern).fullmatch
    return lambda path: matches(path) is not None


def _matches_star(path: str, head: str, end: str) -> bool:
    if len(path) < len(head) + len(end) or not (path.startswith(head) and path.endswith(end)):
        return False
    middle = path[len(head) : len(path) - len(end)]
    hidden = (head == "" or head.endswith("/")) and path[len(head) : len(head) + 1] in (".", "")
    return "/" not in middle and not hidden


def reaching(pattern: str) -> re.Pattern[str]:
    """A regular expression that matches every folder below which the pattern may match."""
    parts = pattern.rstrip("/").split("/")
    longest = len(parts) if parts[-1] == "**" else len(parts) - 1
    prefixes = [_translated(parts[:length]) for length in range(1, longest + 1)]
    return re.compile("|".join(prefixes) or r"(?!)", re.DOTALL)


def fixed_folder(pattern: str) -> str:
    """The folder above the first wildcard: "out/x" of "out/x/*.csv", "" if there is none."""
    found = _WILD.search(pattern)
    head = pattern[: found.start()] if found else pattern
    return head.rpartition("/")[0]


def wild_span(pattern: str) -> tuple[str, str] | None:
    """What stands before the first and after the last wildcard; None where there is none."""
    found = list(_WILDCARD.finditer(pattern))
    return (pattern[: found[0].start()], pattern[found[-1].end() :]) if found else None


def ancestors(path: str) -> Iterator[str]:
    """The folders that contain `path`, nearest first: "a/b", "a" of "a/b/c"."""
    at = path.rfind("/")
    while at > 0:
        yield path[:at]
        at = path.rfind("/", 0, at)


class PathIndex:
    """Many literal paths, sorted, so that one pattern need not be held against them all."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._forward = sorted(set(paths))
        self._backward = sorted(path[::-1] for path in self._forward)

    def matching(self, pattern: str) -> list[str]:
        """The paths that the pattern matches."""
        candidates = self._candidates(pattern.rstrip("/"))
        return list(filter(matcher(pattern), candidates)) if candidates else []

    def below(self, folder: str) -> list[str]:
        """The paths inside `folder`, at any depth."""
        return _starting(self._forward, f"{folder}/")

    def _candidates(self, pattern: str) -> list[str]:
        """The paths with the pattern's fixed beginning, or fixed end if those are fewer."""
        head = _starting(self._forward, _WILD.split(pattern, maxsplit=1)[0])
        end = re.split(r"[*?\[\]]", pattern)[-1]
        if len(head) < 16 or not end or pattern.endswith("**"):
            return head
        tail = _starting(self._backward, end[::-1])
        return head if len(head) <= len(tail) else [path[::-1] for path in tail]


def _starting(ordered: list[str], prefix: str) -> list[str]:
    return ordered[bisect_left(ordered, prefix) : bisect_left(ordered, prefix + _HIGHEST)]


def _translated(parts: list[str]) -> str:
    *folders, last = parts
    head = "".join(_FOLDERS if part == "**" else f"{_component(part)}/" for part in folders)
    return head + (f"{_FOLDERS}(?!\\.)[^/]+" if last == "**" else _component(last))


def _component(part: str) -> str:
    """One name of a pattern as a regular expression that never crosses a slash."""
    hidden = r"(?!\.)" if part[:1] in "*?[" and part else ""
    pieces = re.split(r"(\*+|\?|\[!?\]?[^\]]*\])", part)
    return hidden + "".join(_piece(piece) for piece in pieces)


def _piece(piece: str) -> str:
    if piece.startswith("*"):
        return "[^/]*"
    if piece == "?":
        return "[^/]"
    if len(piece) > 2 and piece[0] == "[" and piece[-1] == "]":
        return _bracket(piece[1:-1])
    return re.escape(piece)


def _bracket(inside: str) -> str:
    negated = "^" if inside[0] == "!" else ""
    members = re.sub(r"([\\\[\]^&~|])", r"\\\1", inside[1:] if negated else inside)
    try:
        re.compile(f"[{negated}{members}]")
    except re.error:  # a reversed range such as [z-a] matches nothing, as in a shell
        return r"(?!)"
    return f"(?!/)[{negated}{members}]"
