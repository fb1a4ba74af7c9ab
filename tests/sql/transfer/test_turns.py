"""Loads of one table at the same time: the rows of some order, and nothing of others is gone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import psycopg
import pytest

from pit.model import LoadMode
from pit.sql import protocol
from pit.sql.connection import odbc_string
from pit.sql.driver import CANCELLED
from pit.sql.transfer.turns.claim import number_of
from tests.servers.postgres import PASSWORD, Server
from tests.sql.conftest import Conversation, eventually
from tests.sql.drivers.test_contract import KINDS, Kind, _want, kind  # noqa: F401 - a fixture
from tests.sql.transfer.moving import Mover

MODES = {
    "append": {},
    "truncate": {"mode": LoadMode.TRUNCATE_AND_LOAD},
    "replace": {"mode": LoadMode.CREATE_OR_REPLACE},
    "upsert": {"mode": LoadMode.UPSERT, "key": ("id",)},
}
SHARED = 40
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


def _many() -> pytest.MarkDecorator:
    """Every kind of database and mode; six loads at once where most can be seen, else sixteen."""
    cases = []
    for name in KINDS:
        for mode in MODES:
            for there in (False, True):
                cases.append(pytest.param(name, mode, there, 16, marks=pytest.mark.slow))
    for name, mode, there in _SOME:
        cases.append(pytest.param(name, mode, there, 6))
    return pytest.mark.parametrize(("kind", "mode", "there", "count"), cases, indirect=["kind"])


_SOME = (
    ("postgres", "append", False),
    ("postgres", "upsert", True),
    ("postgres", "truncate", True),
    ("odbc-postgres", "upsert", True),
    ("odbc-postgres", "replace", False),
    ("odbc-sqlite", "upsert", True),
    ("sqlserver-freetds", "append", False),
    ("sqlserver-microsoft", "upsert", True),
    ("duckdb", "append", False),
    ("duckdb", "upsert", True),
)


@_many()
def test_loads_at_once_leave_the_rows_of_some_order(
    mover: Mover, mode: str, there: bool, count: int
) -> None:
    _files(mover, count)
    if there:
        name = "dbo.t" if "sqlserver" in mover.url else "t"
        mover.run(f"CREATE TABLE {name} (id INTEGER, v INTEGER)")
    _at_once(mover, ["t"] * count, **MODES[mode])
    _is_of_some_order(mover.rows("SELECT id, v FROM t"), mode, count)


@pytest.mark.parametrize("kind", ["postgres", "odbc-postgres", "duckdb"], indirect=True)
def test_loads_that_make_one_schema_do_not_collide(mover: Mover) -> None:
    _files(mover, 5)
    _at_once(mover, [f"mart.t{number}" for number in range(5)])
    assert mover.rows("SELECT count(*) AS n FROM mart.t4") == [(SHARED + 1,)]


# ---------------------------------------------------------------- Postgres


class Other:
    """Another program at the same Postgres, in transactions of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = psycopg.connect(url)

    @contextmanager
    def another(self) -> Iterator[Other]:
        """A third program at the same database."""
        third = Other(self.url)
        try:
            yield third
        finally:
            third.session.close()

    def does(self, *statements: str) -> list[tuple[Any, ...]]:
        """Send statements; the rows of the last."""
        for statement in statements:
            cursor = self.session.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []

    def commits(self, *statements: str) -> None:
        """The same, and commit."""
        self.does(*statements)
        self.session.commit()

    def sees_waiting(self, condition: str = "true") -> None:
        """Wait until somebody waits for a lock."""
        waiting = (
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
            f"AND wait_event_type = 'Lock' AND {condition}"
        )
        with psycopg.connect(self.url, autocommit=True) as look:
            eventually(lambda: look.execute(waiting.encode()).fetchall() != [])


@pytest.fixture
def other(postgres: Server) -> Iterator[Other]:
    """Another program at a Postgres with an empty database."""
    program = Other(postgres.url(postgres.fresh()))
    yield program
    program.session.close()


