"""Places that Pit cannot use: which setting names them, and what to do about it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builder import Pit
from tests.state.store.disks import make_read_only, small_disk

TASK = '[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = []\n'


def to_proc(root: Path) -> None:
    (root / "pit_config.toml").write_text('runs_dir = "/proc/runs"\n')


def under_a_file(root: Path) -> None:
    (root / "file").touch()
    (root / "pit_config.toml").write_text('runs_dir = "file/runs"\n')


def a_file(root: Path) -> None:
    (root / "runs").touch()


def a_link_to_nothing(root: Path) -> None:
    (root / "runs").symlink_to("nowhere/runs")


@pytest.mark.parametrize("first", [False, True], ids=["first run", "nothing to do"])
@pytest.mark.parametrize("spoil", [to_proc, under_a_file, a_file, a_link_to_nothing])
def test_a_folder_of_runs_that_cannot_be_used_is_named_with_its_setting(
    pit: Pit, spoil: Callable[[Path], None], first: bool
) -> None:
    pit.project("d").toml(TASK).file("a.sh", "true")
    if first:
        pit.run("run", "d").ok()
        (pit.root / "runs").rename(pit.root / "kept")
    spoil(pit.root)
    accepting = [] if first else [["accept", "d/a", "-m", "so"]]
    for words in (["run", "d"], *accepting):
        result = pit.run(*words)
        result.fails(22, "runs_dir, ", "cannot be used: ", f"Set runs_dir in {pit.root}/pit_config")
        assert "cannot lock" not in result.err
    (pit.root / "pit_config.toml").write_text('runs_dir = "elsewhere/deep/runs"\n')
    pit.run("run", "d").ok()


@pytest.mark.parametrize("spoil", [under_a_file, a_file, a_link_to_nothing])
def test_a_folder_of_runs_that_cannot_be_used_is_foretold(
    pit: Pit, spoil: Callable[[Path], None]
) -> None:
    pit.project("d").toml(TASK).file("a.sh", "true")
    assert "warning" not in pit.run("validate").ok().out
    assert not (pit.root / "runs").exists(), "it only looks"
    spoil(pit.root)
    told = pit.run("validate").ok()
    assert "warning: runs_dir, " in told.out + told.err
    assert f"Set runs_dir in {pit.root}/pit_config.toml to a folder" in told.out + told.err
    assert "1 warning" in told.out


def test_a_folder_of_runs_by_a_link_is_used(pit: Pit, tmp_path: Path) -> None:
    pit.project("d").toml(TASK).file("a.sh", "true")
    (tmp_path / "there").mkdir()
    (pit.root / "runs").symlink_to(tmp_path / "there")
    pit.run("run", "d").ok()
    assert len(pit.runs()) == 1


def test_a_folder_of_runs_on_a_read_only_disk_is_named() -> None:
    with small_disk(8) as disk:
        pit = Pit(disk).project("d").toml(TASK).file("a.sh", "true")
        pit.run("run", "d").ok()
        with small_disk(8) as runs:
            pit.folder = pit.root
            pit.file("pit_config.toml", f'runs_dir = "{runs}/runs"\n')
            make_read_only(runs)
            pit.run("run", "d").fails(22, f"runs_dir, {runs}/runs", "read-only", "Set runs_dir in")


@pytest.mark.parametrize(
    ("config", "spoil", "said"),
    [
        ("/proc/pit.db", lambda root: None, "cannot open /proc/pit.db"),
        ("file/pit.db", lambda root: (root / "file").touch(), "not a directory"),
        ("pit_metadata.db", lambda root: (root / "pit_metadata.db").mkdir(), "not a regular file"),
        (
            "pit_metadata.db",
            lambda root: (root / "pit_metadata.db").symlink_to("nowhere/x.db"),
            "is a link to nowhere/x.db, which is not there",
        ),
    ],
)
def test_a_history_that_cannot_be_kept_is_named_with_its_setting(
    pit: Pit, config: str, spoil: Callable[[Path], object], said: str
) -> None:
    pit.project("d").toml(TASK).file("a.sh", "true")
    pit.folder = pit.root
    pit.file("pit_config.toml", f'metadata_db = "{config}"\n')
    spoil(pit.root)
    pit.run("run", "d").fails(24, said, "metadata_db in pit_config.toml")
    assert not os.path.exists(pit.root / "runs")


def test_a_cache_folder_that_is_a_file_is_named_where_it_is_needed(pit: Pit) -> None:
    (pit.root / ".pit").touch()
    pit.project("d").toml(TASK).file("a.sh", "true").run("run", "d").ok()
    assert "nothing to do" in pit.run("run", "d").ok().out
    pit.project("p").toml('[[tasks]]\nname = "a"\nscript = "a.py"\n').file("a.py", "print(1)\n")
    pit.file("pyproject.toml", '[project]\nname = "p"\nversion = "0"\nrequires-python = ">=3.11"\n')
    pit.run("run", "p").fails(22, f"{pit.root}/.pit must be a folder: move it out of the way")
