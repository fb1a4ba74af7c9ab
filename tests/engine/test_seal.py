"""The folders that a seal watches."""

from __future__ import annotations

from pathlib import Path

import pytest

from pit.engine.seal import TooYoung, folders, settled


def test_folders_are_found_through_links(tmp_path: Path) -> None:
    (tmp_path / "out/deep").mkdir(parents=True)
    (tmp_path / "project/in").mkdir(parents=True)
    (tmp_path / "project/.venv").mkdir()
    (tmp_path / "project/link").symlink_to(tmp_path / "out")
    found = folders(str(tmp_path / "project"), frozenset({".venv"}))
    root = tmp_path / "project"
    assert sorted(found) == [str(root / p) for p in ("", "in", "link", "link/deep")]


@pytest.mark.parametrize("target", ["/", "..", "../.."])
def test_a_link_to_what_contains_the_project_is_not_followed(tmp_path: Path, target: str) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project/up").symlink_to(target)
    with pytest.raises(OSError, match="contains"):
        list(folders(str(tmp_path / "project"), frozenset()))


def test_where_times_are_whole_seconds_a_file_is_young_for_longer() -> None:
    second = 1_000_000_000
    known = {"fine": (1, 2, 3, second + 1, second + 1), "coarse": (1, 2, 3, second, second)}
    later = second + second // 2
    assert settled(["fine"], known, later) == {"fine": known["fine"]}
    with pytest.raises(TooYoung) as young:
        settled(["fine", "coarse"], known, later)
    assert young.value.seconds == 1.5, "after that a look can be relied on"
    assert settled(["coarse"], known, 4 * second) == {"coarse": known["coarse"]}


def test_what_has_changed_since_the_look_began_is_not_settled_by_waiting() -> None:
    assert settled(["edited"], {"edited": (1, 2, 3, 900, 1_001)}, 1_000) is None
