"""Environments of several projects at once, and what is said when one fails."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from pit.project.python import environment, environments
from pit.project.python.environments import AT_ONCE, Builder, Project, State, SyncReport

PYPROJECT = '[project]\nname = "{name}"\nversion = "1"\nrequires-python = ">=3.11"\n'


class Uv:
    """Answers as uv would; a `sync` waits until there has been another beside it, and may fail."""

    def __init__(self, tmp_path: Path, *failing: str) -> None:
        self.python = tmp_path / "python"
        self.python.write_text("")
        self.python.chmod(0o755)
        self.failing = failing
        self.busy, self.most = 0, 0
        self.lock = threading.Lock()
        self.several = threading.Event()

    def __call__(
        self, argv: Sequence[str], *, cwd: str | Path, env: Mapping[str, str]
    ) -> tuple[int, bytes]:
        if argv[1] == "python":
            return 0, f"{self.python}\n".encode()
        if argv[1] == "-I":
            return 0, b"cpython 3 11 7\n"
        if argv[1] == "sync":
            return self._sync(Path(cwd), Path(env["UV_PROJECT_ENVIRONMENT"]))
        (Path(cwd) / "uv.lock").touch()
        return 0, b""

    def _sync(self, project: Path, prefix: Path) -> tuple[int, bytes]:
        with self.lock:
            self.busy += 1
            self.most = max(self.most, self.busy)
            if self.busy >= 2:
                self.several.set()
        self.several.wait(10)
        if project.name not in self.failing:
            (prefix / "bin").mkdir(parents=True)
            (prefix / "bin/python").symlink_to(self.python)
        with self.lock:
            self.busy -= 1
        if project.name in self.failing:
            return 2, b"first\n\nno wheels here \xff\n"
        return 0, b""


def workspace(root: Path, *names: str) -> list[Project]:
    """Projects with these names."""
    for name in names:
        (root / name).mkdir()
        (root / name / "pyproject.toml").write_text(PYPROJECT.format(name=name))
    return [Project(name=name, folder=root / name) for name in names]


def by_name(reports: Sequence[SyncReport]) -> dict[str, SyncReport]:
    """The reports of some projects."""
    return {report.name: report for report in reports}


def test_several_are_built_at_once_but_not_too_many(tmp_path: Path) -> None:
    uv = Uv(tmp_path)
    projects = workspace(tmp_path, *(f"p{number}" for number in range(3 * AT_ONCE)))
    said: list[tuple[str, str]] = []
    builder = Builder(
        cache_dir=tmp_path / ".pit", capture=uv, tell=lambda name, text: said.append((name, text))
    )
    reports = list(environments.synced(projects, builder))
    assert {report.state for report in reports} == {State.BUILT}
    assert 2 <= uv.most <= AT_ONCE
    assert {name for name, _ in said} == {project.name for project in projects}
    again = list(environments.synced(projects, builder))
    assert {report.state for report in again} == {State.CURRENT}


def test_a_failure_is_told_in_full_in_a_log(tmp_path: Path) -> None:
    uv = Uv(tmp_path, "bad")
    projects = workspace(tmp_path, "good", "bad")
    builder = Builder(cache_dir=tmp_path / ".pit", capture=uv)
    found = by_name(list(environments.synced(projects, builder)))
    assert (found["good"].state, found["bad"].state) == (State.BUILT, State.FAILED)
    assert "could not be built (uv ended with exit code 2)" in found["bad"].error
    log = Path(found["bad"].log).read_bytes()
    assert b" sync --frozen" in log
    assert b"first\n\nno wheels here \xff\n[exit code 2]\n" in log
    uv.failing = ()
    assert next(environments.synced(projects[1:], builder)).state is State.BUILT
    assert not Path(found["bad"].log).exists()


def test_what_has_not_begun_when_it_is_cancelled_does_not_begin(tmp_path: Path) -> None:
    uv = Uv(tmp_path)
    builder = Builder(cache_dir=tmp_path / ".pit", capture=uv, cancelled=lambda: True)
    (report,) = environments.synced(workspace(tmp_path, "late"), builder)
    assert report.state is State.CANCELLED
    assert not (tmp_path / "late/uv.lock").exists()


def test_a_check_tells_what_has_changed_and_writes_nothing_of_the_project(tmp_path: Path) -> None:
    uv = Uv(tmp_path)
    uv.several.set()
    (project,) = workspace(tmp_path, "one")
    builder = Builder(cache_dir=tmp_path / ".pit", capture=uv)
    pyproject, lock = project.folder / "pyproject.toml", project.folder / "uv.lock"

    def why() -> str:
        return environments.checked(project, builder).why

    assert why() == "there is no uv.lock"
    assert not lock.exists()
    lock.touch()
    assert why() == "it has not been built yet"
    (report,) = environments.synced([project], builder)
    assert report.why == "it has not been built yet"
    assert environments.checked(project, builder).state is State.CURRENT
    text = pyproject.read_text()
    pyproject.write_text(text + "# more\n")
    lock.write_text("# more\n")
    assert why() == "uv.lock and pyproject.toml changed"
    pyproject.write_text(text)
    assert why() == "uv.lock changed"
    lock.write_text("")
    assert report.environment is not None
    assert environments.checked(project, builder).state is State.CURRENT
    Path(report.environment.python).unlink()
    assert why() == "its interpreter is gone"


def test_a_look_does_not_need_to_write(tmp_path: Path) -> None:
    uv = Uv(tmp_path)
    (project,) = workspace(tmp_path, "one")
    (project.folder / "uv.lock").touch()
    in_the_way = tmp_path / ".pit"
    in_the_way.write_text("a file, so that nothing can be made below it")
    found = environment.standing(project.folder, in_the_way, uv)
    assert (found.environment, found.why) == (None, "it has not been built yet")


def test_a_python_that_is_not_there_makes_it_stale_not_an_error(tmp_path: Path) -> None:
    def refusing(
        argv: Sequence[str], *, cwd: str | Path, env: Mapping[str, str]
    ) -> tuple[int, bytes]:
        return 2, b"no interpreter"

    (project,) = workspace(tmp_path, "one")
    (project.folder / "uv.lock").touch()
    found = environment.standing(project.folder, tmp_path / ".pit", refusing)
    assert found.environment is None
    assert found.why.startswith("no Python for project")
