"""What it costs to find out that nothing is to do: 1,000 (with --all also 10,000) tracked tasks.

Budgets: 0.08 s for 1,000 tasks with one input and one target each, 0.12 s for 10,000, and ahead of
make and doit. ninja is the limit to approach; go-task is shown where it is installed.

The first look after something has run reads records and stats files task by task; what it finds is
kept as a stamp, and the next one only compares stats. Both are shown; the budgets are the second's.
"""

from __future__ import annotations

import shutil
import sys

from measure import folder, medians, report, rounds
from peers import Peer, peers

BUDGETS = {1_000: 0.08, 10_000: 0.12}
AHEAD_OF = ("make", "doit")


def unstamped(pit: Peer) -> float:
    """A run that has to look properly."""
    shutil.rmtree(pit.cwd / ".pit" / "stamps", ignore_errors=True)
    return pit.run()


def measure(count: int, times: int) -> None:
    """Print the time and the ratios for `count` tasks."""
    with folder() as root:
        there = peers(root, count)
        pit = there["pit"]
        pit.run()  # a file that was written just now is too young for a stamp
        found = medians(
            {name: peer.run for name, peer in there.items()}
            | {"pit, first look": lambda: unstamped(pit)},
            times,
        )
    pit_seconds, budget = found["pit"], BUDGETS[count]
    figures = ", ".join(f"{name} {value:.3f} s" for name, value in found.items())
    report(f"{count:,} tasks, nothing to do, ≤ {budget} s", pit_seconds, budget, figures)
    for name in AHEAD_OF:
        if name in found:
            ratio = f"{pit_seconds / found[name]:.2f} of {name}"
            report(
                f"{count:,} tasks, nothing to do, ahead of {name}", pit_seconds, found[name], ratio
            )


if __name__ == "__main__":
    measure(1_000, rounds(9))
    if "--all" in sys.argv:
        measure(10_000, rounds(5))
