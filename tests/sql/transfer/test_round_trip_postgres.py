"""Every type that Postgres has by itself: alone, in an array and in a domain, there and back.

A table of them all is saved in each form and loaded into one of the same types; `pit sql` shows it.
What a file cannot hold, and what the server would cut or round, is refused by row and value.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from pit.sql import protocol
from pit.sql.connection.urls import parse
from tests.servers.postgres import Server
from tests.sql.conftest import Conversation
from tests.sql.transfer.moving import Mover, look

VALUES: dict[str, tuple[str, ...]] = {
    "aclitem": ("pit=r/pit",),
    "bit": ("101", "0"),
    "bool": ("true", "false"),
    "box": ("(3,4),(1,2)",),
    "bpchar": ("ab  ", ""),
    "bytea": ("\\x00ff5c22", "\\x"),
    "char": ("x", ""),
    "cid": ("4294967295",),
    "cidr": ("10.0.0.0/8", "::/0"),
    "circle": ("<(1,2),3>",),
    "date": ("2026-01-31", "infinity", "-infinity", "0044-03-15 BC", "5874897-12-31"),
    "datemultirange": ("{[2020-01-01,2020-02-01),[2021-01-01,infinity)}", "{}"),
    "daterange": ("[2020-01-01,infinity)", "empty", "(,)"),
    "float4": ("0.1", "-3.4028235e+38"),
    "float8": ("0.1", "1.7976931348623157e+308", "5e-324"),
    "inet": ("1.2.3.4/8", "::ffff:1.2.3.4"),
    "int2": ("-32768", "32767"),
    "int2vector": ("1 2",),
    "int4": ("-2147483648", "2147483647"),
    "int4multirange": ("{[1,3),[5,)}",),
    "int4range": ("[1,10)", "(,5)"),
    "int8": ("-9223372036854775808", "9223372036854775807"),
    "int8multirange": ("{[1,3)}",),
    "int8range": ("[1,9223372036854775807)",),
    "interval": ("1 year 2 mons 3 days 04:05:06.007", "1193:00:00", "178000000 years"),
    "json": ('{"a": [1, null]}', '"x"', "5"),
    "jsonb": ('{"a": [1, null]}', '"x"', "5"),
    "jsonpath": ('$."a"[*]',),
    "line": ("{1,-1,0}",),
    "lseg": ("[(1,2),(3,4)]",),
    "macaddr": ("08:00:2b:01:02:03",),
    "macaddr8": ("08:00:2b:01:02:03:04:05",),
    "money": ("$1,234.50", "-$92,233,720,368,547,758.08"),
    "name": ("a name", "x" * 63),
    "numeric": ("12345.678", "-0.000001", "99999999999999999999"),
    "nummultirange": ("{[1.5,2.5)}",),
    "numrange": ("[1.5,2.5)",),
    "oid": ("0", "4294967295"),
    "oidvector": ("1 4294967295",),
    "path": ("((1,2),(3,4))", "[(1,2),(3,4)]"),
    "pg_lsn": ("FFFFFFFF/FFFFFFFF",),
    "pg_snapshot": ("10:20:10,14",),
    "point": ("(1,2)", "(1e+300,-0.5)"),
    "polygon": ("((1,2),(3,4),(5,6))",),
    "refcursor": ("c",),
    "regclass": ("pg_class",),
    "regcollation": ('"C"',),
    "regconfig": ("english",),
    "regdictionary": ("simple",),
    "regnamespace": ("pg_catalog",),
    "regoper": ("|/",),
    "regoperator": ("+(integer,integer)",),
    "regproc": ("pg_backend_pid",),
    "regprocedure": ("pg_backend_pid()",),
    "regrole": ("pit",),
    "regtype": ("integer", "timestamp without time zone"),
    "text": ("", "a\"b\\n\n'{,}[]", "NULL", "北京 🚲"),
    "tid": ("(1,2)",),
    "time": ("00:00:00", "23:59:59.999999", "24:00:00"),
    "timestamp": (
        "2026-01-31 12:00:00.000001",
        "infinity",
        "-infinity",
        "4714-11-24 00:00:00 BC",
        "294247-01-10 04:00:54.775806",
    ),
    "timestamptz": (
        "2026-01-31 12:00:00.000001+00",
        "infinity",
        "-infinity",
        "4714-11-24 00:00:00+00 BC",
        "280000-12-31 23:59:59.999999+00",
    ),
    "timetz": ("12:00:00.000001+02:30", "24:00:00-15:59:59"),
    "tsmultirange": ("{[-infinity,infinity]}",),
    "tsquery": ("'a' & !'b'",),
    "tsrange": ('["2020-01-01 00:00:00",infinity)',),
    "tstzmultirange": ('{["2020-01-01 00:00:00+00",infinity)}',),
    "tstzrange": ("[-infinity,infinity]",),
    "tsvector": ("'a' 'b':1A",),
    "txid_snapshot": ("10:20:10,14",),
    "uuid": ("ffffffff-ffff-ffff-ffff-ffffffffffff",),
    "varbit": ("", "10101"),
    "varchar": ("", "é{}"),
    "xid": ("4294967295",),
    "xid8": ("18446744073709551615",),
    "xml": ("<a b='1'>é</a>",),
}
INTERNAL = {
    "gtsvector",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_ndistinct",
    "pg_node_tree",
}
"""Of these the server takes no value from anybody."""
IN_JSON = {"money": ("$1,234.50",), "numeric": ("12345.678", "-0.000001")}
"""A number in JSON with a fraction is read as a float: it has 15 digits."""
NO_COPY = {"aclitem"}
"""Saved as text and shown; the server has no binary form of it, in which rows are loaded."""
LATER = {"regdatabase", "oid8"}
"""Types of later versions of Postgres than the suite has."""


@dataclass
class Bench:
    """A database with the tables `src` and `dst`, of columns of every type."""

    mover: Mover
    server: Server
    database: str

    def ask(self, *statements: str) -> list[tuple[object, ...]]:
        return self.server.ask("; ".join(statements), self.database)

    def make(self, names: Sequence[str], fewer: dict[str, tuple[str, ...]] | None = None) -> None:
        """Of each type `v_…`, and `d_…` of a domain; with arrays of both, `a_…` and `e_…`."""
        kinds = {name: f'pg_catalog."{name}"' for name in names}
        columns = ", ".join(
            f"v_{name} {kind}, a_{name} {kind}[], d_{name} dom_{name}, e_{name} dom_{name}[]"
            for name, kind in kinds.items()
        )
        values = VALUES | (fewer or {})
        rows = [f"(-1, {', '.join(['NULL'] * 4 * len(names))})"]
        for number in range(max(len(values[name]) for name in names)):
            rows.append(
                f"({number}, {', '.join(_cells(name, values[name], number) for name in names)})"
            )
        self.ask(
            *(f"CREATE DOMAIN dom_{name} AS {kind}" for name, kind in kinds.items()),
            f"CREATE TABLE src (id int, {columns})",
            "CREATE TABLE dst (LIKE src)",
            f"INSERT INTO src VALUES {', '.join(rows)}",
        )

    def differing(self, names: Sequence[str]) -> list[object]:
        """The columns of which some value has not come back as it was."""
        tests = []
        for name in names:
            for letter in "vade":
                of = {"json": "jsonb", "numeric": "numeric"}.get(name, "text")
                of += "[]" if letter in "ae" and of != "text" else ""
                tests.append(
                    f"SELECT '{letter}_{name}' FROM src s FULL JOIN dst d USING (id) WHERE "
                    f"s.{letter}_{name}::{of} IS DISTINCT FROM d.{letter}_{name}::{of} GROUP BY 1"
                )
        return [row[0] for row in self.ask(" UNION ALL ".join(tests))]

    def shown(self, query: str, form: str) -> str:
        """What `pit sql` shows of a query."""
        talk = self.mover.talk
        database = parse(self.mover.url, talk.cwd)
        number = talk.begin(protocol.Query(id=0, text=query, database=database, form=form))
        done = talk.wait(number)
        assert done.failure is None, done.failure
        return "".join(talk.logs[number])


def _cells(name: str, own: Sequence[str], number: int) -> str:
    """The values of one row: one alone and in the domain, all of them in the arrays, or none."""
    value = _literal(own[number % len(own)])
    several = ", ".join([*map(_literal, own), "NULL"]) if number % 2 == 0 else ""
    array = f"ARRAY[{several}]::text[]"
    return f'{value}, {array}::pg_catalog."{name}"[], {value}, {array}::dom_{name}[]'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@pytest.fixture
def bench(lasting: Conversation, postgres: Server) -> Bench:
    database = postgres.fresh()
    return Bench(Mover(lasting, postgres.url(database)), postgres, database)


def test_no_type_of_postgres_is_forgotten(postgres: Server) -> None:
    known = postgres.ask(
        "SELECT typname FROM pg_type WHERE typtype IN ('b', 'r', 'm', 'e') "
        "AND typnamespace = 'pg_catalog'::regnamespace "
        "AND typinput <> 'array_in'::regproc AND oid < 16384"
    )
    assert {str(row[0]) for row in known} - LATER == {*VALUES, *INTERNAL}


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_every_type_of_postgres_comes_back(bench: Bench, form: str) -> None:
    without = {*NO_COPY, *(() if form == "parquet" else ("bytea",))}
    names = [name for name in VALUES if name not in without]
    bench.make(names, IN_JSON if form == "jsonl" else None)
    bench.mover.saves("SELECT * FROM src ORDER BY id", f"all.{form}")
    bench.mover.loads(f"all.{form}", table="dst")
    assert bench.differing(names) == []


def test_every_type_of_postgres_is_shown_as_the_server_writes_it(bench: Bench) -> None:
    names = list(VALUES)
    bench.make(names)
    query = "SELECT * FROM src ORDER BY id"
    texts = ", ".join(f"v_{name}::text, to_jsonb(a_{name}::text[])" for name in names)
    wanted = [list(row) for row in bench.ask(f"SELECT {texts} FROM src ORDER BY id")]
    lines = [list(row.values()) for row in csv.DictReader(io.StringIO(bench.shown(query, "csv")))]
    objects = json.loads(bench.shown(query, "json"))
    wrong = []
    for row, line, shown in zip(wanted, lines, objects, strict=True):
        for number, name in enumerate(names):
            value, array = row[2 * number : 2 * number + 2]
            cells = (line[1 + 4 * number], shown[f"v_{name}"])
            arrays = (line[2 + 4 * number], shown[f"a_{name}"])
            if not all(_same(name, cell, value) for cell in cells):
                wrong.append((name, cells, value))
            if not all(_same_array(name, cell, array) for cell in arrays):
                wrong.append((name, arrays, array))
    assert wrong == []


def _same(name: str, shown: Any, text: Any) -> bool:
    """Whether a value is the one that the server writes so, as a number or document if it is."""
    if text is None or shown is None:
        return text is None and shown in (None, "")
    match name:
        case "json" | "jsonb":
            return shown == json.loads(text) or json.loads(shown) == json.loads(text)
        case "bool" | "oid" | "int2" | "int4" | "int8":
            return str(shown).lower() == text
        case "float4" | "float8" | "numeric":
            return float(shown) == float(text)
        case "timestamp" | "timestamptz" | "time" | "timetz":
            plain = str(shown).replace("T", " ").replace("Z", "+00")
            return text in (plain, plain.removesuffix(":00"))
        case "inet":
            return text in (shown, f"{shown}/32", f"{shown}/128")
    return str(shown).rstrip() == text if name == "bpchar" else bool(shown == text)


def _same_array(name: str, shown: Any, array: Any) -> bool:
    """Element by element; where psycopg knows no such array, the server's text stands."""
    if array is None or shown in ("", None):
        return array is None and shown in ("", None)
    if isinstance(shown, str) and shown.startswith("{"):
        return True
    found = json.loads(shown) if isinstance(shown, str) else shown
    return len(found) == len(array) and all(map(_same, [name] * len(found), found, array))


