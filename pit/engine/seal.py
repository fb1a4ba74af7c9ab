"""Seals: how every file looked when all of a DAG was current, so that "nothing to do" is one pass.

A look at ten thousand tasks costs a second, and most runs find nothing to do. So when a look has
found everything current, the stats of all that it depended on are kept in `.pit/seals/`: each file
that it read, each folder of the project (a new or missing name moves its time), the files that
configure the workspace, and how far the store had come. While all that stands, nothing else can
have changed. A seal may be deleted at any time; the next run then looks properly.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from pit.model import Record, WorkspaceConfig

FORMAT = 2
_SECOND = 1_000_000_000
_YOUNG, _YOUNG_BY_SECONDS = 100_000_000, 2 * _SECOND
"""Nanoseconds in which two changes may bear the same time, generously; where times are whole
seconds, as on older file systems, the other number."""

Stat = tuple[int, int, int, int, int]
"""Device, inode, size, and modification and change time in nanoseconds."""


class Seal(Record):
    """What stood when all was current; `mark` is how far the store had come, `tasks` how many.

    `requires` are the DAG's requirements, which age, so they are checked each time. `databases`
    are files of which only the identity counts, for their content is not looked at. `asked`: a
    database had to be asked as well, whose answer no file tells, so it is good for once.
    """

    format: int
    version: str
    dag: str
    project: str
    day: str
    mark: tuple[int, int]
    tasks: int
    requires: dict[str, float]
    params: dict[str, str]
    paths: list[str]
    stats: list[Stat]
    absent: list[str]
    databases: dict[str, tuple[int, int, int]]
    asked: bool = False


def place(config: WorkspaceConfig, dag: str, selection: str, given: Mapping[str, str]) -> Path:
    """Where the seal of a DAG, a selection, parameters as typed and a secrets file is kept.

    A copy of the workspace has no seal, though it has the file: that speaks of the other's files.
    """
    pairs = (f"{name}={value}" for name, value in sorted(given.items()))
    words = (str(config.root), str(config.secrets_file), dag, selection, *pairs)
    name = hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest()
    return config.cache_dir / "seals" / name[:32]


def version(fingerprints: int) -> str:
    """What must be the same for a seal to hold: how Pit looks, and how uv chooses a Python."""
    chosen = sorted(item for item in os.environ.items() if item[0].startswith(("UV_", "VIRTUAL_")))
    return f"{fingerprints} {chosen}"


def today() -> str:
    """The day that a seal is good for: parameters may default to it."""
    return time.strftime("%Y-%m-%d")


def unbroken(path: Path, version: str, mark: tuple[int, int]) -> Seal | None:
    """The seal at `path` if everything is as it says, else None."""
    try:
        seal = msgspec.msgpack.decode(path.read_bytes(), type=Seal)
    except (OSError, msgspec.MsgspecError):
        return None
    told = (seal.format, seal.version, seal.day, seal.mark)
    if told != (FORMAT, version, today(), mark) or any(map(os.path.lexists, seal.absent)):
        return None
    stat = os.stat
    try:
        for name, was in zip(seal.paths, seal.stats, strict=True):
            info = stat(name)
            if was != (
                info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns,
            ):  # fmt: skip
                return None
        for name, file in seal.databases.items():
            from pit.fs.identity import file_identity  # most projects have none

            if file != file_identity(name):
                return None
    except OSError:
        return None
    return seal


def write(path: Path, seal: Seal) -> None:
    """Keep a seal; a disk that cannot be written keeps none, nor a name that is not UTF-8."""
    temporary = path.with_name(f".pit-{path.name}-{os.getpid()}")
    with suppress(OSError, UnicodeEncodeError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary.write_bytes(msgspec.msgpack.encode(seal))
        os.replace(temporary, path)


class TooYoung(Exception):
    """A file changed so shortly before the look that another change could bear the same time.

    Nothing else is in the way: after `seconds` another look can be relied on.
    """

    def __init__(self, nanoseconds: int) -> None:
        super().__init__(nanoseconds)
        self.seconds = nanoseconds / _SECOND


def settled(paths: Iterable[str], known: Mapping[str, Stat], when: int) -> dict[str, Stat] | None:
    """The stats of these paths, `known` ones as they were; None if one may have changed since
    `when`, in nanoseconds of Unix time. Raises TooYoung."""
    found: dict[str, Stat] = {}
    wait = 0
    for path in paths:
        stat = known.get(path) or _stat(path)
        if stat is None:
            return None
        newest = max(stat[3], stat[4])
        if newest > when:
            return None
        wait = max(wait, newest + (_YOUNG if newest % _SECOND else _YOUNG_BY_SECONDS) - when)
        found[path] = stat
    if wait > 0:
        raise TooYoung(wait)
    return found


def folders(root: str, left_out: frozenset[str]) -> Iterator[str]:
    """`root` and every folder below it, through links too, but for the names that are left out.

    OSError for a link to a folder that contains `root`: below it lies, maybe, the whole disk.
    """
    top = os.path.realpath(root)
    todo, linked = [root], {top}
    while todo:
        folder = todo.pop()
        yield folder
        for path, is_link in _below(folder, left_out):
            if is_link:
                real = os.path.realpath(path)
                if os.path.commonpath((real, top)) == real:
                    raise OSError(errno.ELOOP, "leads to a folder that contains it", path)
                if real in linked:
                    continue
                linked.add(real)
            todo.append(path)


def _below(folder: str, left_out: frozenset[str]) -> list[tuple[str, bool]]:
    """The folders in a folder, and whether each is a link; none if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return [
                (entry.path, entry.is_symlink())
                for entry in entries
                if entry.name not in left_out and entry.is_dir()
            ]
    except OSError:
        return []


def _stat(path: str) -> Stat | None:
    try:
        info = os.stat(path)
    except OSError:
        return None
    return (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
