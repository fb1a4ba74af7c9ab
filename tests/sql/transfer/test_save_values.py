"""Values that a save hands on: as they are in the database, or refused by column, row and value."""

from __future__ import annotations

import struct

import pytest

from pit.sql.transfer.saving import _clock
from pit.sql.transfer.writing.spool import Column
from tests.sql.conftest import Conversation
from tests.sql.drivers.test_contract import Kind, kind  # noqa: F401 - a fixture
from tests.sql.transfer.moving import Mover, look

MEGABYTE = 1024**2

# What Postgres says of each, and what stands in the file: its type and its text.
POSTGRES = {
    "'0.123456789'::numeric": ("DECIMAL(9,9)", ".123456789"),
    "1e-9::numeric": ("DECIMAL(9,9)", ".000000001"),
    "12345678901234567890123456789012345678::numeric": (
        "DECIMAL(38,0)",
        "12345678901234567890123456789012345678",
    ),
    "12345::numeric(3,-2)": ("DECIMAL(5,0)", "12300"),
    "12.5::numeric(12,2)": ("DECIMAL(12,2)", "12.50"),
    "NULL::numeric(12,2)": ("DECIMAL(12,2)", None),
    "1.5::price": ("DECIMAL(12,2)", "1.50"),
    "1234.5::money": ("DECIMAL(19,2)", "1234.50"),
    "9223372036854775807::bigint": ("BIGINT", "9223372036854775807"),
    "(-32768)::smallint": ("SMALLINT", "-32768"),
    "4294967295::oid": ("BIGINT", "4294967295"),
    "0.1::real": ("FLOAT", "0.1"),
    "'-infinity'::real": ("FLOAT", "-inf"),
    "0.1::float8": ("DOUBLE", "0.1"),
    "5e-324::float8": ("DOUBLE", "5e-324"),
    "'NaN'::float8": ("DOUBLE", "nan"),
    "true": ("BOOLEAN", "true"),
    "'24:00'::time": ("TIME", "24:00:00"),
    "'23:59:59.999999'::time": ("TIME", "23:59:59.999999"),
    "'10:00+02'::timetz": ("VARCHAR", "10:00:00+02"),
    "'infinity'::date": ("DATE", "infinity"),
    "'0044-03-15 BC'::date": ("DATE", "0044-03-15 (BC)"),
    "'12026-01-01'::date": ("DATE", "12026-01-01"),
    "'-infinity'::timestamp": ("TIMESTAMP", "-infinity"),
    "'0044-03-15 01:02:03 BC'::timestamp": ("TIMESTAMP", "0044-03-15 (BC) 01:02:03"),
    "'2026-07-01 00:00:00.123456'::timestamp": ("TIMESTAMP", "2026-07-01 00:00:00.123456"),
    "'2026-07-01 00:00:00+02'::timestamptz": (
        "TIMESTAMP WITH TIME ZONE",
        "2026-06-30 22:00:00+00",
    ),
    "'0044-07-01 00:00:00+02 BC'::timestamptz": (
        "TIMESTAMP WITH TIME ZONE",
        "0044-06-30 (BC) 22:00:00+00",
    ),
    "'infinity'::timestamptz": ("TIMESTAMP WITH TIME ZONE", "infinity"),
    "'-1 mon 2 days'::interval": ("VARCHAR", "-1 mons +2 days"),
    "'{{1,2},{3,NULL}}'::int[]": ("VARCHAR", "{{1,2},{3,NULL}}"),
    "'{\"a b\"}'::text[]": ("VARCHAR", '{"a b"}'),
    "'5b0a1a3e-92c1-4a0b-8f57-111111111111'::uuid": (
        "UUID",
        "5b0a1a3e-92c1-4a0b-8f57-111111111111",
    ),
    "'{\"a\": 1}'::jsonb": ("JSON", '{"a": 1}'),
    "'[1, 2]'::json": ("JSON", "[1, 2]"),
    "'\\x00ff'::bytea": ("BLOB", "\\x00\\xFF"),
    "''::bytea": ("BLOB", ""),
    "''::text": ("VARCHAR", ""),
    "e'a\\r\\n\\tb'::varchar": ("VARCHAR", "a\r\n\tb"),
    "'ab'::char(4)": ("VARCHAR", "ab  "),
    "'x'::\"char\"": ("VARCHAR", "x"),
    "'x'::name": ("VARCHAR", "x"),
    "'101'::bit(3)": ("VARCHAR", "101"),
    "'1.2.3.4'::inet": ("VARCHAR", "1.2.3.4"),
    "'10.0.0.0/8'::cidr": ("VARCHAR", "10.0.0.0/8"),
    "'08:00:2b:01:02:03'::macaddr": ("VARCHAR", "08:00:2b:01:02:03"),
    "'<a/>'::xml": ("VARCHAR", "<a/>"),
    "'low'::mood": ("VARCHAR", "low"),
    "row(1, 'x')": ("VARCHAR", "(1,x)"),
    "'[1,3)'::int4range": ("VARCHAR", "[1,3)"),
    "'(1,2)'::point": ("VARCHAR", "(1,2)"),
    "'a & b'::tsquery": ("VARCHAR", "'a' & 'b'"),
    "NULL": ("VARCHAR", None),
}
REFUSED = {
    "SELECT NULL::numeric AS v UNION ALL SELECT 'NaN'": (
        'column "v", row 2: "NaN" is not a decimal number'
    ),
    "SELECT 'Infinity'::numeric AS v": 'row 1: "Infinity" is not a decimal number',
    "SELECT v::numeric FROM (VALUES ('1e30'), ('1e-20')) AS t(v)": (
        'column "v", row 2: "0.00000000000000000001" needs 31 digits before the point or 20'
    ),
    "SELECT '294276-12-31 23:59:59'::timestamp AS v": (
        'row 1: "294276-12-31 23:59:59" is not a TIMESTAMP'
    ),
}


