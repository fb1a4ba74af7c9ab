"""Patterns that may match one path, and patterns that cannot."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pit.fs.overlap import may_meet
from pit.fs.patterns import compiled


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("data/*.csv", "data/g*.csv"),
        ("data/*.csv", "**/*.csv"),
        ("**", "a/b/c"),
        ("a/**/x*", "a/xy"),
        ("a/**/b/*", "a/c/**"),
        ("*a*b", "c*b"),
        ("[a-c]x", "[c-f]x"),
        ("[!a]x", "?x"),
        ("{n}-*.csv", "*-1.csv"),
        (".x/*", ".*/y"),
        ("out/", "o*"),
    ],
)
def test_they_may_meet(one: str, other: str) -> None:
    assert may_meet(one, other)
    assert may_meet(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("data/*.csv", "data/*.txt"),
        ("data/*.csv", "data/deep/*.csv"),
        ("a*", "b*"),
        ("*", ".hidden"),
        ("**/x", ".git/x"),
        ("[a-c]x", "[d-f]x"),
        ("[!a]x", "ax"),
        ("a/**", "a"),
        ("?", "ab"),
    ],
)
def test_they_cannot_meet(one: str, other: str) -> None:
    assert not may_meet(one, other)
    assert not may_meet(other, one)


_PATTERNS = st.lists(
    st.sampled_from(["a", "b", ".", "*", "?", "[ab]", "[!a]", "/", "/**/"]), min_size=1, max_size=6
).map(lambda parts: re.sub(r"/{2,}", "/", "".join(parts)).strip("/") or "a")
_PATHS = st.lists(st.sampled_from(["a", "b", ".", "/"]), min_size=1, max_size=6).map(
    lambda parts: re.sub(r"/{2,}", "/", "".join(parts)).strip("/") or "a"
)


@given(_PATTERNS, _PATTERNS, st.lists(_PATHS, min_size=20, max_size=20))
def test_what_two_match_is_never_overlooked(one: str, other: str, paths: list[str]) -> None:
    first, second = compiled(one).fullmatch, compiled(other).fullmatch
    if any(first(path) and second(path) for path in paths):
        assert may_meet(one, other)
