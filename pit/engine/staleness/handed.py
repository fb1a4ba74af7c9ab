"""What a tracked task hands on beside its targets: values that it set, files in the data folder.

They are products like targets: in its record, verified when it is judged, and there for others when
it is skipped. A value is called `value:<name>` and is marked by its JSON text; a file that the task
saved is called `data:<path>`, relative to the data folder of the run that did the work. Values stay
in the store with that run; files are copied into the data folder of the run that skips the task.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pit.errors import on_error
from pit.fs import atomic, copying
from pit.model import FileMark, TaskRecord
from pit.project.digest import Digests, digest_bytes

if TYPE_CHECKING:
    from pit.state.store.store import Store

VALUE, DATA = "value:", "data:"


def is_beside(name: str) -> bool:
    """Whether this is the name of something that is handed on beside targets."""
    return name.startswith((VALUE, DATA))


class Makings(Protocol):
    """What the tasks of this run have made so far, each by its last attempt."""

    def values(self, task: str) -> Mapping[str, str]:
        """The values that a task has set, as JSON texts."""

    def files(self, task: str) -> Collection[str]:
        """The files that a task has saved, relative to the data folder."""


def made(task: str, makings: Makings, data: Path, digests: Digests) -> dict[str, FileMark]:
    """What a task that has just succeeded hands on; OSError if a file of it cannot be read."""
    found = _values(makings.values(task))
    for path in makings.files(task):
        with suppress(FileNotFoundError):  # it was there for a while only
            found[f"{DATA}{path}"] = digests.of(f"{data}/{path}")
    return found


def values_of(run: str, task: str, store: Store) -> dict[str, FileMark]:
    """The values that a task has set in an earlier run."""
    return _values({row.name: row.value for row in store.values.of_run(run, task)})


def _values(texts: Mapping[str, str]) -> dict[str, FileMark]:
    packed = {name: text.encode("utf-8", "replace") for name, text in texts.items()}
    return {
        f"{VALUE}{name}": FileMark(digest=digest_bytes(text), size=len(text))
        for name, text in packed.items()
    }


def standing(
    record: TaskRecord, runs_dir: Path, store: Store, digests: Digests
) -> dict[str, FileMark]:
    """What is still there of what a recorded success handed on."""
    handed = record.fingerprint.handed
    if not handed:
        return {}
    there: dict[str, FileMark] = {}
    if any(name.startswith(VALUE) for name in handed):
        there |= values_of(record.run, record.task, store)
    for path, _ in files(handed):
        with suppress(OSError):
            there[f"{DATA}{path}"] = digests.of(str(_data(runs_dir, record.run) / path))
    return {name: mark for name, mark in there.items() if name in handed}


def hand_on(record: TaskRecord, runs_dir: Path, data: Path, digests: Digests) -> None:
    """Copy the files that a skipped task saved into the data folder of this run.

    What is there already stays: it was handed on before, or a retry has taken it over. OSError
    with number 0 if a file has been changed where the task has left it.
    """
    for path, mark in files(record.fingerprint.handed):
        source, target = _data(runs_dir, record.run) / path, data / path
        if target.exists() or source == target:
            continue
        _copy(source, target)
        if digests.of(str(source)) != mark:
            target.unlink()
            raise OSError(0, f"it is not what {record.task} has saved", path)


def altered(marks: Mapping[str, FileMark], data: Path, digests: Digests) -> list[str]:
    """The files in the data folder that are not what a task has saved, by what it hands on."""
    found = []
    for path, mark in files(marks):
        try:
            if digests.of(str(data / path)) == mark:
                continue
        except OSError:
            pass  # it is gone, or nothing to read from
        found.append(path)
    return found


def files(marks: Mapping[str, FileMark]) -> Iterator[tuple[str, FileMark]]:
    """The files among what a task hands on, relative to the data folder."""
    for name, mark in marks.items():
        if name.startswith(DATA):
            yield name[len(DATA) :], mark


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = atomic.beside(target)
    try:
        with on_error(lambda: temporary.unlink(missing_ok=True)):
            with open(source, "rb") as there, open(temporary, "wb") as here:
                info = os.fstat(there.fileno())
                copying.contents(there.fileno(), here.fileno(), info, lambda: None)
            os.chmod(temporary, stat.S_IMODE(info.st_mode))
            os.utime(temporary, ns=(info.st_atime_ns, info.st_mtime_ns))
            os.rename(temporary, target)
    except copying.SourceFailed as error:
        raise error.cause from None


def _data(runs_dir: Path, run: str) -> Path:
    return runs_dir / run / "data"
