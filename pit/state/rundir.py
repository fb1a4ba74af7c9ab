"""A run's folder: what the run executed, wrote and printed.

    runs/20260131_060000.000_claims/    named for the local time of its start and the DAG
        project/        the snapshot that the tasks ran in
        data/           files that the tasks handed to each other
        logs/           one file per task, `<task>.log`, such as `report:JFK:S%C3%A3o.log`
        lock            held (flock) for exactly as long as the run is alive

The folder is made as `.pit-new-…`, locked, and only then renamed: nobody ever sees a run's folder
without its lock held by a live run, or left by a dead one. Renaming onto a folder that has
something in it fails, so that two runs of one millisecond get two folders.
"""

from __future__ import annotations

import errno
import os
import re
import time
from pathlib import Path
from urllib.parse import quote, unquote

from pit.errors import PitError, UnknownRun, on_error
from pit.fs.files import failure, make_folder, remove_tree
from pit.fs.locks import Lock, held
from pit.text import regex

PARTS = ("project", "logs", "data")
UNFINISHED = ".pit-new-"
_RUN_ID = regex.lazy(r"(\d{8}_\d{6}\.\d{3})_([^/\0]+)")
_TAKEN = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR})
_LONGEST_NAME = 200
_INSTANCE = regex.lazy(r"[\w.-]+(?::(?:[\w.-]|%[0-9A-F]{2})+)+", re.ASCII)
"""The name of an instance of a matrix task, whose values are percent-encoded already."""


def prepare(runs_dir: Path, settings: Path) -> None:
    """Makes the folder of all runs, if it is missing; SetupError or DiskFull if it cannot be used.

    `settings` is the file in which `runs_dir` says where it is.
    """
    try:
        make_folder(runs_dir)
        _check(runs_dir)
    except OSError as error:
        raise _unusable(error, runs_dir, settings) from error


def foresee(runs_dir: Path, settings: Path) -> None:
    """Raises as `prepare` would, as far as a look can tell: nothing is made."""
    try:
        nearest = next(each for each in (runs_dir, *runs_dir.parents) if os.path.lexists(each))
        _check(nearest)
    except OSError as error:
        raise _unusable(error, runs_dir, settings) from error


def _check(folder: Path) -> None:
    """OSError if nothing can be made in a folder."""
    if not folder.is_dir():
        is_link = folder.is_symlink()
        what = "it is a link that does not lead to a folder" if is_link else "it is not a folder"
        raise NotADirectoryError(errno.ENOTDIR, what, folder)
    if not os.access(folder, os.W_OK | os.X_OK):
        denied = _denied(folder)
        raise OSError(denied, os.strerror(denied), folder)


def _unusable(error: OSError, runs_dir: Path, settings: Path) -> PitError:
    what = f"runs_dir, {runs_dir}, cannot be used"
    if error.filename is not None and Path(error.filename) != runs_dir:
        what += f" ({error.filename})"
    return failure(
        error, what, f"Set runs_dir in {settings} to a folder that can be made and written"
    )


def _denied(folder: Path) -> int:
    return errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES


def is_run_id(name: str) -> bool:
    """Whether this can be the name of a run (and so of a folder, without any path in it)."""
    return _RUN_ID.fullmatch(name) is not None


def dag_of(run_id: str) -> str:
    """The DAG that a run id names; UnknownRun if it is not an id."""
    found = _RUN_ID.fullmatch(run_id)
    if found is None:
        raise UnknownRun(run_id)
    return found.group(2)


