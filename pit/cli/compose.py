"""The composition root of a run: where the engine meets the store, the terminal and the files."""

from __future__ import annotations

from pit.cli.options import Settings
from pit.cli.terminal import progress
from pit.cli.terminal.lessons import Lessons
from pit.cli.terminal.summary import Summary
from pit.cli.unlock import unlock
from pit.engine.run.lifecycle import clean_up
from pit.engine.run.recovery import recover_runs
from pit.engine.run.request import Request, RunResult, Services
from pit.engine.run.run import execute
from pit.errors import DiskFull, RunNotSuccessful
from pit.model import Reason, RunState, WorkspaceConfig
from pit.state.store.store import Store
from pit.views.run import RunView

_EXIT_FAILED, _EXIT_TIMEOUT, _EXIT_SIGNAL, _SIGINT = 1, 124, 128, 2


def perform(settings: Settings, request: Request, as_json: bool) -> RunResult:
    """Run it with the store, the view and the summary plugged in; then apply retention."""
    console, config = settings.console, request.target.config
    unlock(console, config)
    with Store.open(config.metadata_db) as store:
        report_interrupted(settings, config, store)
        run, lessons = RunView(), Lessons(console)
        view = progress.view_for(console, run, as_json=as_json, verbose=settings.verbose)

        try:
            result = execute(
                request,
                Services(
                    store=store,
                    hear=(run.apply, lessons.emit, view.emit),
                    tap=view.output if settings.verbose else None,
                    waiting=console.note,
                ),
            )
        finally:
            view.close()
            if not as_json:
                Summary(console, run, again=settings.again).write()
                lessons.close()
        for problem in clean_up(request, store, result.run):
            console.warning(problem)
    return result


def report_interrupted(settings: Settings, config: WorkspaceConfig, store: Store) -> None:
    """Give an end to runs whose process was killed, and say so."""
    for dead in recover_runs(store, config.runs_dir):
        left = f"; ended {dead.processes} of its processes" if dead.processes else ""
        settings.console.warning(
            f"run {dead.run} was interrupted{left}",
            f"See it with: {settings.again(f'status {dead.dag}')}",
        )


def exit_code(result: RunResult) -> int:
    """0 success, 1 failed, 25 disk full, 124 timed out, 129, 130 or 143 ended by a signal."""
    match result.state, result.reason:
        case RunState.SUCCESS, _:
            return 0
        case RunState.CANCELLED, _:
            return _EXIT_SIGNAL + (result.signal or _SIGINT)
        case _, Reason.TIMEOUT:
            return _EXIT_TIMEOUT
        case _, Reason.DISK_FULL:
            return DiskFull.exit_code
    return _EXIT_FAILED


def conclude(result: RunResult) -> None:
    """Raise what gives `pit` its exit code, unless the run succeeded."""
    code = exit_code(result)
    if code:
        raise RunNotSuccessful(f"run {result.run} {result.state}", code)