REFUSED = [
    ("SELECT i, CASE i WHEN 3 THEN timestamp '294276-12-31' END AS x FROM generate_series(1, 5) i",
     "parquet csv jsonl", 'row 3, column "x": "294276-12-31 00:00:00" is a timestamp beyond'),
    ("SELECT timestamp '294247-01-10 04:00:54.775807' AS x", "parquet", "is a timestamp beyond"),
    ("SELECT ARRAY[timestamptz 'infinity', '294276-12-31 00:00+00'] AS x", "parquet",
     "has a timestamp beyond"),
    ("SELECT '{{1,2},{3,4}}'::int[] AS x", "parquet csv jsonl",
     'row 1, column "x": "{{1,2},{3,4}}" has more than one dimension'),
    ("SELECT ARRAY[[date '2020-01-01']] AS x", "parquet", "cast it to text or jsonb"),
    ("SELECT ARRAY[['a']] AS x", "csv", '"{{a}}" has more than one dimension'),
    ("SELECT interval '-1 day' AS x", "parquet", 'row 1, column "x": "-1 day" is no interval of'),
    ("SELECT interval '1 mon -1 day' AS x", "parquet", "cast it to text in the query"),
    ("SELECT interval '2000 hours' AS x", "parquet", '"2000:00:00" is no interval of Parquet'),
    ("SELECT interval '0.0001 s' AS x", "parquet", "is no interval of Parquet"),
    ("SELECT ARRAY[interval '-1 day'] AS x", "parquet", '"-1 day" is no interval of Parquet'),
    ("SELECT interval '-1 mon 3000000 hours' AS x", "csv",
     "is an interval beyond"),
    ("SELECT 'NaN'::numeric(12,2) AS x", "parquet csv",
     'row 1, column "x": "NaN" is not a decimal(12,2); in the query, nullif('),
    ("SELECT '-Infinity'::numeric AS x", "jsonl", '"-Infinity" is not a decimal(38,18)'),
    ("SELECT 1e20::numeric AS x", "csv", '"100000000000000000000" does not fit decimal(38,18)'),
    ("SELECT 1e-19::numeric AS x", "csv", "does not fit decimal(38,18); cast it in the query"),
    ("SELECT '\"\\ud83d\"'::json AS x", "jsonl", "is not valid JSON to DuckDB"),
    ("SELECT float8 'NaN' AS x", "jsonl", '"nan" is no number of JSON'),
    ("SELECT ARRAY[float4 'inf'] AS x", "jsonl", '"inf" is no number of JSON'),
    ("SELECT ARRAY['\\x00'::bytea] AS x", "csv jsonl", 'column "x" is binary'),
    ("SELECT timestamptz '294247-01-01 00:00+00' AS x", "csv jsonl", "is too far off for"),
    ("SELECT FROM (SELECT 1) AS x", "csv", "the query returns no columns"),
]  # fmt: skip


