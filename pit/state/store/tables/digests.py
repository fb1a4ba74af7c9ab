"""The digest cache of a workspace: what each file held when it was last read, and its stat then.

A cache and nothing more: whoever uses it decides what of a stat must stand for a digest to hold.
Paths are absolute. Losing a row costs reading a file once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pit.state.store.database import Database

# device, inode, size in bytes, mtime and ctime in nanoseconds, BLAKE3 in hex
Seen = tuple[int, int, int, int, int, str]

_INSERT = """
    INSERT OR REPLACE INTO digests (path, device, inode, size, mtime_ns, ctime_ns, digest)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""
_SELECT = "SELECT path, device, inode, size, mtime_ns, ctime_ns, digest FROM digests"
_SIGNED = 1 << 63
_WORD = 1 << 64


def load(database: Database, *folders: str) -> dict[str, Seen]:
    """What is known of the files under some folders, or of all, by path."""
    if not folders:
        return _decoded(database.query(_SELECT))
    known: dict[str, Seen] = {}
    for folder in folders:
        known |= _decoded(database.query(f"{_SELECT} WHERE {_UNDER}", _bounds(folder)))
    return known


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


def save(database: Database, changes: Mapping[str, Seen | None]) -> None:
    """Writes what changed, in one commit; None drops a path."""
    kept = [(_key(path), *_fitting(seen)) for path, seen in changes.items() if seen is not None]
    gone = [(_key(path),) for path, seen in changes.items() if seen is None]
    with database.transaction() as connection:
        connection.executemany(_INSERT, kept)
        connection.executemany("DELETE FROM digests WHERE path = ?", gone)


def sweep(database: Database) -> int:
    """Drops what is known of files that are gone; returns how many they were."""
    gone = [path for path in load(database) if not os.path.lexists(path)]
    if gone:
        save(database, dict.fromkeys(gone))
    return len(gone)


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
