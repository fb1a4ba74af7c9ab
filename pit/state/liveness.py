"""Whether a recorded run is alive: the word of its lock, from whichever process one looks.

A run that the store has as `running` while nobody holds its lock is `interrupted`, which is what
the next command that may write will record.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from pit.errors import UnknownRun
from pit.model import Reason, RunState, TaskState
from pit.state.rundir import RunDir
from pit.state.store.tables.runs import RunRow, TaskRow


def _folders(run: RunRow, runs_dir: Path) -> Iterator[RunDir]:
    """Where the folder of a run may be: where it is looked for now, and where it was made; nowhere
    if the id is no folder's name, as one of an older store need not be."""
    with suppress(UnknownRun):
        yield RunDir.at(runs_dir, run.id)
        made = Path(run.run_dir).parent
        if run.run_dir and made != runs_dir:
            yield RunDir.at(made, run.id)


def folder(run: RunRow, runs_dir: Path) -> RunDir | None:
    """A run's folder, there or not, also after the workspace has moved; None where its id is no
    folder's name."""
    last = None
    for last in _folders(run, runs_dir):
        if last.root.is_dir():
            break
    return last


def is_alive(run: RunRow, runs_dir: Path) -> bool:
    """Whether the lock of a recorded run is held, where its folder is now or where it was made."""
    return any(each.is_alive() for each in _folders(run, runs_dir))


def state_of(run: RunRow, runs_dir: Path) -> RunState:
    """Where a run stands."""
    if run.state is RunState.RUNNING and not is_alive(run, runs_dir):
        return RunState.INTERRUPTED
    return run.state


def task_in(run: RunState, task: TaskRow) -> TaskRow:
    """A task as the state of its run has it: after an interruption nothing runs or waits."""
    if run is RunState.INTERRUPTED and task.state is TaskState.RUNNING:
        return replace(task, state=TaskState.FAILED, reason=Reason.INTERRUPTED)
    if run is RunState.INTERRUPTED and task.state is TaskState.PENDING:
        return replace(task, state=TaskState.SKIPPED, reason=Reason.INTERRUPTED)
    return task
