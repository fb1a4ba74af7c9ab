"""The end of a run at a glance: a line per task, the last words of what failed, the next step."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from pit.cli.terminal.console import (
    STATE_STYLES,
    Cell,
    Column,
    Console,
    count,
    duration,
    fit,
    together,
)
from pit.cli.terminal.folding import folded
from pit.cli.terminal.progress import NO_SQL
from pit.events import AttemptStarted, Event, RunEnded, RunStarted, TaskEnded
from pit.model import Reason, RunState, TaskState
from pit.state.rundir import RunDir
from pit.text.control import printable
from pit.text.naming import tasks_named
from pit.views import reasons

UNREACHED = "cannot connect to "
"""How an error begins that says why a database does not answer."""
_TASK_LINES = 50
_TAILS = 3
_COMPARED = 50
"""So many logs are held against each other, to show those that end alike only once."""
_TAIL_LINES = 10
_TAIL_BYTES = 16384
_OURS = ("[pit] ", "--- attempt ")
"""How lines of a log begin that Pit has written."""
ALWAYS = "always runs"
"""Why a task ran that Pit may never skip, told where it skips others."""
_NO_NEWS = (ALWAYS, "first run")
_BAD_FIRST = (
    TaskState.FAILED,
    TaskState.UPSTREAM_FAILED,
    TaskState.CANCELLED,
    TaskState.SKIPPED,
    TaskState.SUCCESS,
)

LogFile = Callable[[RunStarted, str], Path]
"""Where the log of a task of a run is."""


class Summary:
    """A sink that says nothing until `close()`, then how the whole run went.

    `again` makes a command line for the same workspace out of words such as `logs sales/load`.
    """

    def __init__(
        self,
        console: Console,
        *,
        again: Callable[[str], str] = lambda words: f"pit {words}",
        log_file: LogFile | None = None,
    ) -> None:
        self._console = console
        self._again = again
        self._log_file = log_file or _log_file
        self._started: RunStarted | None = None
        self._ended: RunEnded | None = None
        self._tasks: dict[str, TaskEnded] = {}
        self._of: dict[str, int] = {}
        self._tracks = False

    def emit(self, event: Event) -> None:
        """Remember what the summary needs."""
        match event:
            case TaskEnded():
                self._tasks[event.task] = event
                self._tracks = self._tracks or bool(event.why)
            case AttemptStarted():
                self._of[event.task] = event.attempts
            case RunStarted():
                self._started = event
            case RunEnded():
                self._ended = event

    def output(self, task: str, data: bytes | memoryview) -> None:
        """Output is in the logs; the summary reads their ends."""

    def close(self) -> None:
        """Write the summary, if the run came to an end."""
        if self._started is None or self._ended is None:
            return
        try:
            self._write(self._started, self._ended)
        except OSError:
            return  # the reader has gone; how the run went stands in the store

    def _write(self, started: RunStarted, ended: RunEnded) -> None:
        failed = [task for task in self._tasks.values() if task.state is TaskState.FAILED]
        self._console.out()
        self._headline(started, ended, failed)
        self._list(started)
        self._tails(started, failed)
        step = self._next(started, ended, failed)
        if step:
            self._console.out(f"\n{self._console.paint('Next:', 'bold')} {step}")
        if ended.stub:
            self._stub()

    def _headline(self, started: RunStarted, ended: RunEnded, failed: list[TaskEnded]) -> None:
        state = self._console.paint(ended.state, STATE_STYLES[ended.state])
        dag = self._console.paint(started.dag, "bold")
        stub = self._console.paint(" (stub)", "yellow") if ended.stub else ""
        self._console.out(f"{dag}  {state}{stub}  {duration(ended.seconds)}  {ended.run}")
        why = reasons.sentence(ended.reason, ended.error)
        told_below = failed and ended.reason in (None, Reason.EXIT)
        if why and not told_below and why != ended.state:
            self._console.out(f"  {why}")

    def _list(self, started: RunStarted) -> None:
        tasks = [self._tasks[name] for name in started.tasks if name in self._tasks]
        others = [task for task in tasks if task.reason is Reason.SINGLE_TASK]
        tasks = [task for task in tasks if task.reason is not Reason.SINGLE_TASK]
        shown = self._shown(tasks)
        if shown:
            self._console.out()
            columns = (Column(""), Column(""), Column("", right=True), Column("", flexible=True))
            self._console.table(columns, [self._row(name, of) for name, of in shown])
        if len(tasks) > 5:
            self._console.out(f"\n  {_tally(tasks)}")
        saved = sum(task.saved for task in tasks)
        if saved:
            current = sum(task.reason is Reason.CURRENT for task in tasks)
            verb = "is" if current == 1 else "are"
            text = f"{count(current, 'task')} {verb} current, which saved {duration(saved)}"
            self._console.out(f"\n  {text}")
        if others:
            text = f"  {count(len(others), 'other task')} not selected"
            self._console.out(self._console.paint(text, "dim"))

    def _shown(self, tasks: Sequence[TaskEnded]) -> list[tuple[str, list[TaskEnded]]]:
        """The lines of the list, each with the tasks that it stands for."""
        lines = self._folded(tasks)
        if len(lines) > _TASK_LINES:
            lines = self._folded(_telling(tasks))[:_TASK_LINES]
        return lines

    def _folded(self, tasks: Sequence[TaskEnded]) -> list[tuple[str, list[TaskEnded]]]:
        said = [(task.task, self._said(task)) for task in tasks]
        times = "×" if self._console.unicode else "x"
        return [(line.name, [tasks[at] for at in line.of]) for line in folded(said, times)]

    def _said(self, task: TaskEnded) -> Hashable:
        """What is said of a task; of one that went wrong it matters which one it was."""
        if task.state is TaskState.FAILED:
            return None
        return task.state, self._why(task)

    def _why(self, task: TaskEnded) -> str:
        of = self._of.get(task.task, 1)
        again = f"attempt {task.attempts} of {of}" if task.attempts > 1 else ""
        told_why = reasons.of_task(task.reason, task.error, task.why)
        if not told_why and self._tracks:
            told_why = ALWAYS
        return "  ".join(filter(None, (told_why, again)))

    def _row(self, name: str, tasks: Sequence[TaskEnded]) -> list[Cell]:
        first = tasks[0]
        why = self._why(first)
        quiet = first.state is TaskState.SKIPPED or why in _NO_NEWS
        return [
            Cell(f"  {first.state}", STATE_STYLES[first.state]),
            Cell(name),
            Cell(together([task.seconds for task in tasks]) if first.attempts else "-"),
            Cell(why, "dim" if quiet else ""),
        ]

    def _stub(self) -> None:
        self._console.out(
            "\n  The SQL is in the logs. Give a secrets file with --secrets FILE, or put"
        )
        self._console.out(
            "  secrets.toml into the workspace; stub = false in pit_config.toml makes such"
        )
        self._console.out("  a run fail.")
        self._console.out(self._console.paint(f"Stub run: {NO_SQL}.", "yellow"))

    def _tails(self, started: RunStarted, failed: list[TaskEnded]) -> None:
        tails = [(task, self._tail(started, task)) for task in failed[:_COMPARED]]
        shown: list[list[str]] = []
        for task, lines in tails:
            if len(shown) == _TAILS or (lines and lines in shown):
                continue
            shown.append(lines)
            about = ": the end of its log" if lines else ""
            self._console.out(f"\n{self._console.paint(task.task + about, 'bold')}")
            for line in lines:
                self._console.out(f"  | {line}")
            alike = [other.task for other, same in tails if other is not task and same == lines]
            if lines and alike:
                self._console.prose(f"  The same in {len(alike)} more: {tasks_named(alike)}", "  ")
            self._advise(started, task, lines)
            if not lines:
                self._console.prose(f"  {reasons.sentence(task.reason, task.error)}", "  ")
                if task.attempts:
                    self._console.out("  It wrote nothing to its log.")

    def _advise(self, started: RunStarted, task: TaskEnded, lines: list[str]) -> None:
        """What the log of a failed task cannot know: how a module that is missing is got, and what
        keeps a database from answering.
        """
        from pit.cli.terminal.modules import advice  # few runs fail

        told = advice(lines, Path(started.project)) if lines else ""
        if UNREACHED in task.error:
            from pit.sql.connection.remedies import remedy

            told = remedy("", task.error)
        if told:
            self._console.prose(f"  {told[:1].upper()}{told[1:]}", "  ")

    def _tail(self, started: RunStarted, task: TaskEnded) -> list[str]:
        """The last lines of a failed task's log; none if it holds no word of its own."""
        width = (self._console.width or 204) - 4
        return own_words(self._log_file(started, task.task), width) if task.attempts else []

    def _next(self, started: RunStarted, ended: RunEnded, failed: list[TaskEnded]) -> str:
        if ended.reason is Reason.DISK_FULL:
            some, most = self._again("prune"), self._again("prune --all-finished")
            return f"make room ({some}, or {most}), then {self._again(f'run {started.dag}')}"
        worded = [task for task in failed if self._tail(started, task)]
        again = self._again(f"retry {started.dag} --code new")
        if worded:
            first = worded[0].task
            if is_whole(self._log_file(started, first)):
                return f"fix it, then {again}"
            return f"{self._again(f'logs {started.dag}/{first}')}, and when it is fixed {again}"
        if ended.state is RunState.SUCCESS or ended.reason in (Reason.SETUP, Reason.REQUIREMENT):
            return ""  # what stopped the set-up says itself what to do
        if failed:
            return f"fix it, then {again}"
        if ended.state is RunState.CANCELLED:
            part = f"/{started.selection}" if started.selection else ""
            return self._again(f"run {started.dag}{part}")
        return self._again(f"status {started.dag}")


