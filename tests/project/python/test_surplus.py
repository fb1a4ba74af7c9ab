"""Environments that nothing needs any more go; all others stay."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import msgspec
import pytest

from pit.fs.locks import Lock, share
from pit.project.python import surplus
from pit.project.python.environment import About
from pit.project.python.surplus import DAY

NOW = time.time()


class Envs:
    """A cache of environments, each made by hand with what its pit.json says."""

    def __init__(self, root: Path) -> None:
        self.cache = root / ".pit"
        self.project = root / "projects" / "sales"
        self.project.mkdir(parents=True)
        self.lock("now")

    def lock(self, text: str) -> None:
        """Gives the project another uv.lock."""
        (self.project / "uv.lock").write_text(text)
        (self.project / "pyproject.toml").write_text("[project]\n")

    def make(self, digit: str, lock: str = "then", days: float = 40, python: str = "3.11") -> Path:
        """An environment last used so many days ago, for a uv.lock with this text."""
        prefix = self.cache / "envs" / (digit * 16)
        (prefix / "bin").mkdir(parents=True)
        (prefix / "bin" / "python").write_text("x" * 10_000)
        parts = {
            "uv.lock": hashlib.sha256(lock.encode()).hexdigest(),
            "pyproject.toml": hashlib.sha256(b"[project]\n").hexdigest(),
            "Python": python,
        }
        about = About(site_paths=(), unfrozen=(), project=str(self.project), parts=parts)
        (prefix / "pit.json").write_bytes(msgspec.json.encode(about))
        prefix.with_suffix(".lock").touch()
        for path in (prefix / "pit.json", prefix.with_suffix(".lock")):
            os.utime(path, (NOW - days * DAY,) * 2)
        return prefix

    def go(self, *named: str, days: float = 30) -> list[Path]:
        """Removes what may go; the folders that went."""
        planned = surplus.surplus(self.cache, lambda: named, days, NOW)
        done = surplus.remove(planned)
        assert done.problems == ()
        return [each.prefix for each in done.removed]


@pytest.fixture
def envs(tmp_path: Path) -> Envs:
    return Envs(tmp_path)


def test_what_was_not_used_for_long_goes_with_its_lock(envs: Envs) -> None:
    old = envs.make("a")
    found = surplus.surplus(envs.cache, tuple, 30, NOW)
    assert [(each.prefix, each.why) for each in found] == [(old, "not used for 40 days")]
    assert found[0].bytes >= 10_000
    assert old.is_dir()
    assert envs.go() == [old]
    assert list((envs.cache / "envs").iterdir()) == []


def test_what_is_young_current_or_named_by_a_kept_run_stays(envs: Envs) -> None:
    envs.make("a", days=29)
    envs.make("b", lock="now", days=400)
    envs.make("c")
    assert envs.go("c" * 64) == []
    assert len(list((envs.cache / "envs").iterdir())) == 6


def test_of_two_that_fit_a_lock_the_one_used_last_stays(envs: Envs) -> None:
    earlier = envs.make("a", lock="now", days=50, python="3.10")
    envs.make("b", lock="now", days=45, python="3.11")
    assert envs.go() == [earlier]


def test_of_a_project_that_is_gone_nothing_is_current(envs: Envs) -> None:
    made = envs.make("a", lock="now")
    (envs.project / "uv.lock").unlink()
    assert envs.go() == [made]


def test_what_a_process_uses_or_builds_stays(envs: Envs) -> None:
    used, built = envs.make("a"), envs.make("b")
    using = share(used / "pit.json")
    assert using is not None
    with Lock(built.with_suffix(".lock")):
        assert envs.go(days=0) == []
    os.close(using)
    assert envs.go(days=0) == [used, built]


def test_what_was_used_after_the_plan_stays(envs: Envs) -> None:
    made = envs.make("a")
    planned = surplus.surplus(envs.cache, tuple, 30, NOW)
    os.utime(made.with_suffix(".lock"))
    assert surplus.remove(planned).removed == ()
    assert (made / "bin" / "python").is_file()


def test_half_built_ones_go_unless_somebody_is_at_them(envs: Envs) -> None:
    half = envs.make("a", days=0)
    (half / "pit.json").unlink()
    left = envs.cache / "envs" / ".pit-gone-bbbbbbbbbbbbbbbb"
    (left / "bin").mkdir(parents=True)
    with Lock(half.with_suffix(".lock")):
        assert envs.go() == [left]
    assert envs.go() == [half]
    assert list((envs.cache / "envs").iterdir()) == []


def test_other_files_of_the_folder_are_left_alone(envs: Envs) -> None:
    envs.make("a", days=0)
    for name in ("sales.log", "python-0123456789abcdef.json", "project-0123456789abcdef.lock"):
        (envs.cache / "envs" / name).write_text("")
    assert envs.go(days=1) == []
    assert len(list((envs.cache / "envs").iterdir())) == 5


def test_packages_shared_with_the_cache_of_uv_free_nothing(envs: Envs, tmp_path: Path) -> None:
    made = envs.make("a")
    os.link(made / "bin" / "python", tmp_path / "cached")
    assert surplus.surplus(envs.cache, tuple, 30, NOW)[0].bytes < 10_000 + 3 * 4096
