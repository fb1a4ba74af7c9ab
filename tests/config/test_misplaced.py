"""A pit.toml where no project is looked for: what is said, and that the command given helps."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pit.config.misplaced import misplaced
from tests.builder import Pit

TASK = '[[tasks]]\nname = "a"\nscript = "tasks/a.sh"\ninputs = ["data/in.csv"]\n'


def shop(folder: Path, head: str = "") -> None:
    """A project, as its files lie in a folder."""
    for name, text in (("pit.toml", head + TASK), ("tasks/a.sh", "true\n"), ("data/in.csv", "")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def typed(root: Path) -> list[str]:
    """Do what is said of each misplaced project; the folders that it named."""
    found = list(misplaced(root))
    for each in found:
        subprocess.run(["sh", "-euc", each.command], cwd=root, check=True)
    return [each.folder for each in found]


@pytest.mark.parametrize(
    ("place", "head", "name"),
    [
        ("", "", "shop"),
        ("", '[dag]\nname = "orders"\n', "orders"),
        ("", '[dag]\ntags = ["a"]\nowner = "me"\n', "shop"),
        ("projects", "", "my_project"),
        ("sales", "", "sales"),
        ("projects/team/sales", "", "sales"),
        ("projects/team/sales", '[dag]\nname = "marts"\n', "sales"),
    ],
)
@pytest.mark.parametrize("others", [False, True])
def test_what_is_told_makes_a_project_of_it(
    tmp_path: Path, place: str, head: str, name: str, others: bool
) -> None:
    root = tmp_path / "shop"
    shop(root / place, head)
    (root / "notes.txt").touch()
    pit = Pit(root)
    if others:
        pit.project("other").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\n').file("a.sh", "true\n")
        lies = f"{place}/pit.toml".lstrip("/")
        told = f"note: {lies} is not a project here: it belongs in projects/{name} ("
        out = pit.run("validate").ok().out
        assert told in out
        assert "has no pit.toml" not in out
        pit.run("run", name).fails(2, f"it belongs in projects/{name}", " projects/")
    else:
        pit.run("validate").fails(10, f"it belongs in projects/{name}", "Put it there: ")
        if place != "projects":
            done = pit.inside(root / place, "validate")
            done.fails(10, "it belongs in projects/")
    assert typed(root) == [name]
    assert not list(misplaced(root))
    assert (root / "projects" / name / "data/in.csv").exists()
    assert (root / "notes.txt").exists()
    assert f"{1 + others} project" in pit.run("validate").ok().out


def test_a_name_that_is_taken_is_not_given_again(tmp_path: Path) -> None:
    shop(tmp_path / "projects/shop")
    shop(tmp_path / "projects/team/shop")
    assert typed(tmp_path) == ["shop_2"]


def test_a_workspace_as_it_should_be_is_left_alone(tmp_path: Path) -> None:
    shop(tmp_path / "projects/shop")
    shop(tmp_path / "projects/shop/tests/fixtures")  # of the project
    shop(tmp_path / "projects/shop/nested")
    shop(tmp_path / "projects/.hidden/deep")
    shop(tmp_path / "runs/20260101_000000.000_shop/project")
    shop(tmp_path / "runs/project")
    assert not list(misplaced(tmp_path))
    assert Pit(tmp_path).run("validate").ok().out == "1 project with 1 task: all valid.\n"


def test_where_nothing_is_a_workspace_that_is_said(tmp_path: Path) -> None:
    done = Pit(tmp_path).inside(tmp_path, "status")
    done.fails(10, "no workspace here or above", "pit init my_project")
    (tmp_path / "projects").mkdir()
    Pit(tmp_path).inside(tmp_path, "status").fails(10, "no projects found in")