def _telling(tasks: Sequence[TaskEnded]) -> list[TaskEnded]:
    """Of many tasks those that say something: what went wrong, and what ran if that is little."""
    worst = sorted(tasks, key=lambda task: _BAD_FIRST.index(task.state))
    moved = [task for task in worst if not task.made_by]
    bad = [t for t in moved if t.state is not TaskState.SUCCESS or t.reason is Reason.WARNED]
    return moved if len(moved) <= _TASK_LINES else bad


def _tally(tasks: list[TaskEnded]) -> str:
    found = Counter(task.state for task in tasks)
    parts = [f"{found[state]:,} {state}" for state in _BAD_FIRST if found[state]]
    return f"{count(len(tasks), 'task')}: {', '.join(parts)}"


def _log_file(started: RunStarted, task: str) -> Path:
    return RunDir.at(Path(started.run_dir).parent, started.run).log_file(task)


def own_words(path: Path, width: int = 200) -> list[str]:
    """The last lines of a log; none if there is no word in it but Pit's own."""
    lines = tail(path, width=width)
    return lines if any(not line.startswith(_OURS) for line in lines) else []


def is_whole(path: Path) -> bool:
    """Whether a log is so short that its last lines are all of it."""
    try:
        with open(path, "rb") as file:
            text = file.read(_TAIL_BYTES + 1)
    except OSError:
        return True
    return len(text) <= _TAIL_BYTES and text.rstrip().count(b"\n") < _TAIL_LINES


def tail(path: Path, lines: int = _TAIL_LINES, width: int = 200) -> list[str]:
    """The last lines of a log, safe to print; only its last 16 kB are read."""
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(file.tell() - _TAIL_BYTES, 0))
            text = file.read(_TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return []
    whole = [line.rpartition("\r")[2] for line in text.rstrip().split("\n")]
    return [fit(printable(line), width) for line in whole if text.strip()][-lines:]
