"""Newer and older are told by numbers that only grow, whatever the clock says meanwhile."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pit.state.store.store import Store
from tests.builder import Pit
from tests.engine.run.test_recovery import strand
from tests.engine.run.test_run import rows, wait_for

_CLOCK = """
import os, time
_shift, _time = float(os.environ.get("SHIFT", "0")), time.time
time.time = lambda: _time() + _shift
"""


@pytest.fixture
def shifted(pit: Pit, tmp_path_factory: pytest.TempPathFactory) -> Pit:
    """A workspace whose commands live SHIFT seconds later than everybody else."""
    folder = tmp_path_factory.mktemp("clock")
    (folder / "sitecustomize.py").write_text(_CLOCK)
    pit.env["PYTHONPATH"] = f"{folder}:{Path(__file__).parents[3]}"
    pit.project("m").toml(
        '[[tasks]]\nname = "slow"\nscript = "slow.sh"\n'
        '[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = ["in.txt"]\ntargets = ["o.txt"]\n'
        'depends_on = ["slow"]\n'
    )
    pit.file("in.txt", "old\n").file("a.sh", "cat in.txt > o.txt\n")
    gate = "while [ ! -e $PIT_WORKSPACE/go ]; do sleep 0.05; done"
    return pit.file("slow.sh", f"touch $PIT_WORKSPACE/in; {gate}\n")


def meanwhile(pit: Pit, *command: str, **env: str) -> None:
    """One run takes its snapshot, then the input is edited and another command runs to its end."""
    older = pit.start("run", "m")
    wait_for(lambda: (pit.root / "in").exists())
    pit.file("in.txt", "new\n").file("slow.sh", "true")
    pit.run(*command, **env).ok()
    (pit.root / "go").touch()
    said = older.communicate(timeout=60)[0].decode()
    assert older.returncode == 0, said


@pytest.mark.parametrize("shift", ["-7200", "7200"])
def test_a_clock_that_is_set_lets_no_older_result_win(shifted: Pit, shift: str) -> None:
    meanwhile(shifted, "run", "m", SHIFT=shift)
    assert (shifted.folder / "o.txt").read_text() == "new\n"
    assert ("success", "superseded") in rows(shifted, "select state, reason from tasks")


def test_what_was_accepted_meanwhile_is_newer_too(shifted: Pit) -> None:
    shifted.file("o.txt", "by hand\n")
    meanwhile(shifted, "accept", "m/a", "-m", "made by hand", SHIFT="-7200")
    assert (shifted.folder / "o.txt").read_text() == "by hand\n"


def test_a_run_that_began_earlier_may_take_the_later_snapshot(pit: Pit) -> None:
    with Store.open(pit.root / "pit_metadata.db") as store:
        first, second = store.snapshots.draw(), store.snapshots.draw()
    assert 0 < first < second
    with Store.open(pit.root / "pit_metadata.db") as store:
        assert store.snapshots.drawn("nobody") == 0
        assert store.snapshots.draw() > second


def test_a_dead_run_is_outrun_whatever_the_clock_says(shifted: Pit) -> None:
    shifted.file("a.sh", "echo newer > o.txt\n").file("slow.sh", "true")
    with Store.open(shifted.root / "pit_metadata.db") as store:
        dead = strand(shifted, store, {"o.txt": "older\n"}, {"o.txt": "older\n"})
        assert dead.lock.acquire()  # it is not dead yet
        shifted.run("run", "m", SHIFT="-7200").ok()
        assert store.publications.is_outrun(dead.id, "a")
        assert not store.publications.is_outrun(dead.id, "slow")
        dead.lock.release()
    shifted.file("a.sh", "exit 1\n").run("run", "m").fails(1)
    assert (shifted.folder / "o.txt").read_text() == "newer\n"


def test_runs_of_an_earlier_layout_keep_their_order(pit: Pit) -> None:
    pit.project("m").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = []\n')
    pit.file("a.sh", "true").run("run", "m").ok()
    pit.run("run", "m", "--force").ok()
    with closing(sqlite3.connect(pit.root / "pit_metadata.db")) as store:
        numbers = [n for (n,) in store.execute("SELECT snapshot FROM runs ORDER BY seq")]
        assert numbers == sorted(set(numbers))
        assert store.execute("SELECT snapshot FROM records").fetchall() == [(numbers[-1],)]
