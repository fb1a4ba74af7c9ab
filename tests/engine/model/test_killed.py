"""Tracked pipelines by the real command: killed at random instants, and several runs at once.

Whatever the instant: each target is the old one or the new one, whole, and the next run that is
left alone makes what a build from scratch would make.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from contextlib import suppress

import psutil
import pytest

from tests.builder import Pit
from tests.engine.model import scripts
from tests.engine.model.foretold import first_sources, from_scratch, scan
from tests.engine.model.pipelines import ALL_KINDS, SOURCES, Step, Tree
from tests.engine.run.test_run import rows

KILLS = int(os.environ.get("PIT_TEST_KILLS", "12"))
ROUNDS = max(4, KILLS // 3)


def _dice() -> random.Random:
    """The same throws in every normal run, others when more is to be tried."""
    return random.Random(None if "PIT_TEST_KILLS" in os.environ else 12)


def _prepare(pit: Pit) -> None:
    pit.file("pit_config.toml", "[retention]\nsnapshots = 0\n")  # each is the base of the next
    pit.project("m")
    for place, content in first_sources().items():
        pit.file(place, content)
    for step in ALL_KINDS.steps:
        pit.file(f"../../control/{step.name}", "sleep 0.03\n")
    scripts.write(ALL_KINDS, pit.folder)
    pit.run("run", "m").ok()


@pytest.mark.timeout(180 + 10 * KILLS)
def test_killed_runs_leave_whole_targets_and_the_next_run_makes_all_right(pit: Pit) -> None:
    dice = _dice()
    _prepare(pit)
    unfinished: list[Tree] = []
    for kill in range(KILLS):
        before = scan(pit.folder)
        pit.file(dice.choice(SOURCES), f"{dice.randrange(10)}\n")
        new = from_scratch(ALL_KINDS, scan(pit.folder), "1")
        _kill(pit, dice)
        for step in ALL_KINDS.steps:
            _check_whole(step, scan(pit.folder), [before, *unfinished, new])
        if kill % 2:
            # The next run may find what two have left; it publishes what this one was about to.
            unfinished = [new]
            continue
        pit.run("run", "m").ok()
        unfinished = []
        _check_made(scan(pit.folder), new)
        assert rows(pit, "select id from runs where state = 'running'") == []
        assert rows(pit, "select run from intents") == []
        assert list(pit.folder.rglob(".pit-*")) == []


@pytest.mark.timeout(180 + 10 * KILLS)
def test_runs_at_once_leave_what_the_newest_made(pit: Pit) -> None:
    dice = _dice()
    _prepare(pit)
    for _ in range(ROUNDS):
        pit.file(f"s/{dice.choice('ab')}", f"{dice.randrange(10)}\n")
        one = pit.start("run", "m")
        time.sleep(dice.uniform(0.2, 0.8))
        _swap(pit, dice.choice(SOURCES[:6]), f"{dice.randrange(10)}\n")
        new = from_scratch(ALL_KINDS, scan(pit.folder), "1")
        other = pit.start("run", "m")
        said = other.communicate()[0].decode() + one.communicate()[0].decode()
        assert (one.returncode, other.returncode) == (0, 0), said
        now = scan(pit.folder)
        assert {place: now.get(place) for place in new} == new, said
        pit.run("run", "m").ok()
        _check_made(scan(pit.folder), new)


def _swap(pit: Pit, place: str, text: str) -> None:
    """Edit a file as editors do: a snapshot taken meanwhile never finds it empty."""
    (pit.root / "new").write_text(text)
    os.replace(pit.root / "new", pit.folder / place)


def _kill(pit: Pit, dice: random.Random) -> None:
    """Start a run and kill it, in half of the cases with all that it has started."""
    known = len(pit.runs())
    run = pit.start("run", "m")
    until = time.monotonic() + dice.uniform(0.3, 0.9)
    while time.monotonic() < until and run.poll() is None:
        time.sleep(0.01)
        if len(pit.runs()) > known:
            break
    with suppress(subprocess.TimeoutExpired):
        run.wait(dice.uniform(0.0, 0.45))
    doomed = []
    if dice.random() < 0.5:
        with suppress(psutil.NoSuchProcess):
            doomed = psutil.Process(run.pid).children(recursive=True)
    run.send_signal(signal.SIGKILL)
    for process in doomed:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    run.communicate()


def _check_whole(step: Step, now: Tree, versions: list[Tree]) -> None:
    """Each target is as it is in one of the versions, whole."""
    current, *known = (
        {place: tree[place] for place in tree if step.owns(place)} for tree in (now, *versions)
    )
    if step.kind == "folder":
        assert current in known
    for place, content in current.items():
        assert content in [version.get(place) for version in known]
    assert set.intersection(*map(set, known)) <= current.keys()


def _check_made(now: Tree, new: Tree) -> None:
    """All is there, and nothing else but what a glob target matched before a crash."""
    assert {place: now.get(place) for place in new} == new
    left = [place for place in now if place.startswith("o/") and place not in new]
    assert all(ALL_KINDS.step("t2").owns(place) for place in left)
