"""Whether a change of a source matters: held against Python, DuckDB and SQLite themselves."""

from __future__ import annotations

import dis
import json
import os
import sqlite3
import types
import warnings
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pit.project.python.meaning import diff, parse, same_python, same_sql


def python(old: str, new: str) -> bool:
    return same_python(old.encode(), new.encode())


def sql(old: str, new: str) -> bool:
    return same_sql(old.encode(), new.encode())


# ---------------------------------------------------------------- Python


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x = 1", "x = 1  # one\n"),
        ("x = f(1, 2)", "x = f(\n    1,\n    2,\n)\n"),
        ("x = 'a'", 'x = "a"'),
        ("if x:\n  y()", "if x:\n\n    y()\n"),
        ("x: int = 1  # type: int", "x: int = 1"),
        ("x = 1", "\ufeffx = 1"),
        ("x = 1\r\ny = 2\r\n", "x = 1\ny = 2\n"),
        ("x = '\\d'", "x = '\\d'  # a warning of Python's is no error here"),
    ],
)
def test_comments_and_formatting_of_python_do_not_matter(old: str, new: str) -> None:
    assert python(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x = 1", "x = 2"),
        ("x = 1", "x = 1.0"),
        ("x = 0.0", "x = -0.0"),
        ("x = 'a'", "x = b'a'"),
        ("def f():\n  'Help.'", "def f():\n  'Other help.'"),
        ("if x:\n  y()\n  z()", "if x:\n  y()\nz()"),
        ("x = 1", "x = (1,)"),
        ("# coding: latin-1\nx = '\u00e9'", "# coding: utf-8\nx = '\u00e9'"),
        ("no python here", "no python  here"),
        ("x = 1", "x = "),
        ("x = 1", ""),
        (f"x = {'0x' + 'f' * 9000}", f"x =  {'0x' + 'f' * 9000}"),
    ],
)
def test_what_changes_a_program_matters(old: str, new: str) -> None:
    assert not python(old, new)


METADATA = """\
# /// script
# dependencies = ["pandas{}"]
# ///
import pandas
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_inline_metadata_is_a_comment_that_matters(end: str) -> None:
    text = METADATA.replace("\n", end)
    assert python(text.format(""), text.format("") + "# more\n")
    assert not python(text.format(""), text.format("<3"))


def test_deep_nesting_is_no_trouble() -> None:
    deep = "(" * 5000 + ")" * 5000
    assert parse(deep.encode()) is None
    assert not python(deep, f"{deep} ")
    long = "x = " + "+".join("1" for _ in range(50_000))
    assert not python(long, f"{long}+1")


def test_warnings_of_python_are_not_shown() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse(b"x = '\\d'; 1 is 1") is not None


def code(text: str) -> Iterator[Any]:
    """What a program does, without saying where it stands."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        todo = [compile(text, "x", "exec", dont_inherit=True)]
    while todo:
        each = todo.pop()
        yield from ((op.opname, op.arg) for op in dis.get_instructions(each))
        yield each.co_names, each.co_varnames, each.co_freevars, each.co_flags
        for constant in each.co_consts:
            if isinstance(constant, types.CodeType):
                todo.append(constant)
            else:
                yield type(constant), repr(constant)


PROGRAM = (
    'def f(a, *b, c=1):\n    """Doc."""\n    if a: # why\n        return [a + 1, "b", b\'c\']\n'
)
edits = st.lists(
    st.tuples(
        st.integers(0, len(PROGRAM)),
        st.integers(0, 2),
        st.sampled_from([" ", "\n", "\t", "#", "# x\n", "'", '"', "\\\n", "1", "a", "(", ")", ","]),
    ),
    min_size=1,
    max_size=3,
)


def edited(text: str, changes: list[tuple[int, int, str]]) -> str:
    for at, drop, insert in changes:
        text = text[:at] + insert + text[at + drop :]
    return text


@settings(max_examples=400, deadline=None)
@given(edits)
def test_programs_of_the_same_meaning_compile_to_the_same_code(
    changes: list[tuple[int, int, str]],
) -> None:
    new = edited(PROGRAM, changes)
    if python(PROGRAM, new):
        assert list(code(PROGRAM)) == list(code(new))