@pytest.mark.parametrize("kind", ["odbc-postgres"], indirect=True)
def test_postgres_by_odbc_hands_over_each_value_as_it_is_or_names_it(
    lasting: Conversation,
    kind: Kind,  # noqa: F811
) -> None:
    mover = Mover(lasting, kind.url)
    mover.run("CREATE DOMAIN price AS numeric(12,2); CREATE TYPE mood AS ENUM ('low', 'high')")
    values = ", ".join(f"{value} AS v{number}" for number, value in enumerate(POSTGRES))
    path = mover.saves(f"SELECT {values}\n-- the end")
    shown = ", ".join(f"typeof(v{n}), CAST(v{n} AS VARCHAR)" for n in range(len(POSTGRES)))
    (row,) = look(path, f"SELECT {shown} FROM file")
    assert dict(zip(POSTGRES, zip(row[::2], row[1::2], strict=True), strict=True)) == POSTGRES
    for query, words in REFUSED.items():
        failure = mover.save(query).failure
        assert failure is not None, query
        assert words in failure.message
        assert "cast it" in failure.message or "is not a" in failure.message
    # What cannot be a part of another query is sent as it is.
    mover.run("CREATE TABLE t (a integer, n numeric)")
    returned = mover.saves("INSERT INTO t VALUES (1, 0.1234567890) RETURNING a, n, 'x' AS x")
    assert look(returned, "SELECT a, CAST(n AS VARCHAR), x FROM file") == [(1, ".123456789", "x")]
    assert mover.rows("SELECT count(*) FROM t") == [(1,)]
    failure = mover.save(
        "WITH made AS (INSERT INTO t VALUES (2, 0) RETURNING a) SELECT time '24:00' AS v FROM made"
    ).failure
    assert failure is not None
    assert "cast the column to text" in failure.message


