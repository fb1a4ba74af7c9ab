"""Files are told apart by more than their inode, which the next one gets."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from pit.fs.identity import file_identity
from tests.builder import Pit


def again(path: Path, make: str) -> None:
    """Removes a file and makes it anew by that code, until it has the inode that it had."""
    _, inode, birth = file_identity(str(path))
    if not birth:
        pytest.skip("this file system does not tell when a file was made")
    _outlive(birth)
    for _ in range(40):
        path.unlink()
        subprocess.run([sys.executable, "-c", make, str(path)], check=True)
        if path.stat().st_ino == inode:
            return
    pytest.skip("this file system gives no inode again")


def _outlive(birth: int) -> None:
    """Returns when the clock of the file system has moved since then."""
    while time.time_ns() < birth + 50_000_000:
        time.sleep(0.005)


def test_a_file_with_the_inode_of_one_that_was_removed_is_another(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.touch()
    first = file_identity(str(path))
    again(path, "import sys; open(sys.argv[1], 'w').close()")
    assert file_identity(str(path))[:2] == first[:2]
    assert file_identity(str(path)) != first


def test_what_is_done_to_a_file_leaves_it_the_same(tmp_path: Path) -> None:
    path, link = tmp_path / "x", tmp_path / "link"
    path.touch()
    link.symlink_to(path)
    first = file_identity(str(path))
    _outlive(time.time_ns())
    path.write_text("x")
    path.chmod(0o600)
    os.utime(path, (1, 1))
    assert file_identity(str(path)) == file_identity(str(link)) == first
    path.rename(tmp_path / "y")
    assert file_identity(str(tmp_path / "y")) == first
    with pytest.raises(FileNotFoundError):
        file_identity(str(path))


_MAKE = (
    "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
    "c.execute('create table other (a int)'); c.commit()"
)
_SQL = """
[dag.sql]
connection = "w"
[[tasks]]
name = "t"
script = "t.sql"
inputs = []
"""
_SHELL = """
[[tasks]]
name = "t"
script = "t.sh"
inputs = []
secrets = ["w"]
"""


@pytest.mark.parametrize(("toml", "link"), [(_SQL, False), (_SHELL, True)], ids=["sql", "shell"])
def test_a_database_made_anew_has_its_tasks_run(pit: Pit, toml: str, link: bool) -> None:
    path = pit.root / "w.sqlite"
    named = pit.root / "named.sqlite" if link else path
    if link:
        named.symlink_to(path)
    pit.file("secrets.toml", f'[global]\nw = "sqlite:///{named}"\n', mode=0o600)
    pit.file("pit_config.toml", 'secrets_dir = "secrets.toml"\n')
    pit.project("p").toml(toml).file("t.sql", "CREATE TABLE IF NOT EXISTS t (a int)")
    pit.file("t.sh", "true")
    subprocess.run([sys.executable, "-c", _MAKE, str(path)], check=True)
    pit.run("run", "p").ok()
    assert "1 task is current" in pit.run("run", "p").ok().out
    again(path, _MAKE)
    assert "is a different one" in pit.run("run", "p").ok().out
    with closing(sqlite3.connect(path)) as database:  # what is only written to stays the same
        database.execute("create table more (a int)")
        database.execute("vacuum")
    assert "1 task is current" in pit.run("run", "p").ok().out