def test_what_a_file_cannot_hold_is_named_by_row_and_value(bench: Bench) -> None:
    for query, forms, words in REFUSED:
        for form in forms.split():
            failure = bench.mover.save(query, f"x.{form}").failure
            assert failure is not None, (query, form)
            assert words in failure.message, (query, form)
    assert list(bench.mover.data.iterdir()) == []


def test_a_numeric_is_a_decimal_of_its_own_digits(bench: Bench) -> None:
    query = "SELECT 12345::numeric(3,-2) AS a, 0.00123::numeric(3,5) AS b, 1.5::numeric(12,2) AS c"
    path = bench.mover.saves(query)
    assert look(path, "SELECT typeof(COLUMNS(*)) FROM file") == [
        ("DECIMAL(5,0)", "DECIMAL(5,5)", "DECIMAL(12,2)")
    ]
    assert look(path, "SELECT COLUMNS(*)::VARCHAR FROM file") == [("12300", ".00123", "1.50")]


CHANGED = [
    ("numeric(3,-2)", "12345"),
    ("numeric(3,5)", "0.0123"),
    ("numeric(40,3)", "'1.2345'"),
    ("cents", "12345"),
    ("money", "1.005"),
    ("timestamp(3)", "TIMESTAMP '2020-01-01 00:00:00.0005'"),
    ("timestamptz(0)[]", "[TIMESTAMPTZ '2020-01-01 00:00:00.5+00']"),
    ("time(0)", "TIME '10:00:00.5'"),
    ("interval(0)", "INTERVAL '0.5 second'"),
    ('"char"', "'ab'"),
    ("name", "repeat('a', 70)"),
    ("date", "DATE '5881580-01-01'"),
    ("date", "DATE '4800-01-01 (BC)'"),
    ("date[]", "[DATE '4800-01-01 (BC)']"),
    ("date[]", "[TIMESTAMP '2020-01-01 10:00:00']"),
    ("date[]", "'[\"2020-01-01 10:00\"]'"),
    ("int[]", "'[\"x\"]'"),
    ("int[]", "'[[1, 2], [3, 4]]'"),
    ("int[]", "[1.5]"),
    ("smallint[]", "[1, 40000]"),
    ("text[]", "'[[\"a\"]]'"),
    ("varchar[]", "['a' || chr(0)]"),
]


