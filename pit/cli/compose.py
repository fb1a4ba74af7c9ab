"""The composition root of a run: where the engine meets the store, the terminal and the files."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from pit.cli.options import Settings
from pit.cli.terminal import progress
from pit.cli.terminal.lessons import Lessons
from pit.cli.terminal.summary import Summary
from pit.cli.unlock import unlock
from pit.engine.run import recovery
from pit.engine.run.request import Finale, Request, Services
from pit.engine.run.run import execute
from pit.errors import DiskFull, RunNotSuccessful
from pit.events import Event, RunStarted
from pit.model import Reason, RunState, WorkspaceConfig
from pit.project.python import surplus
from pit.project.python.surplus import Cleared
from pit.state import recover, retention, trash
from pit.state.store.store import Store
from pit.state.store.tables.runs import RunRow
from pit.work.process import launch

_EXIT_FAILED, _EXIT_TIMEOUT, _EXIT_SIGNAL, _SIGINT = 1, 124, 128, 2


class Sweeping:
    """A sink that has the trash emptied while the run works, once its guardian is there.

    What a short run leaves of it is for the next one, unless more than a few folders wait already.
    """

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir
        self._thread: threading.Thread | None = None
        self._crowded = False

    def emit(self, event: Event) -> None:
        """Begin when the run does."""
        waiting = trash.size(self._runs_dir) if isinstance(event, RunStarted) else 0
        if waiting:
            self._crowded = waiting > _A_FEW
            self._thread = threading.Thread(
                target=trash.empty, args=(self._runs_dir,), name="trash", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Return when it may be left to itself; it ends with the process at the latest."""
        if self._thread is not None and self._crowded:
            self._thread.join()


_A_FEW = 5
"""So many folders may wait in the trash from one run to the next."""


def perform(settings: Settings, request: Request, as_json: bool) -> Finale:
    """Run it with the store, the view and the summary plugged in; then apply retention."""
    console, config = settings.console, request.target.config
    with ExitStack() as stack:
        unlock(console, config)
        store = Store.open(config.metadata_db)
        stack.callback(store.close)
        report_interrupted(settings, config, store)
        view = progress.view_for(console, as_json=as_json, verbose=settings.verbose)
        summary, lessons = Summary(console, again=settings.again), Lessons(console)
        sweeping = Sweeping(config.runs_dir)
        stack.callback(sweeping.close)
        try:
            finale = execute(
                request,
                Services(
                    store=store,
                    sinks=(sweeping, view, *(() if as_json else (summary, lessons))),
                    tap=view.output if settings.verbose else None,
                    waiting=console.note,
                ),
            )
        finally:
            view.close()
            if not as_json:
                summary.close()
                lessons.close()
        sweeping.close()  # before there is something new to sweep
        tidy(settings, request, store, finale)
    return finale


def report_interrupted(settings: Settings, config: WorkspaceConfig, store: Store) -> None:
    """Give an end to runs whose process was killed, end what they left, and say so."""
    for intent in recover.stranded(store, config.runs_dir):
        recovery.finish(intent, config.runs_dir, store)
    ended: dict[str, int] = {}

    def bury(dead: RunRow) -> None:
        pit = launch.Identity(pid=dead.pid, pid_started=dead.pid_started, boot_id=dead.boot_id)
        ended[dead.id] = launch.end_marked(dead.id, pit=pit)

    for past in recover.recover(store, config.runs_dir, bury):
        left = f"; ended {ended[past.id]} of its processes" if ended[past.id] else ""
        settings.console.warning(
            f"run {past.id} was interrupted{left}",
            f"See it with: {settings.again(f'status {past.dag}')}",
        )


def tidy(settings: Settings, request: Request, store: Store, finale: Finale) -> None:
    """Remove what `keep_artifacts` and retention no longer want."""
    config, keep = request.target.config, request.target.dag.declared.keep_artifacts
    keep = config.keep_artifacts if keep is None else keep
    done = retention.after_run(
        store, config.runs_dir, finale.run, config.retention, keep, time.time()
    )
    for problem in (*done.problems, *_clear(config, store).problems):
        settings.console.warning(problem)


def _clear(config: WorkspaceConfig, store: Store) -> Cleared:
    """Remove the Python environments that nothing needs any more."""
    named = partial(retention.environments, store, config.runs_dir)
    return surplus.remove(
        surplus.surplus(config.cache_dir, named, config.retention.days, time.time())
    )


def exit_code(finale: Finale) -> int:
    """0 success, 1 failed, 25 disk full, 124 timed out, 129, 130 or 143 ended by a signal."""
    match finale.state, finale.reason:
        case RunState.SUCCESS, _:
            return 0
        case RunState.CANCELLED, _:
            return _EXIT_SIGNAL + (finale.signal or _SIGINT)
        case _, Reason.TIMEOUT:
            return _EXIT_TIMEOUT
        case _, Reason.DISK_FULL:
            return DiskFull.exit_code
    return _EXIT_FAILED


def conclude(finale: Finale) -> None:
    """Raise what gives `pit` its exit code, unless the run succeeded."""
    code = exit_code(finale)
    if code:
        raise RunNotSuccessful(f"run {finale.run} {finale.state}", code)
