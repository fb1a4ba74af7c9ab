"""The trash: folders leave their place at once and are removed later."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from pit.state import trash
from tests.builder import Pit


def test_what_is_set_aside_is_gone_from_its_place_and_then_altogether(tmp_path: Path) -> None:
    for run in ("one", "two"):
        (tmp_path / run / "project").mkdir(parents=True)
        (tmp_path / run / "project/file").write_text("x")
        assert trash.set_aside(tmp_path / run / "project", tmp_path)
    assert os.listdir(tmp_path / "one") == []
    assert trash.size(tmp_path) == 2
    assert (tmp_path / trash.FOLDER).stat().st_mode & 0o777 == 0o700
    trash.empty(tmp_path)
    assert trash.size(tmp_path) == 0
    assert not (tmp_path / trash.FOLDER).exists()
    trash.empty(tmp_path)


def test_what_is_not_there_cannot_be_set_aside(tmp_path: Path) -> None:
    assert not trash.set_aside(tmp_path / "run/project", tmp_path)


def test_a_place_that_takes_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / trash.FOLDER).write_text("in the way")
    (tmp_path / "run/project").mkdir(parents=True)
    assert not trash.set_aside(tmp_path / "run/project", tmp_path)
    trash.empty(tmp_path)
    assert not (tmp_path / trash.FOLDER).exists()


def test_the_next_run_empties_it_and_so_does_prune(pit: Pit) -> None:
    pit.file("pit_config.toml", 'keep_artifacts = ["project", "data"]\n')
    pit.project("m").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\n').file("a.sh", "true")
    pit.run("run", "m").ok()
    place = pit.root / "runs" / trash.FOLDER
    (first,) = place.iterdir()
    assert (first / "a.log").is_file()
    assert not (pit.runs()[0] / "logs").exists()
    for number in range(9):  # so many that the next run waits until they are gone
        (place / f"old-{number}").mkdir()
    pit.run("run", "m").ok()
    (last,) = place.iterdir()
    assert last != first
    pit.run("prune").ok()
    assert not place.exists()


def test_a_few_folders_may_wait_for_the_next_run_and_more_may_not(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / trash.FOLDER / str(number)).mkdir(parents=True)
    trash.empty_if_crowded(tmp_path)
    assert trash.size(tmp_path) == 5
    (tmp_path / trash.FOLDER / "one too many").mkdir()
    trash.empty_if_crowded(tmp_path)
    assert trash.size(tmp_path) == 0


def test_it_is_emptied_beside_whatever_else_goes_on(tmp_path: Path) -> None:
    trash.empty_meanwhile(tmp_path)  # nothing is there
    (tmp_path / trash.FOLDER / "old").mkdir(parents=True)
    trash.empty_meanwhile(tmp_path)
    for thread in threading.enumerate():
        if thread.name == "trash":
            thread.join()
    assert not (tmp_path / trash.FOLDER).exists()


def test_setting_aside_and_emptying_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    """As when one run ends while another one sweeps, and `pit prune` as well."""
    folders = [tmp_path / f"run{number}/project" for number in range(200)]
    for folder in folders:
        (folder / "in/deep").mkdir(parents=True)
        (folder / "in/deep/file").write_text("x")
    over = threading.Event()

    def sweep() -> None:
        while not over.is_set():
            trash.empty(tmp_path)

    sweepers = [threading.Thread(target=sweep) for _ in range(2)]
    for sweeper in sweepers:
        sweeper.start()
    moved = [trash.set_aside(folder, tmp_path) for folder in folders]
    over.set()
    for sweeper in sweepers:
        sweeper.join()
    trash.empty(tmp_path)
    assert not (tmp_path / trash.FOLDER).exists()
    # What could not be moved stands where it was, whole, for its owner to remove.
    for folder, gone in zip(folders, moved, strict=True):
        assert folder.exists() is not gone
        assert gone or (folder / "in/deep/file").is_file()


def test_a_run_whose_parts_are_in_the_trash_is_not_gone_on_with(pit: Pit) -> None:
    pit.project("m").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\n').file("a.sh", "exit 1")
    pit.run("run", "m").fails(1)
    (run,) = pit.runs()
    assert trash.set_aside(run / "project", pit.root / "runs")
    pit.run("retry", "m").fails(23, "is gone", "--code new")
    pit.file("a.sh", "true")
    pit.run("retry", run.name, "--code", "new").ok()
