"""Statements and their lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pit.sql.connection.urls import parse
from pit.sql.drivers.duck import DuckDB
from pit.sql.text.places import point

DRIVER = DuckDB()
DATABASE = parse(":memory:", Path())


def lines(text: str) -> list[int]:
    """Line of each statement; before 2.0 DuckDB makes several statements of one PIVOT."""
    found = [statement.line for statement in DRIVER.parse(text, DATABASE)]
    return [line for line, before in zip(found, [0, *found], strict=False) if line != before]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1", [1]),
        ("SELECT 1;;\n;SELECT 2;", [1, 2]),
        ("-- a;b\nSELECT ';', $$;$$, \";\"\nFROM t;\n/* ; */\n\nSELECT 2", [2, 6]),
        ("SELECT 'é;日本\n';\nSELECT 2", [1, 3]),
        ("SELECT 1;\r\nSELECT 2;\r\n", [1, 2]),
        ("SELECT 1;\nPRAGMA version;\nSELECT 2", [1, 2, 3]),
        ("PIVOT t ON a USING sum(b);\nSELECT 2", [1, 2]),
        (
            "PRAGMA version;\nPRAGMA version;\n\nPIVOT t ON a;\nSELECT 1;\nPRAGMA version",
            [1, 2, 4, 5, 6],
        ),
        ("SELECT 1;\nSELECT 1;\n\nSELECT 1", [1, 2, 4]),
    ],
)
def test_lines(text: str, expected: list[int]) -> None:
    assert lines(text) == expected


_PIECES = (
    "SELECT 1", "SELECT 'é;\n--'", "-- c ; d\nSELECT $$ ; $$", "/* ;\n */ FROM t", "PRAGMA version",
    "", "\n", "VALUES (1)",
)  # fmt: skip


@given(st.lists(st.sampled_from(_PIECES), max_size=12))
def test_every_statement_is_found_where_it_was_written(pieces: list[str]) -> None:
    text, expected = "", []
    for piece in pieces:
        word = min(
            (i for i in map(piece.find, ("SELECT", "FROM", "PRAGMA", "VALUES")) if i >= 0),
            default=-1,
        )
        if word >= 0:
            expected.append(text.count("\n") + piece[:word].count("\n") + 1)
        text += piece + ";\n"
    assert [statement.line for statement in DRIVER.parse(text, DATABASE)] == expected


@pytest.mark.parametrize("end", ["", ";", "; -- end", ";\n-- end\n", " -- end", "\n/* end; */;"])
def test_a_comment_at_the_end_is_nothing_special(end: str) -> None:
    (_, last) = DRIVER.parse(f"SELECT 1;\n\nSELECT 2{end}", DATABASE)
    assert last.native.query.startswith("\n\nSELECT 2"), "sent as it stands, so errors have a place"


def test_a_picture_of_the_place() -> None:
    assert point("a\nbé日x\nc", 5) == (2, "LINE 2: bé日x\n            ^")
    assert point("a\n\tb", 3, first=10) == (11, "LINE 11:  b\n          ^")
    assert point("abc", 3) == (1, "LINE 1: abc\n           ^")


def test_a_long_line_is_shown_around_the_place() -> None:
    line, picture = point("x" * 5000 + "HERE" + "y" * 5000, 5000)
    shown, caret = picture.split("\n")
    assert line == 1
    assert len(shown) <= 130
    assert shown[caret.index("^") :].startswith("HERE")
