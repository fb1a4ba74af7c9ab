"""Questions to real databases: which tables are there, what a query returns; nothing is changed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pit.sql import protocol
from pit.sql.connection.urls import parse
from pit.sql.protocol import Answer
from pit.sql.questions import digest_of
from tests.servers.postgres import Server
from tests.sql.conftest import Conversation


class Bench:
    """A database, and questions to it."""

    def __init__(self, talk: Conversation, url: str) -> None:
        self.talk, self.url = talk, url

    def ask(self, *tables: str, query: str = "", look: bool = False) -> Answer:
        self.talk._next += 1
        database = parse(self.url, self.talk.cwd)
        order = protocol.Ask(
            id=self.talk._next, database=database, tables=tables, query=query, look=look
        )
        self.talk.send(order)
        return msgspec.convert(self.talk.wait(order.id).answer, Answer)


@pytest.fixture(params=["duckdb", "sqlite", "postgres"])
def bench(request: pytest.FixtureRequest, talk: Conversation) -> Iterator[Bench]:
    if request.param == "postgres":
        server: Server = request.getfixturevalue("postgres")
        yield Bench(talk, server.url(server.fresh()))
    else:
        yield Bench(talk, f"{request.param}://w.{request.param}")


@pytest.mark.parametrize("look", [False, True])
def test_tables_and_a_digest(bench: Bench, look: bool) -> None:
    bench.talk.run('CREATE TABLE t (i INTEGER); CREATE TABLE "Odd "" name" (i INTEGER)', bench.url)
    bench.talk.run("CREATE VIEW v AS SELECT 1 AS i; INSERT INTO t VALUES (1)", bench.url)
    tables = ("t", "v", '"Odd "" name"', "nope", "a.b.c.d.e")
    query = "SELECT max(i), count(*) FROM t"
    first = bench.ask(*tables, query=query, look=look)
    assert first.there == ("t", "v", '"Odd "" name"')
    assert first == bench.ask(*tables, query=query, look=look)
    bench.talk.run("INSERT INTO t VALUES (2)", bench.url)
    second = bench.ask(*tables, query=query, look=look)
    assert second.digest not in ("", first.digest)


def test_a_query_that_fails_is_no_digest(bench: Bench) -> None:
    bench.talk.run("CREATE TABLE t (i INTEGER)", bench.url)
    assert "nope" in bench.ask("t", query="SELECT nope FROM t").failure
    assert "one query" in bench.ask(query="SELECT 1; SELECT 2").failure


@pytest.mark.parametrize("look", [False, True])
def test_a_question_changes_nothing(bench: Bench, look: bool) -> None:
    bench.talk.run("CREATE TABLE t (i INTEGER)", bench.url)
    assert bench.ask(query="INSERT INTO t VALUES (1)", look=look).failure
    assert bench.talk.run("SELECT * FROM t", bench.url).failure is None
    assert "0 rows" in bench.talk.log()


@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
@pytest.mark.parametrize("look", [False, True])
def test_asking_makes_no_file(talk: Conversation, kind: str, look: bool) -> None:
    bench = Bench(talk, f"{kind}://new.{kind}")
    assert bench.ask("t", look=look) == Answer()
    assert "there is no" in bench.ask(query="SELECT 1", look=look).failure
    assert not (talk.cwd / f"new.{kind}").exists()


def test_a_look_waits_for_nobody(
    talk: Conversation, hold: Callable[[Path], subprocess.Popen[bytes]]
) -> None:
    talk.run("CREATE TABLE t (i INTEGER)")
    hold(talk.cwd / "w.duckdb")
    assert "is in use by" in Bench(talk, "duckdb://w.duckdb").ask("t", look=True).failure


def test_a_server_that_is_away_and_its_password(talk: Conversation) -> None:
    bench = Bench(talk, "postgres://u:hush-hush-99@127.0.0.1:1/x")
    failure = bench.ask("t").failure
    assert "127.0.0.1" in failure
    assert "hush-hush-99" not in failure


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([(1, "a"), (2, "b")], [(2, "b"), (1, "a")], True),
        ([(1,), (1,)], [(1,)], False),
        ([(1,)], [("1",)], False),
        ([(None,)], [("None",)], False),
        ([("a", "b")], [("a\0b", "")], False),
    ],
)
def test_a_digest_is_that_of_the_rows_whatever_their_order(
    one: list[Any], other: list[Any], same: bool
) -> None:
    names = ("x", "y")[: len(one[0])]
    assert (digest_of(names, [one]) == digest_of(names, iter([[row] for row in other]))) is same
