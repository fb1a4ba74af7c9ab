"""What `pit new` and `pit init` make validates and runs as it is."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from pit.cli.commands.new import package_name
from pit.config.keys.schema import json_schema
from tests.builder import Pit

TOTALS = {"north": "394.60", "east": "356.00", "south": "179.90"}


@pytest.mark.parametrize("kind", ["python", "sql", "shell"])
def test_a_new_workspace_validates_and_runs_as_it_is(pit: Pit, kind: str) -> None:
    out = pit.run("new", "demo", "--type", kind).ok().out
    assert out.startswith('Created workspace "demo" with the ')
    assert out.endswith("Next:\n  cd demo\n  pit validate\n  pit run sample_pipeline\n")
    demo = Pit(pit.root / "demo")
    assert demo.run("validate").ok().out.endswith("all valid.\n")
    demo.run("run", "sample_pipeline").ok()
    project = demo.root / "projects" / "sample_pipeline"
    header, *rows = (project / "out" / "totals.csv").read_text().split()
    assert header == "region,orders,amount"
    assert {row.split(",")[0].lower(): row.split(",")[2] for row in rows} == TOTALS
    (output,) = demo.run("outputs", "--json").ok().json
    assert output["made_at"] is not None
    assert [path.name for path in pit.root.iterdir()] == ["demo"]


def test_a_workspace_has_its_files_and_editors_find_the_schema(pit: Pit) -> None:
    pit.run("new", "demo", "--type", "sql").ok()
    demo = pit.root / "demo"
    made = {str(path.relative_to(demo)) for path in demo.iterdir()} - {".git"}
    assert made == {
        ".gitignore",
        "README.md",
        "dodo.py",
        "pit.schema.json",
        "pit_config.toml",
        "projects",
        "secrets.toml",
    }
    assert json.loads((demo / "pit.schema.json").read_text()) == json_schema()
    first = (demo / "projects/sample_pipeline/pit.toml").read_text().splitlines()[0]
    assert first == "#:schema ../../pit.schema.json"
    assert stat.S_IMODE((demo / "secrets.toml").stat().st_mode) == 0o600
    config = (demo / "pit_config.toml").read_text()
    assert "\nstub = false" in config
    assert '\n# secrets_dir = "secrets.toml"' in config
    assert "secrets.toml" in (demo / ".gitignore").read_text()


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_it_is_a_git_repository_unless_it_is_in_one(pit: Pit) -> None:
    assert "git repository" in pit.run("new", "outer", "--type", "shell").ok().out
    assert "git repository" not in pit.run("new", "outer/inner", "--type", "shell").ok().out
    assert not (pit.root / "outer/inner/.git").exists()
    Pit(pit.root / "outer").run("run", "sample_pipeline").ok()
    changes = subprocess.run(
        ["git", "status", "--short", "--untracked-files=all"],
        cwd=pit.root / "outer",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "runs/" not in changes
    assert "pit_metadata" not in changes
    assert "out/" not in changes


def test_nothing_is_overwritten(pit: Pit) -> None:
    (pit.root / "empty").mkdir()
    pit.run("new", "empty", "--type", "shell").ok()
    (pit.root / "full").mkdir()
    (pit.root / "full" / "x").write_text("mine")
    pit.run("new", "full").fails(12, "full already exists")
    os.symlink("nowhere", pit.root / "link")
    pit.run("new", "link").fails(12, "link already exists")
    pit.run("init", "sales").ok()
    pit.run("init", "Sales").fails(12, "already exists")
    assert (pit.root / "full" / "x").read_text() == "mine"
    assert not list(pit.root.glob(".pit-new-*"))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that takes no files")
def test_a_folder_that_takes_nothing_is_named(pit: Pit) -> None:
    pit.run("new", "/proc/demo").fails(2, "nothing can be made in /proc: ")


def test_a_workspace_in_a_folder_that_has_files(pit: Pit) -> None:
    (pit.root / ".git").mkdir()
    pit.file("README.md", "# Mine\n").file(".gitignore", "*.log\nsecrets.toml")
    out = pit.run("new", ".", "--type", "shell").ok().out
    assert "README.md was there already, and was not changed.\n" in out
    assert "cd ." not in out
    assert "git repository" not in out
    assert (pit.root / "README.md").read_text() == "# Mine\n"
    ignored = (pit.root / ".gitignore").read_text()
    assert ignored.startswith("*.log\nsecrets.toml\n\n# What Pit makes")
    assert ignored.count("secrets.toml\n") == 1
    assert "/runs/\n" in ignored
    pit.run("run", "sample_pipeline").ok()
    pit.run("new", ".").fails(12, "projects already exists", "pit init NAME")
    assert not list(pit.root.glob(".pit-new-*"))


def test_the_first_project_of_a_workspace_has_what_pit_makes_ignored(pit: Pit) -> None:
    pit.file(".gitignore", b"*.log\n# \xe9\n")
    pit.run("init", "orders", "--type", "shell").ok()
    ignored = (pit.root / ".gitignore").read_bytes()
    assert ignored.startswith(b"*.log\n# \xe9\n\n")
    assert b"/pit_metadata.db*\n" in ignored
    pit.file(".gitignore", "")
    pit.run("init", "more", "--type", "shell").ok()
    assert (pit.root / ".gitignore").read_text() == ""


def test_no_project_is_made_inside_of_another(pit: Pit) -> None:
    pit.run("init", "mart", "--type", "shell").ok()
    mart = pit.root / "projects/mart"
    said = f"{mart} is a project, so another one cannot be made in it"
    pit.run("init", "sub", "--project-dir", str(mart)).fails(2, said, f"cd {pit.root}")
    for folder in (mart, mart / "tasks"):
        pit.inside(folder, "init", "sub").fails(2, said, f"cd {pit.root}")
    assert not (pit.root / "projects/sub").exists()
    (pit.root / "docs").mkdir()
    out = pit.inside(pit.root / "docs", "init", "sub", "--type", "shell").ok().out
    assert "in ../projects/sub." in out
    assert (pit.root / "projects/sub/pit.toml").exists()


def test_a_project_joins_the_workspace(pit: Pit) -> None:
    out = pit.run("init", "my-sales").ok().out
    assert 'Created the Python project "my-sales" in projects/my-sales.' in out
    project = pit.root / "projects" / "my-sales"
    assert (project / "src/my_sales/orders.py").is_file()
    assert (project / "tests/test_orders.py").is_file()
    assert 'name = "my-sales"' in (project / "pyproject.toml").read_text()
    assert (pit.root / "pit.schema.json").is_file()
    pit.run("init", "marts", "--type", "sql").ok()
    pit.run("init", "nightly", "--type", "shell").ok()
    assert pit.run("validate", "--json").ok().json["dags"] == ["marts", "my-sales", "nightly"]
    pit.run("run", "marts").ok()
    assert (project.parent / "marts/out/totals.csv").is_file()


def test_an_sql_project_leaves_settings_alone_that_are_not_its_own(pit: Pit) -> None:
    pit.file("pit_config.toml", 'secrets_dir = "mine.toml"\n').file("mine.toml", "[global]\n")
    out = pit.run("init", "marts", "--type", "sql").ok().out
    assert "give the connection `warehouse` a database URL" in out
    assert (pit.root / "pit_config.toml").read_text() == 'secrets_dir = "mine.toml"\n'
    assert not (pit.root / "secrets.toml").exists()


@pytest.mark.parametrize("name", ["a b", "../x", "1st", "-x", "ünï", "x-", "", "a/b"])
def test_a_name_that_would_make_trouble_is_refused(pit: Pit, name: str) -> None:
    pit.run("init", "--", name).fails(2, "cannot be the name of a project")
    assert list(pit.root.iterdir()) == []


def test_reserved_names_are_refused(pit: Pit) -> None:
    for name in ("global", "acl", "Pit"):
        pit.run("init", name).fails(2, f'"{name}" is reserved')


def test_new_needs_no_workspace_around_it(pit: Pit) -> None:
    result = subprocess.run(
        [*pit.argv()[:3], "new", "demo", "--type", "shell"],
        env=pit.env | {"PIT_WORKSPACE": "/nonexistent"},
        cwd=pit.root,
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0
    assert (pit.root / "demo" / "pit_config.toml").is_file()


def test_a_package_hides_no_module_of_python() -> None:
    assert package_name("my-sales") == "my_sales"
    assert package_name("json") == "json_pipeline"
    assert package_name("class") == "class_pipeline"


@pytest.mark.parametrize("kind", ["python", "sql", "shell"])
def test_a_scaffold_is_data_without_leftovers(pit: Pit, kind: str, tmp_path: Path) -> None:
    pit.run("init", "abc", "--type", kind).ok()
    for path in (tmp_path / "projects").rglob("*"):
        assert "_name" not in path.name
        if path.is_file():
            text = path.read_text()
            assert "project_name" not in text
            assert "package_name" not in text