def test_what_the_table_would_change_is_refused_by_row_and_value(bench: Bench) -> None:
    columns = ", ".join(f"x{n} {wanted}" for n, (wanted, _) in enumerate(CHANGED))
    bench.ask("CREATE DOMAIN cents AS numeric(3,-2)", f"CREATE TABLE t ({columns})")
    values = ", ".join(f"{value} AS x{n}" for n, (_, value) in enumerate(CHANGED))
    bench.mover.file(f"SELECT {values}")
    assert 'rows.parquet, row 1, column "x0": "12345" is not a numeric(3,-2)' in bench.mover.fails()
    bench.mover.loads(max_rejects=1)
    kept = look(bench.mover.data / "load.rejects.parquet", 'SELECT "column", row FROM file')
    assert sorted(kept) == sorted((f"x{n}", 1) for n in range(len(CHANGED)))
    assert bench.ask("SELECT count(*) FROM t") == [(0,)]


KEPT = [
    ("numeric(3,-2)", "12300", "12300"),
    ("numeric(40,3)", "'1.2340'", "1.234"),
    ("money", "1.50::DECIMAL(10,3)", "$1.50"),
    ("timestamp(3)", "TIMESTAMP 'infinity'", "infinity"),
    ("date", "'0044-03-15 BC'", "0044-03-15 BC"),
    ("date[]", "'{2020-01-01,infinity}'", "{2020-01-01,infinity}"),
    ("date[]", "'[\"-infinity\", null]'", "{-infinity,NULL}"),
    ("text[]", "to_json(['a\"b', chr(10), 'NULL', ''])::VARCHAR", '{"a\\"b","\n","NULL",""}'),
    ("bytea[]", "['\\x00\\x5C'::BLOB]", '{"\\\\x005c"}'),
    ("raw", "'\\x00\\x5C'::BLOB", "\\x005c"),
    ("numeric(12,2)[]", "[1.5]", "{1.50}"),
    ("bigint[]", "[1::UTINYINT]", "{1}"),
    ("double precision[]", "['nan'::FLOAT]", "{NaN}"),
]


