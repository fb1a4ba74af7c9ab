"""Loads and saves on every kind of database: modes, matching, casts, rejects, hostile names."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from pit.model import ColumnRule, CsvFormat, LoadMode, MissingColumns
from tests.sql.conftest import Conversation
from tests.sql.drivers.test_contract import Kind, kind  # noqa: F401 - a fixture
from tests.sql.transfer.moving import Mover, look

TEN = "SELECT i::INTEGER AS id, 'n' || i AS name FROM range(10) r(i)"
ALL = "SELECT id, name FROM t ORDER BY id"


@pytest.fixture
def mover(lasting: Conversation, kind: Kind) -> Mover:  # noqa: F811
    # The SQL process has the working folder of an earlier test.
    return Mover(lasting, kind.url.replace("=w.sqlite", f"={lasting.cwd}/w.sqlite"))


@pytest.fixture
def duck(lasting: Conversation) -> Mover:
    return Mover(lasting, "duckdb://w.duckdb")


# ---------------------------------------------------------------- modes, on every database


def test_append_makes_the_table_and_adds_to_it(mover: Mover) -> None:
    mover.file(TEN)
    assert mover.loads().rows == 10
    assert "10 rows read, 10 loaded into t" in mover.talk.log()
    mover.file("SELECT 10::INTEGER AS id, NULL::VARCHAR AS name")
    mover.loads()
    assert mover.rows(ALL) == [*((i, f"n{i}") for i in range(10)), (10, None)]


def test_truncate_and_load_replaces_all_rows(mover: Mover) -> None:
    mover.file(TEN)
    mover.loads()
    mover.file("SELECT 7::INTEGER AS id, 'x' AS name")
    mover.loads(mode=LoadMode.TRUNCATE_AND_LOAD)
    assert mover.rows(ALL) == [(7, "x")]


def test_create_or_replace_makes_other_columns(mover: Mover) -> None:
    mover.file(TEN)
    mover.loads()
    mover.file("SELECT 1.5::DOUBLE AS amount")
    mover.loads(mode=LoadMode.CREATE_OR_REPLACE)
    assert mover.rows("SELECT * FROM t") == [(1.5,)]


def test_an_empty_file_makes_an_empty_table(mover: Mover) -> None:
    mover.file(f"{TEN} WHERE i < 0")
    assert mover.loads().rows == 0
    assert mover.rows(ALL) == []


def test_upsert_updates_and_inserts(mover: Mover) -> None:
    mover.file(TEN)
    mover.loads(mode=LoadMode.UPSERT, key=("id",))
    mover.file("SELECT i::INTEGER AS id, 'new' AS name FROM range(8, 12) r(i)")
    mover.loads(mode=LoadMode.UPSERT, key=("id",))
    assert "4 loaded into t (2 new, 2 updated)" in mover.talk.log()
    rows = mover.rows(ALL)
    assert [name for _, name in rows[7:]] == ["n7", "new", "new", "new", "new"]


def test_upsert_refuses_keys_that_come_twice_or_are_null(mover: Mover) -> None:
    mover.file(TEN)
    mover.loads(mode=LoadMode.UPSERT, key=("id",))
    mover.file("SELECT * FROM (VALUES (1, 'a'), (1, 'b'), (2, 'c')) t(id, name)")
    said = mover.fails(mode=LoadMode.UPSERT, key=("id",))
    assert said == "the key (id) is not unique in what is loaded: 1 (2 times)"
    mover.file("SELECT NULL::INTEGER AS id, 'x' AS name")
    assert mover.fails(mode=LoadMode.UPSERT, key=("id",)) == "the key (id) is NULL in 1 row"
    assert mover.rows(ALL) == [(i, f"n{i}") for i in range(10)]


def test_hostile_column_and_table_names_are_names(mover: Mover) -> None:
    mover.file(TEN)
    mover.loads()
    names = ['x"); DROP TABLE t; --', "a b", "select", "ÄÖ", "x;y", "it's", "tab]"]
    columns = ", ".join(f"{n} AS {_quoted(name)}" for n, name in enumerate(names))
    mover.file(f"SELECT {columns}", "odd.parquet")
    mover.loads("odd.parquet", '"Odd ""name; --"')
    if "SQLite3" in mover.url:
        pytest.skip("the driver gives names outside ASCII back broken")
    back = mover.saves('SELECT * FROM "Odd ""name; --"')
    with duckdb.connect() as connection:
        header = connection.execute(f"SELECT * FROM '{back}'").description or ()
    assert [column[0] for column in header] == names
    assert len(mover.rows(ALL)) == 10


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def test_a_value_that_does_not_fit_the_table_leaves_it_as_it_was(mover: Mover) -> None:
    mover.file("SELECT i::SMALLINT AS id, 'n' AS name FROM range(3) r(i)")
    mover.loads()
    mover.file("SELECT i::BIGINT * 30000 AS id, 'n' AS name FROM range(3) r(i)")
    said = mover.fails(mode=LoadMode.TRUNCATE_AND_LOAD)
    if mover.url.startswith(("sqlite", "odbc://Driver%3DSQLite")) or "SQLite3" in mover.url:
        pytest.skip("SQLite's columns say more than they hold")
    assert 'rows.parquet, row 3, column "id": "60000" is no' in said
    assert mover.rows(ALL) == [(0, "n"), (1, "n"), (2, "n")]


def test_five_hundred_columns(mover: Mover) -> None:
    mover.file(f"SELECT {', '.join(f'{i} AS c{i}' for i in range(500))}")
    mover.loads()
    assert mover.rows("SELECT * FROM t") == [tuple(range(500))]


def test_a_save_that_fails_leaves_no_file(mover: Mover) -> None:
    done = mover.save("SELECT * FROM no_such_table")
    assert done.failure is not None
    assert not list(mover.data.iterdir())


# ---------------------------------------------------------------- what is read


def test_files_of_a_pattern_in_a_stable_order(duck: Mover) -> None:
    for number in (2, 10, 1):
        duck.file(f"SELECT {number} AS id", f"part-{number:02}.parquet")
    duck.loads("part-*.parquet")
    assert "3 rows read of 3 files" in duck.talk.log()
    assert duck.rows("SELECT id FROM t ORDER BY rowid") == [(1,), (2,), (10,)]


def test_a_file_that_lacks_a_column_is_an_error_unless_told(duck: Mover) -> None:
    duck.file("SELECT 1 AS id, 'x' AS name", "a.parquet")
    duck.file("SELECT 'y' AS name", "b.parquet")
    said = duck.fails("*.parquet")
    assert said.startswith('b.parquet lacks the column "id", which other files have')
    duck.loads("*.parquet", missing_columns=MissingColumns.NULL)
    assert duck.rows("SELECT id, name FROM t ORDER BY name") == [(1, "x"), (None, "y")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.csv", 'id,name\n1,007\n2,\n3,""\n'),
        ("x.jsonl", '{"id":1,"name":"007"}\n{"id":2}\n{"id":3,"name":""}\n'),
    ],
)
def test_texts_nulls_and_leading_zeros(duck: Mover, name: str, text: str) -> None:
    (duck.data / name).write_text(text)
    duck.loads(name)
    assert duck.rows(ALL) == [(1, "007"), (2, None), (3, "")]


def test_csv_as_it_says_it_is_written(duck: Mover) -> None:
    (duck.data / "x.csv").write_bytes("1;M\xfcller\n2;-\n".encode("latin-1"))
    form = CsvFormat(delimiter=";", header=False, null="-", encoding="latin-1")
    duck.loads("x.csv", csv=form, columns={"column0": ColumnRule(name="id")})
    assert duck.rows("SELECT id, column1 FROM t ORDER BY id") == [(1, "Müller"), (2, None)]


def test_columns_are_renamed_cast_and_left_out(duck: Mover) -> None:
    duck.file("SELECT '1.005' AS amount, 'x' AS old, 5 AS unused")
    rules = {
        "amount": ColumnRule(type="decimal(18,2)"),
        "old": ColumnRule(name="new"),
        "unused": ColumnRule(skip=True),
    }
    duck.loads(columns=rules)
    assert [str(value) for value in duck.rows("SELECT * FROM t")[0]] == ["1.01", "x"]
    assert duck.fails(columns={"no": ColumnRule(name="x")}).startswith("columns names columns that")
    assert '"nonsense" is not a type' in duck.fails(columns={"old": ColumnRule(type="nonsense")})


def test_what_does_not_fit_is_never_rounded(duck: Mover) -> None:
    duck.run("CREATE TABLE t (id INTEGER, day DATE, amount DECIMAL(10,2))")
    for column, value in (("id", "1.5"), ("day", "TIMESTAMP '2026-01-01 10:00:00'"),
                          ("amount", "1.005")):  # fmt: skip
        duck.file(f"SELECT {value} AS {column}")
        assert f'row 1, column "{column}"' in duck.fails()
    (duck.data / "x.csv").write_text("id,amount\n1,1.005\n")
    assert 'x.csv, row 1, column "amount": "1.005" is not a decimal(10,2)' in duck.fails("x.csv")


def test_columns_that_the_table_has_not_are_named(duck: Mover) -> None:
    duck.file(TEN)
    duck.loads()
    duck.file("SELECT 1 AS id, 2 AS nmae")
    assert duck.fails().startswith('the table t has no column "nmae"')
    duck.file("SELECT 1 AS ID")
    duck.loads()
    assert "no file has: name; they get their defaults" in duck.talk.log()


def test_no_file_no_folder_no_format(duck: Mover) -> None:
    assert duck.fails("no.parquet").startswith("there is no file no.parquet")
    assert duck.fails("no*.parquet").startswith("no file matches no*.parquet")
    (duck.data / "x.dat").write_text("a\n1\n")
    assert "says nothing about its format" in duck.fails("x.dat")
    duck.loads("x.dat", format="csv")
    (duck.data / "folder").mkdir()
    assert duck.fails("folder").startswith("folder is a folder")


def test_the_project_is_looked_at_after_the_data_folder(duck: Mover) -> None:
    (duck.talk.cwd / "seed.csv").write_text("id\n1\n")
    duck.loads("seed.csv")
    (duck.data / "seed.csv").write_text("id\n2\n")
    duck.loads("seed.csv", mode=LoadMode.TRUNCATE_AND_LOAD)
    assert duck.rows("SELECT id FROM t") == [(2,)]


# ---------------------------------------------------------------- rejects


def test_rejects_are_told_kept_and_counted(duck: Mover) -> None:
    duck.run("CREATE TABLE t (id INTEGER, name VARCHAR)")
    (duck.data / "x.csv").write_text("id,name\n1,a\nx,b\n3,c\n4\n")
    said = duck.fails("x.csv")
    assert "line 5" in said or 'row 2, column "id": "x" is not an integer' in said
    duck.loads("x.csv", max_rejects=5)
    assert "2 rejected, kept in data/load.rejects.parquet" in duck.talk.log()
    assert duck.rows(ALL) == [(1, "a"), (3, "c")]
    kept = look(duck.data / "load.rejects.parquet", "SELECT row, value FROM file ORDER BY row")
    assert (2, "x") in kept
    records = look(duck.data / "load.rejects.parquet", "SELECT record FROM file WHERE row = 2")
    assert records == [('{"id":"x","name":"b"}',)]
    assert duck.fails("x.csv", max_rejects=1).startswith("2 rows cannot be loaded, more than")


def test_a_long_value_is_shown_shortened(duck: Mover) -> None:
    duck.run("CREATE TABLE t (id INTEGER)")
    duck.file("SELECT repeat('x', 100000) AS id")
    assert len(duck.fails()) < 400


# ---------------------------------------------------------------- the predecessor's corruptions


def test_a_load_that_fails_after_truncate_leaves_the_rows(mover: Mover) -> None:
    mover.file(TEN)
    mover.loads()
    mover.file("SELECT 1::INTEGER AS id, 'x' AS name, 'no such column' AS extra")
    mover.fails(mode=LoadMode.TRUNCATE_AND_LOAD)
    mover.file("SELECT i::INTEGER AS id, CASE WHEN i < 30000 THEN 'x' ELSE error('broken') END "
               "AS name FROM range(29999) r(i)")  # fmt: skip
    path = mover.data / "rows.parquet"
    path.write_bytes(path.read_bytes()[:-20_000] + b"\0" * 20_000)
    mover.fails(mode=LoadMode.TRUNCATE_AND_LOAD)
    assert mover.rows(ALL) == [(i, f"n{i}") for i in range(10)]


CORRUPTED = {
    "decimals": "12.50::DECIMAL(38,10)",
    "uuids": "'5b0a1a3e-92c1-4a0b-8f57-111111111111'::UUID",
    "unsigned": "65535::USMALLINT",
    "seconds": "'2026-01-31 12:00:00'::TIMESTAMP_S",
    "milliseconds": "'2026-01-31 12:00:00.123'::TIMESTAMP_MS",
    "far_dates": "DATE '1500-01-01'",
    "later_dates": "DATE '2300-01-01'",
    "nulls": "NULL::INTEGER",
}


def test_predecessor_corrupted(mover: Mover) -> None:
    for what, value in CORRUPTED.items():
        file = mover.file(f"SELECT {value} AS v", f"{what}.parquet")
        mover.loads(f"{what}.parquet", what)
        back = mover.saves(f"SELECT v FROM {what}")
        # By ODBC, SQLite has texts for what it has no type for.
        v = "v::VARCHAR" if "SQLite3" in mover.url else "v"
        query = f"SELECT {v} IS NOT DISTINCT FROM (SELECT {v} FROM '{file}') FROM file"
        assert look(back, query) == [(True,)], what


def test_saved_text_forms(duck: Mover, tmp_path: Path) -> None:
    query = "SELECT 1 AS a, NULL AS b, '' AS c, [1, 2] AS d, 0.1::DECIMAL(38,10) AS e"
    assert duck.saves(query, "x.csv").read_text() == 'a,b,c,d,e\n1,,"","[1,2]",0.1000000000\n'
    assert duck.saves(query, "x.jsonl").read_text() == (
        '{"a":1,"b":null,"c":"","d":[1,2],"e":0.1000000000}\n'
    )
    for bad, said in (
        ("SELECT 1 AS a, 2 AS A", "two columns are called"),
        ("SELECT '\\x00'::BLOB AS a", 'column "a" is binary'),
        ("SELECT 'nan'::DOUBLE AS a", "neither NaN nor infinity"),
    ):
        done = duck.save(bad, "y.jsonl")
        assert done.failure is not None
        assert said in done.failure.message
    assert not (duck.data / "y.jsonl").exists()
