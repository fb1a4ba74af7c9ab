"""Names in braces, and what is put in their place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pit.config.dag.placeholders import Template, filled, names_in


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("data/{airport}/{year}.csv", ("airport", "year")),
        ("{a}{b}{a}", ("a", "b", "a")),
        ("no braces", ()),
        ("${HOME} {{jinja}} {{ x }} {} {a b} {1} {a-b} { a }", ()),
        ('{"json": {"a": 1}}', ()),
        ("{a", ()),
        ("}a{", ()),
    ],
)
def test_only_plain_names_in_single_braces_count(text: str, names: tuple[str, ...]) -> None:
    assert names_in(text) == names


def test_values_are_put_in_at_once_and_what_is_unknown_stays() -> None:
    values = {"a": "{b}", "b": "{a}"}
    assert filled("{a}/{b}/{c}/${a}/{{a}}", values) == "{b}/{a}/{c}/${a}/{{a}}"


TEXTS = st.text(alphabet="{}$ab /%", max_size=20)


@given(TEXTS, TEXTS, TEXTS)
def test_a_template_fills_in_as_a_text_does(text: str, a: str, b: str) -> None:
    template = Template(text, ("a", "b"))
    assert template.filled({"a": a, "b": b}) == filled(text, {"a": a, "b": b})
