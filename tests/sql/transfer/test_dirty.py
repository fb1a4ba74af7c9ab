"""Files as they come: broken, cut off, empty, oddly encoded; nothing of them is lost unsaid."""

from __future__ import annotations

import codecs
import gzip
import time
from decimal import Decimal

import pytest

from pit.model import CsvFormat, LoadMode
from pit.sql.transfer.reading.delimited import CsvFiles
from tests.servers.postgres import Server
from tests.sql.conftest import Conversation
from tests.sql.drivers.test_contract import Kind, kind  # noqa: F401 - a fixture
from tests.sql.transfer.moving import Mover


@pytest.fixture
def mover(lasting: Conversation, kind: Kind) -> Mover:  # noqa: F811
    # The SQL process has the working folder of an earlier test.
    return Mover(lasting, kind.url.replace("=w.sqlite", f"={lasting.cwd}/w.sqlite"))


@pytest.fixture
def duck(lasting: Conversation) -> Mover:
    return Mover(lasting, "duckdb://w.duckdb")


def _write(mover: Mover, name: str, data: str | bytes) -> str:
    (mover.data / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return name


# ---------------------------------------------------------------- types of CSV


def test_what_a_csv_file_turns_out_to_hold_is_what_the_new_table_gets(mover: Mover) -> None:
    lines = "id,day,amount,name\n12345678,2026-01-31,1.5,a\n,,,\n7,2026-02-01,2,12345678\n"
    mover.loads(_write(mover, "x.csv", lines))
    rows = mover.rows("SELECT id, amount, name FROM t")
    assert sorted(rows, key=str) == sorted(
        [(12345678, 1.5, "a"), (None, None, None), (7, 2.0, "12345678")], key=str
    )
    if "postgres" in mover.url.lower():
        types = "SELECT pg_typeof(id)::text AS i, pg_typeof(day)::text AS d FROM t LIMIT 1"
        assert mover.rows(types) == [("bigint", "date")], "an empty cell says nothing of a type"


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1234567890123456789", 1234567890123456789),
        ("12345678901234567890", Decimal("12345678901234567890")),
        ("0.1234567890123456789", "0.1234567890123456789"),
        ("1" * 50, "1" * 50),
        ("-0.30000000000000004", -0.30000000000000004),
        ("1e-7", 1e-7),
        ("00123", "00123"),
    ],
)
def test_no_digit_is_lost(duck: Mover, cell: str, value: object) -> None:
    duck.loads(_write(duck, "x.csv", f"a,b\n{cell},1\n"), mode=LoadMode.CREATE_OR_REPLACE)
    assert duck.rows("SELECT a FROM t") == [(value,)]


# ---------------------------------------------------------------- CSV


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b"\xef\xbb\xbfa,b\n1,x\n", [(1, "x")]),
        (b"a,b\r\n1,x\r\n", [(1, "x")]),
        (b"a,b\r1,x\r", [(1, "x")]),
        (b"a,b\n", []),
        (b"a,b", []),
        (b'a,b\n1,"x ""y"", z\nw"\n', [(1, 'x "y", z\nw')]),
        (b"a;b\n1;x,y\n", [(1, "x,y")]),
        (b"a,b,\n1,x,\n", [(1, "x", None)]),
    ],
)
def test_csv_as_it_comes(duck: Mover, data: bytes, rows: list[tuple[object, ...]]) -> None:
    duck.loads(_write(duck, "x.csv", data), mode=LoadMode.CREATE_OR_REPLACE)
    assert duck.rows("SELECT * FROM t") == rows


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", "x.csv is empty"),
        ("a,A\n1,2\n", 'x.csv: the columns "a" and "A" differ only in case'),
        ("a,a\n1,2\n", 'x.csv has two columns "a"'),
        ("\na,b\n1,2\n", "x.csv begins with an empty line, where its column names should be"),
        (b"a\xfc,b\n1,2\n", "x.csv, line 1 is not UTF-8: byte 2 of it is 0xFC"),
        ("a\0,b\n1,2\n", "x.csv, line 1 has NUL bytes: it is no text, or in another encoding"),
        ("a,b\n1,ü\n".encode("utf-16-le"), "x.csv, line 1 has NUL bytes"),
        ("a,b\n1,ü\n".encode("utf-32"), "x.csv is UTF-32, which is not read"),
        ('a,b\r\n1,"x\ny"\r\n2,z\n3,4\r\n', "x.csv: its lines end in CRLF and, from line 4, in"),
        ('a,b\r\n1,"2"\r\n3,"4"\n', "x.csv: its lines end in CRLF and, from line 3, in LF"),
        ("a,b\n1,2\r3,4\n", "x.csv: its lines end in LF and, from line 2, in CR; make them alike"),
        ("a,b\r1,2\n3,4\n", "x.csv: its lines end in CR and, from line 2, in LF; make them"),
        ('a,b\n1,"x\ny\nz"\n2\n', "x.csv, line 5: 1 value where 2 are expected: 2"),
        ('a,b\n1,"x\n2,"y"\n', "x.csv, line 2: a quote is opened and not closed, or one on line 3"),
        ('a,b\n1,"x"y\n', "x.csv, line 2: a text stands behind a closing quote"),
        ("a,b\r\n1,2\n3,4\n", "x.csv: its lines end in CRLF and, from line 2, in LF; make them"),
        ("a,b\n1,2\n1\n", "x.csv, line 3: 1 value where 2 are expected: 1"),
        ("a,b\n1,2,3\n", "x.csv, line 2: 3 values where 2 are expected: 1,2,3"),
        ('a,b\n1,"x\n2,y\n', 'x.csv, line 2: a quote is opened and not closed: 1,"x'),
        ("a,b\n1,ü\n".encode("latin-1"), "x.csv, line 2 is not UTF-8: byte 3 of it is 0xFC; name"),
        ("a,b\n1,ü\n".encode("utf-16"), "x.csv is UTF-16; say so: csv = {"),
        (f"{'a' * 200_000},b\n1\n", "x.csv, line 2: 1 value where 2 are expected: 1"),
    ],
)
def test_csv_that_cannot_be_read(duck: Mover, data: str | bytes, said: str) -> None:
    assert duck.fails(_write(duck, "x.csv", data)).startswith(said)


