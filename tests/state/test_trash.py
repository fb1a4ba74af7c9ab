"""The trash: folders leave their place at once and are removed later."""

from __future__ import annotations

import os
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
    pit.project("m").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\n').file("a.sh", "true")
    for _ in range(4):
        pit.run("run", "m").ok()
    place = pit.root / "runs" / trash.FOLDER
    (first,) = place.iterdir()
    assert (first / "a.sh").is_file()
    assert not (pit.runs()[0] / "project").exists()
    for number in range(9):  # so many that the next run waits until they are gone
        (place / f"old-{number}").mkdir()
    pit.run("run", "m").ok()
    (last,) = place.iterdir()
    assert last != first
    pit.run("prune").ok()
    assert not place.exists()
