"""Whether a recorded run is alive, by who has its lock: Pit, its guardian alone, or nobody."""

from __future__ import annotations

import os
from pathlib import Path

from pit.errors import UnknownRun
from pit.model import WorkspaceConfig
from pit.state.rundir import RunDir
from pit.state.store.tables.runs import RunRow


def folder(config: WorkspaceConfig, run: RunRow) -> RunDir | None:
    """A run's folder, also after the workspace has moved; None where the id is no folder's name."""
    try:
        here = RunDir.at(config.runs_dir, run.id)
        if here.root.is_dir() or not run.run_dir:
            return here
        return RunDir.at(Path(run.run_dir).parent, run.id)
    except UnknownRun:
        return None


def is_ending(place: RunDir | None, run: RunRow) -> bool:
    """Whether Pit has been killed and its guardian, alone with the lock, ends what it left.

    The number of a process says nothing of one in another container; who has the lock does.
    """
    from pit.work.process import procfs

    if place is None or not run.pid or procfs.lives(run.pid, run.pid_started, run.boot_id):
        return False
    return procfs.openers(os.path.realpath(place.lock.path)) == 1
