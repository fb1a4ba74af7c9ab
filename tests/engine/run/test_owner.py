"""Two workspaces with one database: neither takes the other's tasks for done."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.builder import Pit
from tests.histories import as_before

TASK = '[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = []\n'
REFUSED = "each would skip what the other has done"


def workspace(root: Path, store: str, *dags: str) -> Pit:
    """A workspace with that database, and a DAG of one tracked task without targets for each."""
    root.mkdir(exist_ok=True)
    pit = Pit(root)
    if store:
        pit.file("pit_config.toml", f'metadata_db = "{store}"\n')
    for dag in dags:
        pit.project(dag).toml(TASK).file("a.sh", "echo x >> $PIT_WORKSPACE/did-$PIT_DAG_NAME\n")
    return pit


def did(pit: Pit, dag: str = "shop") -> int:
    """How often the task has run in a workspace."""
    file = pit.root / f"did-{dag}"
    return len(file.read_text()) // 2 if file.exists() else 0


@pytest.mark.parametrize("store", ["absolute", "relative", "linked"])
def test_of_two_workspaces_with_one_database_the_second_is_refused(
    tmp_path: Path, store: str
) -> None:
    path = {"absolute": f"{tmp_path}/pit.db", "relative": "../pit.db", "linked": "link.db"}[store]
    first, second = (workspace(tmp_path / name, path, "shop") for name in ("w1", "w2"))
    if store == "linked":
        (tmp_path / "pit.db").touch()
        for pit in (first, second):
            (pit.root / "link.db").symlink_to(tmp_path / "pit.db")
    first.run("run", "shop").ok()
    for words in (
        ["run", "shop"],
        ["run", "shop", "--force"],
        ["plan", "shop"],
        ["why", "shop/a"],
        ["accept", "shop/a", "-m", "no"],
        ["forget", "shop"],
        ["clean", "shop", "--yes"],
    ):
        second.run(*words).fails(24, REFUSED, str(first.root), f"{second.root}/pit_config.toml")
    assert did(second) == 0
    told = second.run("status", "shop").ok()
    assert "It has not run yet" in told.out
    assert REFUSED in told.err
    assert [dag["last"] for dag in second.run("status", "--json").ok().json["dags"]] == [None]
    assert REFUSED in " ".join(second.run("status").ok().out.split())
    assert "nothing to do" in first.run("run", "shop").ok().out
    assert did(first) == 1
    second.folder = second.root
    second.file("pit_config.toml", 'metadata_db = "own.db"\n')
    second.run("run", "shop").ok()
    assert did(second) == 1
    assert "nothing to do" in second.run("run", "shop").ok().out


def test_a_retry_of_the_other_workspaces_run_is_refused(tmp_path: Path) -> None:
    first, second = (workspace(tmp_path / name, "../pit.db", "shop") for name in ("w1", "w2"))
    first.file("a.sh", "exit 1").run("run", "shop").fails(1)
    for code in ("old", "new"):
        second.run("retry", "shop", "--code", code).fails(24, REFUSED)
    assert did(second) == 0


def test_what_a_dag_requires_must_have_been_done_in_this_workspace(tmp_path: Path) -> None:
    first = workspace(tmp_path / "w1", "../pit.db", "shop")
    second = workspace(tmp_path / "w2", "../pit.db", "shop", "report")
    second.toml(f'[dag]\nrequires = {{ shop = {{ max_age = "24h" }} }}\n{TASK}')
    first.run("run", "shop").ok()
    second.run("run", "report").fails(24, REFUSED)
    assert did(second, "report") == 0


def test_workspaces_with_one_database_and_dags_of_different_names_live_together(
    tmp_path: Path,
) -> None:
    first = workspace(tmp_path / "w1", "../pit.db", "shop")
    second = workspace(tmp_path / "w2", "../pit.db", "depot")
    for pit, dag in ((first, "shop"), (second, "depot")):
        pit.run("run", dag).ok()
        assert "nothing to do" in pit.run("run", dag).ok().out
        assert did(pit, dag) == 1


@pytest.mark.parametrize("shared", [False, True], ids=["its own database", "one beside it"])
def test_a_workspace_that_was_moved_keeps_what_it_knows(tmp_path: Path, shared: bool) -> None:
    pit = workspace(tmp_path / "w1", "../pit.db" if shared else "", "shop")
    pit.run("run", "shop").ok()
    moved = Pit(pit.root.rename(tmp_path / "w2"))
    moved.run("run", "shop").ok()
    assert did(moved) == 1
    assert "success" in moved.run("status", "shop").ok().out
    # What stands at the old place now is another one, with a database of its own.
    other = workspace(tmp_path / "w1", "", "shop")
    other.run("run", "shop").ok()
    moved.run("run", "shop").ok()
    assert (did(moved), did(other)) == (1, 1)


def test_a_copy_of_a_workspace_with_its_database_knows_the_same(tmp_path: Path) -> None:
    pit = workspace(tmp_path / "w1", "", "shop")
    pit.run("run", "shop").ok()
    copy = Pit(shutil.copytree(pit.root, tmp_path / "w2", symlinks=True))
    for each in (copy, pit, copy):
        each.run("run", "shop").ok()
    assert (did(copy), did(pit)) == (1, 1)


def test_one_workspace_by_several_ways_is_one(tmp_path: Path) -> None:
    pit = workspace(tmp_path / "w1", "", "shop")
    (tmp_path / "link").symlink_to(pit.root)
    (tmp_path / "folder").symlink_to(tmp_path)
    pit.run("run", "shop").ok()
    for way in ("link", "folder/w1", "folder/link", "w1/../w1"):
        Pit(Path(os.path.join(tmp_path, way))).run("run", "shop", "--force").ok()
    assert did(pit) == 5


def test_a_dag_that_left_a_workspace_is_free(tmp_path: Path) -> None:
    first, second = (workspace(tmp_path / name, "../pit.db", "shop") for name in ("w1", "w2"))
    first.run("run", "shop").ok()
    first.toml(f'[dag]\nname = "store"\n{TASK}')
    second.run("run", "shop", "--force").ok()
    first.toml(TASK).run("run", "shop").fails(24, REFUSED, str(second.root))


def test_a_workspace_that_cannot_be_read_may_well_be_alive(tmp_path: Path) -> None:
    first, second = (workspace(tmp_path / name, "../pit.db", "shop") for name in ("w1", "w2"))
    first.run("run", "shop").ok()
    first.folder = first.root
    first.file("pit_config.toml", "metadata_db = \n")
    second.run("run", "shop").fails(24, REFUSED)


def test_the_owner_of_a_dag_is_known_from_before_it_was_kept(tmp_path: Path) -> None:
    first, second = (workspace(tmp_path / name, "../pit.db", "shop") for name in ("w1", "w2"))
    first.run("run", "shop").ok()
    as_before(tmp_path / "pit.db")
    second.run("run", "shop").fails(24, REFUSED, str(first.root))
    assert "nothing to do" in first.run("run", "shop").ok().out
    with closing(sqlite3.connect(tmp_path / "pit.db")) as store:
        assert store.execute("SELECT * FROM owners").fetchall() == [
            ("shop", os.path.realpath(first.root))
        ]
