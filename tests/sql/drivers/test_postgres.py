"""What Postgres alone has: whole scripts, notices, error positions, connections that are kept."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pit.sql import protocol
from pit.sql.connection.urls import parse
from pit.sql.driver import CANCELLED
from pit.sql.drivers.postgres import conninfo
from tests.servers.postgres import Server
from tests.sql.conftest import Conversation, eventually
from tests.sql.transfer.moving import Mover


@pytest.fixture
def url(postgres: Server) -> str:
    """An empty database."""
    return postgres.url(postgres.fresh())


def value(talk: Conversation, url: str, query: str) -> str:
    """The one value of a query."""
    assert talk.run(query, url).failure is None, talk.log()
    return talk.log().splitlines()[3].strip()


def test_a_script_is_one_transaction(talk: Conversation, url: str) -> None:
    done = talk.run("CREATE TABLE t (a INT);\nINSERT INTO t VALUES (1);\nSELECT 1/0", url)
    assert done.failure is not None
    assert (done.failure.kind, done.failure.line) == ("22012", 3)
    assert "the open transaction was rolled back" in talk.log()
    assert value(talk, url, "SELECT to_regclass('t') IS NULL") == "t"


def test_a_commit_in_the_middle_keeps_what_was_before(talk: Conversation, url: str) -> None:
    done = talk.run("CREATE TABLE t (a INT);\nCOMMIT;\nINSERT INTO t VALUES (1);\nSELECT 1/0", url)
    assert done.failure is not None
    assert value(talk, url, "SELECT count(*) FROM t") == "0"


def test_a_deferred_constraint_fails_at_the_end(talk: Conversation, url: str) -> None:
    done = talk.run(
        "CREATE TABLE t (a INT UNIQUE DEFERRABLE INITIALLY DEFERRED);\n"
        "INSERT INTO t VALUES (1);\nINSERT INTO t VALUES (1)",
        url,
    )
    assert done.failure is not None
    assert done.failure.kind == "23505"
    assert value(talk, url, "SELECT to_regclass('t') IS NULL") == "t"


def test_what_cannot_run_in_a_transaction_runs_alone(talk: Conversation, url: str) -> None:
    assert talk.run("VACUUM", url).failure is None
    done = talk.run("SELECT 1;\nVACUUM", url)
    assert done.failure is not None
    assert (done.failure.kind, done.failure.line) == ("25001", 2)


def test_messages_of_the_server_are_logged(talk: Conversation, url: str) -> None:
    script = "DO $$ BEGIN RAISE NOTICE 'counted %', 7; RAISE WARNING 'odd'; END $$"
    assert talk.run(script, url).failure is None
    assert talk.log().splitlines()[1:3] == ["  NOTICE: counted 7", "  WARNING: odd"]


def test_a_notice_comes_while_the_statement_runs(talk: Conversation, url: str) -> None:
    number = talk.start("DO $$ BEGIN RAISE NOTICE 'now'; PERFORM pg_sleep(3600); END $$", url)
    talk.until(number, "NOTICE: now")
    talk.send(protocol.Interrupt(id=number))
    assert talk.wait(number).failure is not None


def test_an_error_has_its_place_detail_and_hint(talk: Conversation, url: str) -> None:
    done = talk.run("CREATE TABLE t (carrier INT);\nSELECT 'é',\n  carier\nFROM t", url)
    assert done.failure is not None
    assert done.failure.line == 3
    assert talk.log().splitlines()[-5:-1] == [
        'tasks/x.sql:3: ERROR: column "carier" does not exist',
        'HINT: Perhaps you meant to reference the column "t.carrier".',
        "LINE 3:   carier",
        "          ^",
    ]


@pytest.mark.parametrize(
    "copy", ["COPY t FROM STDIN", "COPY (SELECT 1) TO STDOUT (FORMAT csv)", "copy t from stdin csv"]
)
def test_a_copy_to_the_client_is_refused(talk: Conversation, url: str, copy: str) -> None:
    done = talk.run(f"CREATE TABLE t (a INT);\n{copy}", url)
    assert done.failure is not None
    assert done.failure.line == 2
    assert "type = load" in done.failure.message
    assert value(talk, url, "SELECT to_regclass('t') IS NULL") == "t"


def test_a_plan_is_shown_as_it_is(talk: Conversation, url: str) -> None:
    assert talk.run("EXPLAIN SELECT 1", url).failure is None
    assert talk.log().splitlines()[1].startswith("  Result  (cost=")


def test_rows_that_a_statement_returns_count_as_changed(talk: Conversation, url: str) -> None:
    done = talk.run(
        "CREATE TABLE t AS SELECT generate_series(1, 5) AS a;\n"
        "UPDATE t SET a = a + 1 RETURNING a;\nSELECT * FROM t",
        url,
    )
    assert (done.statements, done.rows) == (3, 10)


def test_connections_are_kept_and_reset(talk: Conversation, url: str) -> None:
    first = value(talk, url, "SELECT pg_backend_pid()")
    assert talk.run("SET search_path = nowhere; SET ROLE pg_monitor", url).failure is None
    assert value(talk, url, "SELECT pg_backend_pid()") == first
    assert value(talk, url, "SHOW search_path") == '"$user", public'


def test_a_connection_that_died_is_replaced(talk: Conversation, url: str, postgres: Server) -> None:
    first = value(talk, url, "SELECT pg_backend_pid()")
    postgres.ask(f"SELECT pg_terminate_backend({first})")
    assert value(talk, url, "SELECT pg_backend_pid()") != first


def test_a_lost_connection_is_transient_and_says_what_nobody_knows(
    talk: Conversation, url: str, postgres: Server
) -> None:
    number = talk.start("SELECT pg_sleep(3600)", url)
    name = url.rsplit("/", 1)[1]
    asleep = f"datname = '{name}' AND state = 'active' AND query LIKE 'SELECT pg_sleep%'"
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {asleep}"
    eventually(lambda: postgres.ask(end) == [(True,)])
    done = talk.wait(number)
    assert done.failure is not None
    assert done.failure.retryable
    assert "whether the database has done the statement is not known" in done.failure.message


def test_a_deadlock_is_transient(talk: Conversation, url: str) -> None:
    assert talk.run("CREATE TABLE t (a INT); INSERT INTO t VALUES (1), (2)", url).failure is None
    both = (
        "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database "
        "WHERE locktype = 'advisory' AND datname = current_database()"
    )
    script = (
        "BEGIN;\nUPDATE t SET a = a WHERE a = {0};\nSELECT pg_advisory_xact_lock({0});\n"
        f"DO 'BEGIN WHILE ({both.replace(chr(39), 2 * chr(39))}) < 2 LOOP "
        "PERFORM pg_sleep(0.01); END LOOP; END';\nUPDATE t SET a = a WHERE a = {1};\nCOMMIT"
    )
    one = talk.start(script.format(1, 2), url)
    two = talk.start(script.format(2, 1), url)
    failures = [done.failure for done in (talk.wait(one), talk.wait(two)) if done.failure]
    assert [(failure.kind, failure.retryable) for failure in failures] == [("40P01", True)]


def test_a_lock_time_out_and_a_serialisation_failure_are_transient(
    talk: Conversation, url: str, postgres: Server
) -> None:
    import psycopg

    assert talk.run("CREATE TABLE t (a INT); INSERT INTO t VALUES (1)", url).failure is None
    with psycopg.connect(url) as other:
        other.execute("UPDATE t SET a = 2")
        done = talk.run("SET lock_timeout = '50ms';\nUPDATE t SET a = 3", url)
        assert done.failure is not None
        assert (done.failure.kind, done.failure.retryable, done.failure.line) == ("55P03", True, 2)
        script = (
            "BEGIN ISOLATION LEVEL SERIALIZABLE;\nSELECT * FROM t;\nUPDATE t SET a = 3;\nCOMMIT"
        )
        number = talk.start(script, url)
        name = url.rsplit("/", 1)[1]
        waiting = (
            f"SELECT 1 FROM pg_stat_activity WHERE datname = '{name}' AND wait_event_type = 'Lock'"
        )
        eventually(lambda: bool(postgres.ask(waiting)))
        other.commit()
    done = talk.wait(number)
    assert done.failure is not None
    assert (done.failure.kind, done.failure.retryable) == ("40001", True)


def test_too_many_connections_are_transient(talk: Conversation, url: str, postgres: Server) -> None:
    name = url.rsplit("/", 1)[1]
    postgres.ask("CREATE ROLE crowded LOGIN PASSWORD 'pw-crowded' CONNECTION LIMIT 0")
    try:
        done = talk.run(
            "SELECT 1", f"postgres://crowded:pw-crowded@127.0.0.1:{postgres.port}/{name}"
        )
        assert done.failure is not None
        assert done.failure.retryable
    finally:
        postgres.ask("DROP ROLE crowded")


def test_a_statement_time_out_is_the_scripts_own(talk: Conversation, url: str) -> None:
    done = talk.run("SET statement_timeout = '50ms';\nSELECT pg_sleep(3600)", url)
    assert done.failure is not None
    assert (done.failure.kind, done.failure.retryable) == ("57014", False)
    assert "statement timeout" in done.failure.message


def test_permission_is_never_transient(talk: Conversation, url: str, postgres: Server) -> None:
    name = url.rsplit("/", 1)[1]
    postgres.ask("CREATE ROLE guest LOGIN PASSWORD 'pw-guest'")
    try:
        assert talk.run("CREATE TABLE t (a INT)", url).failure is None
        guest = f"postgres://guest:pw-guest@127.0.0.1:{postgres.port}/{name}"
        done = talk.run("SELECT * FROM t", guest)
        assert done.failure is not None
        assert (done.failure.kind, done.failure.retryable) == ("42501", False)
    finally:
        postgres.ask("DROP ROLE guest")


def test_a_database_that_does_not_exist(talk: Conversation, postgres: Server) -> None:
    done = talk.run("SELECT 1", postgres.url("nowhere"))
    assert done.failure is not None
    assert not done.failure.retryable
    assert f"cannot connect to postgres://pit@127.0.0.1:{postgres.port}/nowhere" in talk.log()


def test_an_option_that_libpq_does_not_know(talk: Conversation, url: str) -> None:
    done = talk.run("SELECT 1", f"{url}?row_factory=x")
    assert done.failure is not None
    assert 'invalid connection option "row_factory"' in done.failure.message


def test_many_scripts_at_once(talk: Conversation, url: str) -> None:
    numbers = [talk.start(f"SELECT {i} AS n", url) for i in range(12)]
    assert [talk.wait(number).failure for number in numbers] == [None] * 12


def test_a_refused_password_is_final_even_if_another_host_is_down(
    talk: Conversation, postgres: Server
) -> None:
    here = f"{postgres.host}:{postgres.port}"
    done = talk.run("SELECT 1", f"postgres://nobody:wrong@127.0.0.1:1,{here}/postgres")
    assert done.failure is not None
    assert "refused" in done.failure.message
    assert not done.failure.retryable


def test_a_server_that_vanished_is_noticed(postgres: Server, tmp_path: Path) -> None:
    told = conninfo(parse(postgres.url("x", "?tcp_user_timeout=5000"), tmp_path))
    assert "keepalives_idle=30" in told
    assert "tcp_user_timeout=5000" in told, "the URL's word comes first"


@pytest.mark.parametrize("what", ["script", "load", "save"])
def test_a_connection_that_is_being_made_can_be_given_up(talk: Conversation, what: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        url = f"postgres://u:p@{address}/x?connect_timeout=3600"
        mover = Mover(talk, url)
        mover.file("SELECT 1 AS a")
        database = parse(url, talk.cwd)
        match what:
            case "script":
                number = talk.start("SELECT 1", url)
            case "load":
                number = mover.begin()
            case _:
                save = protocol.Save(
                    id=0, script="q", text="SELECT 1 AS a", database=database, path="/nowhere/x.csv"
                )
                number = talk.begin(save)
        reached, _ = silent.accept()
        with reached:  # and says nothing
            talk.send(protocol.Interrupt(id=number))
            talk.wait(number)
        failure = talk.wait(number).failure
    assert failure is not None
    assert failure.kind == CANCELLED
