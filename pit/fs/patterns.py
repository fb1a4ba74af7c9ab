"""Paths and glob patterns as `inputs` and `targets` use them, without touching a disk.

`*`, `?` and `[…]` stay within one folder, `**` crosses folders, and as in a shell none of
them matches a name that begins with a dot.

To hold a path against a pattern costs at most the length of the one times that of the other: what
stands between two wildcards is kept where it is first found. A later place could not help, since
the wildcard behind it takes whatever lies between the two.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

from pit.text import regex

_WILD = regex.lazy(r"[*?\[]")
_WILDCARD = regex.lazy(r"\*+|\?|\[!?\]?[^\]/]*\]")
_FOLDER = r"(?:(?!\.)[^/]+/)"
_STARS = regex.lazy(r"\*+")
_HIGHEST = "\U0010ffff"


def is_pattern(path: str) -> bool:
    """Whether `path` has wildcards."""
    return _WILD.search(path) is not None


def matches(pattern: str, path: str) -> bool:
    """Whether an input or target as written, literal or pattern, matches `path`."""
    if not is_pattern(pattern):
        return pattern.rstrip("/") == path.rstrip("/")
    return matcher(pattern)(path.rstrip("/"))


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> re.Pattern[str]:
    """A regular expression whose `fullmatch` tells whether a path matches the pattern."""
    return re.compile(_translated(parts(pattern)), re.DOTALL)


def parts(pattern: str) -> list[str]:
    """The names that a pattern consists of; `**` after `**` adds nothing."""
    names = pattern.rstrip("/").split("/")
    return [
        name for at, name in enumerate(names) if name != "**" or at == 0 or names[at - 1] != "**"
    ]


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


def reaching(pattern: str) -> Callable[[str], bool]:
    """A predicate on folders: whether the pattern may match anything below one."""
    names = parts(pattern)
    fits = [_fits(name) for name in names]
    deepest = len(names) if names[-1] == "**" else len(names) - 1

    def reaches(folder: str) -> bool:
        # How many names of the pattern may be used up, each folder on the way having one of them.
        used, next_ = set[int](), _onwards(names, {0})
        for name in folder.split("/"):
            used = {at + 1 for at in next_ if at < len(names) and fits[at](name)}
            next_ = _onwards(names, used)
        return any(count <= deepest for count in used)

    return reaches


def _onwards(names: Sequence[str], used: Iterable[int]) -> set[int]:
    """Which names of a pattern may come next: `**` stands for another folder too, or for none."""
    found = set(used)
    found |= {count - 1 for count in found if count and names[count - 1] == "**"}
    return found | {at + 1 for at in found if at < len(names) and names[at] == "**"}


def _fits(part: str) -> Callable[[str], object]:
    if part == "**":
        return lambda name: name != "" and not name.startswith(".")
    return re.compile(_component(part), re.DOTALL).fullmatch


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
        end = re.split(r"[*?\[\]]", pattern)[-1].removeprefix("/")  # `**/x` matches x as well
        if len(head) < 16 or not end or pattern.endswith("**"):
            return head
        tail = _starting(self._backward, end[::-1])
        return head if len(head) <= len(tail) else [path[::-1] for path in tail]


def _starting(ordered: list[str], prefix: str) -> list[str]:
    return ordered[bisect_left(ordered, prefix) : bisect_left(ordered, prefix + _HIGHEST)]


def _translated(names: Sequence[str]) -> str:
    """A pattern as a regular expression that never looks for anything twice.

    A name matches either hidden folders or others, so what the first `**` passes over, or what
    follows it matches, the next one may pass over too: the first place where the names between
    them are found is as good as any.
    """
    first, *others = _split(names)
    if not others:
        return "/".join(map(_component, first))
    *middle, last = others
    head = "".join(f"{_component(name)}/" for name in first)
    for block in middle:
        head += f"(?>{_FOLDER}*?{''.join(f'{_component(name)}/' for name in block)})"
    return head + f"{_FOLDER}*" + ("/".join(map(_component, last)) or r"(?!\.)[^/]+")


def _split(names: Sequence[str]) -> list[list[str]]:
    """The names before, between and after each `**`."""
    found: list[list[str]] = [[]]
    for name in names:
        if name == "**":
            found.append([])
        else:
            found[-1].append(name)
    return found


def _component(part: str) -> str:
    """One name of a pattern as a regular expression that never crosses a slash."""
    hidden = r"(?!\.)" if part[:1] in "*?[" and part else ""
    texts = [""]
    for piece in re.split(r"(\*+|\?|\[!?\]?[^\]]*\])", part):
        if _STARS.fullmatch(piece):
            texts.append("")
        else:
            texts[-1] += _piece(piece)
    if len(texts) == 1:
        return hidden + texts[0]
    first, *middle, last = texts
    between = "".join(f"(?>[^/]*?{text})" for text in middle)
    return f"{hidden}{first}{between}(?>[^/]*{last})"


def _piece(piece: str) -> str:
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
