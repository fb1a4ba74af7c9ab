"""What an attempt wrote into the run's copy of the project, though it did not make its target."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pit.project import selection

_SEEN = 20_000
"""So many files are looked at."""
_NAMED = 3
_CLOCK = 0.02
"""Seconds by which the clock of file systems may lag behind."""


def written(root: Path, since: float) -> str:
    """The files that are new or changed since then (Unix seconds), a few of them by name; or ""."""
    found = sorted(_written(root, since))
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(selection.shown(each) for each in found[:_NAMED]) + more


def _written(root: Path, since: float) -> Iterator[str]:
    seen = 0
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not selection.is_left_out(name)]
        for name in names:
            seen += 1
            if seen > _SEEN:
                return
            place = os.path.join(folder, name)
            if not selection.is_left_out(name) and _is_changed(place, since):
                yield os.path.relpath(place, root)


def _is_changed(place: str, since: float) -> bool:
    """Whether a file was written since then, or put there with another's times.

    The copies of a snapshot that was just taken have the times of their models, but for the change
    time, which may be just before.
    """
    try:
        info = os.lstat(place)
    except OSError:  # gone meanwhile
        return False
    return info.st_mtime >= since - _CLOCK or info.st_ctime > since