@pytest.fixture(params=["postgres", "odbc-postgres"])
def pg(
    request: pytest.FixtureRequest, lasting: Conversation, other: Other, postgres: Server
) -> Mover:
    """Loads into the same database, by each of the two roads."""
    name = other.session.info.dbname
    if request.param == "postgres":
        return Mover(lasting, postgres.url(name))
    _want(request, "PostgreSQL Unicode", "odbc-postgresql")
    keywords = {
        "Driver": "PostgreSQL Unicode",
        "Server": postgres.host,
        "Port": str(postgres.port),
        "Database": name,
        "UID": postgres.user,
        "PWD": postgres.password,
    }
    return Mover(lasting, f"odbc://{quote(odbc_string.join(keywords))}")


@pytest.fixture
def role(other: Other) -> Iterator[str]:
    """A role with no rights but those that everybody has, and the usual password."""
    name = f"{other.session.info.dbname}_role"
    password = PASSWORD.replace("'", "''")
    other.commits(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
    yield name
    other.session.rollback()
    other.commits(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


@pytest.fixture
def adbc(lasting: Conversation, other: Other, postgres: Server) -> Mover:
    """Loads into the same database by ADBC."""
    return Mover(lasting, postgres.url(other.session.info.dbname))


def test_a_turn_belongs_to_the_table_however_it_is_spelt(
    adbc: Mover, other: Other, tmp_path: Path
) -> None:
    """Also from another workspace, by another name of the host, and at any isolation level."""
    other.commits("CREATE TABLE t (id int, v int)", "CREATE SCHEMA empty")
    _files(adbc, 6)
    again = Mover(Conversation(tmp_path), adbc.url)
    options = "?options=-csearch_path%3Dempty,public%20-cdefault_transaction_isolation%3D"
    upsert = MODES["upsert"]
    begun: list[tuple[Mover, int]] = []
    for number, (spelt, talk) in enumerate(
        (t, talk) for talk in (adbc, again) for t in ("public.T", '"public"."t"', "T")
    ):
        way = Mover(talk.talk, adbc.url.replace("127.0.0.1", "localhost") if number % 2 else "")
        level = ("serializable", "repeatable%20read")[number % 2].replace("%20", "%5C%20")
        way.url = f"{way.url or adbc.url}{options}{level}"
        begun.append((way, way.begin(f"{number}.parquet", spelt, **upsert)))
    for way, number in begun:
        done = way.talk.wait(number)
        assert done.failure is None, done.failure
    again.talk.close()
    _is_of_some_order(other.does("SELECT id, v FROM t"), "upsert", 6)


@pytest.mark.parametrize("mode", ["append", "truncate"])
def test_a_table_that_another_program_makes_meanwhile_is_loaded_into(
    pg: Mover, other: Other, mode: str
) -> None:
    pg.file("SELECT 1::INTEGER AS id, 2::INTEGER AS v")
    other.does("CREATE SCHEMA m", "CREATE TABLE m.t (id int, v int, more text DEFAULT 'theirs')")
    other.does("INSERT INTO m.t VALUES (7, 7)")
    number = pg.begin(table="m.t", **MODES[mode])
    other.sees_waiting()
    other.session.commit()
    done = pg.talk.wait(number)
    assert done.failure is None, done.failure
    theirs = [] if mode == "truncate" else [(7, 7, "theirs")]
    assert other.does("SELECT * FROM m.t ORDER BY id") == [(1, 2, "theirs"), *theirs]


def test_an_upsert_sees_what_another_program_was_about_to_commit(pg: Mover, other: Other) -> None:
    other.commits("CREATE TABLE t (id int, v int)")
    other.does("INSERT INTO t VALUES (1, 7)")
    pg.file("SELECT 1::INTEGER AS id, 2::INTEGER AS v")
    number = pg.begin(**MODES["upsert"])
    other.sees_waiting()
    other.session.commit()
    assert pg.talk.wait(number).failure is None
    assert other.does("SELECT * FROM t") == [(1, 2)]


@pytest.mark.parametrize("mode", ["append", "replace"])
def test_a_table_that_is_exchanged_by_renaming_is_the_new_one(
    pg: Mover, other: Other, mode: str
) -> None:
    other.commits("CREATE TABLE t (id int, v int)", "CREATE TABLE fresh (id int, v int)")
    other.does("ALTER TABLE t RENAME TO old", "ALTER TABLE fresh RENAME TO t")
    pg.file("SELECT 1::INTEGER AS id, 2::INTEGER AS v")
    number = pg.begin(**MODES[mode])
    other.sees_waiting()
    other.session.commit()
    assert pg.talk.wait(number).failure is None
    assert other.does("SELECT * FROM t") == [(1, 2)]
    assert other.does("SELECT * FROM old") == []


def test_limits_on_statements_do_not_end_the_wait_for_a_turn(adbc: Mover, other: Other) -> None:
    adbc.file("SELECT 1::INTEGER AS id")
    for database in (adbc.url, f"{adbc.url}?options=-clock_timeout%3D1%20-cstatement_timeout%3D2s"):
        other.does(f"SELECT pg_advisory_xact_lock({number_of('table', 'public', 't')})")
        adbc.url = database
        number = adbc.begin()
        adbc.talk.until(number, "waiting for t: another load into it is under way")
        other.sees_waiting("query LIKE '%advisory%'")
        other.session.commit()
        assert adbc.talk.wait(number).failure is None
    other.does("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
    done = adbc.load()  # for a lock of another program they hold
    assert done.failure is not None
    assert (done.failure.kind, done.failure.retryable) == ("55P03", True)


def test_a_load_that_waits_for_its_turn_can_be_cancelled(adbc: Mover, other: Other) -> None:
    other.does(f"SELECT pg_advisory_xact_lock({number_of('table', 'public', 't')})")
    adbc.file("SELECT 1::INTEGER AS id")
    number = adbc.begin()
    adbc.talk.until(number, "waiting for t")
    adbc.talk.send(protocol.Interrupt(id=number))
    done = adbc.talk.wait(number)
    assert done.failure is not None
    assert done.failure.kind == CANCELLED


def test_a_deadlock_with_another_program_is_gone_through_again(pg: Mover, other: Other) -> None:
    other.commits(
        "CREATE TABLE t (id int, v int)",
        "CREATE TABLE audit (id int)",
        "CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
        "PERFORM pg_advisory_lock(7); PERFORM pg_advisory_unlock(7); "
        "INSERT INTO audit VALUES (1); RETURN NULL; END$$",
        "CREATE TRIGGER told AFTER INSERT ON t EXECUTE FUNCTION told()",
    )
    with other.another() as gate, ThreadPoolExecutor(1) as pool:
        gate.commits("SELECT pg_advisory_lock(7)")
        # Who waits first never looks for a deadlock, so that it is the load that is ended.
        other.does("SET LOCAL deadlock_timeout = '1h'", "LOCK TABLE audit")
        pg.file("SELECT 1::INTEGER AS id, 2::INTEGER AS v")
        number = pg.begin(**MODES["upsert"])
        other.sees_waiting("query LIKE '%INSERT INTO%'")
        waits = pool.submit(other.does, "LOCK TABLE t")
        other.sees_waiting("query LIKE 'LOCK%'")
        gate.commits("SELECT pg_advisory_unlock(7)")
        waits.result()
        other.session.commit()
    assert pg.talk.wait(number).failure is None
    assert "deadlock detected; beginning again" in pg.talk.log(number)
    assert other.does("SELECT * FROM t") == [(1, 2)]


@pytest.mark.parametrize(
    ("rights", "mode", "harder"),
    [
        ("SELECT, INSERT", "append", ""),
        ("SELECT, INSERT, UPDATE", "upsert", ""),
        ("SELECT, INSERT, TRUNCATE", "truncate", ""),
        ("SELECT, INSERT", "append", "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC"),
        ("SELECT, INSERT", "append", "REVOKE EXECUTE ON FUNCTION pg_try_advisory_xact_lock_shared"
         "(bigint) FROM PUBLIC"),
    ],
)  # fmt: skip
def test_a_role_needs_no_more_rights_than_the_load_itself(
    pg: Mover, other: Other, role: str, rights: str, mode: str, harder: str
) -> None:
    other.commits("CREATE TABLE t (id int, v int)", f"GRANT {rights} ON t TO {role}")
    other.commits(harder or "SELECT 1")
    pg.file("SELECT 1::INTEGER AS id, 2::INTEGER AS v")
    pg.url = pg.url.replace("//pit:", f"//{role}:").replace("UID%3Dpit%3B", f"UID%3D{role}%3B")
    try:
        pg.loads(**MODES[mode])
    finally:
        other.commits(harder.replace("REVOKE", "GRANT").replace("FROM", "TO") or "SELECT 1")
    assert ("cannot take turns here" in pg.talk.log()) is ("EXECUTE" in harder)
    assert other.does("SELECT * FROM t") == [(1, 2)]


VIEW = (
    "CREATE TABLE lookup AS SELECT 1 AS one; GRANT SELECT ON lookup TO {role}; "
    "GRANT ALL ON base TO {role}; "
    "CREATE VIEW t AS SELECT * FROM base WHERE EXISTS (SELECT 1 FROM lookup); "
    "ALTER VIEW t OWNER TO {role}"
)
FOREIGN = (
    "CREATE EXTENSION postgres_fdw; CREATE SERVER near FOREIGN DATA WRAPPER postgres_fdw "
    "OPTIONS (host '127.0.0.1', port '{port}', dbname '{database}'); "
    "CREATE USER MAPPING FOR CURRENT_USER SERVER near OPTIONS (user 'pit', password '{password}'); "
    "CREATE FOREIGN TABLE t (id int, v int) SERVER near OPTIONS (table_name 'base')"
)
PARTITIONED = (
    "DROP TABLE base; CREATE TABLE t (id int, v int) PARTITION BY RANGE (id); "
    "CREATE TABLE base PARTITION OF t FOR VALUES FROM (0) TO (10); "
    "CREATE TABLE far PARTITION OF t DEFAULT"
)


@pytest.mark.parametrize(
    ("what", "base", "modes"),
    [
        (VIEW, "base", {"upsert": 10}),
        (FOREIGN, "t", {"append": 40, "upsert": 40}),
        (PARTITIONED, "base", {"append": 40, "truncate": 10, "upsert": 10}),
    ],
    ids=["view", "foreign", "parts"],
)
def test_views_foreign_tables_and_partitions_are_targets(
    pg: Mover,
    other: Other,
    role: str,
    postgres: Server,
    what: str,
    base: str,
    modes: dict[str, int],
) -> None:
    """Loads by two names at once; the owner of the view may not lock all that it reads."""
    names = {
        "port": postgres.port,
        "database": other.session.info.dbname,
        "password": PASSWORD.replace("'", "''"),
        "role": role,
    }
    other.commits("CREATE TABLE base (id int, v int)", *what.format(**names).split("; "))
    with duckdb.connect() as files:
        for number in range(4):
            rows = f"SELECT i::INTEGER AS id, {number}::INTEGER AS v FROM range(10) r(i)"
            files.execute(f"COPY ({rows}) TO '{pg.data}/{number}.parquet'")
    for mode, count in modes.items():
        _at_once(pg, ["t", base, "t", base], **MODES[mode])
        assert other.does("SELECT count(*), count(DISTINCT id) FROM t") == [(count, 10)]
        other.session.commit()
