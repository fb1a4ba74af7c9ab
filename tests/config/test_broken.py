"""Broken projects, each a folder named for its fault, with all that Pit says about it.

A folder without files of its own besides pit.toml gets `tasks/a.sh`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pit.config.workspace import discover, load_workspace_config
from pit.errors import InvalidConfig
from pit.model import Problem

BROKEN = Path(__file__).parent / "broken"


def shown(problem: Problem) -> str:
    """A problem as a terminal shows it."""
    lines = [f"{problem.path}:{problem.line}:{problem.column}: {problem.sentence}"]
    if problem.source:
        lines += [f"    {problem.source}", f"    {' ' * (problem.column - 1)}^"]
    if problem.hint:
        lines.append(f"    {problem.hint}")
    return "\n".join(lines) + "\n"


def workspace(tmp_path: Path, *faults: str) -> Path:
    """A workspace with the broken projects of these names."""
    for fault in faults:
        project = tmp_path / "projects" / fault
        shutil.copytree(BROKEN / fault, project, symlinks=True)
        (project / "expected.txt").unlink(missing_ok=True)
        if not (project / "tasks").exists():
            (project / "tasks").mkdir()
            (project / "tasks" / "a.sh").touch()
    return tmp_path


FAULTS = sorted(folder.name for folder in BROKEN.iterdir())


@pytest.mark.parametrize("fault", FAULTS)
def test_everything_wrong_is_said_with_its_place(fault: str, tmp_path: Path) -> None:
    root = workspace(tmp_path, fault)
    found = discover(load_workspace_config(root))
    said = "".join(shown(problem) for problem in found.problems)
    assert said == (BROKEN / fault / "expected.txt").read_text()
    assert not found.dags
    with pytest.raises(InvalidConfig) as caught:
        found.dag(fault)
    assert caught.value.problems == found.problems


def test_all_broken_projects_together_stop_no_good_one(tmp_path: Path) -> None:
    root = workspace(tmp_path, *FAULTS)
    good = root / "projects" / "good"
    (good / "tasks").mkdir(parents=True)
    (good / "tasks" / "a.sh").touch()
    (good / "pit.toml").write_text('[[tasks]]\nname = "a"\nscript = "tasks/a.sh"\n')
    found = discover(load_workspace_config(root))
    assert list(found.dags) == ["good"]
    assert found.projects == len(FAULTS) + 1
    assert {Path(problem.path).parent.name for problem in found.problems} == set(FAULTS)
