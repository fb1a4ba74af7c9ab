"""Recovery: what a crash left `running` becomes `interrupted`, what it was publishing is found.

Only the rows: the processes that a dead run may have left behind are ended by whoever calls this,
and what it left in the project is swept, or finished, there too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pit.state.liveness import is_alive
from pit.state.store.store import Store
from pit.state.store.tables.publications import Intent
from pit.state.store.tables.runs import RunRow


def recover(
    store: Store, runs_dir: Path, bury: Callable[[RunRow], object] = lambda row: None
) -> tuple[RunRow, ...]:
    """Interrupts every run that is `running` in the store and whose lock is free; returns them.

    A run makes its end durable before it lets go of its lock, and `interrupt` looks at the state
    again under the write lock: a run that ends while we look is never called interrupted. `bury`
    is called for each before that: should we die meanwhile, whoever comes next does it again.
    """
    dead = [row for row in store.runs.running() if not is_alive(row, runs_dir)]
    for row in dead:
        bury(row)
    return tuple(row for row in dead if store.runs.interrupt(row.id, time.time()))


def stranded(store: Store, runs_dir: Path) -> tuple[Intent, ...]:
    """What dead runs were publishing when they died, in the order of the runs.

    Each is to be finished from its run's folder and then ended (`store.publications.end`).
    """
    found = store.publications.pending()
    rows = store.runs.named({intent.run for intent in found})
    dead = {row.id for row in rows if not is_alive(row, runs_dir)}
    return tuple(intent for intent in found if intent.run in dead)
