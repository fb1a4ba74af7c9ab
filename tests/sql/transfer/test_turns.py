"""Loads of one table at the same time: the rows of some order, and nothing of anybody else's gone."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from pit.model import LoadMode
from tests.sql.conftest import Conversation
from tests.sql.drivers.test_contract import KINDS, Kind, kind  # noqa: F401 - a fixture
from tests.sql.transfer.moving import Mover

MODES = {
    "append": {},
    "truncate": {"mode": LoadMode.TRUNCATE_AND_LOAD},
    "replace": {"mode": LoadMode.CREATE_OR_REPLACE},
    "upsert": {"mode": LoadMode.UPSERT, "key": ("id",)},
}
SHARED = 300
"""Keys that every file has."""


@pytest.fixture
def mover(lasting: Conversation, kind: Kind) -> Mover:  # noqa: F811
    # The SQL process has the working folder of an earlier test.
    return Mover(lasting, kind.url.replace("=w.sqlite", f"={lasting.cwd}/w.sqlite"))


def _files(mover: Mover, count: int) -> None:
    """Files with the same keys and one of their own, all with the file's number as value."""
    with duckdb.connect() as connection:
        for number in range(count):
            rows = (
                f"SELECT i::INTEGER AS id, {number}::INTEGER AS v FROM "
                f"(FROM range({SHARED}) r(i) UNION ALL SELECT {1000 + number})"
            )
            connection.execute(f"COPY ({rows}) TO '{mover.data}/{number}.parquet'")


def _at_once(mover: Mover, tables: list[str], **work: Any) -> None:
    """Load a file into each of the tables, all at the same time; all of it must succeed."""
    numbers = [
        mover.begin(f"{number}.parquet", table, **work) for number, table in enumerate(tables)
    ]
    for number in numbers:
        done = mover.talk.wait(number)
        assert done.failure is None, (done.failure, mover.talk.log(number))


def _is_of_some_order(rows: list[tuple[Any, ...]], mode: str, count: int) -> None:
    """Whether the loads, one behind the other, can have left these rows."""
    if mode == "append":
        files = [(i, n) for n in range(count) for i in (*range(SHARED), 1000 + n)]
        assert sorted(rows) == sorted(files)
        return
    shared = [row for row in rows if row[0] < 1000]
    assert sorted(id for id, _ in shared) == list(range(SHARED))
    (last,) = {v for _, v in shared}
    own = [(1000 + n, n) for n in range(count)] if mode == "upsert" else [(1000 + last, last)]
    assert sorted(row for row in rows if row[0] >= 1000) == own


@pytest.mark.parametrize("there", [False, True], ids=["new", "there"])
@pytest.mark.parametrize("mode", MODES)
def test_sixteen(mover: Mover, mode: str, there: bool) -> None:
    _files(mover, 16)
    if there:
        mover.run("CREATE TABLE t (id INTEGER, v INTEGER)")
    _at_once(mover, ["t"] * 16, **MODES[mode])
    _is_of_some_order(mover.rows("SELECT id, v FROM t"), mode, 16)
