"""No load is told of that is not there, and looks at what it changes leave it as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import psycopg
import pytest

from pit.model import ColumnRule, Load, LoadMode
from pit.sql import protocol
from pit.sql.changes import asked
from pit.sql.connection import odbc_string
from pit.sql.connection.urls import parse
from pit.sql.driver import CANCELLED, MAX_CHANGE, SqlFailure
from pit.sql.protocol import Done
from pit.sql.server import _load as load_driver
from pit.sql.transfer.tables.sink import Sink
from pit.sql.transfer.tables.sinks import sink_of
from tests.builder import Pit
from tests.servers.postgres import Server
from tests.sql.conftest import Conversation, eventually
from tests.sql.drivers.test_contract import Kind, kind  # noqa: F401 - a fixture
from tests.sql.transfer.moving import Mover

UPSERT: dict[str, Any] = {"mode": LoadMode.UPSERT, "key": ("id",)}
_ONE, _OTHER = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
KEYS = {
    "uuid": (_ONE, _OTHER),
    "boolean": ("true", "false"),
    "bytea": ("ab", "cd"),
    "jsonb": ('{"a": 1}', '{"a": 2}'),
    "macaddr": ("08:00:2b:01:02:03", "08:00:2b:01:02:04"),
    "inet": ("10.0.0.1", "10.0.0.2"),
    "int[]": ("[1, 2]", "[3]"),
    "uuid[]": (f"{{{_ONE}}}", f"{{{_OTHER}}}"),
    "mood": ("sad", "glad"),
    "pair": ("(1,a)", "(2,b)"),
    "id_domain": (_ONE, _OTHER),
    "number_domain": ("1", "2"),
    "varchar(9)": ("a", "b"),
    "integer": ("1", "2"),
}
UNEQUAL = {"point": ("(1,2)", "(3,4)"), "xml": ("<a/>", "<b/>"), "json": ("1", "2")}
"""Types whose values Postgres cannot compare: no load can find a row by such a key."""
_NO_OPERATOR = (
    "No operator matches the given name and argument types. You might need to add explicit type "
    "casts."
)
NEW = {
    "uuid": KEYS["uuid"],
    "boolean": KEYS["boolean"],
    "blob": KEYS["bytea"],
    "json": KEYS["jsonb"],
    "varchar": ("a", "b"),
}
TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN id_domain AS uuid; CREATE DOMAIN number_domain AS int
"""