def test_a_quote_within_a_name_does_not_have_all_of_the_file_looked_at(duck: Mover) -> None:
    rows = 2_000_000  # each of them copied again for the next, this took a minute
    file = _write(duck, "x.csv", 'a"b\n' + "1\n" * rows)
    begun = time.process_time()
    CsvFiles(CsvFormat(), str, rejects=False).relation([str(duck.data / file)])
    assert time.process_time() - begun < 10
    assert duck.loads(file).rows == rows


def test_utf16_has_its_columns_by_their_names(duck: Mover) -> None:
    form = CsvFormat(encoding="utf-16")
    for number, header in enumerate(("a,b", "aĊ,∢b")):  # with bytes of line ends and of quotes
        file = _write(duck, "x.csv", f"{header}\n1,ü\n".encode("utf-16"))
        duck.loads(file, table=f"t{number}", csv=form)
        names = duck.rows(f"SELECT column_name FROM (DESCRIBE t{number})")
        assert [name for (name,) in names] == header.split(",")
        assert duck.rows(f"SELECT * FROM t{number}") == [(1, "ü")]


@pytest.mark.parametrize(
    ("form", "data", "said"),
    [
        ({"encoding": "utf-16"}, codecs.BOM_UTF16_BE + "a\n1\n".encode("utf-16-be"), "big-endian"),
        ({"encoding": "utf-16"}, "a\n1\n".encode("utf-16-be"), "x.csv is big-endian UTF-16"),
        ({"encoding": "utf-16"}, "a\n1\n".encode("utf-16")[:-1], "x.csv has been cut off in the"),
        ({"encoding": "cp1252"}, b"a\n1\n", 'the encoding "cp1252" is not read; utf-8, utf-16'),
        ({"encoding": "klingon"}, b"a\n1\n", '"klingon" is not an encoding'),
        ({"delimiter": "||"}, b"a||b\n1||2\n", 'the delimiter "||" is more than one character'),
    ],
)
def test_csv_of_a_form_that_is_not_read(
    duck: Mover, form: dict[str, str], data: bytes, said: str
) -> None:
    assert said in duck.fails(_write(duck, "x.csv", data), csv=CsvFormat(**form))