def test_what_the_table_takes_is_there_as_it_was(bench: Bench) -> None:
    columns = ", ".join(f"x{n} {wanted}" for n, (wanted, _, _) in enumerate(KEPT))
    bench.ask("CREATE DOMAIN raw AS bytea", f"CREATE TABLE t ({columns})")
    values = ", ".join(f"{value} AS x{n}" for n, (_, value, _) in enumerate(KEPT))
    bench.mover.file(f"SELECT {values}")
    bench.mover.loads()
    texts = ", ".join(f"x{n}::text" for n in range(len(KEPT)))
    assert bench.ask(f"SELECT {texts} FROM t") == [tuple(text for _, _, text in KEPT)]


def test_lists_make_arrays_of_a_new_table_and_infinity_is_a_key(bench: Bench) -> None:
    bench.mover.file(
        "SELECT DATE 'infinity' AS d, [DATE '-infinity'] AS l, ['\\x00'::BLOB] AS b, "
        "[TIMESTAMPTZ '2020-01-01 00:00:00+00'] AS z, [[1, 2], [3]] AS n"
    )
    for _ in range(2):
        bench.mover.loads(mode="upsert", key=("d",))
    kinds = "SELECT pg_typeof(l)::text, pg_typeof(b)::text, pg_typeof(z)::text, pg_typeof(n)::text"
    assert bench.ask(f"{kinds}, t.d::text, l::text FROM t") == [
        ("date[]", "bytea[]", "timestamp with time zone[]", "jsonb", "infinity", "{-infinity}")
    ]


def test_months_are_months_on_the_screen(bench: Bench) -> None:
    shown = bench.shown(
        "SELECT interval '1 mon' AS a, ARRAY[interval '1 year 1 day'] AS b", "table"
    )
    assert shown.splitlines()[2].split("  ") == ["1 mon", '["1 year 1 day"]']


def test_numbers_that_json_does_not_have_are_text_in_it(bench: Bench) -> None:
    query = (
        "SELECT 'NaN'::numeric AS a, float8 '-Infinity' AS b, ARRAY[float4 'NaN', 1] AS c, "
        "'{\"n\": 12345678901234567890.123456789}'::jsonb AS d"
    )
    shown = bench.shown(query, "json")
    assert '{"a":"NaN","b":"-Infinity","c":["NaN",1.0],' in shown
    assert '"d":{"n": 12345678901234567890.123456789}}' in shown
