"""Text tables."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pit.sql.text import table


def test_numbers_stand_to_the_right_and_null_is_a_word() -> None:
    shown = table.render(("n", "name"), (True, False), [("1", "x"), ("1000", None), (None, "")])
    assert shown.splitlines() == [
        "   n  name",
        "────  ────",
        "   1  x",
        "1000  NULL",
        "NULL",
    ]


def test_no_rows() -> None:
    assert table.render(("a",), (True,), []) == "a\n─"


def test_wide_and_combining_characters_keep_columns_straight() -> None:
    shown = table.render(("a", "b"), (False, False), [("日本", "x"), ("e\u0301", "y")])
    assert shown.splitlines()[2:] == ["日本  x", "e\u0301     y"]


def test_what_would_move_the_cursor_is_escaped() -> None:
    assert table.visible("a\tb\n\x1b[31m\u202e\x00") == r"a\tb\n\x1b[31m\u202e\x00"
    assert table.visible("ünï 日本 👩\u200d🔬") == "ünï 日本 👩\u200d🔬"


@pytest.mark.parametrize("limit", [20, 40, 80, 160])
def test_middle_columns_that_do_not_fit_are_counted_and_named(limit: int) -> None:
    names = tuple(f"column_{i}" for i in range(100))
    lines = table.render(names, (False,) * 100, [("v",) * 100] * 4, limit).splitlines()
    assert lines[0].startswith("column_0  ")
    assert "  …" in lines[0]
    assert re.match(r"… \d\d of 100 column", lines[-1])
    assert all(table.width(line) <= limit for line in lines)
    if limit >= 40:
        assert lines[0].endswith("column_99")


def test_the_last_line_tells_how_to_see_what_is_left_out() -> None:
    names = [f"column_{i}" for i in range(9)]
    rows = [[f"value {i}" for i in range(9)]] * 4
    assert table.render(names, [], rows, 60, "--csv has all").splitlines()[::5] == [
        "column_0  column_1  column_2  …  column_7  column_8",
        "value 0   value 1   value 2   …  value 7   value 8",
    ]
    assert table.render(names, [], rows, 60, "--csv has all").splitlines()[-1] == (
        "… 4 of 9 columns are not shown (--csv has all): column_3, c…"
    )


def test_long_texts_are_cut_before_a_column_is_left_out_and_numbers_never() -> None:
    rows = [("1234567890123456789012345", "x" * 50, "short")] * 4
    lines = table.render(("n", "text", "b"), (True, False, False), rows, 60).splitlines()
    assert lines[2] == "1234567890123456789012345  " + "x" * 25 + "…  short"
    assert len(lines) == 6


def test_few_rows_that_are_too_wide_stand_upright() -> None:
    rows = [("1", "x" * 50, None, "y" * 30)] * 2
    shown = table.render(("id", "a long name", "b", "c"), (True, False, False, False), rows, 40)
    assert shown.splitlines()[:5] == [
        "row 1",
        "  id           1",
        "  a long name  " + "x" * 24 + "…",
        "  b            NULL",
        "  c            " + "y" * 24 + "…",
    ]
    one = table.render(("id", "a long name", "b", "c"), (True,), rows[:1], 40)
    assert one.splitlines()[0] == "id           1"


def test_a_row_that_fits_lies_flat() -> None:
    assert table.render(("a", "b"), (), [("x", "y")], 20).splitlines() == [
        "a  b",
        "─  ─",
        "x  y",
    ]


def test_one_column_is_shown_however_wide() -> None:
    lines = table.render(("x" * 500,), (False,), [("y" * 500,)]).splitlines()
    assert lines == ["x" * 59 + "…", "─" * 60, "y" * 59 + "…"]


@given(
    st.lists(st.text(), min_size=1, max_size=5),
    st.lists(st.lists(st.none() | st.text(), min_size=5, max_size=5), max_size=5),
)
def test_any_text_gives_one_line_a_row(names: list[str], rows: list[list[str | None]]) -> None:
    count = len(names)
    shown = table.render(names, (False,) * count, [row[:count] for row in rows])
    lines = shown.split("\n")
    assert len(lines) - len(rows) in (2, 3)
    assert all(table.width(line) <= table.WIDTH for line in lines)


@given(st.text(), st.integers(1, 80))
def test_clipped_text_fits(text: str, limit: int) -> None:
    clipped = table.clip(text, limit)
    assert table.width(clipped) <= limit or clipped == text
    assert clipped == text or clipped.endswith("…")
