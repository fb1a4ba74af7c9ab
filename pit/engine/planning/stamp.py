"""Stamps: the answer "nothing to do", kept with all that it depended on, so that it is one pass.

A look at ten thousand tasks costs a second, and most runs find nothing to do. So when a look has
found everything current, its account is kept in `.pit/stamps/`: every file and folder that it read,
every path where it found nothing, settings and other facts, and how far the store had come. While
all of that stands, nothing else can have changed: what is not in the account did not count. A stamp
may be deleted at any time; the next run then looks properly.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path

import msgspec

from pit.engine.target.typed import Typed
from pit.fs import atomic
from pit.fs.reads import Reads
from pit.fs.stat import Signature
from pit.model import Record, WorkspaceConfig

FORMAT = 2


class Stamp(Record):
    """What stood when all was current; `mark` is how far the store had come, `tasks` how many.

    `requires` are the DAG's requirements, which age, so they are checked each time. `whole`: it is
    of every task; of a selection all that is above it was current too, as far as it can be. The
    rest is the account of the look, see `Reads`.
    """

    format: int
    dag: str
    project: str
    mark: tuple[int, int]
    tasks: int
    requires: dict[str, float]
    params: dict[str, str]
    facts: dict[str, str]
    paths: list[str]
    signatures: list[Signature]
    absent: list[str]
    identities: dict[str, tuple[int, int, int]]
    whole: bool


def place(config: WorkspaceConfig, typed: Typed) -> Path:
    """Where the stamp of a DAG, a selection, parameters as typed and a secrets file is kept.

    A copy of the workspace has no stamp, though it has the file: that speaks of the other's files.
    """
    pairs = (f"{name}={value}" for name, value in sorted(typed.params.items()))
    words = (str(config.root), str(config.secrets_file), typed.dag, typed.selection, *pairs)
    name = hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest()
    return config.cache_dir / "stamps" / name[:32]


def facts(version: int, day: date) -> dict[str, str]:
    """What must be the same for a stamp to hold, beside what lies on the disk.

    How Pit looks, what uv and Python go by in the environment, the Python that Pit stands on, and
    the day, to which parameters may default.
    """
    env = os.environ.items()
    chosen = sorted(each for each in env if each[0].startswith(("UV_", "VIRTUAL_", "PYTHON")))
    own = getattr(sys, "_base_executable", None) or sys.executable
    return {
        "fingerprints": str(version),
        "environment": repr(chosen),
        "interpreter": f"{sys.version} {os.path.realpath(own)}",
        "day": day.isoformat(),
    }


def of(
    reads: Reads,
    *,
    dag: str,
    project: str,
    mark: tuple[int, int],
    tasks: int,
    requires: dict[str, float],
    params: dict[str, str],
    whole: bool,
) -> Stamp:
    """The stamp of a look with this account."""
    seen = dict(reads.seen())
    return Stamp(
        format=FORMAT,
        dag=dag,
        project=project,
        mark=mark,
        tasks=tasks,
        requires=requires,
        params=params,
        facts=reads.facts,
        paths=list(seen),
        signatures=list(seen.values()),
        absent=list(reads.absent),
        identities=reads.identities,
        whole=whole,
    )


def read(path: Path) -> Stamp | None:
    """The stamp at `path`, if there is one."""
    try:
        found = msgspec.msgpack.decode(path.read_bytes(), type=Stamp)
    except (OSError, msgspec.MsgspecError):
        return None
    return found if found.format == FORMAT else None


def holds(stamp: Stamp, facts: Mapping[str, str], mark: tuple[int, int]) -> bool:
    """Whether everything still is as the stamp says."""
    if stamp.facts != facts or stamp.mark != mark or any(map(os.path.lexists, stamp.absent)):
        return False
    stat = os.stat
    try:
        for name, was in zip(stamp.paths, stamp.signatures, strict=True):
            info = stat(name)
            if was != (
                info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns,
            ):  # fmt: skip
                return False
        for name, identity in stamp.identities.items():
            from pit.fs.identity import file_identity  # most projects have none

            if identity != file_identity(name):
                return False
    except OSError:
        return False
    return True


def write(path: Path, stamp: Stamp) -> None:
    """Keep a stamp; a disk that cannot be written keeps none, nor a name that is not UTF-8."""
    with suppress(OSError, UnicodeEncodeError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        atomic.write(path, msgspec.msgpack.encode(stamp))
