"""A load that is killed, cancelled, starved or cut off: the table is as it was."""

from __future__ import annotations

import resource
import time

import duckdb
import pytest

from pit.model import LoadMode
from pit.sql import protocol
from pit.sql.connection.urls import parse
from pit.sql.driver import CANCELLED
from tests.servers.postgres import Server
from tests.sql.conftest import Conversation, eventually
from tests.sql.drivers.test_contract import KINDS, Kind, kind  # noqa: F401 - a fixture
from tests.sql.transfer.moving import Mover

WAS = "SELECT i::INTEGER AS id, 'was' AS name FROM range(5) r(i)"
NEW = "SELECT i::INTEGER AS id, 'new' AS name FROM range(5000) r(i)"
BOTH = ("duckdb", "postgres")
MODES = {
    "append": {},
    "truncate": {"mode": LoadMode.TRUNCATE_AND_LOAD},
    "replace": {"mode": LoadMode.CREATE_OR_REPLACE},
    "upsert": {"mode": LoadMode.UPSERT, "key": ("id",)},
}


def _each(usual: str, other: str, slow: str = "") -> pytest.MarkDecorator:
    """Every kind of database but the slow one, with its usual mode; both where most can be seen."""
    pairs = []
    for name in KINDS:
        for mode in (usual, other):
            rare = name == slow or (mode == other and name not in BOTH)
            pairs.append(pytest.param(name, mode, marks=[pytest.mark.slow] if rare else []))
    return pytest.mark.parametrize(("kind", "mode"), pairs, indirect=["kind"])


@pytest.fixture
def mover(talk: Conversation, kind: Kind) -> Mover:  # noqa: F811
    """A table with five rows, and a file with others."""
    made = Mover(talk, kind.url)
    made.file(WAS)
    made.loads(mode=LoadMode.UPSERT, key=("id",))
    made.file(NEW)
    return made


def _is_as_it_was(mover: Mover) -> None:
    assert mover.rows("SELECT id, name FROM t ORDER BY id") == [(i, "was") for i in range(5)]
    assert not [path.name for path in mover.data.iterdir() if path.name.startswith(".pit-")]


@pytest.fixture(scope="session")
def endless(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Files with more rows than any machine loads before a test goes on."""
    folder = tmp_path_factory.mktemp("endless")
    first = folder / "rows.parquet"
    with duckdb.connect() as connection:
        rows = "SELECT (i + 100)::INTEGER AS id, 'new' AS name FROM range(1000000) r(i)"
        connection.execute(f"COPY ({rows}) TO '{first}'")
    for number in range(500):
        (folder / f"{number}.parquet").hardlink_to(first)
    return str(folder / "*.parquet")


def _begun(mover: Mover, mode: str, endless: str) -> int:
    """A load that is in the middle of its work; how far it is does not matter."""
    number = mover.begin(endless, **MODES[mode])
    time.sleep(0.2)
    return number


@_each("append", "replace", slow="sqlserver-microsoft")
def test_cancelled(mover: Mover, mode: str, endless: str) -> None:
    number = _begun(mover, mode, endless)
    mover.talk.send(protocol.Interrupt(id=number))
    done = mover.talk.wait(number)
    assert done.failure is not None
    assert done.failure.kind == CANCELLED
    _is_as_it_was(mover)


@_each("truncate", "upsert")
def test_killed(mover: Mover, mode: str, endless: str) -> None:
    _begun(mover, mode, endless)
    mover.talk.process.kill()
    mover.talk.process.wait()
    again = Mover(Conversation(mover.talk.cwd), mover.url)
    try:
        _is_as_it_was(again)
        again.file(f"{NEW} LIMIT 7")
        again.loads(mode=LoadMode.TRUNCATE_AND_LOAD)
        assert again.rows("SELECT count(*) AS n FROM t") == [(7,)]
    finally:
        again.talk.close()


def test_a_lost_connection(talk: Conversation, postgres: Server) -> None:
    """The table has been emptied, and the first row waits for a lock that somebody else holds."""
    import psycopg

    url = postgres.url(postgres.fresh())
    mover = Mover(talk, url)
    mover.file(WAS)
    mover.loads()
    mover.run(
        "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NEW; END$$;"
        "CREATE TRIGGER slow BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION linger()"
    )
    mover.file(NEW)
    waiting = "FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted"
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(4711)")
        number = mover.begin(**MODES["truncate"])
        eventually(lambda: bool(other.execute(f"SELECT 1 {waiting}").fetchall()))
        other.execute(f"SELECT pg_terminate_backend(pid) {waiting}")
        done = mover.talk.wait(number)
    assert done.failure is not None
    assert done.failure.retryable
    _is_as_it_was(mover)


@pytest.mark.parametrize(("mode", "again"), [("append", False), ("truncate_and_load", True)])
def test_a_connection_that_is_lost_in_the_commit(
    talk: Conversation, postgres: object, mode: str, again: bool
) -> None:
    server = postgres
    database = server.fresh()  # type: ignore[attr-defined]
    mover = Mover(talk, server.url(database))  # type: ignore[attr-defined]
    mover.file(WAS)
    mover.loads()
    mover.run(
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END$$;"
        "CREATE CONSTRAINT TRIGGER deadly AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION die()"
    )
    done = mover.load(mode=LoadMode(mode))
    assert done.failure is not None
    assert done.failure.retryable is again
    assert ("whether the database has done" in done.failure.message) is not again


@pytest.mark.parametrize("scheme", ["duckdb://w.duckdb", "sqlite://w.sqlite"])
def test_a_full_disk(talk: Conversation, scheme: str) -> None:
    mover = Mover(talk, scheme)
    mover.file(WAS)
    mover.loads()
    mover.file("SELECT i::INTEGER AS id, md5(i::VARCHAR) AS name FROM range(300000) r(i)")
    resource.prlimit(talk.process.pid, resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
    done = mover.load(mode=LoadMode.TRUNCATE_AND_LOAD)
    assert done.failure is not None
    again = Mover(Conversation(talk.cwd), scheme)
    try:
        _is_as_it_was(again)
    finally:
        again.talk.close()


def test_a_save_that_is_cancelled_leaves_no_file(mover: Mover) -> None:
    number = mover.talk.begin(
        protocol.Save(
            id=0,
            script="save.sql",
            text="SELECT a.id FROM t a, t b, t c, t d, t e, t f, t g, t h, t i, t j, t k, t l",
            database=parse(mover.url, mover.talk.cwd),
            path=str(mover.data / "back.parquet"),
        )
    )
    time.sleep(0.3)
    mover.talk.send(protocol.Interrupt(id=number))
    done = mover.talk.wait(number)
    assert done.failure is not None
    assert sorted(path.name for path in mover.data.iterdir()) == ["rows.parquet"]
