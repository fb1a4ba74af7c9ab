"""Where keys and values stand in a TOML text."""

from __future__ import annotations

import textwrap

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from pit.config.toml.position import KeyPath, Place, locate, repeated

TEXT = textwrap.dedent("""\
    # a comment
    [dag]
    name = "x"
    sql.connection = "w"
    [dag.params]
    date = { type = "date", "de fault" = 'today' }
    [[tasks]]
    name = "a" # the first
    inputs = ["é€", "b",
      # between
      "c", ["d"]]
    [[tasks]]
    name = "b"
    [tasks.env]
    "K.1" = "v"
    """)


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (("dag",), (2, 2), (2, 2)),
        (("dag", "name"), (3, 1), (3, 8)),
        (("dag", "sql"), (4, 1), (4, 18)),
        (("dag", "sql", "connection"), (4, 1), (4, 18)),
        (("dag", "params"), (5, 2), (5, 2)),
        (("dag", "params", "date"), (6, 1), (6, 8)),
        (("dag", "params", "date", "type"), (6, 10), (6, 17)),
        (("dag", "params", "date", "de fault"), (6, 25), (6, 38)),
        (("tasks",), (7, 3), (7, 3)),
        (("tasks", 0), (7, 3), (7, 3)),
        (("tasks", 0, "inputs"), (9, 1), (9, 10)),
        (("tasks", 0, "inputs", 0), (9, 11), (9, 11)),
        (("tasks", 0, "inputs", 1), (9, 17), (9, 17)),
        (("tasks", 0, "inputs", 2), (11, 3), (11, 3)),
        (("tasks", 0, "inputs", 3, 0), (11, 9), (11, 9)),
        (("tasks", 1, "name"), (13, 1), (13, 8)),
        (("tasks", 1, "env", "K.1"), (15, 1), (15, 9)),
    ],
)
def test_every_key_path_has_a_line_and_a_column_in_characters(
    path: KeyPath, key: tuple[int, int], value: tuple[int, int]
) -> None:
    assert locate(TEXT)[path] == Place(key, value)


def test_a_text_with_a_syntax_error_gives_what_it_can() -> None:
    assert locate('[dag]\nname = "x"\n\nowner = \n')["dag", "name"].key == (2, 1)


@pytest.mark.parametrize(
    ("text", "path", "earlier", "later"),
    [
        ("a = 1\na = 2\n", ("a",), 1, 2),
        ("a.b = 1\na.c = 2\na.b = 3\n", ("a", "b"), 1, 3),
        ("[a]\nx = 1\n[a.b]\n[a]\n", ("a",), 1, 4),
        ("[a]\nx.y = 1\nx = 2\n", ("a", "x"), 2, 3),
        ("[[t]]\nn = 1\n[[t]]\nn = 1\nn = 2\n", ("t", 1, "n"), 4, 5),
        ("[[t]]\n[t]\n", ("t", 0), 1, 2),
    ],
)
def test_a_key_set_twice(text: str, path: KeyPath, earlier: int, later: int) -> None:
    with pytest.raises(tomli.TOMLDecodeError) as caught:
        tomli.loads(text)
    found = repeated(text, caught.value.lineno)
    assert found
    assert (found[0], found[1].key[0], found[2].key[0]) == (path, earlier, later)


def test_a_text_without_repeats_has_none() -> None:
    assert repeated(TEXT, 99) is None
    assert repeated("", 1) is None


@given(st.text(alphabet="ab=[]{}\".,#\n ' é", max_size=60))
def test_no_text_is_too_broken(text: str) -> None:
    lines = text.split("\n")
    for place in locate(text).values():
        assert 1 <= place.key[0] <= len(lines)
        assert 1 <= place.key[1] <= len(lines[place.key[0] - 1]) + 1
