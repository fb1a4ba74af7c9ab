"""Digests of a snapshot's files, answered by what is known of the live files behind them.

A snapshot's files are new on the disk in every run, so nothing is known of them themselves. But
where the live file has not changed since before the snapshot was begun, and the copy not since it
was finished, both have the content that was there when the live file was last read.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pit.model import FileMark
from pit.project.snapshot.digest import Digests

_YOUNG = 50_000_000
"""Nanoseconds in which two changes may bear the same time."""


class Frozen(Digests):
    """The digests of one run: of its snapshot, and of the live files that it reads in place.

    `began` and `ended` are when the snapshot was taken, in Unix seconds.
    """

    def __init__(
        self, live: Digests, snapshot: Path, project: Path, began: float, ended: float
    ) -> None:
        super().__init__()
        self._live = live
        self._snapshot, self._project = f"{snapshot}/", f"{project}/"
        self._began, self._ended = int(began * 1e9) - _YOUNG, int(ended * 1e9)

    def of(self, path: str, info: os.stat_result | None = None) -> FileMark:
        """The mark of a file in the snapshot, or of a live one by its path."""
        if not path.startswith(self._snapshot):
            return self._live.of(path)
        try:
            copy = os.lstat(path)
        except OSError:
            return super().of(path)
        if stat.S_ISLNK(copy.st_mode):
            real = os.path.realpath(path)
            return super().of(path) if real.startswith(self._snapshot) else self._live.of(real)
        twin = self._project + path[len(self._snapshot) :]
        live = self._untouched(copy, twin)
        if live is None:
            return super().of(path)
        known = self._live.recall(twin, live)
        if known is None:
            known = super().of(path)
            self._live.learn(twin, live, known.digest)
        return known

    def _untouched(self, copy: os.stat_result, twin: str) -> os.stat_result | None:
        """The live file's stat, if it and its copy still are what the snapshot took."""
        try:
            live = os.stat(twin)
        except OSError:
            return None
        same = (copy.st_size, copy.st_mtime_ns) == (live.st_size, live.st_mtime_ns)
        if same and live.st_ctime_ns < self._began and copy.st_ctime_ns < self._ended:
            return live
        return None
