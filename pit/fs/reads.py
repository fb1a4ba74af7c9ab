"""The account of one look: all that it has read, so that later one pass can tell whether it stands.

Whoever reads something that decides a look (files, folders, settings, the axes of a matrix, an
interpreter) writes it down here, and nothing else is watched: what is not in the account did not
count.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from pit.fs.stat import Signature, look, signature, young_for


class Reads:
    """What one look depended on.

    `files` and `folders` are paths by how they looked when they were read; `absent` are paths at
    which nothing was; `identities` are databases, of which counts only which files they are.
    `facts` are named values such as the day. `unwatched` says what was read that nobody could
    watch; empty if there was nothing of the kind.
    """

    __slots__ = ("absent", "facts", "files", "folders", "identities", "unwatched")

    def __init__(self) -> None:
        self.files: dict[str, Signature] = {}
        self.folders: dict[str, Signature] = {}
        self.absent: dict[str, None] = {}
        self.identities: dict[str, tuple[int, int, int]] = {}
        self.facts: dict[str, str] = {}
        self.unwatched = ""

    def file(self, path: str, info: os.stat_result) -> None:
        """A file is read that looks like `info`."""
        self.files[path] = signature(info)

    def folder(self, path: str) -> None:
        """The names in a folder are about to be read."""
        if path in self.folders:
            return
        found = look(path)
        if found is None:
            self.absent[path] = None
        else:
            self.folders[path] = found

    def path(self, path: str | os.PathLike[str]) -> None:
        """What is at a path, a file or nothing, is about to be read."""
        place = os.fspath(path)
        if place in self.files:
            return
        found = look(place)
        if found is not None:
            self.files[place] = found
        elif os.path.lexists(place):
            self.unwatched = f"{place}, a link that leads nowhere"
        else:
            self.absent[place] = None

    def identity(self, path: str) -> None:
        """Which file a path leads to counts, and nothing else of it."""
        from pit.fs.identity import file_identity  # most looks meet none

        try:
            self.identities[path] = file_identity(path)
        except OSError:
            self.absent[path] = None

    def seen(self) -> Iterator[tuple[str, Signature]]:
        """All files and folders, and how they looked."""
        yield from self.files.items()
        yield from self.folders.items()

    def settled(self, when: int) -> bool:
        """Whether any change after `when`, in nanoseconds of Unix time, will show.

        A file so young that one more change could bear the same time cannot be relied on.
        """
        return all(young_for(seen.ctime, when) <= 0 for _, seen in self.seen())
