"""Connection URLs."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from pit.errors import InvalidConnection
from pit.sql.connection import odbc_string
from pit.sql.connection.urls import identity, parse, same_identity
from pit.state.secrets.secrets import _url


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("duckdb:///abs/w.duckdb", "/abs/w.duckdb"),
        ("DuckDB:///abs/w.duckdb", "/abs/w.duckdb"),
        ("duckdb://data/w.duckdb", "{workspace}/data/w.duckdb"),
        ("duckdb://w", "{workspace}/w"),
        ("duckdb:///abs/with%20space%25.duckdb", "/abs/with space%.duckdb"),
        ("w.duckdb", "{workspace}/w.duckdb"),
        ("  w.db\n", "{workspace}/w.db"),
        ("./a/../W.DuckDB", "{workspace}/W.DuckDB"),
        ("/abs/ü 100%25.db", "/abs/ü 100%25.db"),
        ("~/w.duckdb", f"{Path.home()}/w.duckdb"),
    ],
)
def test_files(url: str, path: str, tmp_path: Path) -> None:
    database = parse(url, tmp_path)
    assert database.kind == "duckdb"
    assert database.path == path.format(workspace=tmp_path)
    assert database.display == database.path
    assert not database.in_memory


@pytest.mark.parametrize("url", [":memory:", "duckdb://:memory:", "duckdb:///:memory:"])
def test_memory(url: str, tmp_path: Path) -> None:
    assert parse(url, tmp_path).in_memory


def test_two_spellings_of_a_file_are_one_database(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    keys = {
        parse(url, tmp_path).key
        for url in (
            "real/w.duckdb",
            "duckdb://real/w.duckdb",
            f"duckdb://{tmp_path}/real/w.duckdb",
            "link/../real/./w.duckdb",
            "link/w.duckdb",
        )
    }
    assert len(keys) == 1


def test_options(tmp_path: Path) -> None:
    plain = parse("duckdb://w.duckdb", tmp_path)
    database = parse("duckdb://w.duckdb?access_mode=READ_ONLY&S3_Secret=hunter2", tmp_path)
    assert database.options == {"access_mode": "READ_ONLY", "s3_secret": "hunter2"}
    assert database.path == plain.path
    assert database.key != plain.key
    assert database.secrets == ("hunter2",)
    assert database.hide("is hunter2 shown?") == "is *** shown?"
    assert "hunter2" not in repr(database) + database.display


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "the connection is empty"),
        ("duckdb://", "the duckdb:// connection names no file"),
        ("duckdb:///?access_mode=read_only", "the duckdb:// connection names no file"),
        ("sqlite://", "the sqlite:// connection names no file"),
        ("warehouse", "the connection names no database that Pit knows"),
        ("Driver=x;Server=y;Pwd=hunter2", "the connection names no database that Pit knows"),
        ("a\0b.duckdb", "the connection's path contains a NUL character"),
        ("a\udcff.duckdb", "the connection's path is not valid UTF-8"),
        ("dukdb://x:hunter2@y", 'connection with the unknown scheme "dukdb://"'),
        ("postgres://u:hun?ter2@h/d", "the connection's port is not a number up to 65535"),
        ("postgres://u:hunter2@h:99999/d", "the connection's port is not a number up to 65535"),
        ("postgres://u:hunter2@[::1/d", "the connection's host has a bracket out of place"),
        ("sqlserver://sa:hunter2@/d", "the sqlserver:// connection names no host"),
        ("odbc://PWD=hunter2", "names neither a driver nor a data source"),
        ("odbc://", "names neither a driver nor a data source"),
        ("odbc://Driver=x;PWD={hunter2", "the ODBC connection string is broken"),
        ("odbc://Driver=x;hunter2", "the ODBC connection string is broken"),
    ],
)
def test_what_is_refused(url: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidConnection) as caught:
        parse(url, tmp_path)
    assert sentence in str(caught.value)
    assert "hunter2" not in str(caught.value) + caught.value.hint
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "facts"),
    [
        ("postgres://u:p@h:5433/d", {"host": "h", "port": "5433", "user": "u", "database": "d"}),
        ("PostgreSQL+psycopg://u:p@h/d?sslmode=require", {"options": {"sslmode": "require"}}),
        ("postgres://u:p%40%2F%3F@h/d%20x", {"password": "p@/?", "database": "d x"}),
        ("postgres://u:a@b/c:d#e@h/d", {"password": "a@b/c:d#e", "host": "h", "user": "u"}),
        ("postgres://u:p@[::1]:5432/d", {"host": "::1", "port": "5432"}),
        ("postgres://a:1,b:2/d", {"host": "a,b", "port": "1,2"}),
        ("postgres:///d?host=/run/pg&user=u&password=p+q", {"host": "/run/pg", "password": "p+q"}),
        ("postgres://", {"host": "", "database": ""}),
        ("sqlserver://sa:p@h,1433/d", {"host": "h", "port": "1433", "database": "d"}),
        ("sqlserver://sa:p@h\\inst/d", {"host": "h\\inst", "database": "d"}),
        ("sqlserver://sa:p@h/inst?database=d", {"host": "h\\inst", "database": "d"}),
        ("sqlserver://sa:p@h:1433?Database=d", {"host": "h", "port": "1433", "database": "d"}),
        ("mssql://tcp:h/d?user id=u&pwd=p", {"kind": "sqlserver", "user": "u", "password": "p"}),
        ("odbc://Driver={A b};Server=h;PWD={x}};y}", {"options": {"driver": "A b"}}),
        ("odbc://Driver%3D%7BA%20b%7D%3BPWD%3Dx%2525", {"options": {"pwd": "x%25"}}),
        ("odbc:///?odbc_connect=DSN%3Dw%3BPWD%3Dx", {"options": {"dsn": "w", "pwd": "x"}}),
        ("odbc://u:p@h:1/d?odbc_driver=X", {"options": {"driver": "X", "uid": "u", "pwd": "p"}}),
        ("sqlite:///abs/x.db", {"kind": "sqlite", "path": "/abs/x.db"}),
        ("sqlite:////abs/x.db", {"kind": "sqlite", "path": "/abs/x.db"}),
        ("sqlite://x.db", {"kind": "sqlite", "path": "{workspace}/x.db"}),
        ("x.SQLite3", {"kind": "sqlite", "path": "{workspace}/x.SQLite3"}),
        ("sqlite://:memory:", {"kind": "sqlite", "path": ":memory:"}),
    ],
)
def test_servers_and_files(url: str, facts: dict[str, object], tmp_path: Path) -> None:
    database = parse(url, tmp_path)
    for name, value in facts.items():
        found = getattr(database, name)
        if isinstance(value, dict):
            assert {**found, **value} == found
        else:
            assert found == str(value).format(workspace=tmp_path)


ODD = "p@s/s:w?o#r%d;{x}'\"+ &=\\é"


@pytest.mark.parametrize(
    ("fields", "facts"),
    [
        ({"driver": "postgres", "host": "h", "port": "5433"}, {"host": "h", "port": "5433"}),
        ({"driver": "postgres", "host": "fe80::1"}, {"host": "fe80::1", "port": ""}),
        ({"driver": "postgres", "host": "[::1]", "port": "5"}, {"host": "::1", "port": "5"}),
        ({"driver": "postgres", "host": "/run/pg"}, {"host": "/run/pg"}),
        ({"driver": "sqlserver", "host": "h\\inst"}, {"host": "h\\inst"}),
        ({"driver": "mssql://", "host": "tcp:h,1433"}, {"host": "h", "port": "1433"}),
        ({"driver": "sqlserver", "host": "h", "encrypt": "no"}, {"options": {"encrypt": "no"}}),
    ],
)
def test_the_fields_of_a_secret(
    fields: dict[str, str], facts: dict[str, object], tmp_path: Path
) -> None:
    login = {"user": f"u{ODD}", "password": ODD, "database": "d /?#%;é"}
    database = parse(_url(fields | login, "x"), tmp_path)
    for name, value in (login | facts).items():
        assert getattr(database, name) == value


def test_the_fields_of_an_odbc_secret(tmp_path: Path) -> None:
    fields = {"driver": "odbc", "odbc_driver": "A b", "host": "h", "user": "u", "password": ODD}
    keywords = parse(_url(fields, "x"), tmp_path).options
    assert keywords == {"driver": "A b", "server": "h", "uid": "u", "pwd": ODD}
    assert odbc_string.split(odbc_string.join(keywords)) == keywords


@pytest.mark.parametrize(
    "url",
    [
        f"postgres://u:{quote('hunter2;x')}@h/d?sslpassword=hunter3",
        f"sqlserver://sa:{quote('hunter2;x')}@h/d?accesstoken=hunter3",
        "odbc://Driver={X};Server=h;UID=u;PWD={hunter2;x};Secret=hunter3",
    ],
)
def test_passwords_show_nowhere(url: str, tmp_path: Path) -> None:
    database = parse(url, tmp_path)
    assert set(database.secrets) == {"hunter2;x", "hunter3"}
    told = f"{database!r} {database.display} {identity(database)} {database.key}"
    text = database.hide(
        f"{url} PWD={{hunter2;x}}; password='hunter2;x' hunter2%3Bx hunter2;x {database.password}"
    )
    assert "hunter" not in told + text


def test_what_looks_like_a_password_is_hidden_too(tmp_path: Path) -> None:
    database = parse("x.duckdb", tmp_path)
    text = "postgres://u:abc@h/d Driver=x;PWD={a;}}b};UID=u password=q1 Password = 'x y', rest"
    assert database.hide(text) == (
        "postgres://u:***@h/d Driver=x;PWD=***;UID=u password=*** Password = ***, rest"
    )


def test_a_short_password_hides_words_alone(tmp_path: Path) -> None:
    database = parse("postgres://u:a@h/d", tmp_path)
    assert database.hide("a table has a column") == "*** table has *** column"


def test_the_password_tells_keys_but_not_identities_apart(tmp_path: Path) -> None:
    one, two = (parse(f"postgres://u:{word}@H:5432/d", tmp_path) for word in ("a", "b"))
    assert one.key != two.key
    assert identity(one) == identity(two) == "postgres h:5432/d u"
    assert identity(parse("postgresql://u@h/d", tmp_path)) == identity(one)
    assert parse("mssql://h/d", tmp_path).key == parse("sqlserver://h/d", tmp_path).key


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("duckdb /w.duckdb 1:2", "duckdb /w.duckdb 1:2:99", True),  # as an earlier release had it
        ("duckdb /w.duckdb 1:2:99", "duckdb /w.duckdb 1:2", True),
        ("duckdb /w.duckdb 1:2:99", "duckdb /w.duckdb 1:2:99", True),
        ("duckdb /w.duckdb 1:2:99", "duckdb /w.duckdb 1:2:98", False),
        ("duckdb /w.duckdb 1:2", "duckdb /w.duckdb 1:3:99", False),
        ("duckdb /w.duckdb 1:2", "sqlite /w.duckdb 1:2:99", False),
        ("sqlite /w 1:2.db (absent)", "sqlite /w 1:2.db 1:2:99", False),
        ("postgres h:5432/d 1:2", "postgres h:5432/d 1:2:9", False),
        ("postgres h:5432/d", "postgres h:5432/d:9", False),
    ],
)
def test_identities_of_one_database(one: str, other: str, same: bool) -> None:
    assert same_identity(one, other) is same
    assert same_identity(other, one) is same


def test_a_file_made_anew_is_another_database(tmp_path: Path) -> None:
    database = parse("sqlite://x.db", tmp_path)
    assert identity(database).endswith("(absent)")
    (tmp_path / "x.db").touch()
    first = identity(database)
    (tmp_path / "x.db").rename(tmp_path / "y.db")
    (tmp_path / "x.db").touch()
    assert identity(database) != first


def test_a_near_scheme_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(InvalidConnection) as caught:
        parse("dukdb://w.duckdb", tmp_path)
    assert caught.value.hint == 'Did you mean "duckdb://"?'


def test_several_hosts_are_shown_each_with_its_port(tmp_path: Path) -> None:
    shown = [
        parse(f"postgres://u:p@{hosts}/x", tmp_path).display
        for hosts in ("a:1,b:2", "a,b", "[::1]:5,b", "a")
    ]
    assert shown == [
        "postgres://u@a:1,b:2/x",
        "postgres://u@a,b/x",
        "postgres://u@[::1]:5,b/x",
        "postgres://u@a/x",
    ]


@pytest.mark.parametrize("scheme", ["mysql", "oracle", "snowflake"])
def test_a_database_that_only_odbc_reaches(tmp_path: Path, scheme: str) -> None:
    with pytest.raises(InvalidConnection) as caught:
        parse(f"{scheme}://u:p@h/x", tmp_path)
    assert "odbc://" in caught.value.hint
