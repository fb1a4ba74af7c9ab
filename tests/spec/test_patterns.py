"""Paths and patterns: what matches what, held against Python's own glob on a real folder."""

from __future__ import annotations

import glob
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pit.spec.patterns import (
    PathIndex,
    ancestors,
    compiled,
    fixed_folder,
    is_pattern,
    matches,
    reaching,
    wild_span,
)

TREE = (
    "a.csv",
    "b.txt",
    ".hidden.csv",
    "[x].csv",
    "out/a.csv",
    "out/b.csv",
    "out/.pit-tmp.csv",
    "out/deep/a.csv",
    "out/deep/deeper/c.csv",
    "out/.secret/a.csv",
    "data/2024/01/a.csv",
    "data/2024/02/b.parquet",
)
PATTERNS = (
    "*.csv",
    "*",
    "**",
    "**/*",
    "**/*.csv",
    "out/*.csv",
    "out/**",
    "out/**/a.csv",
    "out/**/deeper/*.csv",
    "*/*.csv",
    "data/*/0[12]/*",
    "data/*/0[!1]/*",
    "data/20??/*/[ab].*",
    "out/.*",
    "[[]x].csv",
    "[z-a].csv",
    "a*.csv",
    "*a*",
    "o*t/*",
)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_matches_the_files_that_glob_finds(pattern: str, tmp_path: Path) -> None:
    for path in TREE:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    found = glob.glob(pattern, root_dir=tmp_path, recursive=True)
    files = {path for path in found if (tmp_path / path).is_file()}
    assert {path for path in TREE if matches(pattern, path)} == files
    assert {path for path in TREE if compiled(pattern).fullmatch(path)} == files
    assert set(PathIndex(TREE).matching(pattern)) == files


names = st.text(alphabet="ab.", min_size=1, max_size=4)
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
wild = st.text(alphabet="ab.*?", min_size=1, max_size=4) | st.just("**")
patterns = st.lists(wild, min_size=1, max_size=4).map("/".join)


@given(st.lists(paths, max_size=40), patterns)
def test_the_index_finds_what_matching_one_by_one_finds(known: list[str], pattern: str) -> None:
    found = sorted(PathIndex(known).matching(pattern))
    assert found == sorted({path for path in known if compiled(pattern).fullmatch(path)})


@given(paths, patterns)
def test_a_pattern_reaches_every_folder_above_what_it_matches(path: str, pattern: str) -> None:
    if compiled(pattern).fullmatch(path):
        for folder in ancestors(path):
            assert reaching(pattern).fullmatch(folder)


def test_an_index_narrows_by_the_end_of_a_pattern_too() -> None:
    known = [f"data/{i % 7}_{i}.csv" for i in range(1000)]
    assert PathIndex(known).matching("data/*_999.csv") == ["data/5_999.csv"]
    assert PathIndex(known).below("data") == sorted(known)
    assert PathIndex(known).below("dat") == []


def test_parts_of_a_pattern() -> None:
    assert fixed_folder("out/x/*.csv") == "out/x"
    assert fixed_folder("out/x*/y") == "out"
    assert fixed_folder("*.csv") == ""
    assert list(ancestors("a/b/c")) == ["a/b", "a"]
    assert list(ancestors("/abs/x")) == ["/abs"]
    assert is_pattern("a?b")
    assert is_pattern("[ab]")
    assert not is_pattern("a/b.csv")


def test_folders_that_a_pattern_reaches() -> None:
    reach = reaching("data/**/*.csv").fullmatch
    assert reach("data")
    assert reach("data/a/b")
    assert not reach("other")
    assert not reaching("*.csv").fullmatch("data")


@pytest.mark.parametrize(
    ("pattern", "span"),
    [
        ("data/*.csv", ("data/", ".csv")),
        ("src/**/*.c", ("src/", ".c")),
        ("y[12]?/x", ("y", "/x")),
        ("[!a]", ("", "")),
        ("[]]*", ("", "")),
        ("data/x.csv", None),
        ("a[b/c]", None),
    ],
)
def test_what_stands_around_the_wildcards(pattern: str, span: tuple[str, str] | None) -> None:
    assert wild_span(pattern) == span
