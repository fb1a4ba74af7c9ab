"""Text tables."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pit.sql import table


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


def test_columns_that_do_not_fit_are_named() -> None:
    names = tuple(f"column_{i}" for i in range(100))
    lines = table.render(names, (False,) * 100, [("v",) * 100]).splitlines()
    assert lines[-1].startswith("… and 85 more columns: column_15, column_16")
    assert all(table.width(line) <= table.WIDTH for line in lines)


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
