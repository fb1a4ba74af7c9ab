"""How long until what is stale is done: all of 1,000 tasks for the first time, 100 of them, one.

With --all also of 10,000. The promises are ratios to doit, which checks contents too, and to make.
Pit does more in that time than they do: a snapshot of the whole project, a lock, a log for each
task, records that are durable before anything depends on them.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping
from functools import partial

from measure import folder, medians, report, rounds
from peers import Peer, first_run, fresh, names, peers

FIRST = {"make": 1.3, "doit": 1.0}
SOME = {1_000: {1: {"doit": 2.0}, 100: {"doit": 1.3}}, 10_000: {1: {"doit": 0.6, "make": 0.2}}}
"""By number of tasks and of those that are stale: what Pit may take of each peer's time."""


def told(what: str, found: Mapping[str, float], budgets: Mapping[str, float]) -> None:
    """Print one promise for each peer that is here."""
    figures = ", ".join(f"{name} {value:.3f} s" for name, value in found.items())
    for peer, budget in budgets.items():
        if peer in found:
            ratio = found["pit"] / found[peer]
            report(f"{what}, ≤ {budget} × {peer}", ratio, budget, f"{ratio:.2f}: {figures}")


def first(count: int, times: int) -> None:
    """Print the ratios for the first run of `count` tasks."""
    with folder() as root:  # kept until the end: ext4 is slow to make files where some just went
        made = [fresh(root / str(number), count) for number in range(times)]
        left: dict[str, Iterator[Peer]] = {
            name: iter([each[name] for each in made]) for name in made[0]
        }
        found = medians(
            {
                name: partial(lambda peers: first_run(next(peers), count), peers)
                for name, peers in left.items()
            },
            times,
        )
    told(f"{count:,} tasks for the first time", found, FIRST)


def again(count: int, times: int) -> None:
    """Print the ratios for some of `count` tasks."""
    versions = itertools.count(1)

    def rebuild(peer: Peer, stale: int) -> float:
        version = next(versions)
        tasks = [names(count)[(7 * version + 9 * number) % count] for number in range(stale)]
        for task in tasks:
            peer.edit(task, f"{task} {version}\n")
        taken = peer.run()
        for task in tasks:
            assert peer.made(task) == f"{task} {version}\n", f"{peer.name} did not rebuild {task}"
        return taken

    with folder() as root:
        there = peers(root, count)
        for stale, budgets in SOME[count].items():
            runs = {name: partial(rebuild, peer, stale) for name, peer in there.items()}
            told(f"{stale} of {count:,} tasks", medians(runs, times), budgets)


if __name__ == "__main__":
    first(1_000, rounds(5))
    again(1_000, rounds(7))
    if "--all" in sys.argv:
        first(10_000, rounds(3))
        again(10_000, rounds(3))
