"""`pit sync`: builds the Python environments that the projects lack, side by side."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import click
import msgspec

from pit.cli.complete import complete_dag
from pit.cli.options import Settings, command, json_option
from pit.cli.terminal.block import Block, Pieces
from pit.cli.terminal.console import Cell, Column, Console, count, duration
from pit.config.workspace import PROJECTS, Workspace, no_projects
from pit.errors import EnvironmentFailed, RunNotSuccessful
from pit.project.python import environments
from pit.project.python.environments import Builder, Project, State, SyncReport
from pit.text.control import printable
from pit.views.sync import sync_view
from pit.work.process import launch
from pit.work.process.guardian import Guardian

_EXIT_STALE = 1
_GRACE = 5.0
_ROWS = 12

STYLES: Mapping[State, str] = {
    State.CURRENT: "dim",
    State.BUILT: "green",
    State.STALE: "yellow",
    State.FAILED: "bold red",
    State.CANCELLED: "yellow",
    State.NONE: "dim",
}
"""The colour of each state of an environment."""

_TOLD = {
    State.CURRENT: "",
    State.NONE: "no pyproject.toml: Pit's own Python is used",
    State.CANCELLED: "",
}


@command("sync", short_help="Build the projects' Python environments.")
@click.argument("dags", metavar="[DAG]...", nargs=-1, shell_complete=complete_dag)
@click.option("--check", is_flag=True, help="Build nothing; exit 1 if something is stale.")
@json_option
def sync(settings: Settings, dags: tuple[str, ...], check: bool, as_json: bool) -> None:
    """Build the Python environments that the projects lack, of some DAGs or of all.

    An environment stands as long as the project's uv.lock, pyproject.toml and Python do. A run
    builds the one that it needs by itself; this does it before, for all and at once. A project
    without a uv.lock is locked first. One failure stops no other, and ends in exit code 22.
    """
    projects = chosen(settings.workspace(), dags)
    cache = settings.config().cache_dir
    if check:
        builder = Builder(cache_dir=cache, capture=launch.capture)
        _conclude(settings, [environments.checked(each, builder) for each in projects], as_json)
        return
    with _stoppable() as (capture, cancel):
        builder = Builder(cache_dir=cache, capture=capture, cancelled=lambda: cancel.level > 0)
        reports = _watched(settings.console, projects, builder, as_json)
    order = [each.name for each in projects]
    _conclude(settings, sorted(reports, key=lambda each: order.index(each.name)), as_json)


def chosen(workspace: Workspace, names: Sequence[str]) -> list[Project]:
    """The projects of these DAGs, or all; one with a broken pit.toml goes by its folder's name."""
    folder = workspace.config.root / PROJECTS
    found = {dag.project: name for name, dag in workspace.dags.items()}
    for name in workspace.broken:
        if (folder / name).is_dir():
            found.setdefault(folder / name, name)
    if not found:
        raise no_projects(workspace.config.root)
    known = {name: Project(name=name, folder=path) for path, name in found.items()}
    for name in names:
        if name not in known:
            workspace.dag(name)  # raises, and says what is wrong with it
    return [known[name] for name in dict.fromkeys(names or sorted(known))]


# ---------------------------------------------------------------- building


@contextmanager
def _stoppable() -> Iterator[tuple[Callable[..., tuple[int, bytes]], launch.Cancel]]:
    """A `capture` whose tools end with Ctrl-C and SIGTERM, and with Pit whatever kills it.

    It goes on until what was asked to stop has stopped, and then ends Pit as the signal would.
    """
    cancel = launch.Cancel()
    launch.become_subreaper()
    with ExitStack() as stack:
        stack.callback(cancel.close)
        guardian = Guardian.start((), f"sync-{os.getpid()}", _GRACE)
        stack.callback(guardian.close)
        signals = launch.install_signals(lambda: cancel.request(1), lambda: cancel.request(2))
        stack.callback(signals.restore)

        def capture(argv: Sequence[str], *, cwd: str | Path, env: Mapping[str, str]) -> Any:
            return launch.capture(argv, cwd=cwd, env=env, cancel=cancel, guardian=guardian)

        yield capture, cancel
        launch.end_all(_GRACE, cancel)
    if signals.exit_code is not None:
        raise RunNotSuccessful("cancelled", signals.exit_code)


def _watched(
    console: Console, projects: Sequence[Project], builder: Builder, as_json: bool
) -> list[SyncReport]:
    """Bring them up to date, and show how it goes."""
    if as_json:
        return list(environments.synced(projects, builder))
    if not console.is_terminal:
        return _told(console, projects, builder)
    board = _Board(projects)
    with Block(console, board.lines):
        reports = []
        for report in environments.synced(projects, _telling(builder, board.tell)):
            board.end(report)
            reports.append(report)
    return reports


