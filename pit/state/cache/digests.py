"""The digest cache of a machine: what each file held when it was last read, and its stat then.

A cache and nothing more: whoever uses it decides what of a stat must stand for a digest to hold.
Paths are absolute. Losing a row costs reading a file once, so that all of it may go at any time.

It lies in the file of the store, because whoever looks has that open already: a file of its own
would be opened, locked and synced beside it each time. Nothing else connects the two, and what is
written here is not history: the store's revision does not move.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing, suppress
from typing import Any

from pit.errors import PitError
from pit.state.store.database import Database, open_for_writing

# device, inode, size in bytes, mtime and ctime in nanoseconds, BLAKE3 in hex
Seen = tuple[int, int, int, int, int, str]

_INSERT = """
    INSERT OR REPLACE INTO digests (path, device, inode, size, mtime_ns, ctime_ns, digest)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""
_SELECT = "SELECT path, device, inode, size, mtime_ns, ctime_ns, digest FROM digests"
_SIGNED = 1 << 63
_WORD = 1 << 64


class DigestCache:
    """The digest cache in an open database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, *folders: str) -> dict[str, Seen]:
        """What is known of the files under some folders, or of all, by path."""
        if not folders:
            return _decoded(self._database.query(_SELECT))
        known: dict[str, Seen] = {}
        for folder in folders:
            known |= _decoded(self._database.query(f"{_SELECT} WHERE {_UNDER}", _bounds(folder)))
        return known

    def save(self, changes: Mapping[str, Seen | None]) -> None:
        """Writes what changed, in one commit; None drops a path.

        A database that was opened for reading is opened anew for this alone, if it can be: if not,
        or if there is none, what was digested is digested again the next time.
        """
        if not changes or not self._database.exists:
            return
        if self._database.writable:
            self._write(changes)
            return
        with suppress(PitError), closing(open_for_writing(self._database.path)) as database:
            DigestCache(database)._write(changes)

    def sweep(self) -> int:
        """Drops what is known of files that are gone; returns how many they were."""
        gone = [path for path in self.load() if not os.path.lexists(path)]
        if gone:
            self._write(dict.fromkeys(gone))
        return len(gone)

    def _write(self, changes: Mapping[str, Seen | None]) -> None:
        kept = [(_key(path), *_fitting(seen)) for path, seen in changes.items() if seen is not None]
        gone = [(_key(path),) for path, seen in changes.items() if seen is None]
        with self._database.transaction(revised=False) as connection:
            connection.executemany(_INSERT, kept)
            connection.executemany("DELETE FROM digests WHERE path = ?", gone)


# Names that are not UTF-8 are kept as bytes, which come after all text.
_UNDER = "path >= ?1 AND path < ?2 OR path >= ?3 AND path < ?4"


def _bounds(folder: str) -> tuple[str | bytes, ...]:
    # "0" follows "/": between them lies everything under the folder.
    ends = (f"{folder.rstrip('/')}/", f"{folder.rstrip('/')}0")
    texts = tuple(end.encode("utf-8", "replace").decode() for end in ends)
    return (*texts, *(os.fsencode(end) for end in ends))


def _decoded(rows: list[tuple[Any, ...]]) -> dict[str, Seen]:
    known: dict[Any, Any] = {row[0]: row[1:] for row in rows}
    odd = [
        path for path, seen in known.items() if seen[0] < 0 or seen[1] < 0 or type(path) is bytes
    ]
    for path in odd:
        device, inode, *rest = known.pop(path)
        known[os.fsdecode(path)] = (device % _WORD, inode % _WORD, *rest)
    return known


def _fitting(seen: Seen) -> Seen:
    """Numbers as SQLite's 64 bits with a sign take them; some file systems use all the bits.

    A time that does not fit, of a file from the far future, is kept wrong: read again each time.
    """
    device, inode, size, mtime, ctime, digest = seen
    return (_signed(device), _signed(inode), size, _signed(mtime), _signed(ctime), digest)


def _signed(number: int) -> int:
    return (number + _SIGNED) % _WORD - _SIGNED


def _key(path: str) -> str | bytes:
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path
