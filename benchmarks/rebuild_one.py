"""One input of 1,000 (with --all also 10,000) was edited: how long until its target is new.

There is no absolute budget: the ratios to make, ninja, doit and go-task are what counts. Pit does
more in that time than they do: a snapshot of the whole project, a lock, a log, durable records.
"""

from __future__ import annotations

import itertools
import sys
from functools import partial

from measure import folder, medians, report
from peers import Peer, names, peers

PROMISED = "doit"
"""The peer that Pit promises not to be slower than: it checks contents, too."""


def measure(count: int, rounds: int) -> None:
    """Print the ratios for `count` tasks."""
    numbers = itertools.count(1)

    def rebuild(peer: Peer) -> float:
        number = next(numbers)
        task = names(count)[(7 * number) % count]
        peer.edit(task, f"{task} {number}\n")
        taken = peer.run()
        assert peer.made(task) == f"{task} {number}\n", f"{peer.name} did not rebuild {task}"
        return taken

    with folder() as root:
        there = peers(root, count)
        found = medians({name: partial(rebuild, peer) for name, peer in there.items()}, rounds)
    ratio = found["pit"] / found[PROMISED]
    figures = ", ".join(f"{name} {value:.3f} s" for name, value in found.items())
    report(f"{count:,} tasks, one of them to do, ≤ {PROMISED}", ratio, 1, f"{ratio:.2f}: {figures}")


if __name__ == "__main__":
    measure(1_000, rounds=7)
    if "--all" in sys.argv:
        measure(10_000, rounds=3)
