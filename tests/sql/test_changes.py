"""What a script has changed: which tables it writes, and what the log says of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from pit.model import LoadMode
from pit.sql import protocol
from pit.sql.changes import State, told, written
from pit.sql.connection.urls import parse
from pit.sql.driver import MAX_CHANGE
from pit.sql.protocol import Done
from pit.sql.text import split
from pit.work.sql import baselines
from tests.servers.postgres import Server
from tests.sql.conftest import Conversation
from tests.sql.transfer.moving import Mover


@pytest.mark.parametrize(
    ("script", "tables"),
    [
        ("INSERT INTO mart.t VALUES (1)", ["mart.t"]),
        ("insert or replace into t select 1", ["t"]),
        ("UPDATE t SET a = 1; DELETE FROM u WHERE true; TRUNCATE TABLE v", ["t", "u", "v"]),
        ("CREATE OR REPLACE TABLE a AS SELECT 1; CREATE TABLE IF NOT EXISTS b (i INT)", ["a", "b"]),
        ("MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE", ["t"]),
        ("COPY t FROM 'x.csv'; COPY u TO 'y.csv'; COPY (SELECT 1) TO 'z.csv'", ["t"]),
        ("WITH x AS (SELECT 1 FROM (SELECT 2)) INSERT INTO t SELECT * FROM x", ["t"]),
        ("WITH x AS (INSERT INTO hidden VALUES (1) RETURNING *) SELECT * FROM x", []),
        ('INSERT INTO "Odd ""name"" ".t VALUES (1)', ['Odd "name" .t']),
        ("-- INSERT INTO no VALUES (1)\nSELECT 'INSERT INTO no'", []),
        ("CREATE TEMP TABLE x (i INT); CREATE VIEW v AS SELECT 1; DROP TABLE t", []),
        ("ATTACH 'o.db' AS o; INSERT INTO o.t VALUES (1)", []),
        ("SET search_path = mart; INSERT INTO t VALUES (1)", []),
        ("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)", ["t"]),
    ],
)
def test_which_tables_a_script_is_seen_to_write(script: str, tables: list[str]) -> None:
    statements = split.statements(script, split.POSTGRES)
    assert [str(table) for table in written(statements, "duckdb")] == tables


@pytest.mark.parametrize(
    ("was", "now", "line"),
    [
        (State(there=False), State(there=True, rows=1200), "new, 1,200 rows"),
        (State(there=True, rows=10), State(there=True, rows=10), "10 rows as before"),
        (
            State(there=True, rows=1000),
            State(there=True, rows=900),
            "1,000 → 900 rows (−100, 10.0 %)",
        ),
        (State(there=True, rows=0), State(there=True, rows=1), "0 → 1 row (+1)"),
        (State(there=True, rows=3), State(there=False), "dropped"),
        (State(there=True), State(there=True), ""),
        (
            State(there=True, rows=100, nulls={"a": 0, "b": 50, "c": 50}),
            State(there=True, rows=100, nulls={"a": 1, "b": 60, "c": 51}),
            "100 rows as before, NULLs in a 0 % → 1.0 %, NULLs in b 50.0 % → 60.0 %",
        ),
        (
            State(there=True, rows=1),
            State(there=True, rows=2, key="id", range=("1", "2")),
            "1 → 2 rows (+1, 100.0 %), id 1 … 2",
        ),
    ],
)
def test_a_change_in_words(was: State, now: State, line: str) -> None:
    assert told(was, now) == line


class Bench:
    """A database, and scripts that are watched."""

    def __init__(self, talk: Conversation, url: str) -> None:
        self.talk, self.url = talk, url

    def run(self, text: str, *tables: str, max_change: float | None = None, base: str = "") -> Done:
        self.talk._next += 1
        order = protocol.Run(
            id=self.talk._next,
            script="x.sql",
            text=text,
            database=parse(self.url, self.talk.cwd),
            watch=protocol.Watch(tables=tables, max_change=max_change, base=base),
        )
        self.talk.send(order)
        return self.talk.wait(order.id)

    def changes(self, text: str, *tables: str) -> list[str]:
        done = self.run(text, *tables)
        assert done.failure is None, self.talk.log()
        lines = self.talk.log().splitlines()
        return [line for line in lines if not line.startswith((" ", "line "))]


@pytest.fixture(params=["duckdb", "sqlite", "postgres"])
def bench(request: pytest.FixtureRequest, talk: Conversation) -> Iterator[Bench]:
    if request.param == "postgres":
        server: Server = request.getfixturevalue("postgres")
        yield Bench(talk, server.url(server.fresh()))
    else:
        yield Bench(talk, f"{request.param}://w.{request.param}")


def test_the_log_ends_with_what_changed(bench: Bench) -> None:
    assert bench.changes("CREATE TABLE t (i INTEGER, a INTEGER)") == ["t: new, 0 rows"]
    assert bench.changes("INSERT INTO t VALUES (1, 1), (2, 2)") == ["t: 0 → 2 rows (+2)"]
    insert = "INSERT INTO t SELECT i + 2, NULL FROM t"
    lines = bench.changes(insert)
    assert lines == ["t: 2 → 4 rows (+2, 100.0 %), NULLs in a 0 % → 50.0 %"]
    assert bench.changes("UPDATE t SET a = 5 WHERE a = 1") == ["t: 4 rows as before"]
    assert bench.changes("SELECT * FROM t") == []
    assert bench.changes("SELECT * FROM t", "t") == ["t: 4 rows as before"], "a target is told of"
    assert bench.changes("DROP TABLE t", "t") == ["t: dropped"]


def test_too_large_a_change_fails_and_is_not_tried_again(bench: Bench) -> None:
    bench.run("CREATE TABLE t (i INTEGER)", max_change=0.2)
    assert bench.run("INSERT INTO t VALUES (1), (2)", max_change=0.2).failure is None, (
        "it was empty"
    )
    failure = bench.run("INSERT INTO t SELECT i + 2 FROM t", max_change=0.2).failure
    assert failure is not None
    assert (failure.kind, failure.retryable) == (MAX_CHANGE, False)
    assert failure.message == "t went from 2 to 4 rows, a change of 100.0 %; max_change is 20 %"
    assert bench.run("DELETE FROM t WHERE i = 1", max_change=0.3).failure is None
    failure = bench.run("DELETE FROM t", "t", max_change=0.9).failure
    assert failure is not None
    assert "from 3 to 0 rows" in failure.message


def test_a_failed_script_does_not_move_what_the_next_is_compared_with(
    bench: Bench, tmp_path: Path
) -> None:
    kept = tmp_path / "changes" / "d.t.json"
    base = str(kept)
    bench.run("CREATE TABLE t (i INTEGER); INSERT INTO t VALUES (1), (2), (3), (4)")
    assert bench.run("SELECT nope FROM t", "t", max_change=0.2, base=base).failure is not None
    assert not kept.exists(), "nothing was changed"
    broken = "BEGIN; DELETE FROM t WHERE i > 1; COMMIT; SELECT nope FROM t"
    failure = bench.run(broken, max_change=0.2, base=base).failure
    assert failure is not None
    assert failure.kind != MAX_CHANGE
    again = "INSERT INTO t VALUES (9)"
    failure = bench.run(again, max_change=0.2, base=base).failure
    assert failure is not None
    assert "t went from 4 (before an attempt that failed) to 2 rows" in failure.message
    mended = "DELETE FROM t; INSERT INTO t VALUES (1), (2), (3), (4)"
    assert bench.run(mended, max_change=0.2, base=base).failure is None
    assert not kept.exists()


def test_what_was_empty_may_become_anything_even_after_a_failure(
    bench: Bench, tmp_path: Path
) -> None:
    base = str(tmp_path / "d.t.json")
    bench.run("CREATE TABLE t (i INTEGER)")
    broken = "BEGIN; INSERT INTO t VALUES (1); COMMIT; SELECT nope FROM t"
    assert bench.run(broken, max_change=0.2, base=base).failure is not None
    more = "INSERT INTO t VALUES (1), (2), (3)"
    assert bench.run(more, max_change=0.2, base=base).failure is None


def test_what_another_database_holds_is_compared_with_nothing(
    talk: Conversation, tmp_path: Path
) -> None:
    base = str(tmp_path / "d.t.json")
    broken = "DELETE FROM t WHERE i > 1; SELECT nope FROM t"
    trial, real = Bench(talk, "sqlite://trial.db"), Bench(talk, "sqlite://real.db")
    trial.run("CREATE TABLE t (i INTEGER); INSERT INTO t VALUES (1), (2), (3), (4)")
    assert trial.run(broken, max_change=0.5, base=base).failure is not None
    real.run("CREATE TABLE t (i INTEGER); INSERT INTO t VALUES (1), (2)")
    assert real.run("INSERT INTO t VALUES (3)", max_change=0.5, base=base).failure is None
    failure = trial.run("INSERT INTO t VALUES (9)", max_change=0.2, base=base).failure
    assert failure is not None, "what is kept of the one outlives the success on the other"
    assert "t went from 4 (before" in failure.message


def test_a_table_that_comes_to_be_written_later_is_kept_as_well(
    bench: Bench, tmp_path: Path
) -> None:
    base = str(tmp_path / "d.t.json")
    for name in "ab":
        bench.run(f"CREATE TABLE {name} (i INTEGER); INSERT INTO {name} VALUES (1), (2), (3)")
        broken = f"BEGIN; DELETE FROM {name} WHERE i > 1; COMMIT; SELECT nope FROM {name}"
        assert bench.run(broken, max_change=0.2, base=base).failure is not None
    failure = bench.run("UPDATE b SET i = 2", max_change=0.2, base=base).failure
    assert failure is not None
    assert "b went from 3 (before" in failure.message


def test_what_others_change_while_a_script_waits_is_none_of_its_doing(
    talk: Conversation, tmp_path: Path
) -> None:
    bench = Bench(talk, "sqlite://w.db")
    bench.run("CREATE TABLE t (i INTEGER); INSERT INTO t VALUES (1)")
    other = sqlite3.connect(tmp_path / "w.db")
    other.executescript("BEGIN IMMEDIATE; INSERT INTO t VALUES (2), (3), (4)")
    watch = protocol.Watch(max_change=0.5, base=str(tmp_path / "d.t.json"))
    database = parse(bench.url, talk.cwd)
    text = "INSERT INTO t VALUES (5)"
    order = protocol.Run(id=0, script="x.sql", text=text, database=database, watch=watch)
    number = talk.begin(order)
    talk.until(number, "waiting for")
    other.commit()
    other.close()
    assert talk.wait(number).failure is None, talk.log()


@pytest.mark.parametrize("content", [b"", b"{", b'{"t":4}', b'{"\xff":{"t":1}}', None])
def test_a_file_of_rows_that_says_nothing_is_none(
    talk: Conversation, tmp_path: Path, content: bytes | None
) -> None:
    base = tmp_path / "d.t.json"
    base.mkdir() if content is None else base.write_bytes(content)
    bench = Bench(talk, "sqlite://w.db")
    bench.run("CREATE TABLE t (i INTEGER); INSERT INTO t VALUES (1), (2)")
    insert = "INSERT INTO t VALUES (3)"
    assert bench.run(insert, max_change=0.5, base=str(base)).failure is None
    assert base.is_dir() == (content is None)
    assert content is None or not base.exists()


def test_each_task_has_a_file_of_its_own() -> None:
    assert baselines.path_of("w", "a.b", "c") != baselines.path_of("w", "a", "b.c")
    assert len(baselines.path_of("w", "d", "x" * 300).name) < 100


def test_a_table_that_is_gone_has_changed_wholly(bench: Bench) -> None:
    bench.run("CREATE TABLE t (i INTEGER); INSERT INTO t VALUES (1)")
    failure = bench.run("DROP TABLE t", "t", max_change=0.99).failure
    assert failure is not None
    assert "t went from 1 to 0 rows" in failure.message


def test_a_view_is_not_counted(bench: Bench) -> None:
    assert bench.changes("CREATE VIEW v AS SELECT 1 AS i", "v") == []


def test_a_script_that_fails_says_nothing_of_changes(bench: Bench) -> None:
    bench.run("CREATE TABLE t (i INTEGER)")
    assert bench.run("INSERT INTO t VALUES (1); INSERT INTO nope VALUES (1)").failure is not None
    assert "t:" not in bench.talk.log()


def test_a_load_knows_the_rows_of_a_table_that_it_made(talk: Conversation) -> None:
    mover = Mover(talk, "duckdb://w.duckdb")
    mover.file("SELECT i AS id, i AS a FROM range(3) r(i)")
    mover.loads(mode=LoadMode.CREATE_OR_REPLACE)
    assert "t: new, 3 rows" in talk.log()
    mover.file("SELECT i AS id, NULL::BIGINT AS a FROM range(5) r(i)")
    mover.loads(mode=LoadMode.CREATE_OR_REPLACE)
    assert "t: 3 → 5 rows (+2, 66.7 %), NULLs in a 0 % → 100 %" in talk.log()
    mover.loads(table="keyed", mode=LoadMode.UPSERT, key=("id",))
    assert "keyed: new, 5 rows, id 0 … 4" in talk.log()


def test_a_name_that_no_table_can_have_is_no_reason_to_fail(bench: Bench) -> None:
    assert bench.changes("SELECT 1", "a.b.c.d.e", 'x"y') == []
