"""What every driver promises, on every database that can be had here.

SQL Server is a server of the suite's own that speaks its protocol: it shows drivers and wire, not
T-SQL. Postgres is a real one, directly and through ODBC; SQLite is read directly and through ODBC.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import quote

import pytest

from pit.sql import protocol
from pit.sql.connection import odbc_string
from pit.sql.driver import CANCELLED
from tests.servers.postgres import PASSWORD as POSTGRES_PASSWORD
from tests.servers.tds import PASSWORD as SQLSERVER_PASSWORD
from tests.sql.conftest import Conversation

_RECURSIVE = (
    "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t) SELECT count(*) FROM t"
)
_RANGE = "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t WHERE i < 5000)"


@dataclass(frozen=True)
class Kind:
    """A kind of database, and how it writes what the contract needs.

    `sleep` ends only by being cancelled. `variable` reads pit_word, empty where there is no place
    for variables. `whole`: statements of a script share a transaction. `counts`: a result set says
    how many rows it has. `cast` fails as a conversion does. `between`: what separates statements
    that are told apart. `temporary` makes a temporary table x.
    """

    name: str
    url: str = ""
    password: str = ""
    sleep: str = _RECURSIVE
    begin: str = "BEGIN"
    variable: str = ""
    whole: bool = False
    batches: bool = False
    cast: str = "SELECT CAST('x' AS INT)"
    temporary: str = "CREATE TEMP TABLE x (a INT)"
    places: bool = True
    together: bool = True

    def script(self, *statements: str) -> str:
        """Statements, one a line, told apart."""
        return ("\nGO\n" if self.batches else ";\n").join(statements)

    def line(self, number: int) -> int:
        """The line of the statement with this number."""
        return 2 * number - 1 if self.batches else number


_SQLSERVER = Kind(
    "sqlserver",
    password=SQLSERVER_PASSWORD,
    sleep="WAITFOR DELAY '01:00:00'",
    begin="BEGIN TRANSACTION",
    variable="SELECT SESSION_CONTEXT(N'pit_word')",
    batches=True,
    temporary="SELECT 1 AS a INTO #x",
)
KINDS = {
    "duckdb": Kind(
        "duckdb",
        url="duckdb://w.duckdb",
        sleep="SELECT count(*) FROM range(1000000) a, range(1000000) b "
        "WHERE a.range % 7 = b.range % 13",
        variable="SELECT getvariable('pit_word')",
    ),
    "sqlite": Kind(
        "sqlite",
        url="sqlite://w.sqlite",
        variable="SELECT :pit_word",
        cast="SELECT json('{')",
        together=False,
    ),
    "postgres": Kind(
        "postgres",
        password=POSTGRES_PASSWORD,
        sleep="SELECT pg_sleep(3600)",
        variable="SELECT current_setting('pit.word')",
        whole=True,
    ),
    "odbc-postgres": Kind(
        "odbc-postgres",
        password=POSTGRES_PASSWORD,
        sleep="SELECT pg_sleep(3600)",
        variable="SELECT current_setting('pit.word')",
        whole=True,
        places=False,
    ),
    "odbc-sqlite": Kind(
        "odbc-sqlite",
        url="odbc://Driver=SQLite3;Database=w.sqlite",
        cast="SELECT json('{')",
        places=False,
        together=False,
    ),
    "sqlserver-microsoft": _SQLSERVER,
    "sqlserver-freetds": _SQLSERVER,
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of database, empty, or skipped with the reason."""
    found = KINDS[request.param]
    if "postgres" in request.param:
        server = request.getfixturevalue("postgres")
        database = server.fresh()
        found = replace(found, url=server.url(database))
        if request.param.startswith("odbc"):
            _want(request, "PostgreSQL Unicode", "odbc-postgresql")
            keywords = {
                "Driver": "PostgreSQL Unicode",
                "Server": server.host,
                "Port": str(server.port),
                "Database": database,
                "UID": server.user,
                "PWD": server.password,
            }
            found = replace(found, url=f"odbc://{quote(odbc_string.join(keywords))}")
    elif request.param == "odbc-sqlite":
        _want(request, "SQLite3", "libsqliteodbc")
    elif "sqlserver" in request.param:
        found = replace(found, url=_sqlserver_url(request))
    return found


def _sqlserver_url(request: pytest.FixtureRequest) -> str:
    request.getfixturevalue("odbc_drivers")
    server = request.getfixturevalue("sqlserver")
    server.empty()
    if request.param.endswith("freetds"):
        _want(request, "FreeTDS", "tdsodbc")
        return server.url("?odbc_driver=FreeTDS")
    from pit.sql.drivers.sqlserver import carried_driver

    driver = carried_driver()
    if driver is None:
        pytest.skip("needs Microsoft's driver: pip install mssql-python")
    return server.url(f"?trustservercertificate=yes&odbc_driver={quote(str(driver), safe='')}")


