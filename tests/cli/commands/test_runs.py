"""The listings of runs and of outputs."""

from __future__ import annotations

import time

from pit.model import RunState
from tests.builder import Pit
from tests.cli.conftest import Record


def ids(pit: Pit, *args: str) -> list[str]:
    """The run ids that `pit runs` lists."""
    return [line.split()[0] for line in pit.run("runs", *args).ok().out.splitlines()[1:]]


def test_runs_come_the_latest_first(sales: Pit, record: Record) -> None:
    now = time.time()
    made = [record(at=now - 100 * n, dag="sales" if n % 2 else "other").id for n in range(5)]
    assert ids(sales) == made[::-1]
    assert ids(sales, "--limit", "2") == made[:-3:-1]
    assert ids(sales, "sales") == [made[3], made[1]]


def test_runs_of_one_state_with_the_dead_counted_as_interrupted(sales: Pit, record: Record) -> None:
    bad = record(RunState.FAILED)
    dead = record(ended=False)
    alive = record(ended=False, alive=True)
    assert ids(sales, "--state", "failed") == [bad.id]
    assert ids(sales, "--state", "interrupted") == [dead.id]
    assert ids(sales, "--state", "running") == [alive.id]
    assert "no such runs" in sales.run("runs", "--state", "cancelled").ok().err
    sales.run("runs", "--state", "broken").fails(2, "invalid value for '--state'")
    assert alive.lock is not None
    alive.lock.release()


def test_no_runs_yet_and_no_such_dag(sales: Pit) -> None:
    assert "no runs yet" in sales.run("runs").ok().err
    assert sales.run("runs", "--json").ok().json == []
    sales.run("runs", "slaes").fails(2, 'Did you mean "sales"?')
    assert not (sales.root / "pit_metadata.db").exists()


def test_the_json_of_a_run(sales: Pit, record: Record) -> None:
    folder = record(RunState.FAILED, params={"day": "2026-01-31"})
    (run,) = sales.run("runs", "--json").ok().json
    assert run | {"started_at": 0, "ended_at": 0} == {
        "run": folder.id,
        "dag": "sales",
        "state": "failed",
        "reason": "exit",
        "error": "",
        "stub": False,
        "started_at": 0,
        "ended_at": 0,
        "seconds": 4.0,
        "selection": None,
        "trigger": "manual",
        "params": {"day": "2026-01-31"},
        "parent": None,
        "retry_of": None,
        "folder": str(folder.root),
        "ending": False,
    }
    assert "day=2026-01-31" in sales.run("runs").out


# ---------------------------------------------------------------- outputs


def test_outputs_tell_when_they_were_made_and_keep_extra_keys(sales: Pit, record: Record) -> None:
    line = sales.run("outputs").ok().out.splitlines()[1].split()
    assert line == [
        "sales",
        "totals",
        "table",
        "warehouse.staging.totals",
        "never",
        "audience=finance",
    ]
    folder = record()
    (found,) = sales.run("outputs", "--json").ok().json
    assert found.pop("made_at") > 0
    assert found == {
        "dag": "sales",
        "name": "totals",
        "type": "table",
        "location": "warehouse.staging.totals",
        "task": None,
        "extra": {"audience": "finance"},
        "run": folder.id,
    }


def test_outputs_are_filtered(sales: Pit) -> None:
    task = '[[tasks]]\nname = "a"\nscript = "a.sh"\n'
    sales.project("files").file("a.sh", "").toml(
        task + '[[outputs]]\nname = "x"\ntype = "file"\nlocation = "out/x.csv"\n'
    )

    def names(*args: str) -> list[str]:
        return [each["name"] for each in sales.run("outputs", *args, "--json").ok().json]

    assert names() == ["x", "totals"]
    assert names("--project", "sales") == ["totals"]
    assert names("--type", "file") == ["x"]
    assert names("--location", "warehouse.*") == ["totals"]
    assert names("--location", "out/*.csv", "--type", "table") == []
    assert "no outputs found" in sales.run("outputs", "--type", "none").ok().err
    sales.run("outputs", "--project", "slaes").fails(2, 'Did you mean "sales"?')


def test_a_broken_project_still_shows_what_it_made(sales: Pit, record: Record) -> None:
    record()
    sales.toml("[dag\n")
    assert "warehouse.staging.totals" in sales.run("outputs").ok().out
