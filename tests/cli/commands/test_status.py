"""How the DAGs stand, at a glance and in full."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time

import pytest

from pit.events import AttemptEnded, Fact, Progressed, ValueSet, Warned
from pit.model import Reason, RunState
from pit.order import Outcome
from pit.state.store.store import Store
from tests.builder import Pit
from tests.cli.commands.test_plan import NO_MOUNT
from tests.cli.conftest import Record


def row(pit: Pit, dag: str = "sales") -> list[str]:
    """The DAG's line of `pit status` in words."""
    lines = [line.split() for line in pit.run("status").ok().out.splitlines()]
    return next(words for words in lines if words and words[0] == dag)


def test_a_dag_that_never_ran(sales: Pit) -> None:
    assert row(sales)[:2] == ["sales", "never"]
    assert row(sales)[-2:-1] == ["in"]
    out = sales.run("status", "sales").ok().out
    assert "It has not run yet. Run it with: pit run sales" in out
    assert not (sales.root / "pit_metadata.db").exists()


def test_the_last_run_the_success_rate_and_the_bars(sales: Pit, record: Record) -> None:
    now = time.time()
    record(RunState.FAILED, at=now - 4000)
    for age in (3000, 2000, 1000):
        record(at=now - age)
    words = row(sales)
    assert "16m ago" in " ".join(words)
    assert words[5:9] == ["success", "4.0s", "75%", "████"]


def test_a_failure_says_which_task_and_what_to_type(sales: Pit, record: Record) -> None:
    record(RunState.FAILED)
    assert (
        "sales/load failed: exit code 3; see: pit logs sales/load" in sales.run("status").ok().out
    )
    out = sales.run("status", "sales").ok().out
    assert "load     failed   2.0s" in out
    assert "exit code 3" in out
    assert out.endswith("Next: pit logs sales/load\n")


def test_a_stub_is_in_plain_sight_and_counts_for_nothing(sales: Pit, record: Record) -> None:
    record(RunState.FAILED, at=time.time() - 4000)
    record(stub=True)
    out = sales.run("status").ok().out
    assert "success (stub)" in out
    assert "Stub runs executed no SQL" in out
    assert " 0% " in out
    assert "This was a stub run" in sales.run("status", "sales").ok().out


def test_a_run_whose_lock_is_free_was_interrupted(sales: Pit, record: Record) -> None:
    folder = record(ended=False)
    assert "interrupted" in row(sales)
    assert "sales/load failed: interrupted" in sales.run("status").out
    assert sales.run("status", "sales").ok().out.endswith("Next: pit retry sales\n")
    found = sales.run("status", "sales", "--json").ok().json
    assert (found["dag"]["last"]["run"], found["dag"]["last"]["state"]) == (
        folder.id,
        "interrupted",
    )
    assert [(task["task"], task["state"], task["reason"]) for task in found["tasks"]] == [
        ("extract", "success", None),
        ("load", "failed", "interrupted"),
    ]


def test_a_run_whose_lock_is_held_is_running(sales: Pit, record: Record) -> None:
    folder = record(ended=False, alive=True)
    assert "running" in row(sales)
    out = sales.run("status", "sales").ok().out
    assert "load     running" in out
    assert out.endswith("Next: pit logs sales --follow\n")
    assert folder.lock is not None
    folder.lock.release()


def test_json_of_all_and_of_one(sales: Pit, record: Record) -> None:
    run = record(params={"day": "2026-01-31"})
    found = sales.run("status", "--json").ok().json
    (dag,) = found["dags"]
    assert found["problems"] == []
    assert (dag["dag"], dag["valid"], dag["success_rate"]) == ("sales", True, 1.0)
    assert dag["recent"] == [4.0]
    assert dag["next_fire"] > time.time()
    assert dag["last"]["run"] == run.id
    assert dag["last"]["params"] == {"day": "2026-01-31"}
    one = sales.run("status", "sales", "--json").ok().json
    assert one["dag"] == dag
    assert dag["state"] == "success"
    assert one["tasks"][0] | {"started_at": 0} == {
        "task": "extract",
        "run": run.id,
        "state": "success",
        "reason": None,
        "error": "",
        "attempts": 1,
        "started_at": 0,
        "seconds": 2.0,
        "cpu_seconds": 1.5,
        "peak_memory": 50_000_000,
        "exit_code": 0,
        "why": "",
        "made_by": "",
        "saved": 0.0,
        "values": {},
        "progress": None,
        "retry_at": None,
    }


def test_of_many_tasks_the_one_that_failed_is_in_sight(pit: Pit) -> None:
    names = [f"t{n:02}" for n in range(60)]
    toml = "".join(f'[[tasks]]\nname = "{name}"\nscript = "{name}.sh"\n' for name in names)
    pit.project("many").toml(f"[dag]\nconcurrency = 8\n{toml}")
    for name in names:
        pit.file(f"{name}.sh", "false" if name == "t55" else "")
    pit.run("run", "many").fails(1)
    out = pit.run("status", "many").ok().out
    table = out[out.index("TASK") :].splitlines()
    assert table[1].startswith("t55   failed")
    assert table[2].startswith("t00   success")
    assert "… and 10 more tasks (--verbose shows each task)" in table
    assert "t59" in pit.run("status", "many", "--verbose").ok().out


def test_the_values_of_a_run_are_shown(sales: Pit, record: Record) -> None:
    run = record()
    with Store.open(sales.root / "pit_metadata.db") as store:
        for name, value in (("city", '"Oslo"'), ("rows", "42")):
            fact = ValueSet(run=run.id, at=1.0, task="load", name=name, value=value, attempt=1)
            store.emit(fact)
    tasks = sales.run("status", "sales", "--json").ok().json["tasks"]
    assert [task["values"] for task in tasks] == [{}, {"city": "Oslo", "rows": 42}]
    out = sales.run("status", "sales").ok().out
    assert "TASK  VALUE  IS\nload  city   Oslo\nload  rows   42\n" in out