# ---------------------------------------------------------------- SQL


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("select 1", "SELECT 1 -- one\n"),
        ("select a,b from t", "select\n  a ,\n  b\nfrom t"),
        ("select a from t", "/* first */ select a /* of many */ from t --"),
        ("select f(*) from t group by a order by b", "Select f( * ) From t GROUP  BY a ORDER BY b"),
        ("select 'it''s'", "select  'it''s'"),
        ("select '\\d+'", "select '\\d+' -- a pattern"),
        ("select a::int, b->>'$.x'", "select a::int,\tb->>'$.x'"),
        ("select [1, 2], $1, :p, @v, #t", "select  [1, 2] , $1 , :p , @v , #t"),
        ("select $$ text $$", "select\n$$ text $$"),
        ("select 1\nGO\nselect 2", "select 1  -- x\nGO\n\nselect 2"),
        ("select 1", "\ufeffselect 1"),
        ("-- it's\nselect 1", "-- it was\nselect 1"),
        ("-----\nselect 1", "--------- x\nselect 1"),
        ("select a from t where b", "SELECT a FROM t WHERE b"),
        ("from t left join u on a = b", "FROM t LEFT JOIN u ON a = b"),
        ("from t natural full outer join u", "FROM t NATURAL FULL OUTER JOIN u"),
        ("from t inner join (select 1) v using (a)", "FROM t INNER JOIN (SELECT 1) v USING (a)"),
        ("with x as (select 1) select 1", "WITH x AS (SELECT 1) SELECT 1"),
        ("select 1 order by 1 desc, 2 asc", "SELECT 1 ORDER BY 1 DESC, 2 ASC"),
        ("select case when a then b end, c", "SELECT CASE WHEN a THEN b END, c"),
        ("select a is not null, b like 'x'", "SELECT a IS NOT NULL, b LIKE 'x'"),
        ("select null::int, a from t", "SELECT NULL::int, a FROM t"),
        ("a union all select 1 having b", "a UNION ALL SELECT 1 HAVING b"),
        ("select 1", "select 1\r\n"),
    ],
)  # fmt: skip
def test_comments_and_spacing_of_sql_do_not_matter(old: str, new: str) -> None:
    assert sql(old, new)
    assert sql(new, old)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("select 1", "select 2"),
        ("select a from t", "select A from t"),
        ("select a as Order", "select a as order"),
        ("select t.Order", "select t.order"),
        ("select struct_pack(Left := 1)", "select struct_pack(left := 1)"),
        ("select f(1, Right := 1)", "select f(1, right := 1)"),
        ("select f(Inner => 1)", "select f(inner => 1)"),
        ("select f(Select := 1)", "select f(select := 1)"),
        ("select {Join: 1}", "select {join: 1}"),
        ("select {a: 1, Full: 1}", "select {a: 1, full: 1}"),
        ("select {a: 1, Table: 1}", "select {a: 1, table: 1}"),
        ("select Like: 1", "select like: 1"),
        ("select 1 Left from t", "select 1 left from t"),
        ("select 1 Desc", "select 1 desc"),
        ("select 1 End, 2", "select 1 end, 2"),
        ("select 1 With", "select 1 with"),
        ("select 1 as Cross", "select 1 as cross"),
        ("create table t (a int, Natural int)", "create table t (a int, natural int)"),
        ("create table t (Is int)", "create table t (is int)"),
        ("with Outer as (select 1) select 1", "with outer as (select 1) select 1"),
        ("select x.Inner from t", "select x.inner from t"),
        ("select f(Join) from t", "select f(join) from t"),
        ("update t set Left = 1", "update t set left = 1"),
        ("select 'a b'", "select 'a  b'"),
        ("select 'a--b'", "select 'a--c'"),
        ('select "A"', 'select "a"'),
        ("select 'A'", "select 'a'"),
        ("select `a  b`", "select `a b`"),
        ("select [a  b]", "select [a b]"),
        ("select [a--b]", "select [a--c]"),
        ("select /*+ fast */ 1", "select /*+ slow */ 1"),
        ("select /*! 1 */ 1", "select /*! 2 */ 1"),
        ("select --+ fast\n 1", "select --+ slow\n 1"),
        ("select E'it\\'s -- a'", "select E'it\\'s -- b'"),
        ("select E'a'", "select E 'a'"),
        ("select $$ -- a $$", "select $$ -- b $$"),
        ("select $x$ -- a $x$", "select $x$ -- b $x$"),
        ("select $$' -- a $$, ''", "select $$' -- b $$, ''"),
        ("select `$$` -- a $$", "select `$$` -- b $$"),
        ("select q'{it's -- a}'", "select q'{it's -- b}'"),
        ("select 1\nGO\nselect 2", "select 1 GO select 2"),
        ("select 1\nGO 2\n", "select 1\nGO 3\n"),
        ("select 'a'\n'b'", "select 'a' 'b'"),
        ("select 5--3", "select 5--4"),
        ("select 1 # a\n+ 2", "select 1 # a + 2"),
        ("/* /* */ select 1 */", "/* /* */ select 2 */"),
        ("select a < = b", "select a <= b"),
        ("select 1 2", "select 12"),
        ("select 'open", "select  'open"),
        ("select ']' [", "select  ']' ["),
        ("select [it's], 'x]', 'a  b'", "select [it's], 'x]', 'a b'"),
    ],
)
def test_what_may_change_a_statement_matters(old: str, new: str) -> None:
    assert not sql(old, new)
    assert not sql(new, old)


