"""The manifest of a snapshot: which files were copied, how each looked, and how its copy does.

A digest belongs to the very file that was read. So for each copy the manifest has the signature of
the live file at the moment when it was copied: a digest that is known of exactly that file is the
copy's, and what is read from the copy may be remembered of exactly that file, never of what has
taken its place since. The manifest also says what was in the snapshot before any task wrote there.

It lies beside the snapshot, `runs/<run id>/manifest`, for a retry that takes the snapshot over, and
goes with it where it becomes the base of the next one.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from pit.fs import atomic
from pit.fs.stat import Signature, signature
from pit.model import FileMark, Record
from pit.project.digest import Digests

FORMAT = 1


class Copied(Record, array_like=True):
    """One file: how the live one looked, how the copy does, and whether a later edit of the live
    one would have shown, so that its digest may be remembered."""

    live: Signature
    copy: Signature
    settled: bool


class Manifest(Record):
    """What a snapshot took: files by their place, and the places of all else, links and folders.

    `project` is the live project. Of what is no file, `folders` and `links`, these with their text,
    have their model in the project; the rest was made for inputs that are read live.
    """

    project: str
    files: dict[str, Copied]
    others: set[str]
    folders: set[str] = set()  # noqa: RUF012
    links: dict[str, str] = {}  # noqa: RUF012
    format: int = FORMAT

    def has(self, place: str) -> bool:
        """Whether something was taken at a place."""
        return place in self.files or place in self.others

    def mark(
        self, place: str, info: os.stat_result, digests: Digests, known: Digests, path: str
    ) -> FileMark:
        """The mark of a copy at `path` that looks like `info` now.

        `known` are the digests of live files, `digests` those of the snapshot's own.
        """
        copied = self.files.get(place)
        if copied is None or copied.copy != signature(info):
            return digests.of(path, info)
        live = f"{self.project}/{place}"
        found = known.recall(live, copied.live)
        if found is None:
            found = digests.of(path, info)
            if copied.settled:
                known.learn(live, copied.live, found.digest)
        return found


def write(manifest: Manifest, path: Path) -> None:
    """Keep a manifest; where that fails, a retry reads its files anew."""
    with suppress(OSError, UnicodeEncodeError):
        atomic.write(path, msgspec.msgpack.encode(manifest))


def read(path: Path) -> Manifest | None:
    """The manifest at a path; None if there is none, or one of another Pit."""
    try:
        found = msgspec.msgpack.decode(path.read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError):
        return None
    return found if found.format == FORMAT else None
