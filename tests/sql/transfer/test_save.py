"""Saves that fail: where in the query, in whose words, and that nothing else was done."""

from __future__ import annotations

import pytest

from tests.servers.postgres import Server
from tests.sql.conftest import Conversation
from tests.sql.drivers.test_contract import Kind, kind  # noqa: F401 - a fixture
from tests.sql.transfer.moving import Mover


@pytest.fixture
def mover(lasting: Conversation, kind: Kind) -> Mover:  # noqa: F811
    # The SQL process has the working folder of an earlier test.
    return Mover(lasting, kind.url.replace("=w.sqlite", f"={lasting.cwd}/w.sqlite"))


@pytest.mark.parametrize(
    ("query", "line", "words"),
    [
        ("-- é\n\nSELECT 1 AS a,\n  2 AS b\nFROM no_such_table", 5, "no_such_table"),
        ("\nSELECT a,\n nope FROM (SELECT 1 AS a) x;\n-- end", 3, "nope"),
        ("  SELECT 1 AS a\nFORM x", 2, "FORM"),
    ],
)
def test_the_line_of_a_mistake(mover: Mover, query: str, line: int, words: str) -> None:
    failure = mover.save(query).failure
    assert failure is not None
    assert words in failure.message
    assert failure.line == line
    assert f"save.sql:{line}: {failure.message}" in mover.talk.log()


def test_a_save_is_one_query(mover: Mover) -> None:
    failure = mover.save("SELECT 1 AS a;\nSELECT 2 AS b").failure
    assert failure is not None
    if mover.url.startswith("sqlserver"):  # where a batch is sent as it is
        assert (failure.line, failure.message) == (
            1,
            "there is a second result, and only one can be taken",
        )
    else:
        assert (failure.line, failure.message) == (
            2,
            "a save must be one query; another statement begins here",
        )
    assert not list(mover.data.iterdir())


@pytest.mark.parametrize("kind", ["sqlserver-microsoft", "sqlserver-freetds"], indirect=True)
def test_a_batch_may_do_more_than_its_one_query(mover: Mover) -> None:
    mover.run("CREATE TABLE t (a int)")
    batch = "INSERT INTO t VALUES (1), (2);\nSELECT a FROM t;\nDELETE FROM t WHERE a = 1"
    assert mover.saves(batch, "x.csv").read_text() == "a\n1\n2\n"
    assert mover.rows("SELECT a FROM t") == [(2,)]


@pytest.mark.parametrize("kind", ["sqlserver-microsoft", "sqlserver-freetds"], indirect=True)
def test_an_error_behind_the_rows_is_one(mover: Mover) -> None:
    failure = mover.save("SELECT 1 AS a;\nSELECT b FROM no_such_table").failure
    assert failure is not None
    assert "no_such_table" in failure.message
    assert not list(mover.data.iterdir())


def test_a_script_without_a_statement_is_no_success(mover: Mover) -> None:
    failure = mover.save("-- nothing\n").failure
    assert failure is not None
    assert failure.message == "a save must be one query, and there is none"


@pytest.mark.parametrize("kind", ["duckdb", "sqlite", "postgres"], indirect=True)
def test_what_is_no_query_is_not_done(mover: Mover) -> None:
    mover.run("CREATE TABLE t (a integer)")
    failure = mover.save("\nINSERT INTO t VALUES (1)").failure
    assert failure is not None
    assert (failure.line, failure.message) == (2, "a save must be one query, and this is not one")
    assert mover.rows("SELECT count(*) AS n FROM t") == [(0,)]


def test_what_postgres_says_in_the_middle_of_a_result(talk: Conversation, postgres: Server) -> None:
    mover = Mover(talk, postgres.url(postgres.fresh()))
    failure = mover.save("SELECT 1 / (i - 3) AS a FROM generate_series(1, 5) i").failure
    assert failure is not None
    assert failure.message == "ERROR: division by zero"
    assert not failure.retryable
