"""Old runs go, as retention says, and only then."""

from __future__ import annotations

import os
import time
from pathlib import Path

from pit.cli.commands.prune import heavy
from pit.events import EnvironmentHashed, RunEnded, RunStarted
from pit.model import RunState
from pit.state import retention
from pit.state.rundir import RunDir
from pit.state.store.store import Store
from tests.builder import Pit
from tests.cli.conftest import Record
from tests.state.store.disks import fill, small_disk

DAY = 86400


def test_a_dry_run_names_what_would_go_and_removes_nothing(sales: Pit, record: Record) -> None:
    sales.file("../../pit_config.toml", "[retention]\ndays = 1\nruns = 1\nsnapshots = 1\n")
    old = record(at=time.time() - 5 * DAY)
    young = record(at=time.time() - 60)
    out = sales.run("prune", "--dry-run").ok().out
    assert f"{old.id}  folder" in out
    assert young.id not in out
    assert "would free" in out
    assert old.root.is_dir()
    found = sales.run("prune", "--dry-run", "--json").ok().json
    assert found["dry_run"] is True
    assert [each["run"] for each in found["removals"]] == [old.id]
    assert found["bytes"] == found["removals"][0]["bytes"] > 0


def test_pruning_removes_and_says_so_and_then_there_is_nothing_left(
    sales: Pit, record: Record
) -> None:
    sales.file("../../pit_config.toml", "[retention]\ndays = 1\nruns = 1\nsnapshots = 1\n")
    old = record(at=time.time() - 5 * DAY)
    young = record(at=time.time() - 60)
    out = sales.run("prune").ok().out
    assert "freed" in out
    assert "1 run" in out
    assert not old.root.exists()
    assert young.root.is_dir()
    assert sales.run("prune").ok().out == "nothing to remove\n"
    assert old.id in sales.run("runs").ok().out


def test_a_projects_own_keep_artifacts_rules(sales: Pit, record: Record) -> None:
    toml = (sales.folder / "pit.toml").read_text()
    sales.toml(toml.replace("[dag]\n", '[dag]\nkeep_artifacts = ["logs"]\n'))
    folder = record()
    out = sales.run("prune").ok().out
    assert f"{folder.id}  project, data" in out
    assert folder.parts() == ("logs",)


def test_a_live_run_is_never_touched(sales: Pit, record: Record) -> None:
    sales.file("../../pit_config.toml", "[retention]\ndays = 0\nruns = 0\nsnapshots = 0\n")
    alive = record(at=time.time() - 5 * DAY, ended=False, alive=True)
    sales.run("prune").ok()
    assert alive.root.is_dir()
    assert alive.lock is not None
    alive.lock.release()


def test_a_workspace_without_history_has_nothing_to_remove(sales: Pit) -> None:
    assert sales.run("prune").ok().out == "nothing to remove\n"
    assert sales.run("prune", "--json").ok().json["removals"] == []
    assert not (sales.root / "pit_metadata.db").exists()


def _environment(sales: Pit, name: str, days: float) -> Path:
    """A finished environment that was last used so many days ago."""
    prefix = sales.root / ".pit" / "envs" / name
    prefix.mkdir(parents=True)
    (prefix / "pit.json").write_text('{"site_paths": [], "unfrozen": [], "project": "/old/shop"}')
    os.utime(prefix / "pit.json", (time.time() - days * DAY,) * 2)
    return prefix


def test_environments_go_with_retention(sales: Pit, record: Record) -> None:
    record()
    old = _environment(sales, "a" * 16, 40)
    young = _environment(sales, "b" * 16, 20)
    out = sales.run("prune", "--dry-run").ok().out
    assert f"{old.name}  shop     not used for 40 days" in out
    assert "would free" in out
    assert old.is_dir()
    found = sales.run("prune", "--json").ok().json
    assert [each["environment"] for each in found["environments"]] == [old.name]
    assert found["bytes"] == found["environments"][0]["bytes"]
    assert (old.exists(), young.exists()) == (False, True)


