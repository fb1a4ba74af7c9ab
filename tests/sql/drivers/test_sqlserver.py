"""What SQL Server alone has: batches, messages, numbers of errors, the choice of a driver."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from pit.sql.connection import odbc_string
from pit.sql.connection.urls import parse
from pit.sql.driver import Unavailable
from pit.sql.drivers.sqlserver import Choice, carried_driver, choose, connection_text
from tests.servers.tds import Server
from tests.sql.conftest import Conversation

_MICROSOFT = Choice(driver="M", name="M", microsoft=True)
_FREETDS = Choice(driver="FreeTDS", name="FreeTDS", microsoft=False)


@pytest.fixture
def url(sqlserver: Server, odbc_drivers: list[str]) -> str:
    """The server, through Microsoft's driver."""
    driver = carried_driver()
    if driver is None:
        pytest.skip("needs Microsoft's driver: pip install mssql-python")
    sqlserver.empty()
    return sqlserver.url(f"?trustservercertificate=yes&odbc_driver={quote(str(driver), safe='')}")


def test_a_certificate_that_nobody_has_signed_comes_with_advice(
    talk: Conversation, url: str
) -> None:
    failure = talk.run("SELECT 1", url.replace("trustservercertificate=yes&", "")).failure
    assert failure is not None
    assert "trustservercertificate=yes" in failure.message
    assert not failure.retryable


def test_batches_are_told_apart(talk: Conversation, url: str) -> None:
    done = talk.run(
        "CREATE TABLE t (a INT)\nGO\nINSERT INTO t VALUES (1);\nINSERT INTO t VALUES (2);\n"
        "go 3\nSELECT count(*) AS n FROM t;\nPRINT 'it''s over'\nGO",
        url,
    )
    assert done.failure is None, talk.log()
    assert (done.statements, done.rows) == (3, 6)
    log = talk.log().splitlines()
    assert [line for line in log if line.startswith("line ")] == [
        "line 1: CREATE TABLE t (a INT)",
        "line 3: INSERT INTO t VALUES (1); INSERT INTO t VALUES (2);",
        "line 6: SELECT count(*) AS n FROM t; PRINT 'it''s over'",
    ]
    after = log[log.index("  n") :]
    assert [line.strip() for line in after[:3]] == ["n", "─", "6"]
    assert "  it's over" in after
    # The server keeps the first results of a batch until there are more: the time is the batch's.
    timed = [line.rpartition(", ")[0] for line in log if line.endswith((" ms", " s"))]
    assert timed == ["  done", "  6 results", "  done"]


def test_a_batch_goes_on_after_an_error_and_the_script_does_not(
    talk: Conversation, url: str
) -> None:
    done = talk.run(
        "CREATE TABLE t (a INT PRIMARY KEY);\nINSERT INTO t VALUES (1);\n"
        "INSERT INTO t VALUES (1);\nINSERT INTO t VALUES (2)\nGO\nINSERT INTO t VALUES (3)",
        url,
    )
    assert done.failure is not None
    assert (done.failure.kind, done.failure.retryable) == ("2627", False)
    assert done.failure.message.startswith("Msg 2627: ")
    assert talk.run("SELECT a FROM t", url).failure is None
    assert [line.strip() for line in talk.log().splitlines()[3:-1]] == ["1", "2"]


def test_a_name_in_the_message_gives_the_line(talk: Conversation, url: str) -> None:
    done = talk.run("SELECT 1\nGO\n\nSELECT 2;\nSELECT *\nFROM dbo.nope", url)
    assert done.failure is not None
    assert done.failure.line == 6
    assert "LINE 6: FROM dbo.nope" in talk.log()


@pytest.mark.parametrize(
    ("number", "transient"),
    [(1205, True), (1222, True), (40501, True), (229, False), (51000, False)],
)
def test_numbers(talk: Conversation, url: str, number: int, transient: bool) -> None:
    done = talk.run(f"EXEC test_raise {number}, 'so it is'", url)
    assert done.failure is not None
    assert (done.failure.kind, done.failure.retryable) == (str(number), transient)


