"""What the console writes, and how it writes numbers, times and widths."""

from __future__ import annotations

import io
import json

import pytest

from pit.cli.terminal import console
from pit.cli.terminal.console import Cell, Column, Console
from pit.model import Problem
from tests.cli.conftest import Terminal


def plain() -> tuple[Console, io.StringIO, io.StringIO]:
    """A console into a pipe."""
    out, err = io.StringIO(), io.StringIO()
    return Console(out, err, {}), out, err


def lit(**environ: str) -> tuple[Console, Terminal, Terminal]:
    """A console on a terminal of 80 columns."""
    out, err = Terminal(), Terminal()
    return Console(out, err, environ), out, err  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0004, "0ms"),
        (0.35, "350ms"),
        (0.9996, "1.0s"),
        (12.34, "12.3s"),
        (59.96, "1m00s"),
        (65, "1m05s"),
        (3599.6, "1h00m"),
        (8040, "2h14m"),
        (86400 * 3 + 4 * 3600, "3d04h"),
        (-5, "0ms"),
    ],
)
def test_a_duration_at_a_glance(seconds: float, text: str) -> None:
    assert console.duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (3400, "3.4 kB"), (999_960, "1.0 MB"), (10**15, "1000.0 TB")],
)
def test_a_size_at_a_glance(number: int, text: str) -> None:
    assert console.size(number) == text


def test_a_number_has_its_noun() -> None:
    assert console.count(1, "task") == "1 task"
    assert console.count(12000, "task") == "12,000 tasks"


def test_widths_count_cells_and_not_characters() -> None:
    assert console.cells("日本") == 4
    assert console.cells("e\u0301") == 1
    assert console.fit("日本語", 5) == "日本…"
    assert console.fit("abc", 3) == "abc"


def test_a_table_is_aligned_and_has_no_trailing_space() -> None:
    shown, out, _ = plain()
    shown.table(
        (Column("NAME"), Column("TOOK", right=True)),
        [("a", "1s"), (Cell("longer", "green"), "12s")],
    )
    assert out.getvalue() == "NAME    TOOK\na         1s\nlonger   12s\n"


def test_in_a_pipe_one_long_text_is_whole_and_pads_no_other_line() -> None:
    shown, out, _ = plain()
    shown.table((Column("KEY"), Column("RUN")), [("k" * 5000, "a"), ("k", "b")])
    title, long, short = out.getvalue().splitlines()
    assert long == "k" * 5000 + "  a"
    assert short.split() == ["k", "b"]
    assert len(title) == len(short) + 2 < 120


def test_on_a_terminal_the_widest_flexible_column_is_cut() -> None:
    shown, out, _ = lit(NO_COLOR="1")
    shown.table(
        (Column("NAME"), Column("WHY", flexible=True), Column("MORE", flexible=True)),
        [("task", "x" * 90, "short")],
    )
    row = out.text.splitlines()[1]
    assert len(row) == 80
    assert row.endswith("x…  short")


def test_a_cell_stays_on_its_line() -> None:
    shown, out, _ = plain()
    shown.table((Column("A"),), [("one\ntwo\tthree",)])
    assert out.getvalue().splitlines() == ["A", "one two three"]


def test_colour_is_for_terminals_that_want_it() -> None:
    assert lit()[0].paint("x", "red") == "\x1b[31mx\x1b[0m"
    assert lit(NO_COLOR="1")[0].paint("x", "red") == "x"
    assert lit(NO_COLOR="")[0].paint("x", "red") != "x"
    assert lit(TERM="dumb")[0].paint("x", "red") == "x"
    assert plain()[0].paint("x", "red") == "x"
    shown = lit()[0]
    shown.without_colour()
    assert shown.paint("x", "red") == "x"


def test_an_error_is_followed_by_the_next_step() -> None:
    shown, out, err = plain()
    shown.error("it failed\nbecause", "Do this")
    assert err.getvalue() == "error: it failed\n       because\n       Do this\n"
    assert out.getvalue() == ""


def test_a_problem_shows_its_line_and_a_caret_under_the_column() -> None:
    shown, _, err = plain()
    shown.problem(
        Problem(
            path="projects/a/pit.toml",
            sentence='unknown key "retrys"',
            line=3,
            column=4,
            source="\tx retrys = 3",
            hint="Delete it",
        )
    )
    assert err.getvalue().splitlines() == [
        'projects/a/pit.toml:3:4: unknown key "retrys"',
        "    \tx retrys = 3",
        "    \t  ^",
        "    Delete it",
    ]


def test_the_caret_stands_right_after_wide_characters_and_in_long_lines() -> None:
    shown, _, err = plain()
    shown.problem(Problem(path="p", sentence="s", line=1, column=5, source='日本 = "x"'))
    assert err.getvalue().splitlines()[2] == "    " + " " * 6 + "^"
    shown, _, err = plain()
    source = "a" * 300 + "HERE" + "b" * 300
    shown.problem(Problem(path="p", sentence="s", line=1, column=301, source=source))
    _, line, caret = err.getvalue().splitlines()
    assert len(line) < 110
    assert line[caret.index("^") :].startswith("HERE")


def test_a_problem_without_a_place_is_one_line() -> None:
    shown, _, err = plain()
    shown.problem(Problem(path="projects/a/pit.toml", sentence="is a folder"))
    assert err.getvalue() == "projects/a/pit.toml: is a folder\n"


def test_bars_reach_from_nothing_to_the_longest() -> None:
    shown, _, _ = plain()
    assert shown.sparkline([]) == ""
    assert shown.sparkline([0, 0]) == "▁▁"
    assert shown.sparkline([1, 4, 8]) == "▂▅█"


def test_an_encoding_without_bars_gets_plain_ones_and_no_text_is_an_error() -> None:
    binary = io.BytesIO()
    out = io.TextIOWrapper(binary, encoding="ascii")
    shown = Console(out, io.StringIO(), {})
    assert not shown.unicode
    assert shown.sparkline([1, 8]).isascii()
    shown.out("é")
    assert binary.getvalue() == b"\\xe9\n"


def test_bytes_keep_their_place_among_lines() -> None:
    binary = io.BytesIO()
    shown = Console(io.TextIOWrapper(binary, encoding="utf-8"), io.StringIO(), {})
    shown.out("before")
    shown.raw(b"\xff\xfe")
    shown.out("after")
    assert binary.getvalue() == b"before\n\xff\xfeafter\n"


def test_json_is_indented() -> None:
    shown, out, _ = plain()
    shown.json({"a": [1, 2]})
    assert out.getvalue() == '{\n  "a": [\n    1,\n    2\n  ]\n}\n'


def test_a_terminal_without_a_size_has_80_columns() -> None:
    assert lit()[0].width == 80
    assert plain()[0].width is None


def test_json_escapes_the_control_characters_that_a_terminal_obeys() -> None:
    made, out, _ = plain()
    made.json({"a": "\x9b2J\x7f\x1b"})
    assert "\x9b" not in out.getvalue()
    assert json.loads(out.getvalue()) == {"a": "\x9b2J\x7f\x1b"}
