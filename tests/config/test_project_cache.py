"""The compile cache: it answers as reading would, notices every change, and is never trusted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pit.config import project_cache, workspace
from pit.config.workspace import Workspace, discover, load_workspace_config

TASKS = 150


def toml(tasks: int = TASKS, extra: str = "") -> str:
    return extra + "".join(
        f'[[tasks]]\nname = "t{n}"\nscript = "tasks/{n % 3}.sh"\ninputs = ["in/{n}"]\n'
        for n in range(tasks)
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace with one large project, of an age at which it may be kept."""
    project = tmp_path / "projects/big"
    (project / "tasks").mkdir(parents=True)
    for number in range(3):
        (project / f"tasks/{number}.sh").write_text("true\n")
    write(project, toml())
    return tmp_path


def write(project: Path, text: str) -> None:
    (project / "pit.toml").write_text(text)
    time.sleep(0.12)  # until the file is not young any more


def look(root: Path) -> Workspace:
    return discover(load_workspace_config(root))


def kept(root: Path) -> Path:
    (found,) = (root / ".pit/projects").iterdir()
    return found


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The projects that were read from their pit.toml."""
    found: list[str] = []
    read = project_cache.read_project

    def counted(folder: Path, root: Path) -> object:
        found.append(folder.name)
        return read(folder, root)

    monkeypatch.setattr(project_cache, "read_project", counted)
    return found


def test_it_is_read_once_and_the_same_again(root: Path, reads: list[str]) -> None:
    first, second = look(root), look(root)
    assert reads == ["big"]
    assert first == second
    assert kept(root).stat().st_mode & 0o777 == 0o600


def test_a_small_project_leaves_nothing(root: Path) -> None:
    write(root / "projects/big", toml(3))
    look(root)
    assert not (root / ".pit").exists()


def test_an_edit_of_the_same_size_and_time_is_noticed(root: Path) -> None:
    look(root)
    path = root / "projects/big/pit.toml"
    before = path.stat()
    path.write_text(toml().replace('"t0"', '"u0"'))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert look(root).dag("big").tasks[0].name == "u0"


def test_a_young_file_is_not_kept(root: Path) -> None:
    path = root / "projects/big/pit.toml"
    path.write_text(toml())
    look(root)
    assert not (root / ".pit/projects").exists()


def test_where_times_are_whole_seconds_a_file_is_young_for_longer() -> None:
    second = 1_000_000_000
    fine = (1, 2, 3, 4 * second + 1, 5 * second + 1)
    coarse = (1, 2, 3, 4 * second, 5 * second)
    later = 5 * second + second // 2
    assert project_cache._is_settled(fine, later)
    assert not project_cache._is_settled(coarse, later)
    assert project_cache._is_settled(coarse, 8 * second)


def test_a_file_that_cannot_be_replaced_leaves_nothing_beside_it(root: Path) -> None:
    look(root)
    place = kept(root)
    place.unlink()
    (place / "in the way").mkdir(parents=True)
    assert look(root) == look(root)
    assert [path.name for path in place.parent.iterdir()] == [place.name]


def test_a_script_that_goes_is_noticed(root: Path) -> None:
    look(root)
    (root / "projects/big/tasks/1.sh").unlink()
    assert "not found" in look(root).problems[0].sentence
    (root / "projects/big/tasks/1.sh").mkdir()
    assert "is a folder" in look(root).problems[0].sentence


def test_what_depends_on_other_projects_is_checked_each_time(root: Path) -> None:
    write(root / "projects/big", toml(extra='[dag]\nname = "shared"\n'))
    look(root)
    other = root / "projects/other"
    (other / "tasks").mkdir(parents=True)
    (other / "tasks/0.sh").write_text("true\n")
    write(other, toml(1, '[dag]\nname = "shared"\n'))
    problems = look(root).problems
    assert {(problem.path, problem.line) for problem in problems} == {
        ("projects/big/pit.toml", 2),
        ("projects/other/pit.toml", 2),
    }
    assert all("is also that of" in problem.sentence for problem in problems)
    assert problems[0].source == 'name = "shared"'


Spoil = Callable[[Path], object]


def forge(path: Path, **changes: object) -> None:
    facts = msgspec.msgpack.decode(path.read_bytes())
    path.write_bytes(msgspec.msgpack.encode(facts | changes))


SPOILT: dict[str, Spoil] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "noise": lambda path: path.write_bytes(b"\xc1" * 100),
    "other shape": lambda path: path.write_bytes(msgspec.msgpack.encode([1, 2])),
    "other format": lambda path: forge(path, format=0),
    "other reader": lambda path: forge(path, reader="another Pit"),
    "other folder": lambda path: forge(path, folder="/elsewhere"),
    "foreign": lambda path: path.chmod(0o666),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a link": lambda path: (path.rename(path.with_name("aside")), path.symlink_to("aside")),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_file_counts_as_none(root: Path, reads: list[str], how: str) -> None:
    first = look(root)
    SPOILT[how](kept(root))
    assert look(root) == first
    assert reads == ["big", "big"]


def test_a_folder_that_cannot_be_written_is_fine(root: Path) -> None:
    (root / ".pit").write_text("in the way")
    assert look(root) == look(root)


def test_what_would_come_back_changed_is_not_kept(root: Path) -> None:
    outputs = '[[outputs]]\nname = "o"\nsince = 2026-01-31\n'
    write(root / "projects/big", toml() + outputs)
    found = look(root).dag("big")
    assert found == workspace.discover_one(load_workspace_config(root), "big")
    assert not (root / ".pit/projects").exists()
