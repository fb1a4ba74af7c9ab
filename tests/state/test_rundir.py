"""Run folders: names, collisions, privacy, removal, disk trouble."""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from pathlib import Path

import pytest

from pit.errors import DiskFull, SetupError, UnknownRun
from pit.fs.locks import held
from pit.state.rundir import UNFINISHED, RunDir, dag_of, is_run_id
from tests.state.store.disks import make_read_only, small_disk

NOW = 1_770_000_000.123


def test_the_id_is_the_local_time_and_the_dag(tmp_path: Path) -> None:
    folder = RunDir.allocate(tmp_path / "runs", "claims", NOW)
    local = time.strftime("%Y%m%d_%H%M%S", time.localtime(NOW))
    assert folder.id == f"{local}.123_claims"
    assert folder.dag == dag_of(folder.id) == "claims"
    assert folder.root == tmp_path / "runs" / folder.id
    assert folder.parts() == ("project", "logs", "data")


def test_a_new_folder_is_locked_and_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = RunDir.allocate(tmp_path / "runs", "claims", NOW)
    finally:
        os.umask(before)
    assert folder.lock.held
    assert folder.lock.path == folder.root / "lock"
    assert folder.is_alive()
    for path in (tmp_path / "runs", folder.root, folder.project, folder.logs, folder.data):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.lock.path.stat().st_mode) == 0o600
    folder.lock.release()
    assert not RunDir.at(tmp_path / "runs", folder.id).is_alive()


def test_runs_of_one_millisecond_get_folders_of_their_own(tmp_path: Path) -> None:
    folders: list[RunDir] = []
    gate = threading.Barrier(8)

    def allocate() -> None:
        gate.wait()
        folders.extend(RunDir.allocate(tmp_path / "runs", "claims", NOW) for _ in range(5))

    threads = [threading.Thread(target=allocate) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({folder.id for folder in folders}) == 40
    assert all(held(folder.lock.path) for folder in folders)
    assert not [path for path in (tmp_path / "runs").iterdir() if path.name.startswith(UNFINISHED)]


def test_a_file_in_the_way_is_stepped_over(tmp_path: Path) -> None:
    first = RunDir.allocate(tmp_path, "claims", NOW)
    first.lock.release()
    first.remove_all()
    first.root.write_text("in the way")
    assert RunDir.allocate(tmp_path, "claims", NOW).id != first.id
    assert first.root.read_text() == "in the way"


def test_a_folder_appears_only_with_its_lock_held(tmp_path: Path) -> None:
    seen: list[bool] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            seen.extend(held(path / "lock") for path in tmp_path.iterdir() if is_run_id(path.name))

    watcher = threading.Thread(target=watch)
    watcher.start()
    folders = [RunDir.allocate(tmp_path, "claims", NOW) for _ in range(50)]
    while not seen:
        time.sleep(0.001)
    stop.set()
    watcher.join()
    assert len(folders) == 50
    assert all(seen)


@pytest.mark.parametrize("name", ["", "claims", "../x", "20260131_060000.000_", "20260131_claims"])
def test_what_is_no_run_id_is_refused(tmp_path: Path, name: str) -> None:
    assert not is_run_id(name)
    with pytest.raises(UnknownRun):
        RunDir.at(tmp_path, name)


def test_a_run_id_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(UnknownRun):
        RunDir.at(tmp_path, "20260131_060000.000_x/../../etc")


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("extract", "extract.log"),
        ("report:JFK:2013", "report:JFK:2013.log"),
        ("report:S%C3%A3o%2FPaulo", "report:S%C3%A3o%2FPaulo.log"),
        ("report:.:..", "report:.:...log"),
        ("report:São", "report%3AS%C3%A3o.log"),
        ("report:100%", "report%3A100%25.log"),
        ("S%C3%A3o", "S%25C3%25A3o.log"),
        ("../escape", "%2E.%2Fescape.log"),
        (".hidden", "%2Ehidden.log"),
        ("mit Leerzeichen ü", "mit%20Leerzeichen%20%C3%BC.log"),
    ],
)
def test_every_task_has_a_log_file_inside_logs(tmp_path: Path, task: str, name: str) -> None:
    folder = RunDir.allocate(tmp_path, "claims", NOW)
    path = folder.log_file(task)
    assert path == folder.logs / name
    path.write_text("x")
    assert folder.logged() == {task: path}


@pytest.mark.parametrize("beginning", ["t" * 300, "report:" + "%C3%A3" * 40])
def test_very_long_task_names_still_have_files_of_their_own(tmp_path: Path, beginning: str) -> None:
    folder = RunDir.allocate(tmp_path, "claims", NOW)
    first, second = folder.log_file(f"{beginning}1"), folder.log_file(f"{beginning}2")
    assert first != second
    assert max(len(first.name), len(second.name)) < 255
    first.write_text("")


def test_parts_are_removed_one_by_one(tmp_path: Path) -> None:
    folder = RunDir.allocate(tmp_path, "claims", NOW)
    (folder.project / "src").mkdir()
    (folder.project / "src" / "a.py").write_text("")
    folder.remove("project", "data")
    assert folder.parts() == ("logs",)
    folder.remove("project")
    with pytest.raises(ValueError, match="not part"):
        folder.remove("../..")
    folder.remove_all()
    assert not folder.root.exists()


def test_an_impossible_place_says_so(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(SetupError, match=r"cannot make a run folder in .*runs: ") as caught:
        RunDir.allocate(tmp_path / "runs", "claims", NOW)
    assert "runs_dir" in caught.value.hint


def test_a_name_too_long_for_the_file_system_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="file name too long"):
        RunDir.allocate(tmp_path, "d" * 250, NOW)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_no_more_files_is_full_and_nothing_is_left() -> None:
    with small_disk(megabytes=1, files=5) as disk:
        with pytest.raises(DiskFull, match="the disk is full"):
            RunDir.allocate(disk / "runs", "claims", NOW)
        assert list((disk / "runs").iterdir()) == []


def test_a_read_only_disk_is_named() -> None:
    with small_disk(megabytes=1) as disk:
        folder = RunDir.allocate(disk / "runs", "claims", NOW)
        folder.lock.release()
        make_read_only(disk)
        with pytest.raises(SetupError, match="read-only"):
            RunDir.allocate(disk / "runs", "claims", NOW)
        with pytest.raises(SetupError, match=r"cannot remove .*: the file system is read-only"):
            folder.remove_all()
        assert not folder.is_alive()


def test_ids_sort_by_time(tmp_path: Path) -> None:
    ids = [RunDir.allocate(tmp_path, "claims", NOW + step / 1000).id for step in (0, 1, 900, 5000)]
    assert ids == sorted(ids)
    assert all(re.fullmatch(r"\d{8}_\d{6}\.\d{3}_claims", each) for each in ids)