def test_a_packed_file_that_was_cut_off_is_no_shorter_file(duck: Mover) -> None:
    whole = gzip.compress(b"a,b\n" + b"".join(b"%d,x%d\n" % (i, i * 7919) for i in range(20000)))
    cut = _write(duck, "cut.csv.gz", whole[: len(whole) // 2])
    assert duck.fails(cut) == "cut.csv.gz is damaged, or has been cut off"
    assert (
        duck.fails(_write(duck, "no.csv.gz", "a,b\n"))
        == "no.csv.gz is not a gzip file, or is damaged"
    )
    assert duck.loads(_write(duck, "two.csv.gz", whole + gzip.compress(b"1,y\n"))).rows == 20001
    said = duck.fails(_write(duck, "x.csv.zst", b"\x28\xb5\x2f\xfd"))
    assert said == "x.csv.zst: .zst files are not read; unpack it, or pack it with gzip"


# ---------------------------------------------------------------- JSON, Parquet


def test_an_array_of_objects_is_as_good_as_lines(mover: Mover) -> None:
    mover.loads(_write(mover, "x.json", '\n[{"id": 1, "name": "a"},\n {"id": 2}]\n'))
    assert mover.rows("SELECT id, name FROM t ORDER BY id") == [(1, "a"), (2, None)]


@pytest.mark.parametrize("name", ["x.json", "x.jsonl", "x.jsonl.gz"])
@pytest.mark.parametrize("second", ["", "\ufeff"])
def test_a_byte_order_mark_is_no_part_of_json(duck: Mover, name: str, second: str) -> None:
    form = "[{}, {}]" if name == "x.json" else "{}\n{}\n"
    for number, (mark, place) in enumerate((("\ufeff", name), (second, f"also_{name}"))):
        rows = form.format(f'{{"id": {number}}}', f'{{"id": {number + 2}, "name": "a"}}')
        data = (mark + rows).encode()
        _write(duck, place, gzip.compress(data) if name.endswith(".gz") else data)
    assert duck.loads(f"*{name}").rows == 4
    assert duck.rows("SELECT id, name FROM t ORDER BY id") == [
        (0, None), (1, None), (2, "a"), (3, "a"),
    ]  # fmt: skip


def test_a_feed_without_rows(mover: Mover) -> None:
    empty = _write(mover, "x.jsonl", "\n")
    assert mover.fails(empty).endswith("nothing says which columns to make")
    mover.file("SELECT 1::INTEGER AS id, 'a' AS name, DATE '2026-01-31' AS day")
    mover.loads()
    assert mover.loads(empty).rows == 0
    assert mover.loads(empty, mode=LoadMode.TRUNCATE_AND_LOAD).rows == 0
    assert mover.loads(_write(mover, "x.json", " [ ]\n")).rows == 0
    assert mover.rows("SELECT count(*) AS n FROM t") == [(0,)]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ('{"id":1}\n{"id":2\n', 'x.jsonl, line 2 is not JSON: Input data was truncated: {"id":2'),
        ('{"id":1}\n7\n', "x.jsonl, line 2 is not a JSON object: 7"),
        (b'\xef\xbb\xbf{"id":1}\n{"id":2\n', "x.jsonl, line 2 is not JSON: Input data was trunc"),
        (b'\xef\xbb\xbf7\n{"id":2}\n', "x.jsonl, line 1 is not a JSON object: 7"),
        (b'{"id":1}\n\xef\xbb\xbf{"id":2}\n', "x.jsonl, line 2 begins with a byte order mark"),
        ('[\n {"id":1},\n {"id":2 "b":3}\n]\n', 'Malformed JSON in file "x.jsonl", at byte 9'),
        ('{"id":1}\n'.encode("utf-16"), "x.jsonl is UTF-16, and JSON is read as UTF-8 alone"),
        ('{"id":1}\n{"id":2,"v":"' + "y" * 20_000, "x.jsonl, line 2 is not JSON: Input data was"),
        ('{"id":1}\n"' + "y" * 20_000 + '"\n', 'x.jsonl, line 2 is not a JSON object: "yyy'),
        ('[\n {"id":1},\n 7\n]\n', "x.jsonl is an array, and not all in it are JSON objects"),
    ],
)
def test_json_that_cannot_be_read(duck: Mover, data: str | bytes, said: str) -> None:
    assert duck.fails(_write(duck, "x.jsonl", data)).startswith(said)


def test_what_only_calls_itself_parquet(duck: Mover) -> None:
    for data in ("", "id,name\n1,a\n" * 10, "PAR1" + "x" * 20 + "PAR1"):
        said = duck.fails(_write(duck, "x.parquet", data))
        assert said == "x.parquet is not a Parquet file, or has been cut off"


# ---------------------------------------------------------------- long lines, large files

_WIDTHS = {"short": 200, "long": 20_000, "too long": 2_500_000}


@pytest.mark.parametrize("width", _WIDTHS)
@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"2,%s,extra,extra", "line 3: 4 values where 2 are expected: 2,yyy"),
        (b"%s", "line 3: 1 value where 2 are expected: yyy"),
        (b'2,"%s', "line 3: a quote is opened and not closed: 2,"),
        (b'2,"%s"x', "line 3: a text stands behind a closing quote; a quote within quotes is"),
        (b"2,\xfc%s", "line 3 is not UTF-8: byte 3 of it is 0xFC; name its encoding: csv = {"),
        (b"2,%s\r", "its lines end in LF and, from line 3, in CRLF; make them alike"),
    ],
)
def test_a_mistake_is_told_with_its_line_however_long_that_is(
    duck: Mover, width: str, line: bytes, said: str
) -> None:
    data = b"id,v\n1,a\n" + line % (b"y" * _WIDTHS[width]) + b"\n3,c\n"
    message = duck.fails(_write(duck, "in.csv", data))
    if width == "too long" and "not UTF-8" not in said:
        said = "line 3 has more than 2,000,000 bytes; csv = { max_line_size = … } allows more"
    assert message.startswith(("in.csv, " if said.startswith("line") else "in.csv: ") + said)
    assert len(message) < 300


