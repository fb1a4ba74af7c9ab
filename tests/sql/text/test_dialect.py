"""Names of tables and columns, whatever they hold."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import duckdb
import pytest

from pit.sql.text.dialect import (
    ANSI,
    DUCKDB,
    MYSQL,
    POSTGRES,
    SQLITE,
    SQLSERVER,
    BadName,
    Dialect,
    Table,
    of_kind,
    of_product,
)

_ALL = (DUCKDB, POSTGRES, SQLSERVER, SQLITE, MYSQL, ANSI)
ODD = 'x"); DROP TABLE t; --'


@pytest.mark.parametrize("dialect", _ALL, ids=lambda one: one.name)
@pytest.mark.parametrize("name", ["a", "A b", ODD, "[x]]", "`x``", "a.b", "ü 😀", "'", "%s ?"])
def test_a_quoted_name_reads_back_as_itself(dialect: Dialect, name: str) -> None:
    assert dialect.table(dialect.quote(name)) == Table(name=name)
    table = Table(name=name, schema="s t")
    assert dialect.table(dialect.quoted(table)) == table


@pytest.mark.parametrize(
    ("dialect", "written", "quoted"),
    [
        (DUCKDB, "t", '"t"'),
        (DUCKDB, "Mart.Delays", '"Mart"."Delays"'),
        (DUCKDB, "lake.mart.t", '"lake"."mart"."t"'),
        (POSTGRES, "Mart.Delays", '"mart"."delays"'),
        (POSTGRES, ' "Mart" . Delays'.replace(" . ", "."), '"Mart"."delays"'),
        (POSTGRES, "Ünder", '"Ünder"'),
        (SQLSERVER, "dbo.T", "[dbo].[T]"),
        (SQLSERVER, "db..T", "[db]..[T]"),
        (SQLSERVER, '[a]]b]."c""d"', '[a]]b].[c"d]'),
        (SQLSERVER, "srv.db.dbo.t", "[srv].[db].[dbo].[t]"),
        (SQLITE, "`a b`.[c]", '"a b"."c"'),
        (MYSQL, "a.b", "`a`.`b`"),
        (ANSI, "My table", '"My table"'),
    ],
)
def test_what_a_person_writes(dialect: Dialect, written: str, quoted: str) -> None:
    assert dialect.quoted(dialect.table(written)) == quoted


@pytest.mark.parametrize(
    ("dialect", "written", "sentence"),
    [
        (DUCKDB, "", "lacks a part"),
        (DUCKDB, "a..b", "lacks a part"),
        (DUCKDB, ".b", "lacks a part"),
        (DUCKDB, "b.", "lacks a part"),
        (POSTGRES, "a.b.c", "at most 2"),
        (SQLSERVER, "a.b.c.d.e", "at most 4"),
        (DUCKDB, '"a', "not closed"),
        (DUCKDB, '"a"b', "goes on after"),
        (DUCKDB, ODD, "quote or semicolon"),
        (DUCKDB, "t; drop table x", "quote or semicolon"),
        (DUCKDB, "a\0b", "NUL"),
        (POSTGRES, "ü" * 32, "64 bytes long; Postgres takes at most 63"),
        (SQLSERVER, "n" * 129, "129 characters long"),
    ],
)
def test_names_that_cannot_be(dialect: Dialect, written: str, sentence: str) -> None:
    with pytest.raises(BadName, match=sentence):
        dialect.table(written)


def test_quoting_holds_in_real_databases() -> None:
    with duckdb.connect() as duck, closing(sqlite3.connect(":memory:")) as lite:
        _hold(duck.execute)
        _hold(lite.execute)


def _hold(execute: Callable[[str], Any]) -> None:
    execute("CREATE TABLE t (a INT)")
    execute(f"CREATE TABLE {DUCKDB.quote(ODD)} ({DUCKDB.quote(ODD)} INT)")
    execute(f"INSERT INTO {DUCKDB.quote(ODD)} VALUES (1)")
    query = f"SELECT {DUCKDB.literal(ODD)}, {DUCKDB.quote(ODD)} FROM {DUCKDB.quote(ODD)}"
    assert execute(query).fetchall() == [(ODD, 1)]
    assert execute("SELECT count(*) FROM t").fetchall() == [(0,)]


def test_literals() -> None:
    assert SQLSERVER.literal("it's é") == "N'it''s é'"
    assert POSTGRES.literal("a\\'b") == " E'a\\\\''b'"
    with pytest.raises(BadName):
        DUCKDB.literal("a\0")


def test_the_default_schema() -> None:
    assert str(SQLSERVER.in_schema(SQLSERVER.table("t"))) == "dbo.t"
    assert str(POSTGRES.in_schema(POSTGRES.table("t"))) == "t"  # its search_path decides
    assert str(DUCKDB.in_schema(DUCKDB.table("mart.t"))) == "mart.t"


def test_dialects_are_found_by_kind_and_by_product() -> None:
    assert of_kind("odbc") is ANSI
    assert of_kind("postgres") is POSTGRES
    assert of_product("PostgreSQL") is POSTGRES
    assert of_product("Microsoft SQL Server") is SQLSERVER
    assert of_product("SQLite") is SQLITE
    assert of_product("Something") is ANSI