def _run_id(dag: str, milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{time.strftime('%Y%m%d_%H%M%S', time.localtime(seconds))}.{rest:03d}_{dag}"


class RunDir:
    """The folder of one run; `lock` is held by the one who allocated it and free for readers."""

    def __init__(self, runs_dir: Path, run_id: str, lock: Lock | None = None) -> None:
        self.id = run_id
        self.dag = dag_of(run_id)
        self.root = runs_dir / run_id
        self.project = self.root / "project"
        self.manifest = self.root / "manifest"
        self.logs = self.root / "logs"
        self.data = self.root / "data"
        self.lock = lock or Lock(self.root / "lock")

    def __repr__(self) -> str:
        return f"RunDir({str(self.root)!r})"

    @classmethod
    def allocate(cls, runs_dir: Path, dag: str, now: float) -> RunDir:
        """Makes the folder of a new run with its lock held; DiskFull or SetupError if it cannot."""
        try:
            make_folder(runs_dir)
            return cls._allocate(runs_dir, dag, int(now * 1000))
        except OSError as error:
            raise failure(
                error,
                f"cannot make a run folder in {runs_dir}",
                "Check its permissions, or set runs_dir in pit_config.toml",
            ) from error

    @classmethod
    def _allocate(cls, runs_dir: Path, dag: str, milliseconds: int) -> RunDir:
        fresh = runs_dir / f"{UNFINISHED}{os.urandom(8).hex()}"
        lock = Lock(fresh / "lock")
        with on_error(lambda: remove_tree(fresh)), on_error(lock.release):
            for part in ("", *PARTS):
                make_folder(fresh / part)
            lock.acquire()
            run_id = _settle(fresh, runs_dir, dag, milliseconds)
        lock.path = runs_dir / run_id / "lock"
        return cls(runs_dir, run_id, lock)

    @classmethod
    def at(cls, runs_dir: Path, run_id: str) -> RunDir:
        """The folder of a recorded run, there or not; UnknownRun if the id cannot be one."""
        return cls(runs_dir, run_id)

    def is_alive(self) -> bool:
        """Whether the run's lock is held by anyone."""
        return held(self.lock.path)

    def log_file(self, task: str) -> Path:
        """Where a task's output goes; one file per task, whatever characters its name has."""
        return self.logs / f"{_file_name(task)}.log"

    def logged(self) -> dict[str, Path]:
        """The log files that are there, by task, in the order of their names."""
        try:
            found = sorted(path for path in self.logs.iterdir() if path.suffix == ".log")
        except OSError:
            return {}
        return {_task_name(path.name[: -len(".log")]): path for path in found}

    def parts(self) -> tuple[str, ...]:
        """Which of project, logs and data are there."""
        return tuple(part for part in PARTS if (self.root / part).is_dir())

    def remove(self, *parts: str) -> None:
        """Removes some of project, logs and data; DiskFull or SetupError with the path."""
        for part in parts:
            if part not in PARTS:
                raise ValueError(f"{part!r} is not part of a run's folder")
            _remove(self.root / part)
            if part == "project":
                _remove(self.manifest)

    def remove_all(self) -> None:
        """Removes the whole folder, lock file included."""
        _remove(self.root)


def _settle(fresh: Path, runs_dir: Path, dag: str, milliseconds: int) -> str:
    """Renames a new folder to the first name that is free, a millisecond at a time."""
    while True:
        run_id = _run_id(dag, milliseconds)
        try:
            os.rename(fresh, runs_dir / run_id)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
            milliseconds += 1
        else:
            return run_id


def _file_name(task: str) -> str:
    """A task's name as a file name: itself, where it is one that pit.toml may give a task.

    Any other is percent-encoded and has no ":", so that each file name means one task. What is
    too long for a file system keeps its beginning and gets a digest of the whole.
    """
    name = task if _INSTANCE.fullmatch(task) else quote(task, safe="+@,")
    if name.startswith("."):
        name = f"%2E{name[1:]}"
    if len(name) <= _LONGEST_NAME:
        return name
    import hashlib

    digest = hashlib.blake2s(task.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    return f"{name[: _LONGEST_NAME - 17]}-{digest}"


def _task_name(file_name: str) -> str:
    return file_name if ":" in file_name else unquote(file_name)


def _remove(path: Path) -> None:
    try:
        remove_tree(path)
    except OSError as error:
        where = error.filename or path
        raise failure(error, f"cannot remove {where}") from error