def test_a_broken_project_hides_neither_the_others_nor_its_own_past(
    sales: Pit, record: Record
) -> None:
    record()
    sales.project("other").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\n').file("a.sh", "")
    sales.project("sales").toml("[dag\n")
    out = sales.run("status").ok().out
    assert row(sales, "other")[1] == "never"
    assert "projects/sales/pit.toml has problems; see: pit validate" in out
    assert "success" in sales.run("status", "sales").ok().out
    found = sales.run("status", "--json").json
    assert [(dag["dag"], dag["valid"]) for dag in found["dags"]] == [
        ("other", True),
        ("sales", False),
    ]


def test_a_broken_project_without_a_past_shows_its_problems(sales: Pit) -> None:
    sales.toml("[dag\n")
    sales.run("status", "sales").fails(11, "projects/sales/pit.toml:")


def test_an_unknown_dag_gets_a_suggestion(sales: Pit) -> None:
    sales.run("status", "slaes").fails(2, 'DAG "slaes" not found', 'Did you mean "sales"?')


def test_a_workspace_that_moved_is_still_read(
    sales: Pit, record: Record, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = record(ended=False, alive=True)
    moved = tmp_path_factory.mktemp("moved") / "workspace"
    shutil.move(sales.root, moved)
    assert "running" in row(Pit(moved))
    assert folder.lock is not None
    folder.lock.release()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a file system read-only")
def test_a_workspace_on_a_read_only_disk(sales: Pit, record: Record) -> None:
    record(RunState.FAILED)
    root = str(sales.root)
    commands = [
        shutil.which("mount") or "mount",
        "--bind",
        "-o",
        "ro",
        root,
        root,
    ]
    script = f"{' '.join(commands)} || exit {NO_MOUNT}; exec " + " ".join(sales.argv("status"))
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], env=sales.env, capture_output=True, text=True
    )
    if done.returncode == NO_MOUNT or done.stderr.startswith("unshare:"):
        pytest.skip("mounting is not allowed here")
    assert done.returncode == 0, done.stderr
    assert "sales/load failed" in done.stdout


# ---------------------------------------------------------------- what a run told


def tell(pit: Pit, *events: Fact) -> None:
    """More of what a run has told."""
    with Store.open(pit.root / "pit_metadata.db") as store:
        for event in events:
            store.emit(event)


def test_the_warnings_of_a_run_are_shown(sales: Pit, record: Record) -> None:
    first = record(at=time.time() - 4000).id
    tell(sales, Warned(run=first, at=1, message="the snapshot is big", hint="Use .pitignore"))
    assert "  warning   the snapshot is big; use .pitignore\n" in sales.run("status", "sales").out
    found = sales.run("status", "sales", "--json").ok().json
    assert found["warnings"] == [
        {"at": 1.0, "task": "", "message": "the snapshot is big", "hint": "Use .pitignore"}
    ]
    last = record(RunState.FAILED).id
    tell(sales, *(Warned(run=last, at=1, message=f"late {n}") for n in range(20)))
    out = sales.run("status", "sales").ok().out
    assert "big" not in out
    assert "late 11\n            … and 8 more (--json has them)\n" in out


def test_a_run_of_the_past_is_shown_as_it_was(sales: Pit, record: Record) -> None:
    first = record(RunState.FAILED, at=time.time() - 4000).id
    tell(sales, Warned(run=first, at=1, message="the snapshot is big", task="load"))
    record()
    out = sales.run("status", "sales", "--run-id", first).ok().out
    assert f"  run       {first}\n            failed after" in out
    assert "  warning   the snapshot is big\n" in out
    assert "load     failed   2.0s" in out
    assert "Next:" not in out
    found = sales.run("status", "sales", "--run-id", first[:-8], "--json").ok().json
    assert found["dag"]["last"]["run"] == first
    assert [(task["task"], task["state"], task["run"]) for task in found["tasks"]] == [
        ("extract", "success", first),
        ("load", "failed", first),
    ]
    assert [warning["task"] for warning in found["warnings"]] == ["load"]


def test_a_run_of_the_past_is_one_of_the_dag(sales: Pit, record: Record) -> None:
    run = record().id
    sales.run("status", "--run-id", run).fails(2, "--run-id needs a DAG")
    sales.run("status", "sales", "--run-id", "20990101").fails(2, "20990101")


def test_of_a_living_run_it_says_how_far_its_tasks_are(sales: Pit, record: Record) -> None:
    folder = record(ended=False, alive=True)
    tell(
        sales,
        Progressed(
            run=folder.id, at=1, task="load", attempt=1, done=4, total=10, message="april.csv"
        ),
    )
    assert "40%  4 of 10  april.csv" in sales.run("status", "sales").ok().out
    load = sales.run("status", "sales", "--json").ok().json["tasks"][1]
    assert load["progress"] == {
        "task": "load", "attempt": 1, "at": 1.0, "done": 4.0, "total": 10.0, "message": "april.csv",
    }  # fmt: skip
    error = Outcome(started_at=1, ended_at=2, seconds=1, reason=Reason.EXIT, error="exit code 3")
    at = time.time()
    tell(
        sales,
        AttemptEnded(run=folder.id, at=at, task="load", attempt=1, outcome=error, retry_in=90.5),
    )
    assert re.search(r"load +running .*to try again in 1m[23]\ds", sales.run("status", "sales").out)
    folder.lock.release()