SQLITE = """
CREATE TABLE t (
    id INTEGER, amount DECIMAL(12,2), small SMALLINT, single FLOAT, day DATE, moment DATETIME,
    flag BOOLEAN, data BLOB, name TEXT, anything
)
"""
GOOD = {
    # column: its values, the type of the file and their texts there
    "amount": ("(12.5), (3), (NULL)", "DECIMAL(12,2)", ["12.50", "3.00", None]),
    "amount ": ("(0.1 + 0.2), (3)", "DOUBLE", ["0.30000000000000004", "3.0"]),
    "small": ("(-32768), (NULL)", "SMALLINT", ["-32768", None]),
    "single": ("(0.1), (9e999), (-9e999)", "DOUBLE", ["0.1", "inf", "-inf"]),
    "single ": ("(0.5), (-2)", "FLOAT", ["0.5", "-2.0"]),
    "day": ("('2026-01-31'), ('2026-01-31 00:00:00')", "DATE", ["2026-01-31"] * 2),
    "day ": (
        "('2026-01-31'), ('2026-01-31 12:00:00')",
        "TIMESTAMP",
        ["2026-01-31 00:00:00", "2026-01-31 12:00:00"],
    ),
    "flag": ("(1), (0), ('true'), (NULL)", "BOOLEAN", ["true", "false", "true", None]),
    "data": ("(x'00ff'), (x''), (NULL)", "BLOB", ["\\x00\\xFF", "", None]),
    "name": ("('a' || char(0) || 'é🚲\"\\'), (''), (NULL)", "VARCHAR", ['a\0é🚲"\\', "", None]),
    "anything": ("(9223372036854775807), (-1)", "BIGINT", ["9223372036854775807", "-1"]),
    "anything ": ("(1), (0.1)", "DOUBLE", ["1.0", "0.1"]),
}
BAD = {
    "amount": ("(1), ('ten')", 'row 2: "ten" is not a DECIMAL(12,2)'),
    "small": ("(1), (NULL), (32768)", 'row 3: "32768" is not a SMALLINT'),
    "small ": ("(1), (1.5)", 'row 2: "1.5" is not a SMALLINT'),
    "day": ("('31.01.2026')", 'row 1: "31.01.2026" is not a DATE'),
    "moment": (
        "('2026-01-31 12:00:00.1234567')",
        'row 1: "2026-01-31 12:00:00.1234567" is not a TIMESTAMP',
    ),
    "flag": ("(1), (2)", 'row 2: "2" is not a BOOLEAN'),
    "data": ("(x'00'), ('text')", "binary data in row 1, a text in row 2"),
    "name": ("(x'00ff')", "is declared as varchar and has binary data in row 1"),
    "anything": ("(9007199254740993), (0.5)", 'row 1: "9007199254740993" is not a DOUBLE'),
}


def test_sqlite_hands_over_each_value_as_it_is_or_names_it(lasting: Conversation) -> None:
    mover = Mover(lasting, f"sqlite://{lasting.cwd}/w.sqlite")
    mover.run(SQLITE)
    for column, (values, of, texts) in GOOD.items():
        mover.run(f"DELETE FROM t; INSERT INTO t ({column}) VALUES {values}")
        path = mover.saves(f"SELECT {column} AS v FROM t")
        rows = look(path, "SELECT typeof(v), CAST(v AS VARCHAR) FROM file")
        assert rows == [(of, text) for text in texts], column
    for column, (values, words) in BAD.items():
        mover.run(f"DELETE FROM t; INSERT INTO t ({column}) VALUES {values}")
        failure = mover.save(f"SELECT {column} AS v FROM t").failure
        assert failure is not None, column
        assert failure.message.startswith('column "v"')
        assert words in failure.message
    assert [path.name for path in mover.data.iterdir()] == ["back.parquet"]


def test_a_save_keeps_the_order_of_rows_of_any_width(lasting: Conversation) -> None:
    mover = Mover(lasting, f"sqlite://{lasting.cwd}/w.sqlite")
    rows = "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 5000)"
    # Some of 2 MB between many of nothing: lines of every length.
    wide = "printf('%.*c', CASE WHEN i % 1000 = 7 THEN 2000000 ELSE i % 50 END, 'x') AS text"
    path = mover.saves(f"{rows} SELECT i, NULL AS empty, {wide} FROM r")
    whole = "count(*), bool_and(i = rowid + 1), sum(length(text)), count(empty)"
    sizes = sum(2_000_000 if i % 1000 == 7 else max(1, i % 50) for i in range(1, 5001))
    numbered = "(SELECT *, row_number() OVER () - 1 AS rowid FROM file)"
    assert look(path, f"SELECT {whole} FROM {numbered}") == [(5000, True, sizes, 0)]


def test_the_memory_of_a_save_does_not_grow_with_its_rows(talk: Conversation) -> None:
    mover = Mover(talk, "sqlite://w.sqlite")
    rows = "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < {})"
    query = f"{rows} SELECT i, hex(randomblob(500)) AS v FROM r"
    few, many = (mover.save(query.format(count), "x.parquet") for count in (1_000, 150_000))
    assert (few.failure, many.failure) == (None, None)
    if few.peak_memory and many.peak_memory:
        # DuckDB's limit is 192 MB; without it, 550 are taken.
        assert many.peak_memory - few.peak_memory < 320 * MEGABYTE


def test_a_time_of_sql_server_keeps_its_seventh_digit() -> None:
    def column(*nanos: int) -> Column:
        found = Column("t", "TIME")
        found.taken([_clock(struct.pack("<3h2xI", 23, 59, 59, each)) for each in nanos], 0)
        return found

    assert column(0, 123456000).wanted().text == "TIME"
    assert column(0, 123456700).wanted().text == "VARCHAR"
    assert _clock(struct.pack("<3h2xI", 1, 2, 3, 123456700)) == "01:02:03.123456700"