def _want(request: pytest.FixtureRequest, driver: str, package: str) -> None:
    if driver not in request.getfixturevalue("odbc_drivers"):
        pytest.skip(f"needs the ODBC driver {driver}: apt-get install {package}")


Ask = Callable[[str], list[str]]


@pytest.fixture
def ask(talk: Conversation, kind: Kind) -> Ask:
    """The first column of a query's rows, as the log shows them."""

    def send(query: str) -> list[str]:
        done = talk.run(query, kind.url)
        assert done.failure is None, talk.log()
        return [line.split()[0] for line in talk.log().splitlines()[3:-1]]

    return send


def test_each_statement_says_what_it_did(talk: Conversation, kind: Kind) -> None:
    done = talk.run(
        kind.script(
            "CREATE TABLE t (a INT, b VARCHAR(20))",
            "INSERT INTO t VALUES (1, 'é %s ? x'), (2, NULL), (3, '')",
            "SELECT a, b FROM t ORDER BY a",
            "DELETE FROM t WHERE a > 1",
        ),
        kind.url,
    )
    assert done.failure is None, talk.log()
    assert (done.statements, done.rows) == (4, 5)
    lines = talk.log().splitlines()
    if kind.whole:
        assert lines.pop(0) == "4 statements, sent as one"
        assert lines.pop().startswith("4 statements, ")
    # A time is that of one statement, or of all that were sent together.
    ending = "" if kind.whole else ", "
    assert lines[0] == "line 1: CREATE TABLE t (a INT, b VARCHAR(20))"
    assert lines[2].startswith(f"line {kind.line(2)}: INSERT INTO t VALUES")
    assert lines[3].startswith(f"  3 rows{ending}")
    assert [line.split() for line in lines[5:10]] == [
        ["a", "b"],
        ["─", "────────"],
        ["1", "é", "%s", "?", "x"],
        ["2", "NULL"],
        ["3"],
    ]
    assert lines[10].startswith(f"  3 rows{ending}")
    assert lines[11] == f"line {kind.line(4)}: DELETE FROM t WHERE a > 1"
    assert lines[12].startswith(f"  2 rows{ending}")
    if kind.whole:
        assert not [line for line in lines if line.endswith((" ms", " s"))]


def test_an_empty_script(talk: Conversation, kind: Kind) -> None:
    done = talk.run("-- nothing\n/* here */", kind.url)
    assert (done.failure, done.statements) == (None, 0)


@pytest.mark.parametrize(
    "statement",
    ["SELEC 2", "SELECT * FROM nope", "SELECT nope FROM t", "", "INSERT INTO u VALUES (1), (1)"],
    ids=["syntax", "table", "column", "cast", "constraint"],
)
def test_a_failure_names_its_line_and_is_not_transient(
    talk: Conversation, kind: Kind, statement: str
) -> None:
    setup = talk.run(
        kind.script("CREATE TABLE t (a INT)", "CREATE TABLE u (a INT PRIMARY KEY)"), kind.url
    )
    assert setup.failure is None, talk.log()
    script = kind.script("SELECT 1", statement or kind.cast, "INSERT INTO t VALUES (7)")
    done = talk.run(script, kind.url)
    assert done.failure is not None
    assert not done.failure.retryable
    # ODBC tells no place: only what the sentence quotes can be found.
    assert done.failure.line == kind.line(2) or not kind.places
    assert f"tasks/x.sql:{done.failure.line}: {done.failure.message}" in talk.log()
    assert "INSERT INTO t" not in talk.log()


def test_an_open_transaction_is_undone_by_a_failure(
    talk: Conversation, kind: Kind, ask: Ask
) -> None:
    assert talk.run("CREATE TABLE t (a INT)", kind.url).failure is None
    done = talk.run(
        kind.script(
            "INSERT INTO t VALUES (1)",
            "INSERT INTO t VALUES (2)" if not kind.whole else "COMMIT",
            kind.begin,
            "INSERT INTO t VALUES (3)",
            "SELECT * FROM nope",
            "COMMIT",
        ),
        kind.url,
    )
    assert done.failure is not None
    assert ask("SELECT max(a) AS a FROM t") == ["1" if kind.whole else "2"]


def test_without_a_transaction(talk: Conversation, kind: Kind, ask: Ask) -> None:
    """Postgres undoes all of a script that it was sent whole; the others keep what was done."""
    assert talk.run("CREATE TABLE t (a INT)", kind.url).failure is None
    done = talk.run(kind.script("INSERT INTO t VALUES (1)", "SELECT * FROM nope"), kind.url)
    assert done.failure is not None
    assert ask("SELECT count(*) AS n FROM t") == ["0" if kind.whole else "1"]


