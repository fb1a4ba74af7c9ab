"""doit's dispatcher beside a twin on the standard library's graphlib, on random DAGs."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from graphlib import TopologicalSorter
from random import Random
from typing import get_args

import pytest

from pit.engine.doit.dispatch import Dispatch, Ending, Ready

Needs = dict[str, list[str]]
ENDINGS: tuple[Ending, ...] = get_args(Ending)


class Twin:
    """What `Dispatch` promises, in twenty lines."""

    def __init__(self, needs: Mapping[str, Sequence[str]]) -> None:
        self._needs = {t: [d for d in ds if d in needs] for t, ds in needs.items()}
        self._sorter = TopologicalSorter(self._needs)
        self._sorter.prepare()
        self._ready: deque[str] = deque()
        self._how: dict[str, Ending] = {}

    def next(self) -> Ready | None:
        self._ready.extend(self._sorter.get_ready())
        if not self._ready:
            return None
        task = self._ready.popleft()
        return Ready(
            task=task, failed=self._that(task, "failed"), skipped=self._that(task, "skipped")
        )

    def ended(self, task: str, how: Ending) -> None:
        self._how[task] = how
        self._sorter.done(task)

    def has_ended(self, tasks: Collection[str]) -> bool:
        """Whether these are the tasks that ended, and no other is left."""
        return self._how.keys() == set(tasks) and not self._sorter.is_active()

    def _that(self, task: str, how: Ending) -> tuple[str, ...]:
        return tuple(sorted(d for d in self._needs[task] if self._how[d] == how))


def random_dag(chance: Random) -> Needs:
    """Up to 30 tasks in topological order; t-1 is one that was left out."""
    needs: Needs = {}
    for place in range(chance.randint(1, 30)):
        before = range(-1, place)
        chosen = chance.sample(before, min(chance.randint(0, 5), len(before)))
        needs[f"t{place}"] = [f"t{each}" for each in chosen]
    return needs


def drained(twin: Twin) -> dict[str, Ready]:
    """All tasks that may start now, by name."""
    return {ready.task: ready for ready in iter(twin.next, None)}


@pytest.mark.parametrize("seed", range(0, 300, 100))
def test_doit_gives_the_tasks_that_the_standard_library_gives(seed: int) -> None:
    for each in range(seed, seed + 100):
        chance = Random(each)
        walk(random_dag(chance), chance)


def walk(needs: Needs, chance: Random) -> None:
    """Holds the one beside the other, while tasks end in any order and way."""
    dispatch, twin = Dispatch("d", needs), Twin(needs)
    due: dict[str, Ready] = {}
    running: list[str] = []
    for _ in range(100 * len(needs)):
        due |= drained(twin)
        for _ in range(chance.randint(1, 4)):  # slots that are free
            if (ready := dispatch.next()) is None:
                assert not due
                break
            assert ready == due.pop(ready.task)
            running.append(ready.task)
        if not running:
            break
        for _ in range(chance.randint(1, len(running))):
            task = running.pop(chance.randrange(len(running)))
            how = chance.choice(ENDINGS)
            dispatch.ended(task, how)
            twin.ended(task, how)
    assert twin.has_ended(needs)


def test_what_did_not_succeed_is_told_by_name_and_in_order() -> None:
    dispatch = Dispatch("d", {"z": [], "a": [], "m": [], "last": ["z", "a", "m", "elsewhere"]})
    assert [dispatch.next() for _ in range(4)] == [*(Ready(task=t) for t in "zam"), None]
    dispatch.ended("m", "done")
    dispatch.ended("z", "failed")
    assert dispatch.next() is None
    dispatch.ended("a", "failed")
    assert dispatch.next() == Ready(task="last", failed=("a", "z"))
    dispatch.ended("last", "skipped")
    assert dispatch.next() is None
