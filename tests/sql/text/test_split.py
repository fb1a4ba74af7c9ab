"""Scripts taken apart at their semicolons and at GO."""

from __future__ import annotations

import pytest

from pit.sql.driver import SqlFailure
from pit.sql.text.split import ANY, POSTGRES, SQLITE, Batch, Grammar, batches, statements


def cut(text: str, grammar: Grammar = POSTGRES) -> list[tuple[int, str]]:
    return [(one.line, one.text) for one in statements(text, grammar)]


def test_lines_and_texts() -> None:
    text = "-- first\nselect 1;;\n\n /* and; */ select\n 2 -- end;\n;\n--;"
    assert cut(text) == [(2, "select 1"), (4, "select\n 2 -- end;")]
    assert cut("") == cut(" ; \n;") == cut("-- only") == []
    assert cut("select 1 -- rest") == [(1, "select 1")]


@pytest.mark.parametrize(
    ("grammar", "text"),
    [
        (POSTGRES, "select ';', ''';', \";\""),
        (POSTGRES, r"select E'\';', e'\\'"),
        (POSTGRES, "do $$ begin; end; $$"),
        (POSTGRES, "do $a_1$ $$;$$ ; $a_1$"),
        (POSTGRES, "/* a /* b; */ c; */ select 1"),
        (POSTGRES, "create rule r as on insert to t do (select 1; select 2)"),
        (
            POSTGRES,
            "create or replace function f() returns int begin atomic "
            "select case when true then 1 end; select 2; end",
        ),
        (POSTGRES, "select 'never closed; "),
        (POSTGRES, "select $1 + $2, a$b$c from t where x = $x$;$x$"),
        (SQLITE, "create temp trigger t after insert on a begin select 1; select 2; end"),
        (SQLITE, 'select [a;b], `c;d`, "e;f"'),
        (ANY, "select `a;b`"),
        (ANY, "/* a /* b */ select 1"),
    ],
)
def test_semicolons_that_end_nothing(grammar: Grammar, text: str) -> None:
    assert [one for _, one in cut(f"select 0;\n{text}", grammar)][:1] == ["select 0"]
    assert len(cut(f"select 0;\n{text}", grammar)) == 2


@pytest.mark.parametrize(
    ("grammar", "text"),
    [
        (POSTGRES, r"select '\'; select 2"),
        (POSTGRES, "select '$$'; select '$$'"),
        (POSTGRES, "begin; end"),
        (POSTGRES, "select (1); select 2"),
        (POSTGRES, "select name'x'; select 2"),
        (SQLITE, "select $$; select $$"),
        (SQLITE, r"select 'a\'; select 'b'"),
        (SQLITE, "/* a /* b */ select 1; select 2"),
        (SQLITE, "create table trigger (a); begin"),
    ],
)
def test_semicolons_that_end_a_statement(grammar: Grammar, text: str) -> None:
    assert len(cut(text, grammar)) == 2


def test_a_nul_character() -> None:
    with pytest.raises(SqlFailure) as caught:
        statements("select 1;\nselect '\0'", POSTGRES)
    assert caught.value.failure.line == 2


def test_batches() -> None:
    text = (
        "create table t (a int)\nGO\n\nselect 'a\nGO\n' as x /*\nGO\n*/\n go 3 -- three\n"
        "select 1 -- it's\nGo;\n[x\nGO\n]\nGO"
    )
    assert batches(text) == [
        Batch(text="create table t (a int)\n", line=1),
        Batch(text="\nselect 'a\nGO\n' as x /*\nGO\n*/\n", line=3, times=3),
        Batch(text="select 1 -- it's\n", line=10),
        Batch(text="[x\nGO\n]\n", line=12),
    ]


def test_batches_of_other_shapes() -> None:
    assert batches("") == batches("GO\nGO\n-- only\nGO") == []
    assert batches("select 1") == [Batch(text="select 1", line=1)]
    assert batches("select 1\r\nGO\r\nselect 2\r\n") == [
        Batch(text="select 1\r\n", line=1),
        Batch(text="select 2\r\n", line=3),
    ]
    assert len(batches("select 1\ngoto_x = 1\nGOTO done")) == 1
    assert len(batches("select 'a' GO\nselect 2")) == 1


@pytest.mark.parametrize("line", ["GO now", "GO 0", "GO -1", "go 5 select 1", "GO 99999999999"])
def test_a_go_that_is_none(line: str) -> None:
    with pytest.raises(SqlFailure) as caught:
        batches(f"select 1\n{line}\n")
    assert caught.value.failure.line == 2
    assert not caught.value.failure.retryable