class Place:
    """A fresh database of Postgres's, and who asks it."""

    def __init__(self, server: Server) -> None:
        self.server, self.database = server, server.fresh()

    def url(self, options: str = "", **login: str) -> str:
        return replace(self.server, **login).url(self.database, options)

    def odbc(self, request: pytest.FixtureRequest, **more: str) -> str:
        if "PostgreSQL Unicode" not in request.getfixturevalue("odbc_drivers"):
            pytest.skip("needs the ODBC driver PostgreSQL: apt-get install odbc-postgresql")
        keywords = {
            "Driver": "PostgreSQL Unicode",
            "Server": self.server.host,
            "Port": str(self.server.port),
            "Database": self.database,
            "UID": self.server.user,
            "PWD": self.server.password,
        }
        return f"odbc://{quote(odbc_string.join(keywords | more))}"

    def ask(self, *queries: str) -> list[tuple[object, ...]]:
        """The rows of the last query."""
        found: list[tuple[object, ...]] = []
        for query in queries:
            found = self.server.ask(query, self.database)
        return found

    @contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Nobody else can read a table for as long."""
        with psycopg.connect(self.url()) as connection:
            connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
            yield


@pytest.fixture
def place(postgres: Server) -> Place:
    return Place(postgres)


@pytest.fixture
def mover(lasting: Conversation, place: Place) -> Mover:
    return Mover(lasting, place.url())


def _csv(mover: Mover, keys: tuple[str, ...], value: int = 1) -> None:
    rows = ("".join(('"', key.replace('"', '""'), f'",{value}\n')) for key in keys)
    (mover.data / "rows.csv").write_text(f"id,v\n{''.join(rows)}")


def _limited(mover: Mover, table: str) -> Done:
    """A load that may change its table by a fifth."""
    order = protocol.Load(
        id=0,
        script="load",
        database=parse(mover.url, mover.data),
        work=Load(source="rows.csv", table=table),
        roots=(str(mover.data),),
        aside=str(mover.data / "load.rejects.parquet"),
        kept="load.rejects.parquet",
        max_change=0.2,
    )
    return mover.talk.wait(mover.talk.begin(order))


def _written(key: str) -> str:
    """An array as Postgres writes it."""
    return f"{{{key[1:-1]}}}" if key.startswith("[") else key


# ---------------------------------------------------------------- keys of every type


def test_a_key_of_any_type_of_a_table_that_is_there(mover: Mover, place: Place) -> None:
    tables = {name: f"t{number}" for number, name in enumerate((*KEYS, *UNEQUAL))}
    made = "; ".join(f"CREATE TABLE {table} (id {name}, v int)" for name, table in tables.items())
    place.ask(f"{TYPES}; {made}")
    for name, pair in KEYS.items():
        table = tables[name]
        place.ask(f"INSERT INTO {table} VALUES ('{_written(pair[0])}', 0)")
        _csv(mover, pair)
        done = mover.load("rows.csv", table, **UPSERT)
        assert done.failure is None, f"{name}: {done.failure}"
        assert "(1 new, 1 updated)" in mover.talk.log(), name
        assert f"{table}: 1 → 2 rows (+1, 100.0 %)" in mover.talk.log(), name
        assert place.ask(f"SELECT v FROM {table}") == [(1,), (1,)], name
    for name, pair in UNEQUAL.items():
        _csv(mover, pair)
        said = mover.fails("rows.csv", tables[name], **UPSERT)
        assert said in (
            f"ERROR: operator does not exist: {name} = {name}\nHINT: {_NO_OPERATOR}",
            f"ERROR: could not identify an equality operator for type {name}",
        )


@pytest.mark.parametrize("road", ["adbc", "odbc"])
def test_a_key_of_any_type_of_a_new_table(
    request: pytest.FixtureRequest, mover: Mover, place: Place, road: str
) -> None:
    mover.url = place.odbc(request) if road == "odbc" else mover.url
    for name, pair in NEW.items():
        _csv(mover, pair)
        mover.loads("rows.csv", f"{name}s", columns={"id": ColumnRule(type=name)}, **UPSERT)
        assert f"{name}s: new, 2 rows" in mover.talk.log()
        assert "id a … b" in mover.talk.log() or name != "varchar", "what has an order is told"
        assert place.ask(f"SELECT count(*) FROM {name}s") == [(2,)]


def test_what_a_task_loads_by_a_uuid_is_there(pit: Pit, place: Place) -> None:
    pit.file("secrets.toml", f'[global]\nw = "{place.url()}"\n').project("p")
    pit.file("u.csv", f"id,v\n{_ONE},1\n")
    pit.toml(
        """
        [dag]
        name = "p"

        [[tasks]]
        name = "script"
        script = "load.py"

        [[tasks]]
        name = "load"
        type = "load"
        connection = "w"
        source = "u.csv"
        table = "u"
        mode = "upsert"
        key = ["id"]
        columns = { id = { type = "uuid" } }
        """
    )
    pit.file(
        "load.py",
        f"""