@pytest.mark.parametrize("driver", ["", "FreeTDS"])
def test_a_lost_connection(
    talk: Conversation, sqlserver: Server, url: str, odbc_drivers: list[str], driver: str
) -> None:
    if driver and driver not in odbc_drivers:
        pytest.skip("needs the ODBC driver FreeTDS: apt-get install tdsodbc")
    done = talk.run("EXEC test_hang_up", sqlserver.url("?odbc_driver=FreeTDS") if driver else url)
    assert done.failure is not None
    assert done.failure.retryable
    assert "whether the database has done the statement is not known" in done.failure.message
    assert talk.run("SELECT 1", url).failure is None


def test_connections_are_kept_and_reset(talk: Conversation, sqlserver: Server, url: str) -> None:
    assert talk.run("SELECT 1 AS a INTO #x", url, pit_word="w").failure is None
    logins = len(sqlserver.logins)
    assert talk.run("SELECT SESSION_CONTEXT(N'pit_word') AS w", url).failure is None
    assert "NULL" in talk.log()
    assert talk.run("SELECT * FROM #x", url).failure is not None
    assert len(sqlserver.logins) == logins


def test_an_odbc_string_for_sql_server_has_batches_too(
    talk: Conversation, sqlserver: Server, odbc_drivers: list[str]
) -> None:
    if "FreeTDS" not in odbc_drivers:
        pytest.skip("needs the ODBC driver FreeTDS: apt-get install tdsodbc")
    text = f"Driver=FreeTDS;Server=127.0.0.1;Port={sqlserver.port};UID=sa;TDS_Version=7.4"
    url = f"odbc://{text};PWD={{Secret-123;x}}"
    done = talk.run("SELECT 1\nGO\nSELECT SESSION_CONTEXT(N'pit_w') AS w", url, pit_w="yes")
    assert done.failure is None, talk.log()
    assert done.statements == 2
    assert "yes" in talk.log()


# ---------------------------------------------------------------- choosing, without a server


def test_the_best_driver_is_chosen(tmp_path: Path) -> None:
    plain = parse("sqlserver://sa:x@h/d", tmp_path)
    asked = parse(
        "sqlserver://sa:x@h/d?odbc_driver=ODBC%20Driver%2017%20for%20SQL%20Server", tmp_path
    )
    ours = [f"ODBC Driver {number} for SQL Server" for number in (17, 18)]
    carried = Path("/x/libmsodbcsql-18.6.so.2.1")
    assert choose(plain, ["FreeTDS", *ours], carried).driver == ours[1]
    assert choose(asked, ours, carried).driver == ours[0]
    assert choose(asked, ours, carried).microsoft
    assert choose(plain, ["FreeTDS"], carried).driver == str(carried)
    assert choose(plain, ["FreeTDS"], None).driver == "FreeTDS"
    with pytest.raises(Unavailable, match="msodbcsql18"):
        choose(plain, ["SQLite3"], None)


@pytest.mark.parametrize(
    ("url", "choice", "keywords"),
    [
        (
            "sqlserver://sa:p;w@h:1444/d?encrypt=disable&trustservercertificate=true",
            _MICROSOFT,
            {"server": "h,1444", "pwd": "p;w", "encrypt": "no", "trustservercertificate": "yes"},
        ),
        ("sqlserver://h\\i/d", _MICROSOFT, {"server": "h\\i", "trusted_connection": "yes"}),
        ("sqlserver://h/d?authentication=ActiveDirectoryMsi", _MICROSOFT, {"database": "d"}),
        ("sqlserver://sa:x@h/d", _FREETDS, {"server": "h", "port": "1433", "tds_version": "7.4"}),
        ("sqlserver://sa:x@h/d?encrypt=true", _FREETDS, {"encryption": "require"}),
        ("mssql://sa:x@h/d?app name=mine&log=63", _MICROSOFT, {"app": "mine"}),
    ],
)
def test_connection_strings(
    url: str, choice: Choice, keywords: dict[str, str], tmp_path: Path
) -> None:
    found = odbc_string.split(connection_text(parse(url, tmp_path), choice))
    assert {**found, **keywords} == found
    assert "log" not in found
    assert ("trusted_connection" in found) == (url == "sqlserver://h\\i/d")