def test_text_that_is_not_utf8_is_compared_by_its_bytes() -> None:
    assert not same_sql(b"select '\xff'", b"select  '\xff'")
    assert same_sql(b"select '\xff'", b"select '\xff'")


@pytest.mark.parametrize("text", ["[" * 3000, "'" * 3001, "/*" * 3000, "-" * 30_000, "a" * 30_000])
def test_odd_text_takes_no_time(text: str) -> None:
    same_sql(text.encode(), f"{text} ".encode())


QUERIES = [
    "select a, 'b  --c', \"d  e\" from t -- x\nwhere a = 1 /* y */ order by 'it''s'",
    "select [1,  2], [[a], ['x  y']], {'k': a}, $$ q -- $$, E'\\\\' from t",
    "select a - -1, a-1, a||'x', a::text, t.a, a[1:2], a>=1, 1.5e3 from t as t",
]
pieces = st.sampled_from(
    [
        *(" ", "  ", "\n", "\t", "-", "--", "-- ", "/*", "*/", "/* x */", "'", "''", '"', "[", "]"),
        *("$$", "$", "\\", "\\'", ";", ",", "(", ")", "a", "A", "1", ".", "e", "E", ":", "=", "<"),
        *("#", "`", "+", "/", "*", "as", "select", "SELECT", "x y"),
    ]
)
mutations = st.lists(
    st.tuples(st.integers(0, 90), st.integers(0, 3), pieces), min_size=1, max_size=3
)


DUCKDB = duckdb.connect()


def duckdb_reads(text: str) -> Any:
    """DuckDB's own syntax tree of a query; None if it takes it for none."""
    row = DUCKDB.execute("select json_serialize_sql($1::varchar)", [text]).fetchone()
    assert row is not None
    tree = json.loads(row[0])
    return None if tree["error"] else _without_places(tree)


def _without_places(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_without_places(each) for each in tree]
    if not isinstance(tree, dict):
        return tree
    kept = {key: value for key, value in tree.items() if not key.startswith("query_location")}
    return {key: _without_places(value) for key, value in kept.items()}


def sqlite_reads(text: str) -> Any:
    """SQLite's program for a query; None if it takes it for none."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("create table t (a, b)")
        return connection.execute(f"explain {text}").fetchall()
    except (sqlite3.Error, sqlite3.Warning):
        return None
    finally:
        connection.close()


@settings(max_examples=int(os.environ.get("PIT_TEST_QUERIES", "500")), deadline=None)
@given(st.sampled_from(QUERIES), st.one_of(st.just([]), mutations), mutations)
@example(QUERIES[0], [], [(0, 0, " ")])
def test_queries_of_the_same_meaning_are_the_same_to_databases(
    query: str, first: list[tuple[int, int, str]], second: list[tuple[int, int, str]]
) -> None:
    old = edited(query, first)
    new = edited(old, second)
    assume(old != new)
    if sql(old, new):
        assert duckdb_reads(old) == duckdb_reads(new)
        assert sqlite_reads(old) == sqlite_reads(new)


# ---------------------------------------------------------------- the rest


def test_a_difference_is_shown_in_few_lines() -> None:
    old = "".join(f"line {number}\n" for number in range(30)).encode()
    new = old.replace(b"line 7\n", b"seven\n")

    assert diff(old, new, "tasks/x.sh") == (
        "tasks/x.sh\n@@ -7,3 +7,3 @@\n line 6\n-line 7\n+seven\n line 8"
    )
    short = diff(old, b"", "tasks/x.sh", lines=3).splitlines()
    assert short == ["tasks/x.sh", "@@ -1,30 +0,0 @@", "-line 0", "-line 1", "… and 28 more lines"]


def test_a_difference_of_much_or_of_no_text_is_told_in_a_sentence() -> None:
    assert diff(b"\0" * 1500, b"x", "a.png") == "a.png: binary, 1,500 bytes before, 1 bytes now"
    assert diff(b"x\n" * 5000, b"x", "a.txt") == "a.txt: 5,000 lines before, 1 lines now"
    assert len(diff(b"x" * 10_000, b"y", "a.txt")) < 400