def _telling(builder: Builder, tell: Callable[[str, str], None]) -> Builder:
    return msgspec.structs.replace(builder, tell=tell)


def _told(console: Console, projects: Sequence[Project], builder: Builder) -> list[SyncReport]:
    """One line for what begins and one for what ends."""
    room = max(len(each.name) for each in projects)
    lock = threading.Lock()

    def tell(name: str, message: str) -> None:
        with lock, suppress(OSError):  # a reader that goes away stops no building
            console.out(f"{time.strftime('%H:%M:%S')}  {name:<{room}}  {printable(message)}")

    reports = []
    for report in environments.synced(projects, _telling(builder, tell)):
        took = f"  {duration(report.seconds)}" if report.state is State.BUILT else ""
        about = "  ".join(filter(None, (f"{report.state}{took}", told(report))))
        tell(report.name, about)
        reports.append(report)
    return reports


class _Board:
    """What is being built now, as the live block shows it."""

    def __init__(self, projects: Sequence[Project]) -> None:
        self._busy: dict[str, tuple[float, str]] = {}
        self._ended: Counter[State] = Counter()
        self._total = len(projects)
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def tell(self, name: str, message: str) -> None:
        """A project is busy with something."""
        with self._lock:
            since = self._busy.get(name, (time.monotonic(), ""))[0]
            self._busy[name] = (since, printable(message))

    def end(self, report: SyncReport) -> None:
        """A project is done."""
        with self._lock:
            self._busy.pop(report.name, None)
            self._ended[report.state] += 1

    def lines(self) -> list[Pieces]:
        """The block: what is busy, and the counts."""
        now = time.monotonic()
        with self._lock:
            busy = list(self._busy.items())[:_ROWS]
            counts = _counts(self._ended)
            done = f"{self._ended.total():,} of {self._total:,} done"
        block: list[Pieces] = [
            [
                (f"  {'busy':<8}", "cyan"),
                (f"{int(now - since)}s".rjust(7) + "  ", ""),
                (name, "bold"),
                (f"  {message}", ""),
            ]
            for name, (since, message) in busy
        ]
        words = ", ".join(filter(None, (done, counts, f"{int(now - self._began)}s")))
        return [*block, [(f"  {words}", "bold")]]


def _counts(states: Mapping[State, int]) -> str:
    return ", ".join(f"{states[state]:,} {state}" for state in State if states.get(state))


# ---------------------------------------------------------------- what came of it


def told(report: SyncReport) -> str:
    """What there is to say of a project beside its state."""
    return printable(report.error or _TOLD.get(report.state, report.why))


def _conclude(settings: Settings, reports: Sequence[SyncReport], as_json: bool) -> None:
    """Show the reports; raise what gives `pit` its exit code."""
    failed = [each for each in reports if each.state is State.FAILED]
    stale = [each for each in reports if each.state is State.STALE]
    if as_json:
        settings.console.json(sync_view(reports))
    else:
        _say(settings, reports, failed, stale)
    if failed:
        raise RunNotSuccessful("some environments could not be built", EnvironmentFailed.exit_code)
    if stale:
        raise RunNotSuccessful("some environments are stale", _EXIT_STALE)


def _say(
    settings: Settings,
    reports: Sequence[SyncReport],
    failed: Sequence[SyncReport],
    stale: Sequence[SyncReport],
) -> None:
    console = settings.console
    if console.is_terminal or stale:
        _table(console, reports)
    for report in failed:
        whole = f"All that uv said: {report.log}" if report.log else ""
        hint = "\n".join(filter(None, (report.hint, whole)))
        console.note()
        console.error(f"{report.name}: {printable(report.error)}", hint)
    if failed:
        console.note()
    states = Counter(report.state for report in reports)
    console.out(f"{count(len(reports), 'project')}: {_counts(states)}")
    if stale:
        names = "".join(f" {each.name}" for each in stale)
        them = "it" if len(stale) == 1 else "them"
        console.note(f"Build {them} with: {settings.again(f'sync{names}')}")


def _table(console: Console, reports: Sequence[SyncReport]) -> None:
    columns = (
        Column("PROJECT", flexible=True),
        Column("STATE"),
        Column("TOOK", right=True),
        Column("WHY", flexible=True),
    )
    rows = [
        (
            Cell(each.name, "bold"),
            Cell(each.state, STYLES[each.state]),
            duration(each.seconds) if each.state in (State.BUILT, State.FAILED) else "",
            told(each),
        )
        for each in reports
    ]
    console.table(columns, rows)
