"""The numbers of rows that `max_change` compares with, kept until a script succeeds.

What a script has done stands though it failed, and must not be what the next attempt, or the next
run, is compared with.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from pit.fs import atomic


class Baseline:
    """The file of one task: tables and their rows, by database; there only after a failure.

    A file that says nothing is none, and one that cannot be written is missed: the comparison is
    then with the tables as they are. `before` is what an attempt before has kept.
    """

    def __init__(self, path: str, database: str) -> None:
        self._path, self._database = Path(path), database
        self.before = self._all().get(database, {})

    def keep(self, rows: Mapping[str, int]) -> None:
        """Keep the rows of tables, those of before the first attempt that failed."""
        self._write({**rows, **self.before})

    def restore(self) -> None:
        """This attempt has changed nothing: only what was kept before it stays."""
        self._write(self.before)

    def clear(self) -> None:
        """The script has succeeded: the next is compared with what it has left."""
        self._write({})

    def _all(self) -> dict[str, dict[str, int]]:
        with suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, dict[str, int]])
        return {}

    def _write(self, rows: Mapping[str, int]) -> None:
        everything = self._all()
        others = {name: kept for name, kept in everything.items() if name != self._database}
        wanted = {**others, self._database: dict(rows)} if rows else others
        with suppress(OSError):
            if not wanted:
                self._path.unlink(missing_ok=True)
            elif wanted != everything:
                _replace(self._path, msgspec.json.encode(wanted))


def _replace(path: Path, data: bytes) -> None:
    """Give a file other content, which is there after a power cut: tables may have changed."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    atomic.write(path, data, durable=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
