"""A run of some tasks never stands for its DAG: what others require, and what people see of it."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from pit.state.store.store import Store
from tests.builder import Pit

DAG = """
[[tasks]]
name = "a"
script = "a.sh"
inputs = ["in.txt"]
targets = ["out/a"]
[[tasks]]
name = "b"
script = "b.sh"
inputs = ["out/a", "b.txt"]
targets = ["out/b"]
[[tasks]]
name = "c"
script = "c.sh"
inputs = ["out/b"]
targets = ["out/c"]
[[outputs]]
name = "first"
location = "out/a"
[[outputs]]
name = "last"
location = "warehouse.last"
task = "c"
[[outputs]]
name = "all"
"""
MART = '[dag]\nrequires = {d = "24h"}\n[[tasks]]\nname = "m"\nscript = "m.sh"\n'
BREAK = "test ! -e broken && cat out/a b.txt > out/b"


@pytest.fixture
def d(pit: Pit) -> Pit:
    """`d` is a chain of three tasks, of which b fails while there is a file `broken`; `mart`
    requires it."""
    pit.project("mart").toml(MART).file("m.sh", "")
    pit.project("d").toml(DAG).file("in.txt", "1\n").file("b.txt", "1\n")
    pit.file("a.sh", "cat in.txt > out/a").file("c.sh", "cat out/b > out/c")
    return pit.file("b.sh", BREAK.replace("broken", f"{pit.folder}/broken"))


def breaks(d: Pit, is_broken: bool = True) -> None:
    """Have b fail, or no longer; either way it is stale."""
    d.file("b.txt", f"{time.time_ns()}\n")
    (d.folder / "broken").unlink(missing_ok=True)
    if is_broken:
        d.file("broken", "")


def state(d: Pit) -> str | None:
    """The state of d in `pit status`, the same for one as among all."""
    (found,) = [dag for dag in d.run("status", "--json").ok().json["dags"] if dag["dag"] == "d"]
    assert d.run("status", "d", "--json").ok().json["dag"] == found
    shown: str | None = found["state"]
    return shown


def tasks(d: Pit, *facts: str) -> list[tuple[Any, ...]]:
    """Facts of each task in `pit status d`."""
    found = d.run("status", "d", "--json").ok().json["tasks"]
    return [tuple(task[fact] for fact in facts) for task in found]


def last_run(d: Pit) -> str:
    """The id of the last run."""
    with Store.open(d.root / "pit_metadata.db") as store:
        last = store.runs.last_run("d")
    assert last is not None
    return last.id


# ---------------------------------------------------------------- what others require


def test_a_run_of_some_tasks_is_no_success_of_its_dag(d: Pit) -> None:
    breaks(d)
    d.run("run", "d").fails(1)
    d.run("run", "d/a").ok()
    told = 'DAG "mart" requires "d", which never succeeded as a whole'
    d.run("run", "mart").fails(21, told, "Run it first: pit run d")
    assert told in d.run("plan", "mart").ok().out
    breaks(d, False)
    d.run("run", "d").ok()
    d.run("run", "mart").ok()


@pytest.mark.parametrize(
    "calls",
    [
        ["d/b", "d/c"],
        ["d/b,c"],
        ["d/b+"],
        ["d/+c"],
        ["d/*"],
        ["d --failed"],
        ["d/b --force", "d/c --force"],
    ],
)
def test_runs_that_leave_nothing_undone_are_together_a_success(d: Pit, calls: list[str]) -> None:
    breaks(d)
    d.run("run", "d").fails(1)
    assert state(d) == "failed"
    breaks(d, False)
    for call in calls:
        d.run("run", "mart").fails(21)
        d.run("run", *call.split()).ok()
    assert state(d) == "success"
    d.run("run", "mart").ok()


def test_a_retry_of_a_whole_run_is_one_of_the_whole(d: Pit) -> None:
    breaks(d)
    d.run("run", "d").fails(1)
    (d.folder / "broken").unlink()
    d.run("retry", "d").ok()
    d.run("run", "mart").ok()
    assert (state(d), tasks(d, "task", "state")) == (
        "success",
        [("a", "success"), ("b", "success"), ("c", "success")],
    )


def test_a_selection_that_had_nothing_to_do_counts_for_what_it_looked_at(d: Pit) -> None:
    d.run("run", "d").ok()
    d.run("run", "d/b", "--force").ok()
    with Store.open(d.root / "pit_metadata.db") as store:
        store.runs.forget([run.id for run in store.runs.latest("d")][1:])
    d.run("run", "mart").fails(21)
    d.run("run", "d/c").ok()  # it is current: b made the same again
    d.run("run", "mart").ok()


def test_success_is_as_old_as_the_oldest_task(d: Pit) -> None:
    breaks(d)
    d.run("run", "d").fails(1)
    made = next(t["started_at"] for t in d.run("status", "d", "--json").json["tasks"])
    breaks(d, False)
    d.run("run", "d/b,c").ok()
    with Store.open(d.root / "pit_metadata.db") as store:
        last = store.runs.last_success("d")
    assert last is not None
    assert last.complete_at is not None
    assert last.ended_at is not None
    assert made <= last.complete_at < last.started_at


# ---------------------------------------------------------------- status


def test_a_success_of_some_tasks_hides_no_failure_of_another(d: Pit) -> None:
    breaks(d)
    d.run("run", "d").fails(1)
    failed = last_run(d)
    for call in ("d/a", "d/a --force"):
        d.run("run", *call.split()).ok()
        assert state(d) == "failed"
        out = d.run("status").ok().out
        assert "d/b failed: exit code 1; see: pit logs d/b" in out
        assert ("b", failed, "failed", "exit") in tasks(d, "task", "run", "state", "reason")
        assert ("c", "upstream_failed", "after b") in tasks(d, "task", "state", "why")
        one = d.run("status", "d").ok().out
        assert "state     failed" in one
        assert "single_task" not in one
    breaks(d, False)
    d.run("run", "d/b").ok()
    assert state(d) == "failed"  # nobody has done c since
    assert f"d failed: b in run {failed}, and has not been" in d.run("status").ok().out
    d.run("run", "d/c").ok()
    assert state(d) == "success"


def test_a_failure_of_some_tasks_is_one_of_the_dag_until_it_is_mended(d: Pit) -> None:
    d.run("run", "d").ok()
    breaks(d)
    d.run("run", "d/b").fails(1)
    d.run("run", "d/a", "--force").ok()
    assert state(d) == "failed"
    breaks(d, False)
    d.run("run", "d/b").ok()
    assert state(d) == "success"
    assert "failed" not in d.run("status").ok().out


def test_a_dag_that_only_ran_in_part_says_so(d: Pit) -> None:
    d.run("run", "d/a").ok()
    assert state(d) is None
    assert "in part" in d.run("status").ok().out
    found = tasks(d, "task", "state", "reason", "why")
    assert ("b", "skipped", "single_task", "not selected") in found
    assert "single_task" not in d.run("status", "d").ok().out


def test_rate_and_durations_are_those_of_whole_runs(d: Pit) -> None:
    d.run("run", "d").ok()
    breaks(d)
    d.run("run", "d/b").fails(1)
    d.run("run", "d/a", "--force").ok()
    found = d.run("status", "d", "--json").ok().json["dag"]
    assert (found["success_rate"], len(found["recent"])) == (1.0, 1)
    assert "100% of the last 1 whole run" in d.run("status", "d").ok().out


def test_what_a_selection_with_nothing_to_do_has_not_looked_at_is_not_called_current(
    d: Pit,
) -> None:
    d.run("run", "d").ok()
    first = last_run(d)
    d.run("run", "d").ok()
    assert {reason for (reason,) in tasks(d, "reason")} == {"current"}
    d.file("in.txt", "3\n")
    d.run("run", "d/c").ok()
    assert tasks(d, "task", "run", "state", "reason") == [
        ("a", first, "success", None),
        ("b", first, "success", None),
        ("c", first, "skipped", "current"),
    ]
    told = d.run("logs", "d/a").ok()
    assert "current" not in told.err


def test_a_task_is_shown_by_its_own_last_attempt_after_its_run_was_forgotten(d: Pit) -> None:
    breaks(d)
    d.run("run", "d").fails(1)
    failed = last_run(d)
    d.run("run", "d/a", "--force").ok()
    with Store.open(d.root / "pit_metadata.db") as store:
        store.runs.forget([failed])
    assert ("b", failed, "failed", "exit") in tasks(d, "task", "run", "state", "reason")
    assert state(d) == "failed"


def test_a_task_that_pit_toml_has_no_more_fails_no_dag(d: Pit) -> None:
    breaks(d)
    d.run("run", "d").fails(1)
    d.toml(DAG.split("[[tasks]]\n")[1].join(("[[tasks]]\n", "")))
    d.run("run", "d/a", "--force").ok()
    assert (state(d), tasks(d, "task")) == ("success", [("a",)])


def test_a_run_that_was_killed_leaves_its_task_failed(d: Pit) -> None:
    d.run("run", "d").ok()
    d.file("b.sh", f"touch {d.root}/at; sleep 60").file("in.txt", "2\n")
    process = d.start("run", "d")
    while not (d.root / "at").exists():
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    d.run("run", "d/a", "--force").ok()
    assert ("b", "failed", "interrupted") in tasks(d, "task", "state", "reason")
    assert ("c", "skipped", "interrupted") in tasks(d, "task", "state", "reason")
    assert state(d) == "interrupted"
    assert "d/b failed: interrupted" in d.run("status").ok().out


def test_a_run_that_was_cancelled_leaves_its_dag_undone(d: Pit) -> None:
    d.run("run", "d").ok()
    d.file("b.sh", f"touch {d.root}/at; sleep 60").file("in.txt", "2\n")
    process = d.start("run", "d")
    while not (d.root / "at").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    d.run("run", "d/a", "--force").ok()
    assert state(d) == "cancelled"
    d.file("b.sh", "cat out/a > out/b")
    d.run("run", "d/b,c").ok()
    assert state(d) == "success"


def test_a_set_up_that_failed_is_told_beside_what_had_failed(d: Pit) -> None:
    breaks(d)
    d.run("run", "d").fails(1)
    d.toml(DAG.replace("[[tasks]]", '[dag]\nrequires = ["mart"]\n[[tasks]]', 1))
    d.run("run", "d/a").fails(21)
    out = d.run("status").ok().out
    assert "d failed: requirement" in out
    assert "d/b failed: exit code 1" in out


def test_the_log_of_a_task_is_that_of_the_run_that_tried_it(d: Pit) -> None:
    d.file("b.sh", "echo from b; exit 1")
    d.run("run", "d").fails(1)
    failed = last_run(d)
    d.run("run", "d/a", "--force").ok()
    told = d.run("logs", "d/b").ok()
    assert told.out == "from b\n"
    assert f"this is its log of run {failed}" in told.err
    assert d.run("logs", "d/b", "--json").ok().json["run"]["run"] == failed


# ---------------------------------------------------------------- outputs


def outputs(d: Pit) -> dict[str, tuple[str | None, str | None]]:
    """The task and the run that made each output."""
    found = d.run("outputs", "--json").ok().json
    assert all((each["made_at"] is None) == (each["run"] is None) for each in found)
    return {each["name"]: (each["task"], each["run"]) for each in found}


def test_outputs_say_which_run_did_the_work(d: Pit) -> None:
    assert outputs(d) == {"first": ("a", None), "last": ("c", None), "all": (None, None)}
    d.run("run", "d").ok()
    first = last_run(d)
    made = {"first": ("a", first), "last": ("c", first), "all": (None, first)}
    assert outputs(d) == made
    for call in ("d", "d/c", "d/a,b"):
        d.run("run", call).ok()
        assert outputs(d) == made
    d.run("run", "d/a", "--force").ok()
    assert outputs(d) == made | {"first": ("a", last_run(d))}
    with Store.open(d.root / "pit_metadata.db") as store:
        assert store.runs.forget([run.id for run in store.runs.latest("d")][:-1])
    assert outputs(d)["last"] == ("c", first)
    assert "never" not in d.run("outputs").ok().out


def test_an_output_stays_that_of_the_last_success(d: Pit) -> None:
    d.run("run", "d").ok()
    first = last_run(d)
    d.file("c.sh", "exit 1")
    d.run("run", "d").fails(1)
    assert outputs(d)["last"] == ("c", first)
    d.file("c.sh", "echo new > out/c")
    d.run("retry", "d", "--code", "new").ok()
    assert outputs(d)["last"] == ("c", last_run(d))
    assert outputs(d)["first"] == ("a", first)


def test_an_output_of_a_task_that_was_never_made_is_not_that_of_another(d: Pit) -> None:
    d.run("run", "d/a").ok()
    found = outputs(d)
    assert found == {"first": ("a", last_run(d)), "last": ("c", None), "all": (None, None)}


def test_a_broken_project_still_says_who_made_what(d: Pit) -> None:
    d.run("run", "d").ok()
    first = last_run(d)
    d.run("run", "d/c", "--force").ok()
    d.toml("[dag\n")
    assert outputs(d)["last"] == ("c", last_run(d))
    assert outputs(d)["all"] == (None, first)


def test_the_task_of_an_output_must_be_one(d: Pit) -> None:
    d.toml(DAG.replace('task = "c"', 'task = "cc"'))
    d.run("validate").fails(11, 'unknown task "cc"; did you mean "c"?', 'task = "cc"')
    d.toml(DAG.replace('task = "c"', "task = 3"))
    d.run("validate").fails(11, "projects/d/pit.toml:")