import os, pathlib
from pit.sdk import load_data
rows = pathlib.Path(os.environ["PIT_DATA_DIR"], "rows.json")
rows.write_text('{{"id": "{_ONE}", "v": true}}')
print(load_data("rows.json", "s", "w", mode="upsert", key=["id"]))
print(load_data("rows.json", "b", "w", mode="upsert", key=["v"]))
""",
    )
    pit.run("run", "p").ok()
    for table in "usb":
        assert place.ask(f"SELECT count(*) FROM {table}") == [(1,)]


# ---------------------------------------------------------------- what a role may ask

ROLES = {
    "all": ("GRANT ALL ON t TO loader", "t: 3 → 4 rows (+1, 33.3 %)"),
    "insert": ("GRANT INSERT ON t TO loader", ""),
    "a column": ("GRANT INSERT, SELECT (v) ON t TO loader", "t: 3 → 4 rows (+1, 33.3 %)"),
    "no language": (
        "GRANT ALL ON t TO loader; REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC",
        "t: 3 → 4 rows (+1, 33.3 %)",
    ),
    "insert, no language": (
        "GRANT INSERT ON t TO loader; REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC",
        "",
    ),
}


@pytest.fixture
def loader(place: Place) -> Iterator[dict[str, str]]:
    """A role without any rights."""
    place.ask("CREATE ROLE loader LOGIN PASSWORD 'x'")
    yield {"user": "loader", "password": "x"}
    place.ask(
        "GRANT USAGE ON LANGUAGE plpgsql TO PUBLIC",
        "DROP OWNED BY loader",
        "DROP ROLE loader",
    )


def test_a_role_is_asked_only_for_what_it_may_read(
    mover: Mover, place: Place, loader: dict[str, str]
) -> None:
    mover.url = place.url(**loader)
    for right, (grants, line) in ROLES.items():
        place.ask(
            "DROP TABLE IF EXISTS t; GRANT USAGE ON LANGUAGE plpgsql TO PUBLIC; "
            f"CREATE TABLE t AS SELECT i AS id, 1 AS v FROM generate_series(1, 3) i; {grants}"
        )
        _csv(mover, ("4",))
        mover.loads("rows.csv")
        assert [one for one in mover.talk.log().splitlines() if one.startswith("t: ")] == (
            [line] if line else []
        ), right
        assert place.ask("SELECT count(*) FROM t") == [(4,)], right


def test_a_count_that_max_change_needs_and_may_not_be_had_fails(
    mover: Mover, place: Place, loader: dict[str, str]
) -> None:
    place.ask("CREATE TABLE t AS SELECT 1 AS id, 1 AS v; GRANT INSERT ON t TO loader")
    mover.url = place.url(**loader)
    _csv(mover, ("4",))
    failure = _limited(mover, "t").failure
    assert failure is not None
    assert (failure.kind, failure.message) == (
        MAX_CHANGE,
        "the rows of t cannot be counted, which max_change needs",
    )
    assert place.ask("SELECT count(*) FROM t") == [(1,)]


def test_a_policy_that_fails_does_not_end_a_load(
    mover: Mover, place: Place, loader: dict[str, str]
) -> None:
    place.ask(
        "CREATE TABLE t AS SELECT 1 AS id, 1 AS v; GRANT ALL ON t TO loader; "
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY; "
        "CREATE POLICY mine ON t USING (id > 1); CREATE POLICY made ON t FOR INSERT "
        "WITH CHECK (true)"
    )
    mover.url = place.url(**loader)
    _csv(mover, ("4", "5"))
    mover.loads("rows.csv", **UPSERT)
    assert "t: 0 → 2 rows (+2)" in mover.talk.log(), "it sees no others"
    mover.url = place.url("?options=-c%20row_security%3Doff", **loader)
    failure = mover.load("rows.csv", **UPSERT).failure
    assert failure is not None
    assert failure.message.startswith("ERROR: query would be affected by row-level security")
    assert place.ask("SELECT count(*) FROM t") == [(3,)]


# ---------------------------------------------------------------- looks that hurt

RAISED = {"40P01": True, "55P03": True, "57P05": True, "53200": True}


def test_a_look_that_passes_is_the_failure_of_its_load(mover: Mover, place: Place) -> None:
    place.ask(
        "CREATE TABLE t (id int, v int)",
        "CREATE FUNCTION say() RETURNS int LANGUAGE plpgsql AS $$BEGIN "
        "RAISE EXCEPTION 'so it is' USING ERRCODE = (SELECT state FROM states); END$$",
        "CREATE TABLE states AS SELECT 'P0001' AS state",
        "CREATE VIEW w AS SELECT id, say() AS v FROM t",
        "INSERT INTO t VALUES (1, 1)",
    )
    _csv(mover, ("4",))
    for state, again in RAISED.items():
        place.ask(f"UPDATE states SET state = '{state}'")
        failure = _limited(mover, "w").failure
        assert failure is not None
        assert (failure.kind, failure.retryable) == (state, again)
        assert failure.message == "ERROR: so it is"


@pytest.mark.parametrize("road", ["adbc", "odbc"])
@pytest.mark.parametrize(
    ("end", "state", "again"),
    [
        ("lock_timeout", "55P03", True),
        ("statement_timeout", "57014", False),
        ("pg_cancel_backend", CANCELLED, False),
        ("pg_terminate_backend", "", True),
    ],
)
def test_a_look_that_is_ended(
    request: pytest.FixtureRequest,
    mover: Mover,
    place: Place,
    road: str,
    end: str,
    state: str,
    again: bool,
) -> None:
    place.ask("CREATE TABLE t AS SELECT 1 AS id, 1 AS v")
    setting = f"-c {end}=200ms" if "timeout" in end else ""
    mover.url = place.url(f"?options={quote(setting)}" if setting else "")
    if road == "odbc":
        more = {"ConnSettings": f"SET {end} = 200"} if setting else {}
        mover.url = place.odbc(request, **more)
    _csv(mover, ("4",))
    with place.locked("t"):
        number = mover.begin("rows.csv", **UPSERT)
        if not setting:
            waits = "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 't'::regclass"
            eventually(lambda: place.ask(waits) != [])
            place.ask(f"SELECT {end}(pid) FROM ({waits}) AS w")
        failure = mover.talk.wait(number).failure
    assert failure is not None
    assert failure.retryable is again, failure
    assert not state or failure.kind == state
    assert "25P02" not in failure.message
    assert place.ask("SELECT count(*) FROM t") == [(1,)]


# ---------------------------------------------------------------- transactions that have died

DEAD = {
    "duckdb": ("SELECT error('so it is')",),
    "sqlite": (
        "CREATE TEMP TABLE x (i INT)",
        "CREATE TEMP TRIGGER e BEFORE INSERT ON x BEGIN SELECT RAISE(ROLLBACK, 'so it is'); END",
        "INSERT INTO x VALUES (1)",
    ),
    "postgres": ("SELECT 1/0",),
    "odbc-postgres": ("ROLLBACK",),
    "sqlserver-freetds": ("ROLLBACK TRANSACTION",),
}
PROTOCOLS = ["7.4-0", "7.4-1"]
"""What psqlodbc does after an error: nothing, or undo everything; by default, the statement."""


@contextmanager
def _begun(url: str, cwd: Path, table: str = "made") -> Iterator[Sink]:
    """A load's transaction in which a table was made."""
    database = parse(url, cwd)
    session = load_driver(database.kind).connect(database, (), print)
    sink: Sink = sink_of(session, database)
    try:
        sink.begin()
        sink.execute(f"CREATE TABLE {table} (i INT)")
        yield sink
        sink.roll_back()
    finally:
        sink.close()
        session.close()


