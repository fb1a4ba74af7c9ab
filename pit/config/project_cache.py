"""The compile cache: valid pit.toml files as they were read, so that none is parsed twice.

Reading and checking ten thousand tasks costs half a second. So a project that was found to be
right is kept in `.pit/projects/`, with the stat of its pit.toml, the scripts that its tasks name
and the code that has read it. While all of that stands, reading it again would say the same. What
is wrong with a project is never kept, nor what depends on other projects.

A file of the cache is MessagePack, readable and writable by its owner alone. One that is broken,
of another Pit or somebody else's counts as none; all may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from pit import model
from pit.config.project import FILE, Project, read_project
from pit.config.toml.findings import Findings, label
from pit.fs import atomic
from pit.model import Dag, Record

FORMAT = 1
FOLDER = "projects"

_MANY = 100
"""Fewer tasks are read as fast as they are found in a cache."""

_SECOND = 1_000_000_000
_YOUNG, _YOUNG_BY_SECONDS = 100_000_000, 2 * _SECOND
"""Nanoseconds in which two changes may bear the same time, generously; where times are whole
seconds, as on older file systems, the other number."""

Stat = tuple[int, int, int, int, int]
"""Device, inode, size, and modification and change time in nanoseconds."""


class Compiled(Record):
    """One project as it was read: `reader` says by which code, `folder` where."""

    format: int
    reader: str
    folder: str
    toml: Stat
    scripts: list[str]
    dag: Dag


def project(folder: Path, root: Path, cache_dir: Path) -> Project:
    """As `read_project` has it, from the cache where that still holds; keeps what is valid."""
    place = _place(cache_dir, folder)
    toml = folder / FILE
    found = _kept(place, folder, _stat(toml))
    if found is not None:
        return Project(folder, found.name, found, Findings(label(toml, root)))
    began, before = time.time_ns(), _stat(toml)
    read = read_project(folder, root)
    if read.dag is None or read.findings or len(read.dag.tasks) < _MANY:
        return read
    # A file so young may change again without another time to show for it.
    if before is not None and _is_settled(before, began) and _stat(toml) == before:
        _keep(place, folder, before, read.dag)
    return read


def _place(cache_dir: Path, folder: Path) -> Path:
    name = hashlib.sha256(os.fsencode(folder.name)).hexdigest()
    return cache_dir / FOLDER / name[:32]


def _is_settled(look: Stat, when: int) -> bool:
    newest = max(look[3:])
    return newest < when - (_YOUNG if newest % _SECOND else _YOUNG_BY_SECONDS)


def _stat(path: Path) -> Stat | None:
    try:
        info = os.stat(path)
    except OSError:
        return None
    return (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


# ---------------------------------------------------------------- read


def _kept(place: Path, folder: Path, toml: Stat | None) -> Dag | None:
    """The DAG that was kept of a project, if nothing says that it would be read otherwise."""
    raw = None if toml is None else _own(place)
    if raw is None:
        return None
    try:
        found = _decoded(raw)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        return None
    told = (found.format, found.reader, found.folder, found.toml)
    if told != (FORMAT, _reader(), str(folder), toml):
        return None
    return found.dag if all(_is_file(f"{folder}/{script}") for script in found.scripts) else None


def _own(place: Path) -> bytes | None:
    """The content of a cache file, if nobody else can have written it."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        info = os.fstat(descriptor)
        ours = stat.S_ISREG(info.st_mode) and info.st_uid == os.geteuid()
        if not ours or info.st_mode & 0o022:
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def _decoded(raw: bytes) -> Compiled:
    return msgspec.msgpack.decode(raw, type=Compiled, dec_hook=_path)


def _path(kind: type, text: Any) -> Any:
    if kind is Path:
        return Path(text)
    raise TypeError(f"no way to read a {kind.__name__}")


@cache
def _reader() -> str:
    """The code that reads and checks a pit.toml, and the Python that runs it.

    Each file by its stat, so that a Pit that was changed in place reads everything anew.
    """
    config, package = os.path.dirname(__file__), os.path.dirname(model.__file__)
    rooms = [config, *(entry.path for entry in os.scandir(config) if entry.is_dir())]
    rooms += [os.path.join(package, each) for each in ("fs", "text")]
    facts = [sys.version, _look("model", os.stat(model.__file__))]
    for room in sorted(rooms):
        for entry in sorted(os.scandir(room), key=lambda entry: entry.name):
            if entry.name.endswith(".py"):
                facts.append(_look(entry.path, entry.stat()))
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()


def _look(name: str, info: os.stat_result) -> str:
    return f"{name} {info.st_ino} {info.st_size} {info.st_mtime_ns}"


# ---------------------------------------------------------------- written


def _keep(place: Path, folder: Path, toml: Stat, dag: Dag) -> None:
    """Write a cache file whole or not at all; a disk that cannot be written keeps none."""
    compiled = Compiled(
        format=FORMAT,
        reader=_reader(),
        folder=str(folder),
        toml=toml,
        scripts=list(dict.fromkeys(task.script for task in dag.tasks if task.script)),
        dag=dag,
    )
    try:
        raw = msgspec.msgpack.encode(compiled, enc_hook=str)
        if _decoded(raw) != compiled:  # a date among an output's own keys, for one
            return
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError):
        return
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        atomic.write(place, raw)
