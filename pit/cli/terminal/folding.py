"""Many lines that say the same become one: the instances of a matrix, where a screen is too small.

`report ×118` in place of `report:ABE`, `report:ABI` and so on, as long as one thing is true of all.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

SCREEN = 20
"""So many lines are shown one by one."""

_FEWEST = 4


class Line(NamedTuple):
    """What one line is about: its name, and which of the tasks it stands for, by position."""

    name: str
    of: tuple[int, ...]


def folded(tasks: Sequence[tuple[str, Hashable]], times: str = "×") -> list[Line]:
    """The lines for tasks, given as their names and what is said of each; None is never folded.

    A fold stands where the first of its tasks stood. What fits on a screen stays as it is.
    """
    alone = [Line(name, (at,)) for at, (name, _) in enumerate(tasks)]
    if len(tasks) <= SCREEN:
        return alone
    groups: dict[tuple[str, Hashable], list[int]] = {}
    for at, (name, said) in enumerate(tasks):
        home, colon, _ = name.partition(":")
        if colon and said is not None:
            groups.setdefault((home, said), []).append(at)
    lines = {at: line for at, line in enumerate(alone)}
    for (home, _), members in groups.items():
        if len(members) >= _FEWEST:
            for at in members:
                del lines[at]
            lines[members[0]] = Line(f"{home} {times}{len(members):,}", tuple(members))
    return [lines[at] for at in sorted(lines)]