def test_an_environment_goes_after_a_run_too(sales: Pit) -> None:
    old = _environment(sales, "a" * 16, 40)
    sales.run("run", "sales").ok()
    assert not old.exists()


def test_the_environment_of_a_snapshot_stays_with_it(sales: Pit, record: Record) -> None:
    kept = _environment(sales, "a" * 16, 40)
    folder = record()
    with Store.open(sales.root / "pit_metadata.db") as store:
        digest = "a" * 64
        store.emit(EnvironmentHashed(folder.id, 0.0, "sales", "environment", digest))
        continued = RunDir.allocate(sales.root / "runs", "sales", time.time())
        store.emit(
            RunStarted(
                run=continued.id,
                at=time.time(),
                dag="sales",
                run_dir=str(continued.root),
                project=str(sales.folder),
                tasks=(),
                params={},
                retry_of=folder.id,
            )
        )
        store.emit(RunEnded(run=continued.id, at=time.time(), state=RunState.FAILED, seconds=1.0))
    continued.lock.release()
    folder.remove("project")  # as a retry that took it over does
    assert sales.run("prune").ok().out == "nothing to remove\n"
    assert kept.is_dir()
    sales.run("prune", "--run", continued.id).ok()
    assert not kept.exists()


def test_a_run_can_be_named(sales: Pit, record: Record) -> None:
    failed = record(RunState.FAILED)
    other = record()
    out = sales.run("prune", "--run", failed.id).ok().out
    assert f"{failed.id}  folder" in out
    assert not failed.root.exists()
    assert other.root.is_dir()
    assert failed.id in sales.run("runs").ok().out
    sales.run("prune", "--run", "20200101_000000.000_none").fails(2, "not found")
    sales.run("prune", "--run", other.id, "--all-finished").fails(2, "every run")


def test_all_that_have_ended_go_but_no_live_one(sales: Pit, record: Record) -> None:
    ended = [record(RunState.FAILED), record()]
    alive = record(ended=False, alive=True)
    out = sales.run("prune", "--all-finished", "--dry-run").ok().out
    assert "of 2 runs" in out
    assert all(folder.root.is_dir() for folder in ended)
    sales.run("prune", "--all-finished").ok()
    assert not any(folder.root.exists() for folder in ended)
    assert alive.root.is_dir()
    sales.run("prune", "--run", alive.id).fails(2, "still running")
    alive.lock.release()


def test_it_makes_room_on_a_disk_too_full_for_the_history() -> None:
    with small_disk(4) as disk:
        pit = Pit(disk).project("d").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\n')
        pit.file("a.sh", "cat /dev/zero > big\n").run("run", "d").fails(25, "pit prune")
        fill(disk)
        pit.run("prune", "--all-finished").ok()
        assert pit.runs() == []
        pit.file("a.sh", "true\n").run("run", "d").ok()
        states = [run["state"] for run in pit.run("runs", "--json").ok().json]
        assert states == ["success", "interrupted"]


def test_snapshots_that_stay_and_take_much_are_told(sales: Pit, record: Record) -> None:
    folder = record()
    (folder.root / "project").mkdir(exist_ok=True)
    with open(folder.root / "project/big.csv", "wb") as file:
        file.write(b"x" * 100_000)
    found, taken = retention.snapshots(folder.root.parent)
    assert found == 1
    assert taken > 100_000
    os.link(folder.root / "project/big.csv", sales.root / "linked")
    assert retention.snapshots(folder.root.parent)[1] < taken, "what is linked takes nothing twice"
    assert heavy(3, 999_999_999) == ""
    assert heavy(3, 1_200_000_000).startswith("3 snapshots that retention keeps: 1.2 GB. A .pitign")
    assert "retention keeps" not in sales.run("prune").ok().out
