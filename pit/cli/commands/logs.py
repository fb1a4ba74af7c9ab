"""`pit logs`: what the tasks of a run wrote, whole, in part, or as it comes."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO

import click

from pit.cli import past
from pit.cli.complete import complete_run, complete_target
from pit.cli.options import Settings, command, json_option
from pit.cli.terminal.console import STATE_STYLES, Column, ago, moment, size
from pit.cli.terminal.progress import Lines
from pit.config.keys.instances import encoded
from pit.errors import BadArgument, UnknownTask
from pit.model import Reason, Record, TaskState, WorkspaceConfig
from pit.state.rundir import RunDir
from pit.state.store.store import Store
from pit.state.store.tables.runs import RunRow, TaskRow

_PIECE = 1 << 18
_POLL_SECONDS = 0.1
_JSON_BYTES = 1 << 24


class LogView(Record):
    """The log of a task in JSON; `truncated` if `text` is only its end (16 MB, `--lines`).

    `run` is the run that wrote it: an earlier one, where the task was skipped as current.
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

    run: past.RunView
    logs: tuple[LogView, ...]


class LogListView(Record):
    """One run in `pit logs DAG --list --json`; `size` is what its logs take, null if they went."""

    run: past.RunView
    size: int | None


@command("logs", short_help="Show what the tasks of a run wrote.")
@click.argument("target", metavar="DAG[/TASK]", shell_complete=complete_target)
@click.option(
    "--run-id",
    metavar="ID",
    shell_complete=complete_run,
    help="The run, or the beginning of its id (default: the latest).",
)
@click.option("--list", "listing", is_flag=True, help="List the runs that have logs.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@click.option(
    "-n", "--lines", type=click.IntRange(min=0), metavar="N", help="Only the last lines of each."
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    metavar="N",
    help="With --list: how many runs.",
)
@json_option
def logs(
    settings: Settings,
    target: str,
    run_id: str | None,
    listing: bool,
    follow: bool,
    lines: int | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show what the tasks of a run wrote, exactly as they wrote it.

    On a terminal escape sequences other than colours are left out.

    With a task, its log alone; else the logs of all tasks, or of those that a matrix or a pattern
    means, each under a line with its name.
    """
    dag, slash, task = target.partition("/")
    if not dag or (slash and not task):
        raise BadArgument(
            f'"{target}" does not name a {"task" if dag else "DAG"}', "Write DAG or DAG/TASK"
        )
    if follow and (as_json or listing):
        raise BadArgument("--follow cannot be combined with --json or --list")
    config = settings.config()
    with Store.open_readonly(config.metadata_db) as store:
        run = past.run_of(settings, config, store, dag, run_id)
        if listing:
            _list(settings, config, store, dag, limit, as_json)
            return
        if run_id is None and task:
            run = _that_tried(settings, store, run, task)
        shown = _Logs(settings, config, store, run, task)
        if as_json:
            shown.as_json(lines)
        elif follow:
            shown.follow(lines)
        else:
            shown.print(lines)


def _that_tried(settings: Settings, store: Store, last: RunRow, task: str) -> RunRow:
    """The last run of a DAG, or where it was not about a task the last one that tried that."""
    row = next((row for row in past.tasks(store, last) if row.task == task), None)
    if row is None or row.reason != Reason.SINGLE_TASK:
        return last
    tried = {each.task: each.run for each in store.dags.standings(last.dag)}.get(task)
    run = next(iter(store.runs.named([tried] if tried else [])), last)
    if run != last:
        said = f"{task} was not selected in run {last.id}\nthis is its log of run {run.id}"
        settings.console.note(said)
    return run


class _Logs:
    """The logs of one run, of all its tasks or of one."""

    def __init__(
        self, settings: Settings, config: WorkspaceConfig, store: Store, run: RunRow, task: str
    ) -> None:
        self._settings, self._config, self._store = settings, config, store
        self._run, self._task = run, task
        self._console = settings.console
        place = past.folder(config, run)
        if place is None:
            raise BadArgument(f'run "{run.id}" has no folder')
        self._folder = place
        self._borrowed: dict[str, str] = {}
        self._lenders: dict[str, RunDir] | None = None
        self._several: frozenset[str] = frozenset()
        known = list(dict.fromkeys([*(row.task for row in self._rows()), *place.logged()]))
        if task and task not in known:
            self._mean(task, known)

    def _mean(self, word: str, known: Sequence[str]) -> None:
        """Several tasks, or one by the values of its matrix; UnknownTask if there is none."""
        home, *values = word.split(":")
        one = ":".join((home, *map(encoded, values)))
        if one in known:
            self._task = one
            return
        among = [name for name in known if name.startswith(f"{word}:") or fnmatchcase(name, word)]
        if not among:
            raise UnknownTask(self._run.dag, word, known)
        self._task, self._several = "", frozenset(among)

    def _rows(self) -> tuple[TaskRow, ...]:
        return past.tasks(self._store, self._run)

    def _files(self) -> dict[str, Path]:
        """The log files that are there, by task, in the order of pit.toml.

        Of a task whose products another run had made, its log there.
        """
        there = self._folder.logged()
        rows = [row for row in self._rows() if not self._several or row.task in self._several]
        order = [self._task] if self._task else [row.task for row in rows]
        expected = {task: self._folder.log_file(task) for task in order}
        own = set(there.values())
        lent = self._lent(
            [row for row in rows if row.made_by and expected.get(row.task) not in own]
        )
        files = {
            task: path if path in own else lent[task]
            for task, path in expected.items()
            if path in own or task in lent
        }
        if not self._task:
            known = set(expected.values())
            others = self._several or there.keys()
            files |= {
                task: path for task, path in there.items() if path not in known and task in others
            }
        return files

    def _lent(self, rows: Sequence[TaskRow]) -> dict[str, Path]:
        """The logs of tasks that were skipped, in the runs that made what they hand on."""
        if not rows:
            return {}
        if self._lenders is None:
            makers = self._store.runs.named({row.made_by for row in rows})
            found = {run.id: past.folder(self._config, run) for run in makers}
            self._lenders = {name: place for name, place in found.items() if place is not None}
        lent = {}
        for row in rows:
            lender = self._lenders.get(row.made_by)
            if lender is not None and lender.log_file(row.task).is_file():
                lent[row.task] = lender.log_file(row.task)
                self._borrowed[row.task] = row.made_by
        return lent

    def _say_whose(self) -> None:
        """Of a single task's log that is another run's: say so, beside it."""
        made_by = self._borrowed.get(self._task)
        if made_by:
            said = f"{self._task} was skipped in run {self._run.id}{self._reason()}"
            self._console.note(f"{said}\nthis is its log of run {made_by}")

    def print(self, lines: int | None) -> None:
        """Write the logs; one alone byte for byte, several under headings."""
        files = self._files()
        if not files:
            self._say_there_is_none()
        self._say_whose()
        states = {row.task: row for row in self._rows()}
        for task, path in files.items():
            if not self._task:
                self._heading(task, states.get(task))
            last = _copied(path, lines, self._console.raw)
            if not self._task and last not in (b"", b"\n"):
                self._console.out()

    def _heading(self, task: str, row: TaskRow | None) -> None:
        bar = "──" if self._console.unicode else "--"
        name = self._console.paint(task, "bold")
        if row is None:
            self._console.out(f"{bar} {name} {bar}")
            return
        run = past.state_of(self._config, self._run)
        state, _ = past.task_state(run, row)
        seconds = past.took(row.seconds, row.started_at, time.time(), state is TaskState.RUNNING)
        told = self._console.paint(state, STATE_STYLES[state])
        lender = f"log of run {self._borrowed[task]}" if task in self._borrowed else ""
        parts = "  ".join(filter(None, (told, seconds, lender)))
        self._console.out(f"{bar} {name}  {parts} {bar}")

    def _say_there_is_none(self) -> None:
        what = f'task "{self._task}"' if self._task else "this run"
        if self._several:
            what = "none of these tasks"
        row = next((row for row in self._rows() if row.task == self._task), None)
        if row is not None and row.made_by:
            said = f"{what} was skipped, and its log of run {row.made_by} has been removed"
        elif self._run.reason == Reason.CURRENT:
            said = f"run {self._run.id} had nothing to do"
        elif not self._folder.logs.is_dir():
            said = f"the logs of run {self._run.id} have been removed"
        else:
            a = "a" if self._several else "no"
            said = f"{what} wrote {a} log in run {self._run.id}"
        self._console.note(said + self._reason())

    def _reason(self) -> str:
        run = past.state_of(self._config, self._run)
        for row in self._rows() if self._task else ():
            if row.task == self._task:
                state, reason = past.task_state(run, row)
                if row.made_by:
                    return f": {past.task_why(row, reason)}"
                return f": {state}, {past.why(reason, row.error)}" if reason else f": {state}"
        return ""

    def as_json(self, lines: int | None) -> None:
        """Write the logs as one JSON document."""
        run = past.state_of(self._config, self._run)
        states = {row.task: past.task_state(run, row)[0] for row in self._rows()}
        files = self._files()
        views = [
            _view(task, states.get(task), path, lines, self._borrowed.get(task, self._run.id))
            for task, path in files.items()
        ]
        self._console.json(LogsView(run=past.view(self._config, self._run), logs=tuple(views)))

    def follow(self, lines: int | None) -> None:
        """Write what is there, then what comes, until nobody holds the run's lock any more."""
        followed = _Followed(self._files, lines, prefixed=not self._task)
        self._files()
        self._say_whose()
        while True:
            alive = self._folder.is_alive()
            data = followed.read()
            while data:
                self._console.raw(data)
                data = followed.read()
            if not alive:
                break
            time.sleep(_POLL_SECONDS)
        self._console.raw(followed.rest())
        self._end()

    def _end(self) -> None:
        run = self._store.runs.find(self._run.id)
        state = past.state_of(self._config, run)
        self._console.note(f"run {run.id}: {state}")


def _list(
    settings: Settings,
    config: WorkspaceConfig,
    store: Store,
    dag: str,
    limit: int,
    as_json: bool,
) -> None:
    found = store.runs.latest(dag=dag, limit=limit)
    sizes = {run.id: _logs_size(past.folder(config, run)) for run in found}
    if as_json:
        views = [LogListView(run=past.view(config, run), size=sizes[run.id]) for run in found]
        settings.console.json(views)
        return
    now = time.time()
    columns = (
        Column("RUN"),
        Column("STATE"),
        Column("STARTED"),
        Column("", right=True),
        Column("LOGS", right=True),
    )
    rows = []
    for run in found:
        bytes_ = sizes[run.id]
        rows.append(
            (
                run.id,
                past.shown_state(past.view(config, run)),
                moment(run.started_at),
                ago(run.started_at, now),
                _logs_told(run, bytes_),
            )
        )
    settings.console.table(columns, rows)


def _logs_told(run: RunRow, bytes_: int | None) -> str:
    """How large a run's logs are, or why there are none."""
    if bytes_ is not None:
        return size(bytes_)
    return "nothing to do" if run.reason == Reason.CURRENT else "removed"


def _logs_size(place: RunDir | None) -> int | None:
    if place is None or not place.logs.is_dir():
        return None
    return sum(path.lstat().st_size for path in place.logged().values())


# ---------------------------------------------------------------- reading log files


def _opened(path: Path) -> BinaryIO:
    """A log file; never a link or a pipe that a task may have put in its place."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BadArgument(f"{path} is not a file")
    return open(descriptor, "rb", buffering=0)


def _copied(path: Path, lines: int | None, write: Callable[[bytes], None]) -> bytes:
    """Write a file, or its last lines, in pieces; returns the last byte."""
    last = b""
    with _opened(path) as file:
        if lines is not None:
            _seek_last_lines(file, lines)
        while piece := file.read(_PIECE):
            write(piece)
            last = piece[-1:]
    return last


def _seek_last_lines(file: BinaryIO, lines: int) -> None:
    """Stand where the last lines of a file begin, read backwards in pieces."""
    position = end = file.seek(0, os.SEEK_END)
    if lines == 0 or end == 0:
        return
    wanted = lines
    while position > 0:
        start = max(position - _PIECE, 0)
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


def _view(task: str, state: TaskState | None, path: Path, lines: int | None, run: str) -> LogView:
    with _opened(path) as file:
        total = file.seek(0, os.SEEK_END)
        if lines is not None:
            _seek_last_lines(file, lines)
        start = total if lines == 0 else (file.tell() if lines is not None else 0)
        start = max(start, total - _JSON_BYTES)
        file.seek(start)
        text = file.read(total - start).decode("utf-8", "replace")
    return LogView(
        task=task,
        state=state,
        run=run,
        path=str(path),
        size=total,
        text=text,
        truncated=start > 0,
    )


class _Followed:
    """Growing log files: those that are there, and those that appear."""

    def __init__(
        self, files: Callable[[], dict[str, Path]], lines: int | None, *, prefixed: bool
    ) -> None:
        self._files = files
        self._last_lines = lines
        self._prefixed = prefixed
        self._open: dict[str, BinaryIO] = {}
        self._lines = Lines()
        self._first = True

    def read(self) -> bytes:
        """What has come since the last call, a piece of each file at most."""
        for task, path in self._files().items():
            if task not in self._open:
                self._open[task] = _opened(path)
                if self._first and self._last_lines is not None:
                    _seek_last_lines(self._open[task], self._last_lines)
        self._first = False
        pieces = [self._piece(task, file) for task, file in self._open.items()]
        return b"".join(pieces)

    def _piece(self, task: str, file: BinaryIO) -> bytes:
        data = file.read(_PIECE)
        if not self._prefixed or not data:
            return data
        return self._lines.feed(task, data)

    def rest(self) -> bytes:
        """The last lines that came without an end."""
        return self._lines.close()