def test_a_longer_line_is_read_if_that_is_allowed(duck: Mover) -> None:
    wide = "y" * 10_000_000
    form = CsvFormat(max_line_size=12_000_000)
    file = _write(duck, "in.csv", f"id,v\n1,a\n2,{wide}\n3,c\n")
    assert duck.loads(file, csv=form).rows == 3
    assert duck.rows("SELECT max(length(v)) FROM t") == [(len(wide),)]
    file = _write(duck, "in.csv", f"id,v\n1,a\n2,{wide},b\n")
    assert duck.fails(file, csv=form).startswith("in.csv, line 3: 3 values where 2 are expected: 2")


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        ("1,2,3\n", "in.csv, line 2669: 3 values where 2 are expected"),
        ("1\n", "in.csv, line 2669: 1 value where 2 are expected"),
        ("1,2\r\n", "in.csv: its lines end in LF and, from line 2669, in CRLF"),
        ('1,"2\n', "in.csv, line 2669: a quote is opened and not closed"),
        ("1,2\n", ""),
    ],
)
def test_a_broken_line_that_duckdb_passes_over_is_found(duck: Mover, tail: str, said: str) -> None:
    """The last line, where it is the first of the piece that one of DuckDB's threads reads."""
    rows = 2667
    file = _write(duck, "in.csv", "a,b\n" + f"1,{'x' * 11_997}\n" * rows + tail)
    assert (duck.data / file).stat().st_size > 32_000_000
    duck.run("CREATE TABLE t (a INT, b VARCHAR)")
    if said:
        assert duck.fails(file).startswith(said)
        if tail == "1\n":
            assert duck.loads(file, max_rejects=1).rows == rows
    else:
        assert duck.loads(file).rows == rows + 1


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        ("1,2,3\n", "line 200002: 3 values where 2 are expected: 1,2,3"),
        ("1,2\r3,4\n", "from line 200002, in CR; make them alike, or put texts"),
        ("x,y\n", 'row 200001, column "a": "x" is not'),
    ],
)
def test_a_mistake_far_behind_is_told_on_the_way_into_postgres(
    lasting: Conversation, postgres: Server, tail: str, said: str
) -> None:
    mover = Mover(lasting, postgres.url(postgres.fresh()))
    mover.run("CREATE TABLE t (a int, b text)")
    file = _write(mover, "in.csv", "a,b\n" + "1,some text\n" * 200_000 + tail)
    assert said in mover.fails(file)
    assert mover.rows("SELECT count(*) AS n FROM t") == [(0,)]


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        ('a,b\r\n1,"x\ny"\r\n\r\n2,"x\ry"\r\n', 2),
        ('a,b\n5" pipe,"x\n\ny"\n\n6" pipe,z"\n', 2),
        ("a,b\n1,2,,\n3,4,\n", 2),
        ('a\n\n"x"\n\n', 3),
        ('a,b\r1,"x\n\ny"\r2,z\r', 2),
        ("a,b\n1,2", 1),
        ('a,b\n "x" ,"y ""z"""\n', 1),
        ('a,b\n\r\n5" pipe,2\n3,4\n', 2),
    ],
)
def test_rows_are_counted_as_duckdb_reads_them(duck: Mover, data: str, rows: int) -> None:
    for packed in (False, True):
        name = "x.csv.gz" if packed else "x.csv"
        file = _write(duck, name, gzip.compress(data.encode()) if packed else data)
        assert duck.loads(file, mode=LoadMode.CREATE_OR_REPLACE).rows == rows


def test_of_several_files_the_one_with_the_mistake_is_named(duck: Mover) -> None:
    _write(duck, "1.csv", "a,b\n1,2\n")
    _write(duck, "2.csv.gz", gzip.compress(b'a,b\n1,"x\ny"\n3\n'))
    _write(duck, "3.csv", "a,b\n1,2\n")
    said = duck.fails("*.csv*")
    assert said == "2.csv.gz, line 4: 1 value where 2 are expected: 3"


def test_what_is_set_aside_is_counted_row_by_row(duck: Mover) -> None:
    duck.run("CREATE TABLE t (a INT, b VARCHAR)")
    file = _write(duck, "x.csv", b"a,b\n1,a\n2\n3,b\nx,c\n4,\xfc\n")
    assert duck.fails(file, max_rejects=2).startswith("3 rows cannot be loaded, more than")
    assert duck.loads(file, max_rejects=3).rows == 2
