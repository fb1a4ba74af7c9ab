"""Checks on real databases: what they find, what they keep, and how the log shows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from pit.model import Bounds, Expect
from pit.sql import protocol
from pit.sql.connection.urls import parse
from pit.sql.driver import CHECK_FAILED
from pit.sql.protocol import Done
from tests.servers.postgres import Server
from tests.sql.conftest import Conversation

_MAKE = (
    "CREATE TABLE t (i INTEGER, name VARCHAR(20), price NUMERIC(9, 2), day DATE);"
    "INSERT INTO t VALUES (1, 'one', 1.50, '2026-01-31'), (2, NULL, 2.25, NULL), (3, 'three', NULL,"
    " '1500-01-01')"
)


class Bench:
    """A database with a table, and checks on it."""

    def __init__(self, talk: Conversation, url: str) -> None:
        self.talk, self.url = talk, url
        self.keep = talk.cwd / "checks" / "c.parquet"
        assert talk.run(_MAKE, url).failure is None

    def check(self, text: str, expect: Expect | None = None) -> Done:
        self.talk._next += 1
        order = protocol.Check(
            id=self.talk._next,
            script="c.sql",
            text=text,
            database=parse(self.url, self.talk.cwd),
            keep=str(self.keep),
            kept="runs/1/data/checks/c.parquet",
            expect=expect,
        )
        self.talk.send(order)
        return self.talk.wait(order.id)

    def passes(self, text: str, expect: Expect | None = None) -> str:
        assert self.check(text, expect).failure is None, self.talk.log()
        assert not self.keep.exists()
        return self.talk.log()

    def finds(self, text: str, expect: Expect | None = None) -> str:
        failure = self.check(text, expect).failure
        assert failure is not None
        assert (failure.kind, failure.retryable) == (CHECK_FAILED, False), failure
        return failure.message

    def kept(self) -> list[tuple[object, ...]]:
        return duckdb.sql(f"FROM read_parquet('{self.keep}')").fetchall()


@pytest.fixture(params=["duckdb", "sqlite", "postgres"])
def bench(request: pytest.FixtureRequest, lasting: Conversation) -> Iterator[Bench]:
    if request.param == "postgres":
        server: Server = request.getfixturevalue("postgres")
        yield Bench(lasting, server.url(server.fresh()))
    else:
        yield Bench(lasting, f"{request.param}://w.{request.param}")


def bounds(text: str, least: float | None, most: float | None, open: bool = False) -> Bounds:
    return Bounds(text=text, least=least, most=most, open=open)


def test_a_query_must_return_no_rows(bench: Bench) -> None:
    assert "no rows, as expected" in bench.passes("SELECT * FROM t WHERE i > 3;")
    message = bench.finds("SELECT i, name FROM t WHERE i > 1 ORDER BY i")
    assert message == "2 rows, expected none; see runs/1/data/checks/c.parquet"
    assert bench.kept() == [(2, None), (3, "three")]
    log = bench.talk.log()
    assert "  2  NULL\n  3  three\n  2 rows" in log
    assert log.endswith(f"c.sql: {message}")


def test_what_was_kept_goes_with_the_next_attempt(bench: Bench) -> None:
    bench.finds("SELECT * FROM t")
    assert bench.keep.exists()
    assert bench.keep.stat().st_mode & 0o77 == 0
    bench.passes("SELECT * FROM t WHERE i > 3")


def test_types_survive_in_what_is_kept(bench: Bench) -> None:
    bench.finds("SELECT i, price, day FROM t ORDER BY i")
    rows = duckdb.sql(f"SELECT i, price::VARCHAR, day::VARCHAR FROM '{bench.keep}'").fetchall()
    price = "1.5" if "sqlite" in bench.url else "1.50"  # SQLite itself has a float there
    assert rows == [(1, price, "2026-01-31"), (2, "2.25", None), (3, None, "1500-01-01")]


def test_columns_of_one_name_are_told_apart(bench: Bench) -> None:
    bench.finds("SELECT a.*, b.i FROM t AS a JOIN t AS b ON a.i = b.i WHERE a.i = 1")
    header = duckdb.sql(f"FROM read_parquet('{bench.keep}')").columns
    assert header == ["i", "name", "price", "day", "i_5"]


def test_expected_rows(bench: Bench) -> None:
    bench.passes("SELECT * FROM t", Expect(rows=bounds("1..3", 1, 3)))
    bench.passes("SELECT * FROM t", Expect(rows=bounds(">0", 0, None, True)))
    message = bench.finds("SELECT * FROM t", Expect(rows=bounds(">3", 3, None, True)))
    assert message.startswith("3 rows, expected >3; see")
    message = bench.finds("SELECT * FROM t WHERE i > 9", Expect(rows=bounds(">0", 0, None, True)))
    assert message == "no rows, expected >0"
    assert not bench.keep.exists(), "there is nothing to keep"


@pytest.mark.parametrize(
    ("value", "told"),
    [(3, None), (4, "4"), ("3", None), ("x", "x"), (bounds("3..9", 3, 9), None), (2.5, "2.5")],
)
def test_an_expected_value(bench: Bench, value: int | str | Bounds, told: str | None) -> None:
    query, expect = "SELECT count(*) AS n FROM t", Expect(value=value)
    if told is None:
        bench.passes(query, expect)
    else:
        assert bench.finds(query, expect).startswith(f"n is 3, expected {told}; see")


def test_a_value_is_one(bench: Bench) -> None:
    message = bench.finds("SELECT i FROM t", Expect(value=1))
    assert message.startswith("the query returned 3 rows, expected one value")
    message = bench.finds("SELECT name FROM t WHERE i = 2", Expect(value="x"))
    assert message.startswith("name is NULL, expected x")


def test_a_share_of_nulls(bench: Bench) -> None:
    bench.passes("SELECT * FROM t", Expect(max_null={"name": 0.4, "i": 0}))
    message = bench.finds("SELECT * FROM t", Expect(max_null={"NAME": 0.3}))
    assert message.startswith("NAME is NULL in 33.3 % of 3 rows, expected at most 30 %")
    assert "1 row\n" in bench.talk.log(), "only the row that shows it is previewed"


_RANGES = [
    bounds(">= 0.95", 0.95, None),
    bounds("<= 0.05", None, 0.05),
    bounds("0.95..1", 0.95, 1),
    bounds("> 0", 0, None, open=True),
    bounds("< 9", None, 9, open=True),
]


@pytest.mark.parametrize("wanted", _RANGES, ids=lambda wanted: wanted.text)
@pytest.mark.parametrize("written", ["'NaN'", "'-nan'", "'nan'"])
def test_nan_lies_in_no_range(bench: Bench, written: str, wanted: Bounds) -> None:
    message = bench.finds(f"SELECT {written} AS share", Expect(value=wanted))
    assert message.startswith(f"share is NaN: not a number, as when zero is divided by zero, "
                              f"expected {wanted.text}; see")  # fmt: skip


@pytest.mark.parametrize("wanted", _RANGES, ids=lambda wanted: wanted.text)
def test_a_share_of_no_rows_at_all_is_not_as_expected(bench: Bench, wanted: Bounds) -> None:
    zero = {"duckdb": "count(*)", "sqlite": "nullif(count(*), 0)"}
    of = zero.get(bench.url.partition(":")[0], "nullif(count(*), 0)")
    good = "count(*) FILTER (i > 0)" if "duckdb" in bench.url else "sum(CAST(i > 0 AS INTEGER))"
    message = bench.finds(f"SELECT {good} / {of} AS share FROM t WHERE i > 9", Expect(value=wanted))
    assert message.startswith("share is NaN" if "duckdb" in bench.url else "share is NULL")
    # Of some rows it is.
    share = f"SELECT {good} / count(*) AS share FROM t"
    bench.passes(share, Expect(value=bounds(">= 0.95", 0.95, None)))


@pytest.mark.parametrize("written", ["'infinity'", "'-infinity'"])
@pytest.mark.parametrize("wanted", _RANGES, ids=lambda wanted: wanted.text)
def test_infinity_lies_in_no_range(bench: Bench, written: str, wanted: Bounds) -> None:
    message = bench.finds(f"SELECT {written} AS share", Expect(value=wanted))
    assert message.startswith(f"share is {written.strip(chr(39))}: outside every range")


def test_nan_of_a_column_of_floats(bench: Bench) -> None:
    if "sqlite" in bench.url:
        pytest.skip("SQLite has no NaN")
    kind = "DOUBLE" if "duckdb" in bench.url else "float8"
    wanted = Expect(value=bounds(">= 0.95", 0.95, None))
    assert bench.finds(f"SELECT CAST('NaN' AS {kind}) AS share", wanted).startswith("share is NaN")
    bench.passes(f"SELECT CAST('0.96' AS {kind}) AS share", wanted)


def test_no_rows_have_no_share_of_nulls(bench: Bench) -> None:
    nothing, share = "SELECT * FROM t WHERE i > 9", {"name": 0.4}
    message = bench.finds(nothing, Expect(max_null=share))
    assert message.startswith("no rows, so there is no share of NULLs for max_null to bound")
    message = bench.finds(nothing, Expect(rows=bounds(">0", 0, None, True), max_null=share))
    assert message == "no rows, expected >0"
    bench.passes(nothing, Expect(rows=bounds(">=0", 0, None), max_null=share))
    bench.passes("SELECT * FROM t", Expect(max_null=share))


@pytest.mark.parametrize(
    ("query", "expect", "told"),
    [
        ("SELECT i, name FROM t", Expect(value=1), "expect.value is for a query of one column"),
        (
            "SELECT i FROM t",
            Expect(max_null={"nope": 1}),
            'expect.max_null: there is no column "nope"; there are i',
        ),
    ],
)
def test_what_no_result_could_meet_is_a_mistake_and_no_finding(
    bench: Bench, query: str, expect: Expect, told: str
) -> None:
    failure = bench.check(query, expect).failure
    assert failure is not None
    assert failure.message.startswith(told)
    assert failure.kind != CHECK_FAILED, "a warning would be too little"
    assert not bench.keep.exists()


def test_a_check_is_one_query_that_returns_rows(bench: Bench) -> None:
    failure = bench.check("SELECT 1;\nSELECT 2").failure
    assert failure is not None
    assert (failure.line, failure.kind) == (2, "query")
    failure = bench.check("SELECT\n nope FROM t").failure
    assert failure is not None
    assert failure.line == 2
    assert failure.kind != CHECK_FAILED


def test_a_running_check_can_be_interrupted(talk: Conversation, tmp_path: Path) -> None:
    bench = Bench(talk, "duckdb://w.duckdb")
    talk._next += 1
    endless = "SELECT a.range FROM range(1000000) a, range(1000000) b"
    order = protocol.Check(
        id=talk._next,
        script="c.sql",
        text=f"{endless} WHERE a.range % 7 = b.range % 13",
        database=parse(bench.url, talk.cwd),
        keep=str(bench.keep),
        kept="",
    )
    talk.send(order)
    talk.until(order.id, "line 1")
    talk.send(protocol.Interrupt(id=order.id))
    failure = talk.wait(order.id).failure
    assert failure is not None
    assert failure.kind == "cancelled"
    assert list(bench.keep.parent.glob("*")) == []
