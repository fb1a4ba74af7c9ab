"""Database files among a task's inputs and targets: what counts of them beside the file itself.

SQLite and DuckDB keep what was committed last in a journal beside the file until they write it
back, and every reader sees it there: so a database's mark covers its journals. What SQLite shares
between its processes (`-shm`), and a journal with nothing in it, come and go when somebody only
looks, so they count for nothing.

A database is known by its name. To write a journal back changes the mark, though no row has.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Protocol

from pit.model import FileMark
from pit.project.selection import is_database

_JOURNALS = ("-wal", "-journal", ".wal")
_SHARED = "-shm"


class Marks(Protocol):
    """What tells the mark of a file, as `Digests` does."""

    def of(self, path: str, info: os.stat_result | None = None) -> FileMark:
        """The mark of a file; OSError if it cannot be read."""


def database_mark(path: str, digests: Marks, info: os.stat_result | None = None) -> FileMark:
    """The mark of a file, and if it is a database, of what its journals hold; `info` is its stat.

    A database without journals has the mark of its file. Raises as `digests` does.
    """
    mark = digests.of(path, info)
    if not is_database(path) or _is_beside(path):
        return mark
    held: dict[tuple[str, str], int] = {}
    for journal in filled_journals(path):
        try:
            found = digests.of(journal)
            held[_is_beside(journal), found.digest] = found.size
        except FileNotFoundError:  # it has just been written back, and the file has changed
            mark = digests.of(path)
    if not held:
        return mark
    from blake3 import blake3

    texts = "".join(f"\0{suffix}\0{digest}" for suffix, digest in sorted(held))
    digest = blake3(f"database\0{mark.digest}{texts}".encode()).hexdigest()
    return FileMark(digest=digest, size=mark.size + sum(held.values()))


def journals(path: str) -> tuple[str, ...]:
    """Where the journals of a database would lie; none for any other file, or for a journal.

    Of one that is reached by a link they lie beside the link or the file, as the database likes.
    """
    if not is_database(path) or _is_beside(path):
        return ()
    places = dict.fromkeys((path, os.path.realpath(path)))
    return tuple(place + suffix for place in places for suffix in _JOURNALS)


def filled_journals(path: str) -> tuple[str, ...]:
    """The journals that hold rows which the file of a database does not have yet."""
    return tuple(filter(_is_filled, journals(path)))


def belongs(path: str) -> bool:
    """Whether a file lies beside a database as a part of it, so that it has no mark of its own."""
    suffix = _is_beside(path)
    return bool(suffix) and is_database(path) and os.path.lexists(path[: -len(suffix)])


def parts(path: str) -> Iterator[str]:
    """The files that count when `path` is read: itself, and if it is a database, the journals with
    something in them; nothing for what only belongs to one."""
    if not is_database(path):
        yield path
    elif not belongs(path):
        yield path
        yield from filled_journals(path)
    elif not path.endswith(_SHARED) and _is_filled(path):
        yield path


def _is_beside(path: str) -> str:
    """What the name of a journal, or of what is shared, ends with; empty for any other file."""
    return next((suffix for suffix in (*_JOURNALS, _SHARED) if path.endswith(suffix)), "")


def _is_filled(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except OSError:
        return False
