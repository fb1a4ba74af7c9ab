"""What drivers have in common: pools, what is missing on a machine, what is worth trying again."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pit.sql import protocol
from pit.sql.connection.urls import parse
from pit.sql.drivers.pool import Pool
from pit.sql.drivers.transient import by_sqlserver, by_sqlstate, by_words

ROOT = Path(__file__).resolve().parents[3]


def load(kind: str, before: str = "", path: Path | None = None) -> str:
    """What a new process says of loading a driver."""
    code = (
        f"import sys\nsys.path[:0] = [{str(path)!r}, {str(ROOT)!r}]\n{before}\n"
        "from pit.sql.server import _load\nfrom pit.sql.driver import Unavailable\n"
        f"try:\n    driver = _load({kind!r})\n"
        "    from pit.sql.drivers import odbc\n    odbc.library()\n"
        "except Unavailable as error:\n    print(error)\n"
    )
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, timeout=60)
    assert not done.stderr, done.stderr
    return done.stdout.strip()


def test_psycopg_is_missing() -> None:
    said = load("postgres", "sys.modules['psycopg'] = None")
    assert said == "Postgres needs psycopg: pip install 'pit-orchestrator[postgres]'"


def test_the_log_says_what_is_missing(tmp_path: Path) -> None:
    code = (
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nsys.modules['psycopg'] = None\n"
        "from pit.sql.server import main\nmain()\n"
    )
    order = protocol.Run(
        id=1, script="q.sql", text="SELECT 1", database=parse("postgres://h/x", tmp_path)
    )
    program = (sys.executable, "-c", code)
    done = subprocess.run(program, input=protocol.encode(order), capture_output=True, timeout=60)
    log, end = map(protocol.reply, done.stdout.splitlines())
    assert isinstance(log, protocol.Log)
    assert log.text == "q.sql: Postgres needs psycopg: pip install 'pit-orchestrator[postgres]'"
    assert isinstance(end, protocol.Done)


def test_unixodbc_is_missing(tmp_path: Path) -> None:
    text = "libodbc.so.2: cannot open shared object file: No such file or directory"
    (tmp_path / "pyodbc.py").write_text(f"raise ImportError({text!r})")
    for kind in ("odbc", "sqlserver"):
        said = load(kind, path=tmp_path)
        assert said.startswith("ODBC needs the system's unixODBC: apt-get install unixodbc")
        assert "\n" not in said


def test_pyodbc_is_missing() -> None:
    assert load("odbc", "sys.modules['pyodbc'] = None") == "ODBC needs pyodbc: pip install pyodbc"


def test_the_last_connection_back_is_the_first_out() -> None:
    closed: list[str] = []
    pool: Pool[str] = Pool(closed.append)
    for name in "abc":
        pool.give("k", name)
    assert pool.take("other") is None
    assert [pool.take("k") for _ in range(4)] == ["c", "b", "a", None]
    assert closed == []


def test_a_pool_keeps_so_many_and_so_long() -> None:
    closed: list[str] = []
    over = threading.Event()

    def close(name: str) -> None:
        closed.append(name)
        if len(closed) == 9:
            over.set()

    pool: Pool[str] = Pool(close, idle=0.2)
    for name in "abcdefghi":
        pool.give("k", name)
    assert closed == ["i"]  # one more than are kept
    assert over.wait(60)
    assert pool.take("k") is None


@pytest.mark.parametrize(
    ("state", "transient"),
    [
        ("40001", True),
        ("40P01", True),
        ("08006", True),
        ("08S01", True),
        ("55P03", True),
        ("57P03", True),
        ("53300", True),
        ("HYT00", True),
        ("53100", False),
        ("40002", False),
        ("08P01", False),
        ("42601", False),
        ("42P01", False),
        ("42501", False),
        ("22P02", False),
        ("23505", False),
        ("57014", False),
        ("", False),
    ],
)
def test_states(state: str, transient: bool) -> None:
    assert by_sqlstate(state) is transient


def test_numbers_and_words() -> None:
    assert all(map(by_sqlserver, (1205, 1222, 3960, 40501, 40613, 10928, 10054)))
    assert not any(map(by_sqlserver, (102, 208, 207, 229, 245, 2627, 547, 8134, 50000)))
    assert by_words("FATAL:  the database system is starting up")
    assert by_words("could not translate host name")
    assert not by_words('FATAL:  password authentication failed for user "x"')
    assert not by_words('database "x" does not exist')
