"""`pit logs`: what the tasks of a run wrote, whole, in part, or as it comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import click

from pit.cli.arguments import run_of
from pit.cli.complete import complete_run, complete_target
from pit.cli.options import Settings, command, json_option
from pit.cli.terminal.console import STATE_STYLES, Column, Console, size
from pit.cli.terminal.progress import Lines
from pit.cli.terminal.states import shown_state, took
from pit.errors import BadArgument
from pit.model import Reason, TaskState, WorkspaceConfig
from pit.state import liveness
from pit.state.store.store import Store
from pit.state.store.tables.runs import RunRow, TaskRow
from pit.text.times import ago, moment
from pit.views import reasons
from pit.views.logs import (
    PIECE,
    LogFile,
    LogListView,
    RunLogs,
    log_list,
    open_log,
    run_that_tried,
    seek_last_lines,
)

_POLL_SECONDS = 0.1


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
        run = run_of(settings, store, dag, run_id)
        if listing:
            _list(settings, config, store, dag, limit, as_json)
            return
        if run_id is None and task:
            run = _that_tried(settings, store, run, task)
        logs = RunLogs(config, store, run, task)
        if as_json:
            return settings.console.json(logs.view(lines))
        screen = _Screen(settings.console, config, store, logs)
        return screen.follow(lines) if follow else screen.print(lines)


def _that_tried(settings: Settings, store: Store, last: RunRow, task: str) -> RunRow:
    """The run whose log of a task is shown; where that is not the last one, it is said."""
    run = run_that_tried(store, last, task)
    if run != last:
        said = f"{task} was not selected in run {last.id}\nthis is its log of run {run.id}"
        settings.console.note(said)
    return run


class _Screen:
    """Writes the logs of one run, of all its tasks or of one."""

    def __init__(
        self, console: Console, config: WorkspaceConfig, store: Store, logs: RunLogs
    ) -> None:
        self._console, self._config, self._store = console, config, store
        self._logs, self._run = logs, logs.run

    def _say_whose(self, files: Mapping[str, LogFile]) -> None:
        """Of a single task's log that is another run's: say so, beside it."""
        log = files.get(self._logs.task)
        if log is not None and log.run != self._run.id:
            said = f"{self._logs.task} was skipped in run {self._run.id}{self._reason()}"
            self._console.note(f"{said}\nthis is its log of run {log.run}")

    def print(self, lines: int | None) -> None:
        """Write the logs; one alone byte for byte, several under headings."""
        files = self._logs.files()
        if not files:
            self._say_there_is_none()
        self._say_whose(files)
        rows = self._logs.rows()
        for task, log in files.items():
            if not self._logs.task:
                self._heading(task, rows.get(task), log)
            last = _copied(log.path, lines, self._console.raw)
            if not self._logs.task and last not in (b"", b"\n"):
                self._console.out()

    def _heading(self, task: str, row: TaskRow | None, log: LogFile) -> None:
        bar = "──" if self._console.unicode else "--"
        name = self._console.paint(task, "bold")
        if row is None:
            self._console.out(f"{bar} {name} {bar}")
            return
        is_running = row.state is TaskState.RUNNING
        seconds = took(row.seconds, row.started_at, time.time(), is_running)
        state = self._console.paint(row.state, STATE_STYLES[row.state])
        lender = f"log of run {log.run}" if log.run != self._run.id else ""
        parts = "  ".join(filter(None, (state, seconds, lender)))
        self._console.out(f"{bar} {name}  {parts} {bar}")

    def _say_there_is_none(self) -> None:
        logs, run = self._logs, self._run
        what = f'task "{logs.task}"' if logs.task else "this run"
        if logs.several:
            what = "none of these tasks"
        row = logs.rows().get(logs.task)
        if row is not None and row.made_by:
            said = f"{what} was skipped, and its log of run {row.made_by} has been removed"
        elif run.reason == Reason.CURRENT:
            said = f"run {run.id} had nothing to do"
        elif not logs.folder.logs.is_dir():
            said = f"the logs of run {run.id} have been removed"
        else:
            said = f"{what} wrote {'a' if logs.several else 'no'} log in run {run.id}"
        self._console.note(said + self._reason())

    def _reason(self) -> str:
        row = self._logs.rows().get(self._logs.task)
        if row is None:
            return ""
        if row.made_by:
            return f": {reasons.of_task(row.reason, row.error, row.why)}"
        why = reasons.sentence(row.reason, row.error)
        return f": {row.state}, {why}" if row.reason else f": {row.state}"

    def follow(self, lines: int | None) -> None:
        """Write what is there, then what comes, until nobody holds the run's lock any more."""
        followed = _Followed(self._logs.files, lines, prefixed=not self._logs.task)
        self._say_whose(self._logs.files())
        while True:
            alive = liveness.is_alive(self._run, self._config.runs_dir)
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
        state = liveness.state_of(run, self._config.runs_dir)
        self._console.note(f"run {run.id}: {state}")


def _list(
    settings: Settings,
    config: WorkspaceConfig,
    store: Store,
    dag: str,
    limit: int,
    as_json: bool,
) -> None:
    found = log_list(config, store, dag, limit)
    if as_json:
        settings.console.json(found)
        return
    now = time.time()
    columns = (
        Column("RUN"),
        Column("STATE"),
        Column("STARTED"),
        Column("", right=True),
        Column("LOGS", right=True),
    )
    rows = [
        (
            each.run.run,
            shown_state(each.run),
            moment(each.run.started_at),
            ago(each.run.started_at, now),
            _logs_size(each),
        )
        for each in found
    ]
    settings.console.table(columns, rows)


def _logs_size(log: LogListView) -> str:
    """How large a run's logs are, or why there are none."""
    if log.size is not None:
        return size(log.size)
    return "nothing to do" if log.run.reason == Reason.CURRENT else "removed"


# ---------------------------------------------------------------- reading log files


def _copied(path: Path, lines: int | None, write: Callable[[bytes], None]) -> bytes:
    """Write a file, or its last lines, in pieces; returns the last byte."""
    last = b""
    with open_log(path) as file:
        if lines is not None:
            seek_last_lines(file, lines)
        while piece := file.read(PIECE):
            write(piece)
            last = piece[-1:]
    return last


class _Followed:
    """Growing log files: those that are there, and those that appear."""

    def __init__(
        self, files: Callable[[], Mapping[str, LogFile]], lines: int | None, *, prefixed: bool
    ) -> None:
        self._files = files
        self._last_lines = lines
        self._prefixed = prefixed
        self._open: dict[str, BinaryIO] = {}
        self._lines = Lines()
        self._first = True

    def read(self) -> bytes:
        """What has come since the last call, a piece of each file at most."""
        for task, log in self._files().items():
            if task not in self._open:
                self._open[task] = open_log(log.path)
                if self._first and self._last_lines is not None:
                    seek_last_lines(self._open[task], self._last_lines)
        self._first = False
        pieces = [self._piece(task, file) for task, file in self._open.items()]
        return b"".join(pieces)

    def _piece(self, task: str, file: BinaryIO) -> bytes:
        data = file.read(PIECE)
        if not self._prefixed or not data:
            return data
        return self._lines.feed(task, data)

    def rest(self) -> bytes:
        """The last lines that came without an end."""
        return self._lines.close()