def _dies(url: str, statements: tuple[str, ...], cwd: Path) -> None:
    """A transaction that is spoilt behind the load's back: its commit must say so."""
    with _begun(url, cwd) as sink:
        with suppress(SqlFailure, duckdb.Error):
            for statement in statements:
                sink.execute(statement)
        with pytest.raises((SqlFailure, duckdb.Error), match=r"abort|rolled|no trans|by zero"):
            sink.commit()


@pytest.mark.parametrize("kind", DEAD, indirect=True)
def test_a_transaction_that_has_died_is_not_committed(
    kind: Kind,  # noqa: F811
    tmp_path: Path,
) -> None:
    _dies(kind.url, DEAD.get(kind.name, DEAD["sqlserver-freetds"]), tmp_path)


@pytest.mark.parametrize("kind", DEAD, indirect=True)
def test_a_look_that_fails_ends_the_load_or_nothing(
    kind: Kind,  # noqa: F811
    tmp_path: Path,
) -> None:
    with _begun(kind.url, tmp_path) as sink:
        try:
            assert asked(sink.looking, "SELECT nope FROM made") is None
        except SqlFailure:
            # Most errors end a transaction of DuckDB's, which also is behind the test server.
            assert kind.name in ("duckdb", "sqlserver")
        else:
            assert asked(sink.looking, "SELECT 1 AS one") == [(1,)]
            sink.commit()
    hurts = {"duckdb": DEAD["duckdb"][0], "sqlserver": "EXEC test_raise 1205, 'deadlock'"}
    if kind.name in hurts:
        with _begun(kind.url, tmp_path, "other") as sink, pytest.raises(SqlFailure):
            asked(sink.looking, hurts[kind.name])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_psqlodbc_may_roll_back_by_itself(
    request: pytest.FixtureRequest, mover: Mover, place: Place, protocol: str
) -> None:
    url = place.odbc(request, Protocol=protocol)
    _dies(url, ("SELECT 1/0",), mover.data)
    assert place.ask("SELECT to_regclass('made') IS NULL") == [(True,)]
    mover.url = url
    _csv(mover, KEYS["uuid"])
    mover.loads("rows.csv", columns={"id": ColumnRule(type="uuid")}, **UPSERT)
    assert place.ask("SELECT count(*) FROM t") == [(2,)]


# ---------------------------------------------------------------- the rows that are claimed

DROPS = (
    "CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS "
    "$$BEGIN IF new.id % 2 = 0 THEN RETURN NULL; END IF; RETURN new; END$$",
    "CREATE TRIGGER odd BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION odd()",
)


