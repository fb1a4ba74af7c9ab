"""What a run left on the disk for sure, when the machine has been restarted since.

Pit flushes what it promises: the store, published targets. Snapshots, data folders and what tasks
leave in them are written by the kernel when it sees fit, within half a minute by default; whether
a restart was orderly or a power cut, nobody can tell afterwards. So only that counts which was
there some time before the last sign of life.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pit.model import RunState

if TYPE_CHECKING:
    from pit.state.store.tables.runs import RunRow

SETTLING = 120.0
"""Seconds after which the kernel has written what it was given; four times what Linux waits."""


def settled_until(run: RunRow, others: Iterable[RunRow], boot_id: str) -> float:
    """The time (Unix seconds) until which all that a run had written has reached the disk.

    Infinity if the machine has not been restarted since. `others` are runs that may have been
    seen alive later, before the same restart; what began earlier may bear the times of a clock
    that was put back since.
    """
    if run.boot_id == boot_id or not (run.boot_id and boot_id):
        return math.inf
    later = (each for each in others if each.boot_id == run.boot_id and each.seq > run.seq)
    return max(map(_last_sign, (run, *later))) - SETTLING


def _last_sign(run: RunRow) -> float:
    if run.state is RunState.INTERRUPTED:
        return run.started_at + (run.seconds or 0.0)
    return run.ended_at or run.started_at
