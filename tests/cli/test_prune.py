"""Old runs go, as retention says, and only then."""

from __future__ import annotations

import time

from tests.builder import Pit
from tests.cli.conftest import Record

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
