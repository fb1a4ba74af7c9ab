"""Runs and their databases: turns at a DuckDB file, servers, retries, passwords that stay home."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.builder import Pit
from tests.servers.postgres import PASSWORD, Server

_INSERT = """
[dag.sql]
connection = "w"
[[tasks]]
name = "make"
script = "make.sql"
[[tasks]]
name = "add"
script = "add.sql"
depends_on = ["make"]
"""
_SLOW = "INSERT INTO t SELECT count(*) FROM range(20000) a, range(2000) b WHERE a.range % 7 = 3"


def everything_kept(pit: Pit) -> bytes:
    """All that Pit has written: runs, logs, history."""
    kept = [pit.root / "pit_metadata.db", pit.root / "pit_metadata.db-wal"]
    for folder, _, names in os.walk(pit.root / "runs"):  # heeds no folder that is just renamed
        kept += [Path(folder, name) for name in names]
    return b"".join(map(_bytes, kept))


def _bytes(path: Path) -> bytes:
    """What a file holds; nothing if it went meanwhile, or is a pipe or a socket."""
    try:
        return path.read_bytes() if path.is_file() else b""
    except FileNotFoundError:
        return b""


def secrets(pit: Pit, text: str) -> str:
    path = pit.root / "secrets.toml"
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def test_runs_and_programs_take_turns_at_a_file(pit: Pit) -> None:
    """Four runs of two DAGs and a program of somebody else's; nobody meets DuckDB's lock."""
    file = secrets(pit, '[global]\nw = "duckdb://w.duckdb"\n')
    for name in ("one", "two"):
        pit.project(name).toml(_INSERT)
        pit.file("make.sql", "CREATE TABLE IF NOT EXISTS t (a BIGINT)")
        pit.file("add.sql", _SLOW)
    code = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); "
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        (sys.executable, "-c", code, str(pit.root / "w.duckdb")),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as outsider:
        assert outsider.stdout is not None
        assert outsider.stdout.readline() == b"held\n"
        runs = [pit.start("run", name, "--secrets", file) for name in ("one", "two") * 2]
        _until(lambda: b"(pid %d)" % outsider.pid in everything_kept(pit))
    told = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0] * 4, told
    kept = everything_kept(pit)
    assert b"in use by run " in kept
    assert b"lock on file" not in kept
    assert b"set lock" not in kept + b"".join(out + (err or b"") for out, err in told)


def _until(true: object) -> None:
    deadline = time.monotonic() + 60
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_python_task_has_its_file_for_itself_among_runs(pit: Pit) -> None:
    """Each opens the file twice: in between, another run must not slip in."""
    file = secrets(pit, '[global]\nw = "duckdb://w.duckdb"\n')
    task = (
        "import duckdb, os, time\n"
        "for _ in range(2):\n"
        "    with duckdb.connect(os.environ['PIT_WORKSPACE'] + '/w.duckdb') as c:\n"
        "        c.execute('CREATE TABLE IF NOT EXISTS t (a BIGINT)')\n"
        "        c.execute('INSERT INTO t VALUES (1)')\n"
        "        time.sleep(0.2)\n"
    )
    runner = f'runner = "$ {sys.executable}"'  # it has duckdb
    pit.project("p").toml(f'[[tasks]]\nname = "a"\nscript = "a.py"\n{runner}\nconnection = "w"\n')
    pit.file("a.py", task)
    pit.project("s").toml('[dag.sql]\nconnection = "w"\n[[tasks]]\nname = "a"\nscript = "a.sql"\n')
    pit.file("a.sql", "CREATE TABLE IF NOT EXISTS t (a BIGINT);\nINSERT INTO t VALUES (2)")
    runs = [pit.start("run", name, "--secrets", file) for name in ("p", "s", "p", "s")]
    told = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0] * 4, told
    import duckdb

    with duckdb.connect(str(pit.root / "w.duckdb")) as connection:
        found = connection.execute("SELECT a, count(*) FROM t GROUP BY a ORDER BY a").fetchall()
    assert found == [(1, 4), (2, 2)]


def test_who_waits_for_a_file_of_another_run_holds_no_slot(pit: Pit) -> None:
    """Nor does it begin an attempt; that it waits, and for whom, is said at once."""
    file = secrets(pit, '[global]\nw = "duckdb://w.duckdb"\n')
    pit.project("long").toml(
        f'[[tasks]]\nname = "keep"\nscript = "keep.py"\nrunner = "$ {sys.executable}"\n'
        'connection = "w"\n'
    )
    pit.file(
        "keep.py",
        "import os, pathlib, time\nroot = pathlib.Path(os.environ['PIT_WORKSPACE'])\n"
        "(root / 'has').touch()\n"
        "while not (root / 'enough').exists(): time.sleep(0.01)\n",
    )
    pit.project("short").toml(
        "[dag]\nconcurrency = 1\n"
        '[[tasks]]\nname = "query"\nscript = "q.sql"\nconnection = "w"\n'
        '[[tasks]]\nname = "late"\nscript = "q.sql"\nconnection = "w"\ntimeout = "1s"\n'
        '[[tasks]]\nname = "other"\nscript = "other.sh"\n'
    )
    pit.file("q.sql", "SELECT 'it' || 'was' || 'done'")
    pit.file("other.sh", 'touch "$PIT_WORKSPACE/other"')
    holder = pit.start("run", "long", "--secrets", file)
    _until((pit.root / "has").exists)
    waiting = pit.start("run", "short", "--secrets", file)
    _until((pit.root / "other").exists)
    _until(lambda: "timeout" in pit.run("status", "short").out)
    (pit.root / "enough").touch()
    assert holder.communicate(timeout=60)
    assert holder.returncode == 0
    out, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 1
    told = f"{pit.root / 'w.duckdb'}: in use by run {pit.runs()[0].name} (task keep)"
    assert f"query  waiting: {told}" in out.decode()
    assert f"waiting for {told}" in pit.log("query")
    assert "itwasdone" in pit.log("query")
    assert "waited for its time-out" in out.decode()
    assert "itwasdone" not in pit.log("late")


def test_a_file_in_another_programs_use_is_told_while_the_task_waits(pit: Pit) -> None:
    file = secrets(pit, '[global]\nw = "duckdb://w.duckdb"\n')
    pit.project("d").toml('[[tasks]]\nname = "q"\nscript = "q.sql"\nconnection = "w"\n')
    pit.file("q.sql", "SELECT 1")
    script = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(flush=True); input()"
    argv = (sys.executable, "-c", script, str(pit.root / "w.duckdb"))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdout.readline()
        running = pit.start("run", "d", "--secrets", file)
        assert running.stdout is not None
        told = next(line for line in running.stdout if b"waiting for" in line).decode()
        assert f"q  warning: waiting for {pit.root / 'w.duckdb'}: in use by " in told
        assert f"(pid {holder.pid})" in told
        holder.stdin.write(b"\n")
        holder.stdin.close()
        running.communicate(timeout=60)
    assert running.returncode == 0


def test_what_no_retry_cures_is_not_retried_unless_wanted(pit: Pit) -> None:
    file = secrets(pit, '[global]\nw = ":memory:"\n')
    toml = (
        '[dag.sql]\nconnection = "w"\n[[tasks]]\nname = "a"\nscript = "a.sql"\nretries = 2\n'
        '[[tasks]]\nname = "b"\nscript = "b.sql"\nretries = 2\nretry_on = "any"\n'
    )
    pit.project("d").toml(toml)
    pit.file("a.sql", "SELECT * FROM nope")
    pit.file("b.sql", "SELECT error('not yet')")
    pit.run("run", "d", "--secrets", file).fails(1)
    assert pit.log("a").count("nope does not exist") == 1
    assert pit.log("b").count("not yet") > pit.log("a").count("nope does not exist")
    assert pit.log("b").count("b.sql:1: ") == 3


def test_a_server_and_a_password_that_stays_home(pit: Pit, postgres: Server) -> None:
    word = PASSWORD
    fields = {
        "driver": "postgres",
        "host": postgres.host,
        "port": str(postgres.port),
        "user": postgres.user,
        "password": word,
        "database": postgres.fresh(),
    }
    lines = "".join(f'{name} = "{value}"\n' for name, value in fields.items())
    file = secrets(pit, f"[global.w]\n{lines}[global.broken]\n{lines.replace(word, 'wrong-word')}")
    pit.project("d").toml(
        '[dag.params]\ndate = { default = "2026-01-31" }\n[dag.sql]\nconnection = "w"\n'
        '[[tasks]]\nname = "make"\nscript = "make.sql"\n'
        '[[tasks]]\nname = "refused"\nscript = "refused.sql"\nconnection = "broken"\n'
    )
    pit.file("make.sql", "CREATE TABLE t AS SELECT current_setting('pit.param_date') AS day")
    pit.file("refused.sql", "SELECT 1")
    told = pit.run("run", "d", "--secrets", file)
    told.fails(1)
    assert postgres.ask("SELECT day FROM t", fields["database"]) == [("2026-01-31",)]
    assert "password authentication failed" in pit.log("refused")
    kept = everything_kept(pit) + (told.out + told.err).encode()
    for secret in (word, "wrong-word"):
        assert secret.encode() not in kept


def test_nobody_sees_a_password_in_the_process_list(pit: Pit, postgres: Server) -> None:
    import psycopg

    if not Path("/proc/self/cmdline").exists():
        pytest.skip("needs /proc")
    name = postgres.fresh()
    file = secrets(pit, f'[global]\nw = "{postgres.url(name)}"\n')
    pit.project("d").toml('[dag.sql]\nconnection = "w"\n[[tasks]]\nname = "a"\nscript = "a.sql"\n')
    pit.file("a.sql", "SELECT pg_advisory_lock(1)")
    waiting = (
        "SELECT 1 FROM pg_locks JOIN pg_database AS d ON d.oid = database "
        f"WHERE datname = '{name}' AND NOT granted"
    )
    with psycopg.connect(postgres.url(name)) as other:
        other.execute("SELECT pg_advisory_lock(1)")
        run = pit.start("run", "d", "--secrets", file)
        _until(lambda: bool(postgres.ask(waiting)))
        seen = b""
        ours = [run.pid, *(child.pid for child in psutil.Process(run.pid).children(recursive=True))]
        for place in (Path("/proc", str(pid)) for pid in ours):
            for kind in ("cmdline", "environ"):
                try:
                    seen += (place / kind).read_bytes()
                except OSError:
                    continue
    assert run.communicate(timeout=60) is not None
    assert run.returncode == 0
    assert b"pit.work.sql.hardened" in seen
    assert b"s3cret" not in seen
