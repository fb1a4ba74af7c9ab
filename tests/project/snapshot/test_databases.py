"""Databases as inputs and targets: what was committed counts, to look at it does not."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.builder import Pit

_TASK = """
[[tasks]]
name = "t"
script = "tasks/t.sh"
inputs = ["{declared}"]
targets = ["o"]
"""
_COUNT = {
    "duckdb": "import duckdb; c = duckdb.connect({path!r}, read_only=True)",
    "sqlite": "import sqlite3; c = sqlite3.connect({path!r})",
}

_WRITE = "open('o', 'w').write(str(c.execute('select count(*) from t').fetchone()[0]))\n"


def _crash(kind: str, path: Path, value: int) -> None:
    """Commits a row, and ends without writing the journal back."""
    connect = f"import {_MODULE[kind]} as d; c = d.connect({str(path)!r})"
    wal = "c.execute('pragma journal_mode = wal')" if kind == "sqlite" else "0"
    code = (
        f"import os; {connect}; {wal}; c.execute('create table if not exists t (a int)'); "
        f"c.execute('insert into t values ({value})'); c.commit() if {kind == 'sqlite'} else 0; "
        "os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9


_MODULE = {"duckdb": "duckdb", "sqlite": "sqlite3"}


def _make(kind: str, path: Path) -> None:
    code = (
        f"import {_MODULE[kind]} as d; c = d.connect({str(path)!r}); "
        "c.execute('create table t (a int)'); c.execute('insert into t values (1)'); "
        "c.commit(); c.close()"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-c", code], check=True)


def _project(pit: Pit, declared: str, path: Path, kind: str) -> None:
    pit.project("p").toml(_TASK.replace("{declared}", declared))
    pit.file("count.py", f"{_COUNT[kind].format(path=str(path))}\n{_WRITE}")
    pit.scripts(t=f"exec {sys.executable} count.py")


def _made(pit: Pit) -> str:
    return (pit.root / "projects" / "p" / "o").read_text()


def _is_current(pit: Pit) -> bool:
    done = pit.run("run", "p").ok()
    return "1 task is current" in done.out


def _rests(pit: Pit) -> None:
    """Looks, and then where it can asks only whether anything has moved."""
    for _ in range(2):
        assert _is_current(pit), "nothing was committed"


_PLACES = [
    ("{workspace}/ref/r.{kind}", "ref/r.{kind}"),
    ("{root}/ref/r.{kind}", "ref/r.{kind}"),
    ("{workspace}/ref", "ref/r.{kind}"),
    ("{workspace}/ref/*", "ref/r.{kind}"),
    ("{workspace}/ref/*.{kind}", "ref/r.{kind}"),
    ("data/r.{kind}", "projects/p/data/r.{kind}"),
    ("data", "projects/p/data/r.{kind}"),
    ("data/*", "projects/p/data/r.{kind}"),
    ("{workspace}/link.{kind}", "ref/r.{kind}"),
]


_CASES = [("sqlite", *place) for place in _PLACES[::2]] + [("duckdb", *_PLACES[0])]


@pytest.mark.parametrize(("kind", "declared", "at"), _CASES)
def test_what_stands_in_the_journal_counts(pit: Pit, kind: str, declared: str, at: str) -> None:
    path = pit.root / at.format(kind=kind)
    _make(kind, path)
    (pit.root / f"link.{kind}").symlink_to(path)
    named = declared.replace("{kind}", kind).replace("{root}", str(pit.root))
    _project(pit, named, path, kind)
    pit.run("run", "p").ok()
    assert _made(pit) == "1"
    _rests(pit)
    _crash(kind, path, 2)
    assert path.with_name(path.name + (".wal" if kind == "duckdb" else "-wal")).stat().st_size
    pit.run("run", "p").ok()
    assert _made(pit) == "2"
    if kind == "sqlite":  # whose reader has written the journal back
        pit.run("run", "p").ok()
    _rests(pit)


@contextmanager
def _service(path: Path) -> Iterator[sqlite3.Connection]:
    """A program that keeps a database in WAL mode open."""
    with closing(sqlite3.connect(path, isolation_level=None)) as open_:
        open_.execute("pragma journal_mode = wal")
        open_.execute("create table if not exists t (a int)")
        open_.execute("insert into t values (1)")
        yield open_


@pytest.mark.parametrize(("declared", "at"), [_PLACES[n] for n in (2, 6)])
def test_a_database_that_is_open_elsewhere_comes_to_rest(pit: Pit, declared: str, at: str) -> None:
    path = pit.root / at.format(kind="sqlite")
    path.parent.mkdir(parents=True, exist_ok=True)
    named = declared.replace("{kind}", "sqlite").replace("{root}", str(pit.root))
    _project(pit, named, path, "sqlite")
    with _service(path) as service:
        first = pit.run("run", "p").ok()
        assert "input_changed" not in first.out
        _rests(pit)
        with closing(sqlite3.connect(path)) as reader:  # moves what both share
            reader.execute("select * from t").fetchall()
        service.execute("select count(*) from t").fetchall()
        _rests(pit)
        service.execute("insert into t values (2)")
        assert not _is_current(pit)
        assert _made(pit) == "2"
        _rests(pit)
        service.execute("pragma wal_checkpoint(truncate)")  # an empty journal, the rows in the file
        pit.run("run", "p").ok()
        _rests(pit)


def test_an_empty_journal_and_what_is_shared_count_for_nothing(pit: Pit) -> None:
    path = pit.root / "ref" / "r.db"
    _make("sqlite", path)
    _project(pit, "{workspace}/ref", path, "sqlite")
    pit.run("run", "p").ok()
    _rests(pit)
    for suffix in ("-wal", "-shm", ".wal", "-journal"):
        path.with_name(f"r.db{suffix}").touch()
    path.with_name("r.db-shm").write_bytes(b"x" * 32768)
    _rests(pit)
    # A file that only looks like a part of a database is a file.
    path.with_name("other.db-wal").write_bytes(b"x")
    assert not _is_current(pit)


def test_a_database_among_the_targets_counts_with_its_journal(pit: Pit) -> None:
    pit.project("p").toml(
        """
        [[tasks]]
        name = "t"
        script = "tasks/t.py"
        inputs = []
        targets = ["out/w.db"]
        """
    )
    made = "import sqlite3; c = sqlite3.connect('out/w.db'); c.execute('create table t (a int)')"
    pit.file("tasks/t.py", f"{made}; c.commit(); c.close()\n")
    pit.run("run", "p").ok()
    path = pit.root / "projects" / "p" / "out" / "w.db"
    _rests(pit)
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("select * from t").fetchall()
        _rests(pit)
    _crash("sqlite", path, 1)
    assert not _is_current(pit)
