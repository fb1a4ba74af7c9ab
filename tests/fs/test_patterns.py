"""Paths and patterns: what matches what, held against Python's own glob on a real folder."""

from __future__ import annotations

import glob
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pit.fs.patterns import (
    PathIndex,
    ancestors,
    compiled,
    fixed_folder,
    is_pattern,
    matches,
    reaching,
    wild_span,
)
from tests.bounded import ends

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


FEW, MANY = [], [f"{'a' * n}/b" for n in range(1, 40)]


@given(st.lists(paths, max_size=40), patterns, st.sampled_from((FEW, MANY)))
@example(["x"], "**/x", MANY)
@example(["a/x"], "a/**/x", MANY)
def test_the_index_finds_what_matching_one_by_one_finds(
    known: list[str], pattern: str, others: list[str]
) -> None:
    known = known + others
    found = sorted(PathIndex(known).matching(pattern))
    assert found == sorted({path for path in known if compiled(pattern).fullmatch(path)})


@given(paths, patterns)
def test_a_pattern_reaches_every_folder_above_what_it_matches(path: str, pattern: str) -> None:
    if compiled(pattern).fullmatch(path):
        for folder in ancestors(path):
            assert reaching(pattern)(folder)


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
    reach = reaching("data/**/*.csv")
    assert reach("data")
    assert reach("data/a/b")
    assert not reach("other")
    assert not reaching("*.csv")("data")


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


# ---------------------------------------------------------------- what a match costs


def _plainly(pattern: str) -> re.Pattern[str]:
    """The plain reading of a pattern, which tries every division of a path among its wildcards."""
    folders, names = r"(?:(?!\.)[^/]+/)*", pattern.rstrip("/").split("/")
    *above, last = [_plain_name(name) if name != "**" else folders for name in names]
    head = "".join(each if each == folders else f"{each}/" for each in above)
    tail = rf"{folders}(?!\.)[^/]+" if names[-1] == "**" else last
    return re.compile(head + tail, re.DOTALL)


def _plain_name(name: str) -> str:
    pieces = re.split(r"(\*+|\?|\[[^\]]+\])", name)
    read = {"?": "[^/]", "[!a]": "(?!/)[^a]", "[ab]": "(?!/)[ab]"}
    text = "".join(
        "[^/]*" if piece.startswith("*") else read.get(piece) or re.escape(piece)
        for piece in pieces
    )
    return (r"(?!\.)" if name[:1] in "*?[" and name else "") + text


_pieces = st.sampled_from(["a", "b", ".", "*", "?", "[ab]", "[!a]", "**", "a*"])
_wild_names = st.just("**") | st.lists(_pieces, min_size=1, max_size=6).map("".join)
_wild_patterns = st.lists(_wild_names, min_size=1, max_size=6).map("/".join)
_hidden_too = st.sampled_from(["a", "b", "ab", "ba", "aab", ".a", ".", "a.b", "abab"])
_deep_paths = st.lists(_hidden_too, min_size=1, max_size=7).map("/".join)


@settings(max_examples=400)
@given(_wild_patterns, st.lists(_deep_paths, min_size=15, max_size=15))
def test_a_pattern_means_what_it_means_when_every_division_is_tried(
    pattern: str, known: list[str]
) -> None:
    plain, match = _plainly(pattern).fullmatch, compiled(pattern).fullmatch
    for path in known:
        assert bool(match(path)) == bool(plain(path)), path
    above = re.sub(r"/?[^/]+/?$", "", pattern)
    reach = reaching(pattern)
    for path in known:
        prefixes = [above[: found.start()] for found in re.finditer("/|$", above) if above]
        prefixes += [pattern] if f"/{pattern}".endswith("/**") else []
        assert reach(path) == any(_plainly(each).fullmatch(path) for each in prefixes), path


_NASTY = [
    ("*a" * 60 + "*b", "a" * 200),
    ("*a" * 60 + "*", "a" * 59 + "b" * 150),
    ("data/" + "*_" * 40 + "*.csv", "data/" + "_" * 200),
    ("?*" * 80 + "b", "a" * 200),
    ("*[ab]" * 60 + "c", "ab" * 100),
    ("*" * 4000 + "b", "a" * 200),
    ("**/" * 60 + "x", "a/" * 60 + "y"),
    ("**/a/" * 40 + "x", "a/" * 100 + "y"),
    ("**/*a/" * 40 + "x", "aaaa/" * 100 + "y"),
    ("**/*/" * 40 + "x", "aaaa/" * 100 + "y"),
    ("**/*/" * 40 + "**", "aaaa/" * 39),
    ("**/*a*a*/**/" * 20 + "*b*b*c", "aaaa/" * 60 + "b" * 200),
    ("a/" * 1500 + "*", "a/" * 1500 + ".x"),
]


@pytest.mark.parametrize(("pattern", "path"), _NASTY, ids=range(len(_NASTY)))
def test_a_pattern_costs_what_it_matches(pattern: str, path: str) -> None:
    code = "; ".join(
        (
            "import sys",
            "from pit.project.selection import Excluded",
            "from pit.fs.patterns import PathIndex, matches, reaching",
            "from pit.fs.overlap import may_meet",
            "from pathlib import Path",
            "pattern, path = sys.argv[1:]",
            "known = [path, *(f'{path}{n}' for n in range(100))]",
            "assert not any(matches(pattern, each) for each in known)",
            "assert not PathIndex(known).matching(pattern)",
            "many = Excluded(Path('/p'), [Path(f'/p/{pattern}'), Path(f'/p/{pattern}z')])",
            "assert not any(map(many.covers, known))",
            "reach = reaching(pattern); print([reach(each) for each in known][0])",
            "print(may_meet(pattern, path), may_meet(pattern, pattern))",
        )
    )
    assert ends(code, pattern, path).splitlines()[1] == "False True"


def test_a_pattern_that_matches_much_is_cheap_too() -> None:
    code = "; ".join(
        (
            "from pit.fs.patterns import compiled",
            "assert compiled('*a' * 60 + '*').fullmatch('a' * 200)",
            "assert compiled('**/' * 60 + 'x').fullmatch('a/' * 60 + 'x')",
            "assert compiled('**/*a/' * 40 + 'x').fullmatch('aaa/' * 100 + 'x')",
        )
    )
    ends(code)