@pytest.mark.parametrize("road", ["adbc", "odbc", "sqlite"])
def test_rows_that_the_database_has_not_taken_are_not_claimed(
    request: pytest.FixtureRequest, mover: Mover, place: Place, road: str
) -> None:
    if road == "sqlite":
        mover.url = f"sqlite://{mover.data}/w.sqlite"
        mover.run("CREATE TABLE t (id INTEGER PRIMARY KEY ON CONFLICT IGNORE, v INT)")
        mover.run("INSERT INTO t VALUES (2, 0), (4, 0)")
    else:
        mover.url = place.odbc(request) if road == "odbc" else mover.url
        place.ask(
            "CREATE TABLE t (id int, v int) PARTITION BY RANGE (id)",
            "CREATE TABLE part PARTITION OF t FOR VALUES FROM (0) TO (9)",
            DROPS[0],
            DROPS[1].format("part"),
        )
    _csv(mover, ("1", "2", "3", "4", "5"))
    done = mover.loads("rows.csv")
    assert done.rows == 3
    assert "5 rows read, 3 loaded into t;" in mover.talk.log()
    if road != "sqlite":
        place.ask("TRUNCATE t")
        assert mover.loads("rows.csv", **UPSERT).rows == 3
        assert "5 rows read, 3 loaded into t (3 new, 0 updated)" in mover.talk.log()


# ---------------------------------------------------------------- what the database says

SAID = {
    "truncate": (
        "CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE o (id int REFERENCES t)",
        {"mode": LoadMode.TRUNCATE_AND_LOAD},
        'ERROR: cannot truncate a table referenced in a foreign key constraint\nDETAIL: Table "o" '
        'references "t".\nHINT: Truncate table "o" at the same time, or use TRUNCATE ... CASCADE.',
        "0A000",
    ),
    "replace": (
        "CREATE TABLE t (id int); CREATE VIEW o AS SELECT * FROM t",
        {"mode": LoadMode.CREATE_OR_REPLACE},
        "ERROR: cannot drop table t because other objects depend on it\nDETAIL: view o depends on "
        "table t\nHINT: Use DROP ... CASCADE to drop the dependent objects too.",
        "2BP01",
    ),
    "unique": (
        "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (4, 1)",
        {},
        'ERROR: duplicate key value violates unique constraint "t_pkey"\nDETAIL: Key (id)=(4) '
        "already exists.\nCONTEXT: COPY t, line 1",
        "23505",
    ),
    "check at the end": (
        "CREATE TABLE t (id int UNIQUE DEFERRABLE INITIALLY DEFERRED, v int); "
        "INSERT INTO t VALUES (4, 1)",
        {},
        'ERROR: duplicate key value violates unique constraint "t_id_key"\n'
        "DETAIL: Key (id)=(4) already exists.",
        "23505",
    ),
    "trigger": (
        "CREATE TABLE t (id int, v int); CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE 'ERROR:  no' USING HINT = 'ask', ERRCODE = 'UU001'; END$$; "
        "CREATE TRIGGER no BEFORE INSERT ON t EXECUTE FUNCTION no()",
        {},
        "ERROR: ERROR:  no\nHINT: ask\nCONTEXT: PL/pgSQL function no() line 1 at RAISE",
        "UU001",
    ),
}


def test_a_load_says_what_postgres_says(mover: Mover, place: Place) -> None:
    for name, (made, work, said, state) in SAID.items():
        place.ask("DROP SCHEMA public CASCADE; CREATE SCHEMA public", made)
        _csv(mover, ("4",))
        failure = mover.load("rows.csv", **work).failure
        assert failure is not None, name
        assert (failure.message, failure.kind, failure.retryable) == (said, state, False), name


def test_a_connection_of_adbc_that_is_refused_says_so(place: Place, tmp_path: Path) -> None:
    from pit.sql.transfer.tables.postgres import connect

    for url, words, again in (
        (place.url(password="no"), "password authentication failed", False),
        (f"postgres://u@127.0.0.1:1/{place.database}", "Connection refused", True),
    ):
        database = parse(url, tmp_path)
        with pytest.raises(SqlFailure) as caught:
            connect(database)
        failure = caught.value.failure
        assert failure.message.startswith(f"cannot connect to {database.display}: connection to")
        assert words in failure.message
        assert failure.retryable is again


def test_rows_are_streamed_whatever_was_read_before(talk: Conversation, place: Place) -> None:
    mover = Mover(talk, place.url())
    rows = "".join(f"{i},{i}\n" for i in range(20_000))
    (mover.data / "rows.csv").write_text(f"id,v\n{rows}")
    mover.loads("rows.csv")
    (mover.data / "rows.csv").write_text(f"id,v\n{rows}x,1\n")
    assert mover.fails("rows.csv").startswith('rows.csv, row 20001, column "id": "x" is not')
    assert "extra copy" not in talk.errors()
    assert place.ask("SELECT count(*) FROM t") == [(20_000,)]
