"""What SQLite alone has: triggers, options, a file that somebody else uses."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sql.conftest import Conversation

URL = "sqlite://w.sqlite"


def test_a_trigger_is_one_statement(talk: Conversation) -> None:
    done = talk.run(
        "CREATE TABLE t (a INT);\nCREATE TABLE log (a INT);\nCREATE TRIGGER r AFTER INSERT ON t "
        "BEGIN\n  INSERT INTO log VALUES (CASE WHEN new.a > 0 THEN 1 END);\n"
        "  INSERT INTO log VALUES (2);\nEND;\nINSERT INTO t VALUES (1);\nSELECT count(*) FROM log",
        URL,
    )
    assert done.failure is None, talk.log()
    assert done.statements == 5
    assert talk.log().splitlines()[-2].strip() == "2"


def test_a_missing_variable_is_an_error(talk: Conversation) -> None:
    done = talk.run("SELECT :pit_param_dat", URL, pit_param_date="x")
    assert done.failure is not None
    assert ":pit_param_dat" in done.failure.message


def test_options(talk: Conversation) -> None:
    assert talk.run("CREATE TABLE t (a INT)", URL).failure is None
    done = talk.run("PRAGMA foreign_keys;\nINSERT INTO t VALUES (1)", f"{URL}?foreign_keys=on")
    assert done.failure is None
    assert talk.log().splitlines()[3].strip() == "1"
    done = talk.run("INSERT INTO t VALUES (1)", f"{URL}?mode=ro")
    assert done.failure is not None
    assert not done.failure.retryable
    for wrong in ("mode=none", "x=1;drop", "Foo.bar=1"):
        done = talk.run("SELECT 1", f"{URL}?{wrong}")
        assert done.failure is not None


def test_what_is_no_database(talk: Conversation) -> None:
    (talk.cwd / "w.sqlite").write_text("hello " * 1000)
    done = talk.run("SELECT * FROM t", URL)
    assert done.failure is not None
    assert not done.failure.retryable
    (talk.cwd / "folder.sqlite").mkdir()
    done = talk.run("SELECT 1", "folder.sqlite")
    assert done.failure is not None
    assert "it is not a file" in done.failure.message


_HOLD = (
    "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); "
    "c.execute('BEGIN EXCLUSIVE'); print('held', flush=True); sys.stdin.read()"
)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who holds a lock")
def test_a_file_in_use_is_waited_for_and_its_holder_named(talk: Conversation) -> None:
    path = talk.cwd / "w.sqlite"
    sqlite3.connect(path).execute("CREATE TABLE t (a INT)").connection.close()
    holder = subprocess.Popen(
        (sys.executable, "-c", _HOLD, str(path)), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    number = talk.start("INSERT INTO t VALUES (1)", URL)
    talk.until(number, f"waiting for {path}: in use by ")
    assert f"(pid {holder.pid})" in talk.log(number) or not _locks_are_told()
    holder.communicate(b"")
    assert talk.wait(number).failure is None
    assert "locked" not in talk.log(number)


def _locks_are_told() -> bool:
    return Path("/proc/locks").exists() and bool(Path("/proc/locks").read_text())


def test_memory_is_empty_each_time(talk: Conversation) -> None:
    assert talk.run("CREATE TABLE t (a INT)", "sqlite://:memory:").failure is None
    assert talk.run("CREATE TABLE t (a INT)", "sqlite://:memory:").failure is None


def test_bytes_and_broken_text_are_shown(talk: Conversation) -> None:
    done = talk.run("SELECT x'00ff' AS b, CAST(x'ff41' AS TEXT) AS t, 1.5 AS r", URL)
    assert done.failure is None
    assert "x'00ff'" in talk.log()
