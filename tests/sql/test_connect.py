"""Connection URLs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pit.errors import InvalidConnection
from pit.sql.connect import parse


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
        ("warehouse", "the connection names no database that Pit knows"),
        ("Driver=x;Server=y;Pwd=hunter2", "the connection names no database that Pit knows"),
        ("a\0b.duckdb", "the connection's path contains a NUL character"),
        ("a\udcff.duckdb", "the connection's path is not valid UTF-8"),
        ("dukdb://x:hunter2@y", 'connection with the unknown scheme "dukdb://"'),
        ("sqlserver://sa:hunter2@h/d", "SQL Server connections (sqlserver) are not yet supported"),
        ("mssql://sa:hunter2@h/d", "SQL Server connections (mssql) are not yet supported"),
        ("postgres://u:hunter2@h/d", "Postgres connections (postgres) are not yet supported"),
        ("postgresql+psycopg://u:hunter2@h", "Postgres connections (postgresql) are not yet"),
        ("sqlite:///x.db", "SQLite connections (sqlite) are not yet supported"),
        ("x.sqlite3", "SQLite connections (sqlite) are not yet supported"),
        ("odbc://Pwd=hunter2", "ODBC connections (odbc) are not yet supported"),
    ],
)
def test_what_is_refused(url: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidConnection) as caught:
        parse(url, tmp_path)
    assert sentence in str(caught.value)
    assert "hunter2" not in str(caught.value) + caught.value.hint
    assert caught.value.__cause__ is None


def test_a_near_scheme_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(InvalidConnection) as caught:
        parse("dukdb://w.duckdb", tmp_path)
    assert caught.value.hint == 'Did you mean "duckdb://"?'
