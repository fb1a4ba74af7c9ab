"""What pit.toml lacks of what a task has read and written: pure functions on places.

A place is a path as pit.toml spells it: relative to the project, `{workspace}/…`, or absolute.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from pit.config.dag.placeholders import names_in
from pit.fs.patterns import ancestors, matches
from pit.model import Record

MANY = 4
"""From how many files of one folder and extension on a pattern stands for them."""


class Seen(Record):
    """The places that one attempt of a task read, wrote, and read and then wrote over.

    `code` is what Pit tracks of the task without being told: its script and modules, what the
    tasks that it depends on have made. `opened` is everything, data or not, also what is gone.
    """

    read: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    code: frozenset[str] = frozenset()
    opened: frozenset[str] = frozenset()


class Lacks(Record):
    """What the inputs and targets of a task do not name, and the inputs that it did not open."""

    inputs: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def lacks(
    inputs: Iterable[str],
    targets: Iterable[str],
    seen: Seen,
    matching: Callable[[str], set[str]] = lambda pattern: set(),
) -> Lacks:
    """Holds what was seen against what is declared; `matching` finds files by a pattern."""
    written = [place for place in seen.written if not named(place, targets, deep=True)]
    own = (*seen.written, *targets)
    read = [
        place
        for place in seen.read
        if place not in seen.code and not named(place, inputs) and not named(place, own, deep=True)
    ]
    opened = seen.opened | seen.code  # Python opens no source of which it has the byte code
    return Lacks(
        inputs=collapsed(read, lambda pattern: not any(matches(pattern, each) for each in own)),
        targets=collapsed(written, lambda pattern: matching(pattern) <= set(seen.written)),
        unread=tuple(each for each in inputs if not any(named(place, (each,)) for place in opened)),
    )


def named(place: str, patterns: Iterable[str], deep: bool = False) -> bool:
    """Whether a pattern names a place, or literally a folder above it; `deep`: also by wildcards,
    as a target may be a folder that a pattern matches."""
    for pattern in patterns:
        if matches(pattern, place) or place.startswith(f"{pattern.rstrip('/')}/"):
            return True
        if deep and any(matches(pattern, folder) for folder in ancestors(place)):
            return True
    return False


def collapsed(places: Iterable[str], allowed: Callable[[str], bool]) -> tuple[str, ...]:
    """The places, sorted; a pattern in place of many of one folder and extension, and one with
    `**` in place of many folders. `allowed` has the last word on each pattern."""
    left = set(places)
    for key in (_beside, _below):
        groups: dict[str, set[str]] = {}
        for place in left:
            groups.setdefault(key(place), set()).add(place)
        for pattern, group in groups.items():
            if pattern and len(group) >= MANY and allowed(pattern):
                left = (left - group) | {pattern}
    return tuple(sorted(left))


def _beside(place: str) -> str:
    """The pattern for a place and all of the same extension beside it; empty if there is none."""
    folder, name = os.path.split(place)
    stem, extension = os.path.splitext(name)
    return os.path.join(folder, f"*{extension}") if extension and stem[0] != "." else ""


def _below(place: str) -> str:
    """The pattern for a place and all of the same extension below its topmost folder."""
    inner = place.removeprefix("{workspace}/")
    top, slash, rest = inner.partition("/")
    extension = os.path.splitext(rest)[1]
    if not top or not slash or "/" not in rest or not extension or "/." in f"/{rest}":
        return ""  # an absolute place, one that is not deep, or one that no wildcard reaches
    return f"{place[: len(place) - len(inner)]}{top}/**/*{extension}"


def generalised(place: str, values: Mapping[str, str]) -> str:
    """The place with `{name}` where the value of a parameter or matrix key stands in it.

    Values of a single character are too likely to stand there by chance.
    """
    names = {value: name for name, value in values.items() if len(value) > 1}
    if not names:
        return place
    alternatives = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    whole = re.compile(f"(?<![A-Za-z0-9{{])({alternatives})(?![A-Za-z0-9}}])")
    return whole.sub(lambda found: f"{{{names[found[0]]}}}", place)


def speakable(place: str) -> bool:
    """Whether pit.toml can name a place: it is UTF-8, and has no name in braces of its own."""
    try:
        place.encode()
    except UnicodeEncodeError:
        return False
    return not names_in(place.removeprefix("{workspace}/"))


def together(found: Sequence[Lacks]) -> Lacks:
    """What the instances of one task lack; unread is what none of them has opened."""
    unread = [place for place in found[0].unread if all(place in each.unread for each in found)]
    return Lacks(
        inputs=tuple(dict.fromkeys(place for each in found for place in each.inputs)),
        targets=tuple(dict.fromkeys(place for each in found for place in each.targets)),
        unread=tuple(unread),
    )
