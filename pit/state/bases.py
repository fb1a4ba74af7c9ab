"""Bases: frozen projects that nobody needs any more, each kept for the next run of its DAG.

A snapshot is mostly what the one before was. So when retention gives up the project folder of a
run, it is kept as a base: the next run of the DAG takes it over and brings it up to date, which
is far less work than a copy (pit/project/snapshot/base.py).

    runs/.bases/<dag>/      the project folder of an earlier run, and in it
        .pit-manifest       its manifest
        .pit-ended          what that run has said of its end

Each step is one rename: a folder is a base or it is not, and of two runs that begin at once one
gets it. Only a run that has seen the end of all its processes says so (`tell_end`); without that
its folder never becomes a base, as something might still write there.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

import msgspec

from pit.fs import atomic
from pit.fs.files import make_folder, remove_tree
from pit.model import Record
from pit.state import trash

FOLDER = ".bases"
MANIFEST = ".pit-manifest"
ENDED = "ended"
_ENDED_INSIDE = ".pit-ended"


class Ended(Record):
    """What a run says of its end: nothing that it had started is left.

    `boot` is the kernel's name for the time since the last boot, `began` when its first task may
    have begun to write, in Unix nanoseconds.
    """

    boot: str
    began: int


def tell_end(run: Path, ended: Ended) -> None:
    """Writes down in a run's folder that it has ended so; where that fails, it is not said."""
    with suppress(OSError):
        atomic.write(run / ENDED, msgspec.msgpack.encode(ended))


def offer(run: Path, dag: str) -> bool:
    """Makes the project folder of a run, whose lock is held or which nobody uses any more, the base
    of its DAG; False if it cannot be one, or an earlier run's than the one that there is."""
    ended = _read(run / ENDED)
    if ended is None:
        return False
    project, place = run / "project", run.parent / FOLDER / dag
    there = _read(place / _ENDED_INSIDE)
    if there is not None and there.began > ended.began:
        return False
    try:
        if not stat.S_ISDIR(os.lstat(project).st_mode):
            return False
        os.chmod(project, 0o700)  # as closed as the project's own, a task may have left it
        os.rename(run / "manifest", project / MANIFEST)
        os.rename(run / ENDED, project / _ENDED_INSIDE)
        make_folder(place.parent)
        trash.set_aside(place, run.parent)
        os.rename(project, place)
    except OSError:
        return False
    return True


def claim(runs_dir: Path, dag: str, into: Path) -> Ended | None:
    """Moves the base of a DAG into the place of an empty folder; None if there is none to be had.

    What the earlier run has said of its end is no longer in it then, its manifest is.
    """
    try:
        os.rename(runs_dir / FOLDER / dag, into)
    except OSError:
        return None
    ended = _read(into / _ENDED_INSIDE)
    with suppress(OSError):
        os.unlink(into / _ENDED_INSIDE)
    return ended or Ended(boot="", began=0)


def empty(runs_dir: Path) -> None:
    """Removes all bases; the next runs copy their projects as a whole."""
    with suppress(OSError):
        remove_tree(runs_dir / FOLDER)


def _read(path: Path) -> Ended | None:
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Ended)
    except (OSError, msgspec.MsgspecError):
        return None
