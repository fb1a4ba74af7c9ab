"""`pit sql` with the real command: results in every form, errors, limits, secrets, `--check`."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import duckdb
import pytest

from pit.sql.drivers.sqlserver import carried_driver
from tests.builder import Pit
from tests.servers import tds
from tests.servers.postgres import Server

_LONG = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range % 7 = b.range % 13"
_HUSH = "hush-hush-99"


@pytest.fixture
def pit(tmp_path: Path) -> Pit:
    """A workspace with connections, and a DAG that names two of them."""
    made = Pit(tmp_path).file("pit_config.toml", 'secrets_dir = "secrets.toml"\n')
    secrets = (
        '[global]\nduck = "duckdb://w.duckdb"\nlite = "sqlite://w.sqlite"\n'
        f'away = "postgres://u:{_HUSH}@127.0.0.1:1/x"\n'
        'narrow = "sqlite://n.sqlite"\n[sales]\nown = "sqlite://own.sqlite"\n'
        '[acl]\nnarrow = ["sales"]\n'
    )
    made.file("secrets.toml", secrets, 0o600)
    made.project("sales").toml(
        '[dag.sql]\nconnection = "duck"\n[[tasks]]\nname = "a"\nscript = "a.sql"\n'
        '[[tasks]]\nname = "b"\nscript = "a.sql"\nconnection = "own"\n'
    )
    made.file("a.sql", "SELECT 1")
    return made


@pytest.mark.parametrize("name", ["duck", "lite"])
def test_a_table_and_its_other_forms(pit: Pit, name: str) -> None:
    first = "SELECT 1 AS n, 'a,\"b' AS t, CAST(NULL AS VARCHAR(9)) AS x"
    query = f"{first} UNION ALL SELECT 2, '', NULL ORDER BY 1"
    assert pit.run("sql", name, query).ok().out == (
        'n  t     x\n─  ────  ────\n1  a,"b  NULL\n2        NULL\n2 rows\n'
    )
    assert pit.run("sql", name, query, "--csv").ok().out == 'n,t,x\n1,"a,""b",\n2,"",\n'
    rows = [{"n": 1, "t": 'a,"b', "x": None}, {"n": 2, "t": "", "x": None}]
    assert pit.run("sql", name, query, "--json").ok().json == rows
    assert pit.run("sql", name, query, "--json", "--limit", "1").ok().json == rows[:1]
    assert pit.run("sql", name, query, "--json", "--limit", "0").ok().json == []
    done = pit.run("sql", name, query, "--parquet", "out.parquet").ok()
    assert done.out == ""
    assert done.err.startswith("2 rows saved to out.parquet (")
    assert duckdb.sql(f"FROM '{pit.root / 'out.parquet'}'").fetchall() == [
        (1, 'a,"b', None),
        (2, "", None),
    ]


def test_all_rows_come_where_no_table_is_drawn(pit: Pit) -> None:
    done = pit.run("sql", "duck", "FROM range(100000) t(i)", "--csv").ok()
    assert done.out == "i\n" + "".join(f"{i}\n" for i in range(100_000))
    shown = pit.run("sql", "duck", "FROM range(100000) t(i)").ok().out
    assert "first 40 rows; there are more: --limit N, or --csv for all" in shown
    assert len(shown.splitlines()) == 43


def test_nested_values_are_json(pit: Pit) -> None:
    query = "SELECT [1, 2] AS l, {'a': 1.5} AS s, DATE '10000-01-01' AS d, 1.10::DECIMAL(5,2) AS m"
    (row,) = pit.run("sql", "duck", query, "--json").ok().json
    assert row == {"l": [1, 2], "s": {"a": 1.5}, "d": "10000-01-01", "m": 1.1}


def test_a_query_from_a_file_and_from_standard_input(pit: Pit, tmp_path: Path) -> None:
    pit.root.joinpath("q.sql").write_text("SELECT 7 AS n")
    assert pit.run("sql", "duck", "q.sql", "--json").ok().json == [{"n": 7}]
    pit.run("sql", "duck", "nope.sql").fails(2, "there is no file nope.sql")
    pit.run("sql", "duck", "-").ok()  # nothing comes


def test_statements_that_write_are_told(pit: Pit) -> None:
    done = pit.run("sql", "lite", "CREATE TABLE t (i INT); INSERT INTO t VALUES (1), (2)").ok()
    assert "line 1: INSERT INTO t VALUES (1), (2)\n  2 rows" in done.out
    done = pit.run("sql", "lite", "DELETE FROM t WHERE i = 1").ok()
    assert (done.out, done.err) == ("", "1 row changed\n")
    pit.run("sql", "lite", "SELECT 1; SELECT 2", "--csv").fails(1, "as csv only one query")
    pit.run("sql", "lite", "BEGIN; DELETE FROM t").fails(1, "did not commit")
    assert pit.run("sql", "lite", "SELECT * FROM t", "--json").ok().json == [{"i": 2}]


def test_a_mistake_is_shown_with_its_place(pit: Pit) -> None:
    done = pit.run("sql", "duck", "SELECT 1,\n nope").fails(1)
    assert done.out == ""
    assert 'error: line 2: Binder Error: Referenced column "nope"' in done.err
    assert "LINE 2:  nope\n" in done.err
    failed = pit.run("sql", "duck", "SELECT 1/0 AS x, nope", "--parquet", "x.parquet").fails(1)
    assert "nope" in failed.err
    assert not (pit.root / "x.parquet").exists()
    assert list(pit.root.glob(".pit-*")) == []


def test_a_database_that_does_not_answer_is_explained_once_in_a_run(pit: Pit) -> None:
    pit.project("sales").toml(
        '[dag.sql]\nconnection = "away"\n'
        '[[tasks]]\nname = "a"\nscript = "a.sql"\n[[tasks]]\nname = "b"\nscript = "a.sql"\n'
    )
    done = pit.run("run", "sales").fails(1, "cannot connect to postgres://u@127.0.0.1:1/x")
    assert done.out.count("Nothing listens there: is the server up") == 1
    assert "Is the server running" not in done.out
    assert "The same in 1 more" in done.out
    checked = pit.run("sql", "--check", "away").fails(1, "nothing listens there")
    assert _HUSH not in done.out + done.err + checked.out + checked.err


def test_a_time_out_interrupts_in_the_database(pit: Pit) -> None:
    pit.run("sql", "duck", _LONG, "--timeout", "300ms").fails(1, "time-out of 0.3 s")
    pit.run("sql", "duck", _LONG, "--timeout", "soon").fails(2, "--timeout")


def test_ctrl_c_interrupts_in_the_database(pit: Pit) -> None:
    process = pit.start("sql", "duck", f"SELECT 1; {_LONG}")
    assert process.stdout is not None
    assert process.stdout.readline() == b"line 1: SELECT 1\n", "the SQL process is at work"
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.endswith(b"interrupted\n")
    assert pit.run("sql", "duck", "SELECT 1 AS n", "--json").ok().json == [{"n": 1}]


def test_whose_secrets(pit: Pit) -> None:
    pit.run("sql", "own", "SELECT 1").ok()  # the only one that has it
    pit.run("sql", "narrow", "SELECT 1").fails(34, "--dag sales")
    pit.run("sql", "narrow", "SELECT 1", "--dag", "sales").ok()
    pit.run("sql", "narrow", "SELECT 1", "--dag", "other").fails(34, "is not for DAG")
    pit.run("sql", "nope", "SELECT 1").fails(32, 'secret "nope" not found')
    Path(pit.root, "pit_config.toml").write_text("")
    pit.run("sql", "duck", "SELECT 1").ok()  # found by its name
    Path(pit.root, "secrets.toml").unlink()
    pit.run("sql", "duck", "SELECT 1").fails(35, "no secrets file")


def test_it_stands_in_the_audit(pit: Pit) -> None:
    pit.run("sql", "duck", "SELECT 1").ok()
    shown = pit.run("secrets", "audit").ok().out
    assert re.search(r"read +global\.duck ", shown)


def test_no_password_is_shown(pit: Pit) -> None:
    for arguments in (("away", "SELECT 1"), ("--check", "away"), ("--check", "away", "--json")):
        done = pit.run("sql", *arguments).fails(1, "127.0.0.1")
        assert _HUSH not in done.out + done.err


def test_every_connection_that_the_dags_name_is_tried(pit: Pit) -> None:
    pit.run("sql", "duck", "CREATE TABLE t (i INT)").ok()
    found = {one["connection"]: one for one in pit.run("sql", "--check", "--json").ok().json}
    assert set(found) == {"duck", "own"}
    assert found["duck"]["server"].startswith("DuckDB v")
    assert found["duck"]["latency"] >= 0
    assert found["own"]["dags"] == ["sales"]
    assert "no such file yet" in found["own"]["remark"]
    assert not (pit.root / "own.sqlite").exists()
    shown = pit.run("sql", "--check", "away", "nope", "duck").fails(1)
    assert "is the server up" in shown.err
    assert 'secret "nope" not found' in shown.err
    assert "DuckDB v" in shown.out


def test_what_makes_no_sense_is_refused(pit: Pit) -> None:
    pit.run("sql").fails(2, "which connection?")
    pit.run("sql", "duck", "select", "1").fails(2, "Quote it")
    pit.run("sql", "duck", "SELECT 1", "--csv", "--json").fails(2, "cannot be combined")
    pit.run("sql", "duck", "SELECT 1", "--parquet", "x", "--limit", "1").fails(2, "whole result")
    pit.run("sql", "duck", "SELECT 1", "--parquet", "x.csv").fails(2, "does not end in .parquet")
    pit.run("sql", "duck", "SELECT 1", "--parquet", "a/b.parquet").fails(2, "no folder a", "mkdir")
    assert not (pit.root / "a").exists()
    (pit.root / "a").mkdir()
    done = pit.run("sql", "duck", "SELECT 1 AS x", "--parquet", "a/b.parquet").ok()
    assert "saved to a/b.parquet (" in done.err
    pit.run("sql", "--check", "--csv").fails(2, "--check takes")


def test_postgres(pit: Pit, postgres: Server) -> None:
    name = postgres.fresh()
    url = postgres.url(name)
    secrets = pit.root / "secrets.toml"
    secrets.write_text(f"[global]\npg = {json.dumps(url)}\nno = {json.dumps(url + 'x')}\n")
    query = (
        "SELECT 1 AS n, 1.50::numeric AS m, 'infinity'::date AS d, ARRAY[1, 2] AS l, "
        "'{\"a\": 1}'::jsonb AS j, NULL::text AS x"
    )
    (row,) = pit.run("sql", "pg", query, "--json").ok().json
    assert row | {"n": 1, "m": 1} == row | {"n": int(row["n"]), "m": 1}
    assert (row["d"], row["x"]) == ("infinity", None)
    pit.run("sql", "pg", "CREATE TABLE t AS SELECT i FROM generate_series(1, 100000) i").ok()
    done = pit.run("sql", "pg", "SELECT * FROM t ORDER BY i", "--csv").ok()
    assert done.out == "i\n" + "".join(f"{i}\n" for i in range(1, 100_001))
    done = pit.run("sql", "pg", "SELECT i, i / 2.0 AS h FROM t", "--parquet", "t.parquet").ok()
    kinds = duckdb.sql(f"SELECT count(*), sum(h), typeof(any_value(i)) FROM '{pit.root}/t.parquet'")
    count, total, kind = kinds.fetchall()[0]
    assert (count, int(total), kind) == (100_000, 2_500_025_000, "INTEGER")
    assert "0 rows" in pit.run("sql", "pg", "SELECT * FROM t WHERE i < 0").ok().out
    found = pit.run("sql", "--check", "pg", "--json").ok().json[0]
    assert found["server"].startswith("Postgres ")
    assert "psycopg" in found["driver"]
    pit.run("sql", "--check", "no").fails(1, "create the database")


def test_a_long_query_on_postgres_ends_with_ctrl_c(pit: Pit, postgres: Server) -> None:
    url = postgres.url(postgres.fresh())
    (pit.root / "secrets.toml").write_text(f"[global]\npg = {json.dumps(url)}\n")
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3599)%'"
    process = pit.start("sql", "pg", "SELECT pg_sleep(3599)")
    deadline = time.monotonic() + 90
    while postgres.ask(sleeping)[0][0] == 1:  # this question itself
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    while postgres.ask(sleeping)[0][0] != 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def ms(pit: Pit, sqlserver: tds.Server, odbc_drivers: list[str]) -> Pit:
    """The workspace with a SQL Server for its only connection."""
    if carried_driver() is None:
        pytest.skip("needs Microsoft's driver: pip install mssql-python")
    sqlserver.empty()
    url = json.dumps(sqlserver.url("?trustservercertificate=yes"))
    (pit.root / "secrets.toml").write_text(f"[global]\nms = {url}\n")
    return pit


def test_every_result_of_a_batch_is_shown(ms: Pit) -> None:
    shown = ms.run("sql", "ms", "SELECT 1 AS one; SELECT 2 AS two").ok().out
    assert "one" in shown
    assert "two" in shown
    ms.run("sql", "ms", "SELECT 1 AS a; SELECT 2 AS b", "--csv").fails(1, "a second result")


def test_a_batch_is_sent_as_often_as_go_says(ms: Pit) -> None:
    ms.run("sql", "ms", "CREATE TABLE go5 (a int)").ok()
    ms.run("sql", "ms", "INSERT INTO go5 VALUES (1)\nGO 5").ok()
    assert ms.run("sql", "ms", "SELECT count(*) AS n FROM go5", "--csv").ok().out == "n\n5\n"


def test_sql_server(ms: Pit) -> None:
    create = "CREATE TABLE dbo.t (i INT, m DECIMAL(9, 2))"
    script = f"{create}\nGO\nINSERT INTO dbo.t VALUES (1, 1.5), (2, NULL)"
    assert "2 rows" in ms.run("sql", "ms", script).ok().out
    rows = ms.run("sql", "ms", "SELECT * FROM dbo.t ORDER BY i", "--json").ok().json
    assert rows == [{"i": 1, "m": 1.5}, {"i": 2, "m": None}]
    assert "i,m\n1,1.50\n2,\n" in ms.run("sql", "ms", "SELECT * FROM dbo.t", "--csv").ok().out
    ms.run("sql", "ms", "SELECT nope FROM dbo.t").fails(1, "nope")
    found = ms.run("sql", "--check", "ms", "--json").ok().json[0]
    assert found["driver"].startswith("pyodbc ")
    assert found["server"]


def test_a_very_long_cell_arrives_whole(pit: Pit) -> None:
    # Joining the pieces anew for each one that comes took minutes.
    query = "SELECT repeat('x', 60000000) AS a"
    assert len(pit.run("sql", "duck", query, "--csv", timeout=90).ok().out) == 60_000_003


def test_a_time_without_end_leaves_other_values_as_they_are(pit: Pit, postgres: Server) -> None:
    secrets = pit.root / "secrets.toml"
    secrets.write_text(f"[global]\npg = {json.dumps(postgres.url())}\n")
    query = (
        "SELECT 1.10 AS n, ARRAY[1, NULL] AS a, '{\"k\": 1}'::json AS j, "
        "'infinity'::timestamp AS t, ARRAY['-infinity'::date, '2026-01-31'] AS d, true AS b"
    )
    done = pit.run("sql", "pg", query, "--json").ok()
    assert '"n":1.10' in done.out
    assert done.json == [
        {
            "n": 1.1,
            "a": [1, None],
            "j": {"k": 1},
            "t": "infinity",
            "d": ["-infinity", "2026-01-31"],
            "b": True,
        }
    ]
