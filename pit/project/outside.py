"""Targets outside of a run's snapshot, which a task writes itself: whether an attempt has done so.

What stood there before counts as made only if something about it has changed: content, size or
times of a file, or what a folder holds. A program that writes the same bytes again changes a time,
and one that wants to say that all is right as it stands touches the file.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from pit.project import selection

_SECOND = 1_000_000_000
_TICK = 20_000_000
"""Nanoseconds in which two changes may bear the same time."""

Signature = tuple[int, int, int, int, int]
Looks = Mapping[str, Mapping[str, Signature]]
"""By target, the signatures of all that it names, by path."""

_JOURNALS = ("-wal", "-journal", ".wal")


def looks(targets: Iterable[str]) -> Looks:
    """How the absolute ones of these targets stand before an attempt.

    Waits, for a moment, until whatever the attempt changes will bear another time.
    """
    found = {target: dict(_signatures(target)) for target in targets if os.path.isabs(target)}
    times = [seen[4] for each in found.values() for seen in each.values()]
    if times:
        _wait(max(times))
    return found


def untouched(before: Looks) -> tuple[str, ...]:
    """The targets that stand exactly as they did before the attempt."""
    return tuple(
        target for target, seen in before.items() if seen and dict(_signatures(target)) == seen
    )


def _wait(newest: int) -> None:
    margin = _TICK if newest % _SECOND else 2 * _SECOND
    left = newest + margin - time.time_ns()
    if 0 < left <= margin:
        time.sleep(left / _SECOND)


def _signatures(target: str) -> Iterator[tuple[str, Signature]]:
    for place in selection.matching("/", target.lstrip("/")):
        todo = [f"/{place}"]
        while todo:
            path = todo.pop()
            with suppress(OSError):  # it has gone meanwhile, or is closed to us
                yield path, _signature(os.lstat(path))
                info = os.stat(path)
                yield f"{path}/", _signature(info)  # where a link leads
                if stat.S_ISDIR(info.st_mode) and (path == f"/{place}" or not os.path.islink(path)):
                    todo.extend(f"{path}/{name}" for name in os.listdir(path))
            if selection.is_database(path):
                yield from _journals(path)


def _journals(path: str) -> Iterator[tuple[str, Signature]]:
    """The files in which a database keeps what is not in its own file yet."""
    for journal in _JOURNALS:
        with suppress(OSError):
            yield path + journal, _signature(os.stat(path + journal))


def _signature(info: os.stat_result) -> Signature:
    return (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