def test_a_forgotten_commit_is_a_failure(talk: Conversation, kind: Kind, ask: Ask) -> None:
    assert talk.run("CREATE TABLE t (a INT)", kind.url).failure is None
    done = talk.run(kind.script(kind.begin, "INSERT INTO t VALUES (1)"), kind.url)
    assert done.failure is not None
    assert "did not commit" in done.failure.message
    assert ask("SELECT count(*) AS n FROM t") == ["0"]


def test_a_committed_transaction_stays(talk: Conversation, kind: Kind, ask: Ask) -> None:
    done = talk.run(
        kind.script(
            "CREATE TABLE t (a INT)",
            "COMMIT" if kind.whole else "SELECT 1",
            kind.begin,
            "INSERT INTO t VALUES (1)",
            "COMMIT",
        ),
        kind.url,
    )
    assert done.failure is None, talk.log()
    assert ask("SELECT count(*) AS n FROM t") == ["1"]


def test_variables(talk: Conversation, kind: Kind) -> None:
    if not kind.variable:
        pytest.skip("this database has no place for variables")
    word = "it's \\ {odd} é %s ?"
    done = talk.run(f"{kind.variable} AS word", kind.url, pit_word=word, pit_other="x")
    assert done.failure is None, talk.log()
    assert word in talk.log()


def test_a_statement_is_cancelled_in_the_database(talk: Conversation, kind: Kind, ask: Ask) -> None:
    number = talk.start(kind.sleep, kind.url)
    talk.until(number, kind.sleep[:20])
    talk.send(protocol.Interrupt(id=number))
    done = talk.wait(number)
    assert done.failure is not None, talk.log(number)
    assert done.failure.kind == CANCELLED
    assert ask("SELECT 1 AS one") == ["1"]


def test_a_long_result_is_counted_and_not_kept(talk: Conversation, kind: Kind) -> None:
    query = f"{_RANGE} SELECT i FROM t"
    if kind.batches:
        pytest.skip("T-SQL's recursion is not what the test server shows")
    done = talk.run(query, kind.url)
    assert done.failure is None, talk.log()
    assert "first 20 of 5,000 rows" in talk.log()


def test_nothing_of_a_script_is_left_for_the_next(talk: Conversation, kind: Kind) -> None:
    assert talk.run(kind.temporary, kind.url).failure is None, talk.log()
    query = "SELECT a FROM #x" if kind.batches else "SELECT a FROM x"
    done = talk.run(query, kind.url)
    assert done.failure is not None
    assert not done.failure.retryable


def test_scripts_run_at_the_same_time(talk: Conversation, kind: Kind) -> None:
    sleeper = talk.start(kind.sleep, kind.url)
    talk.until(sleeper, kind.sleep[:20])
    done = talk.run("SELECT 1", kind.url)
    assert done.failure is None
    assert sleeper not in talk.done
    talk.send(protocol.Interrupt(id=sleeper))
    assert talk.wait(sleeper).failure is not None


def test_a_password_is_never_told(talk: Conversation, kind: Kind) -> None:
    if not kind.password:
        pytest.skip("this database has no password")
    forms = {kind.password, quote(kind.password, safe=""), quote(kind.password)}
    wrong = kind.url
    for form in sorted((*forms, quote(quote(kind.password, safe=""))), key=len, reverse=True):
        wrong = wrong.replace(form, "wrong-word-77")
    if kind.name.startswith("odbc"):
        wrong = kind.url.replace(quote(odbc_string.braced(kind.password)), "wrong-word-77")
    assert wrong != kind.url
    done = talk.run("SELECT 1", wrong)
    assert done.failure is not None
    assert not done.failure.retryable
    assert "wrong-word-77" not in done.failure.message + talk.log()
    talk.run(f"SELECT '{kind.password.replace(chr(39), chr(39) * 2)}' AS p", kind.url)
    assert kind.password not in talk.log()


def test_nobody_at_home_is_transient(talk: Conversation, kind: Kind) -> None:
    if not kind.password:
        pytest.skip("a file is always at home")
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))  # and does not listen
        port = mute.getsockname()[1]
        url = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", kind.url)
        url = re.sub(r"Port%3D\d+", f"Port%3D{port}", url)
        assert url != kind.url
        if kind.batches:
            url += "&connect_timeout=1"  # Microsoft's driver knocks until the time is over
        done = talk.run("SELECT 1", url)
    assert done.failure is not None
    assert done.failure.retryable, done.failure
    assert "cannot connect to" in done.failure.message
