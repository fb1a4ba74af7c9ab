"""The rules of .pitignore: they mean what they mean to pathspec, and none takes for ever."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from pit.project import gitignore
from tests.bounded import ends
from tests.builder import Pit

_PIECES = st.sampled_from(["a", "b", ".", "*", "?", "[ab]", "\\\\*", "a*", "*b"])
_NAMES = st.just("**") | st.lists(_PIECES, min_size=1, max_size=4).map("".join)
_RULES = st.tuples(
    st.sampled_from(["", "!", "/", "!/"]),
    st.lists(_NAMES, min_size=1, max_size=5).map("/".join),
    st.sampled_from(["", "/", "/**"]),
).map("".join)
_PATHS = st.tuples(
    st.lists(st.sampled_from(["a", "b", "ab", ".a", "a*", "ba"]), min_size=1, max_size=6),
    st.sampled_from(["", "/"]),
).map(lambda parts: "/".join(parts[0]) + parts[1])


@settings(max_examples=300)
@given(st.lists(_RULES, min_size=1, max_size=3), st.lists(_PATHS, min_size=12, max_size=12))
def test_rules_mean_what_they_did(rules: list[str], paths: list[str]) -> None:
    was, now = GitIgnoreSpec.from_lines(rules), gitignore.read(rules)
    for path in paths:
        one, other = was.check_file(path), now.check_file(path)
        assert (one.include, one.index) == (other.include, other.index), path


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("*a" * 60 + "*b", "a" * 200),
        ("!" + "*a" * 60 + "*b", "a" * 200),
        ("/data/" + "*_" * 40 + "*.csv", "data/" + "_" * 200),
        ("*[ab]" * 60 + "c", "ab" * 100),
        ("**/" * 60 + "x", "a/" * 60 + "y"),
        ("**/a/" * 40 + "x", "a/" * 100 + "y"),
        ("a/**/" * 40 + "x/", "a/" * 100 + "y"),
        ("a/**/*a*a*/**/" * 10 + "x/**", "a/" * 20 + "aaaaaaaaaaaaaaa/" * 60 + "y"),
        ("a^/" + "*a" * 60 + "*b", "a^/" + "a" * 200),
    ],
)
def test_a_rule_costs_what_it_matches(rule: str, path: str) -> None:
    code = "; ".join(
        (
            "import sys",
            "from pit.project import gitignore",
            "rules = gitignore.read([sys.argv[1]])",
            "assert rules.check_file(sys.argv[2]).include is None",
        )
    )
    ends(code, rule, path)


def test_rules_of_another_make_stay_as_they_are() -> None:
    for expression in (r"^(a|b)*c$", "/", r"^a{3}", "x"):
        assert gitignore.bounded(expression) == expression


def test_a_project_with_many_stars_everywhere_is_planned_and_run(pit: Pit) -> None:
    stars = "*a" * 40
    pit.project("p").toml(
        f'''
        [[tasks]]
        name = "a"
        script = "tasks/a.sh"
        inputs = ["data/{stars}*b", "{"**/" * 40}x"]
        targets = ["out/{stars}*c"]
        '''
    )
    pit.file(".pitignore", f"{stars}*d\n")
    pit.file(f"data/{'a' * 200}", "1")
    pit.file(f"data/{'a' * 100}b", "1")
    pit.scripts(a=f"mkdir -p out; echo > out/{'a' * 100}c; echo > out/{'a' * 100}d")
    pit.run("run", "p").ok()
    assert "nothing to do" in pit.run("run", "p").ok().out
    pit.file(f"data/{'a' * 100}b", "2")
    pit.run("run", "p").ok()
