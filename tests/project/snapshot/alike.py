"""Whether a snapshot that was made of an earlier one is what a copy is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pit.fs.stat import signature
from pit.project.manifest import Manifest
from pit.project.snapshot.snapshot import Snapshot

SOON = 25_000_000
"""Nanoseconds after which two changes bear different times, on the disks that tests run on."""


def unlike(made: Path, copy: Path, of: Snapshot, due: Snapshot) -> list[str]:
    """Sentences on where a snapshot is not what a copy is, or its manifest not what it is."""
    taken, all_of = of.manifest, due.manifest
    assert taken is not None
    assert all_of is not None
    one, other = described(made, taken), described(copy, all_of)
    found = [
        f"{place}: {one.get(place)}, not {other.get(place)}"
        for place in sorted(one.keys() | other.keys())
        if one.get(place) != other.get(place)
    ]
    if taken.files.keys() != all_of.files.keys():
        found.append(f"files: {sorted(taken.files.keys() ^ all_of.files.keys())}")
    if (taken.others, taken.folders, taken.links) != (all_of.others, all_of.folders, all_of.links):
        found.append(f"others: {taken.others ^ all_of.others}, {taken.folders ^ all_of.folders}")
    if of.links != due.links:
        found.append(f"inputs: {of.links}, not {due.links}")
    for place, copied in taken.files.items():
        info = os.lstat(made / place)
        if copied.copy != signature(info):
            found.append(f"{place} does not look as it was noted")
        if info.st_nlink != 1:
            found.append(f"{place} has another name elsewhere")
        if copied.live != all_of.files[place].live:
            found.append(f"{place} was copied of another file")
    return found


def described(root: Path, taken: Manifest) -> dict[str, tuple[object, ...]]:
    """All that is to be seen of a snapshot, by place; folders that were made for links to inputs
    have no times of their own."""
    found: dict[str, tuple[object, ...]] = {}
    for path in (root, *root.rglob("*")):
        info = path.lstat()
        kind = stat.S_IFMT(info.st_mode)
        what: tuple[object, ...] = (kind, stat.S_IMODE(info.st_mode), info.st_mtime_ns)
        if stat.S_ISLNK(kind):
            what = (kind, os.readlink(path), info.st_nlink)
        elif stat.S_ISREG(kind):
            what = (*what, info.st_uid, info.st_gid, path.read_bytes())
        elif path != root and str(path.relative_to(root)) not in taken.folders:
            what = what[:2]
        found[str(path.relative_to(root))] = what
    return found
