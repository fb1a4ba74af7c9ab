"""Whether Pit was killed and its guardian, alone with a run's lock, ends what the run has left."""

from __future__ import annotations

import os
from pathlib import Path

from pit.state import liveness
from pit.state.store.tables.runs import RunRow


def is_ending(run: RunRow, runs_dir: Path) -> bool:
    """Whether the guardian of a run that is alive has only its end to bring about.

    The number of a process says nothing of one in another container; who has the lock does.
    """
    from pit.work.process import procfs  # few runs that are looked at are alive

    place = liveness.folder(run, runs_dir)
    if place is None or not run.pid or procfs.lives(run.pid, run.pid_started, run.boot_id):
        return False
    return procfs.openers(os.path.realpath(place.lock.path)) == 1
