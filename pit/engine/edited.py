"""A hint, and a cheap one: an input or target is plainly not what it was, so a look is in vain.

What the hint misses, the look finds, and what it says too much, the run finds out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pit.engine.fingerprint import CODE
from pit.model import Task
from pit.project.snapshot import digest
from pit.state.digests import Seen

_SMALL = 1 << 20
"""Bytes up to which a file is read to see whether it was edited."""


def is_edited(tasks: Sequence[Task], project: Path, known: Mapping[str, Seen]) -> bool:
    """Whether a file that one of the tasks names is not as the digest cache has it.

    Code counts by its meaning, so nothing is said of it.
    """
    named = {path for task in tasks for path in (*(task.inputs or ()), *task.targets)}
    paths = (f"{project}/{path}" for path in named)
    return any(_differs(path, known[path]) for path in paths if path in known)


def _differs(path: str, seen: Seen) -> bool:
    try:
        info = os.stat(path)
    except OSError:
        return False
    times = info.st_mtime_ns, info.st_ctime_ns
    if seen[:5] == (info.st_dev, info.st_ino, info.st_size, *times) or path.endswith(CODE):
        return False
    if info.st_size != seen[2]:
        return True
    with suppress(OSError):
        return info.st_size <= _SMALL and digest.digest_file(path).digest != seen[5]
    return False
