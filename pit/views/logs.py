"""What the tasks of a run wrote: the files, and their text."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pit.config.keys.instances import encoded
from pit.errors import BadArgument, UnknownTask
from pit.model import Reason, Record, TaskState, WorkspaceConfig
from pit.state import liveness
from pit.state.rundir import RunDir
from pit.state.store.store import Store
from pit.state.store.tables.runs import RunRow, TaskRow
from pit.views.runs import RunView, run_view, tasks

PIECE = 1 << 18
"""Bytes of a log that are held in memory at once."""
_LONGEST = 1 << 24


class LogView(Record):
    """The log of a task in JSON; `truncated` if `text` is only its end (16 MB, `--lines`).

    `run` is the run that wrote it: an earlier one, where the task was skipped as current. `state`
    is null where the run knows no such task; `size` are the bytes of the file at `path`.
    """

    task: str
    state: TaskState | None
    run: str
    path: str
    size: int
    text: str
    truncated: bool


class LogsView(Record):
    """The shape of `pit logs DAG[/TASK] --json`."""

    run: RunView
    logs: tuple[LogView, ...]


class LogListView(Record):
    """One run in `pit logs DAG --list --json`; `size` is what its logs take, null if they went."""

    run: RunView
    size: int | None


def log_list(config: WorkspaceConfig, store: Store, dag: str, limit: int) -> list[LogListView]:
    """The latest runs of a DAG with the sizes of their logs, the latest first."""
    return [
        LogListView(run=run_view(config, run), size=_size(liveness.folder(run, config.runs_dir)))
        for run in store.runs.latest(dag=dag, limit=limit)
    ]


def _size(place: RunDir | None) -> int | None:
    if place is None or not place.logs.is_dir():
        return None
    return sum(path.lstat().st_size for path in place.logged().values())


def run_that_tried(store: Store, last: RunRow, task: str) -> RunRow:
    """The last run of a DAG, or where it was not about a task the last one that tried that."""
    row = next((row for row in tasks(store, last) if row.task == task), None)
    if row is None or row.reason != Reason.SINGLE_TASK:
        return last
    tried = {each.task: each.run for each in store.dags.standings(last.dag)}.get(task)
    return next(iter(store.runs.named([tried] if tried else [])), last)


class LogFile(NamedTuple):
    """Where the log of a task is, and the run that wrote it."""

    path: Path
    run: str


class RunLogs:
    """The logs of one run: of all its tasks, of `several`, or of the one that is called `task`.

    `meant` names a task, an instance of a matrix by its values, or several by a pattern; empty for
    all.
    """

    def __init__(self, config: WorkspaceConfig, store: Store, run: RunRow, meant: str) -> None:
        self._config, self._store, self.run = config, store, run
        place = liveness.folder(run, config.runs_dir)
        if place is None:
            raise BadArgument(f'run "{run.id}" has no folder')
        self.folder = place
        self._lenders: dict[str, RunDir] | None = None
        known = list(dict.fromkeys([*(row.task for row in self._rows()), *place.logged()]))
        self.task, self.several = _meant(meant, known)
        if meant and not (self.task or self.several):
            raise UnknownTask(run.dag, meant, known)

    def _rows(self) -> tuple[TaskRow, ...]:
        return tasks(self._store, self.run)

    def rows(self) -> dict[str, TaskRow]:
        """The tasks of the run by name, each as it stands now."""
        run = liveness.state_of(self.run, self._config.runs_dir)
        return {row.task: liveness.task_in(run, row) for row in self._rows()}

    def files(self) -> dict[str, LogFile]:
        """The log files that are there, by task, in the order of pit.toml.

        Of a task whose products another run had made, its log there.
        """
        there = {task: LogFile(path, self.run.id) for task, path in self.folder.logged().items()}
        rows = [row for row in self._rows() if not self.several or row.task in self.several]
        order = [self.task] if self.task else [row.task for row in rows]
        own = {file.path for file in there.values()}
        expected = {task: self.folder.log_file(task) for task in order}
        lent = self._lent(
            [row for row in rows if row.made_by and expected.get(row.task) not in own]
        )
        files = {
            task: LogFile(path, self.run.id) if path in own else lent[task]
            for task, path in expected.items()
            if path in own or task in lent
        }
        if not self.task:
            known = set(expected.values())
            others = self.several or there.keys()
            files |= {
                task: file
                for task, file in there.items()
                if file.path not in known and task in others
            }
        return files

    def _lent(self, rows: Sequence[TaskRow]) -> dict[str, LogFile]:
        """The logs of tasks that were skipped, in the runs that made what they hand on."""
        if not rows:
            return {}
        if self._lenders is None:
            makers = self._store.runs.named({row.made_by for row in rows})
            found = {run.id: liveness.folder(run, self._config.runs_dir) for run in makers}
            self._lenders = {name: place for name, place in found.items() if place is not None}
        lent = {}
        for row in rows:
            lender = self._lenders.get(row.made_by)
            if lender is not None and lender.log_file(row.task).is_file():
                lent[row.task] = LogFile(lender.log_file(row.task), row.made_by)
        return lent

    def view(self, lines: int | None) -> LogsView:
        """The logs with their text, of each the last lines, or all; the end of very long ones."""
        rows = self.rows()
        return LogsView(
            run=run_view(self._config, self.run),
            logs=tuple(
                _log_view(task, rows[task].state if task in rows else None, file, lines)
                for task, file in self.files().items()
            ),
        )


def _meant(word: str, known: Sequence[str]) -> tuple[str, frozenset[str]]:
    """The one task that is meant, by its name or by the values of its matrix, or several."""
    home, *values = word.split(":")
    for one in (word, ":".join((home, *map(encoded, values)))):
        if one in known:
            return one, frozenset()
    among = (name for name in known if name.startswith(f"{word}:") or fnmatchcase(name, word))
    return "", frozenset(among)


def _log_view(task: str, state: TaskState | None, log: LogFile, lines: int | None) -> LogView:
    with open_log(log.path) as file:
        total = file.seek(0, os.SEEK_END)
        if lines is not None:
            seek_last_lines(file, lines)
        start = total if lines == 0 else (file.tell() if lines is not None else 0)
        start = max(start, total - _LONGEST)
        file.seek(start)
        text = file.read(total - start).decode("utf-8", "replace")
    return LogView(
        task=task,
        state=state,
        run=log.run,
        path=str(log.path),
        size=total,
        text=text,
        truncated=start > 0,
    )


# ---------------------------------------------------------------- reading log files


def open_log(path: Path) -> BinaryIO:
    """A log file; never a link or a pipe that a task may have put in its place."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BadArgument(f"{path} is not a file")
    return open(descriptor, "rb", buffering=0)


def seek_last_lines(file: BinaryIO, lines: int) -> None:
    """Stand where the last lines of a file begin, read backwards in pieces."""
    position = end = file.seek(0, os.SEEK_END)
    if lines == 0 or end == 0:
        return
    wanted = lines
    while position > 0:
        start = max(position - PIECE, 0)
        file.seek(start)
        piece = file.read(position - start)
        if position == end and piece.endswith(b"\n"):
            wanted += 1  # the newline that ends the last line begins no other
        for at in reversed(list(_newlines(piece, wanted))):
            wanted -= 1
            if wanted == 0:
                file.seek(start + at + 1)
                return
        position = start
    file.seek(0)


def _newlines(piece: bytes, most: int) -> Iterator[int]:
    """Where the last newlines of a piece are, in ascending order."""
    found: list[int] = []
    at = len(piece)
    while len(found) < most and (at := piece.rfind(b"\n", 0, at)) >= 0:
        found.append(at)
    return reversed(found)
