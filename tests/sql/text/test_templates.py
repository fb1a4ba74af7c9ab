"""SQL templates: what they see, what they may not do, and how their mistakes are told."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from pit.order import Templated
from pit.sql.driver import CANCELLED, Failure, SqlFailure
from pit.sql.protocol import Template
from pit.sql.text import dialect
from pit.sql.text.templates import Renderer


def renderer(root: Path, kind: dialect.Dialect = dialect.DUCKDB, **scope: Any) -> Renderer:
    return Renderer(Template(root=str(root), rendered="", scope=Templated(**scope)), kind)


def render(root: Path, text: str, kind: dialect.Dialect = dialect.DUCKDB, **scope: Any) -> str:
    return renderer(root, kind, **scope).render("marts/a.sql.j2", text)


def fails(root: Path, text: str, **scope: Any) -> Failure:
    with pytest.raises(SqlFailure) as caught:
        render(root, text, **scope)
    return caught.value.failure


def test_params_have_their_types_and_run_and_env_are_there(tmp_path: Path) -> None:
    text = render(
        tmp_path,
        "{{ params.day.year + params.n }} {{ params['day'] }} {{ run.id }} {{ env.STAGE }} "
        "{{ dialect }}{% if params.full %}!{% endif %}",
        params={"day": "2026-01-31", "n": 1, "full": False},
        dates=("day",),
        run={"id": "r1"},
        env={"STAGE": "prod"},
    )
    assert text == "2027 2026-01-31 r1 prod duckdb"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (dialect.DUCKDB, "'it''s', 1, NULL, TRUE \"a\"\"b\""),
        (dialect.POSTGRES, "'it''s', 1, NULL, TRUE \"a\"\"b\""),
        (dialect.SQLITE, "'it''s', 1, NULL, 1 \"a\"\"b\""),
        (dialect.SQLSERVER, "N'it''s', 1, NULL, 1 [a\"b]"),
    ],
)
def test_values_and_names_are_quoted_as_the_database_wants(
    tmp_path: Path, kind: dialect.Dialect, expected: str
) -> None:
    text = """{{ ["it's", 1, none, true] | sqlstr }} {{ 'a"b' | ident }}"""
    assert render(tmp_path, text, kind) == expected


def test_what_is_no_value_cannot_be_written(tmp_path: Path) -> None:
    assert "the list is empty" in fails(tmp_path, "{{ [] | sqlstr }}").message
    assert "cannot write a dict" in fails(tmp_path, "{{ {} | sqlstr }}").message
    assert "'zz' is undefined" in fails(tmp_path, "{{ zz | sqlstr }}").message
    assert "a name is empty" in fails(tmp_path, "{{ '' | ident }}").message


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a\n{{ params.dya }}", 2, "params has no dya; it has day"),
        ("{{ env['X'] }}", 1, "env has no X; it has nothing"),
        ("\n\n{{ nope }}", 3, "'nope' is undefined"),
        ("{% if %}", 1, "Expected an expression"),
        ("x\n{{ 1 / 0 }}", 2, "division by zero"),
        ("{{ params.day.nope }}", 1, "no attribute 'nope'"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    failure = fails(tmp_path, text, params={"day": "x"})
    assert said in failure.message
    assert (failure.place, failure.line, failure.retryable) == ("marts/a.sql.j2", line, False)


def test_what_may_be_missing_can_be_asked_for(tmp_path: Path) -> None:
    text = "{{ params.x | default('none') }}{% if env.Y is defined %}y{% endif %}"
    assert render(tmp_path, text) == "none"


def test_a_name_comes_before_a_method_of_tables(tmp_path: Path) -> None:
    assert render(tmp_path, "{{ params.items }}", params={"items": "7"}) == "7"
    assert "env has no keys" in fails(tmp_path, "{{ env.keys() }}").message


def test_files_of_the_project_are_included_and_others_are_not(tmp_path: Path) -> None:
    root = tmp_path / "project"
    (root / "marts").mkdir(parents=True)
    (tmp_path / "secrets.toml").write_text("password")
    (root / "macros.j2").write_text("{% macro q(x) %}<{{ x }}>{% endmacro %}")
    (root / "marts" / "part.sql").write_text("part of {{ run.id }}")
    (root / "link.j2").symlink_to(tmp_path / "secrets.toml")
    text = "{% from 'macros.j2' import q %}{{ q(1) }} {% include './part.sql' %}"
    assert render(root, text, run={"id": "r"}) == "<1> part of r"
    for name in ("../secrets.toml", "/etc/passwd", "../../secrets.toml", "link.j2", "nope.sql"):
        failure = fails(root, f"\n{{% include '{name}' %}}")
        assert "to include" in failure.message
        assert failure.line == 2


def test_a_mistake_in_an_included_file_is_told_there(tmp_path: Path) -> None:
    (tmp_path / "m.j2").write_text("{% macro f() %}\n{{ zz }}{% endmacro %}")
    failure = fails(tmp_path, "{% import 'm.j2' as m %}\n\n{{ m.f() }}")
    assert (failure.place, failure.line) == ("m.j2", 2)


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ params.__class__ }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ run.update({'id': 2}) }}",
        "{{ 'x' * 1000000000000 }}",
        "{{ [1] * 1000000000000 }}",
        "{{ 9 ** 999999999 }}",
        "{{ 'x'.center(10000000000) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '%1000000000d' | format(1) }}",
        "{% for i in range(1000000000) %}{% endfor %}",
        "{% for i in range(99999) %}{{ 'x' * 9999 }}{% endfor %}",
        "{% include 'marts/a.sql.j2' %}",
    ],
)
def test_a_template_can_neither_get_out_nor_blow_up(tmp_path: Path, text: str) -> None:
    assert fails(tmp_path, text).kind == "template"


def test_a_loop_that_does_nothing_can_be_interrupted(tmp_path: Path) -> None:
    endless = renderer(tmp_path)
    text = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    threading.Timer(0.2, endless.interrupt).start()
    with pytest.raises(SqlFailure) as caught:
        endless.render("a.sql.j2", text)
    assert caught.value.failure.kind == CANCELLED
    with pytest.raises(SqlFailure):
        endless.render("a.sql.j2", "once interrupted, it stays so")


def test_a_filter_that_makes_a_list_is_written_out_or_refused(tmp_path: Path) -> None:
    failure = fails(tmp_path, "SELECT 1;\nSELECT {{ ['a'] | map('upper') }}")
    assert (failure.line, "join" in failure.message) == (2, True)
    assert render(tmp_path, "{{ ['a', 'b'] | map('upper') | join(', ') }}") == "A, B"
    assert render(tmp_path, "{{ ['a', 'b'] | map('upper') | sqlstr }}") == "'A', 'B'"
    assert render(tmp_path, "{{ ['a', 'b'] | map('upper') | ident }}") == '"A", "B"'


@pytest.mark.parametrize(
    "text",
    [
        "{% set x = namespace(t='abcdefgh') %}{% for i in range(60) %}"
        "{% set x.t = x.t ~ x.t %}{% endfor %}",
        "{% set x = namespace(t='abcdefgh') %}{% for i in range(60) %}"
        "{% set x.t = x.t + x.t %}{% endfor %}",
        "{% set x = namespace(t=[1]) %}{% for i in range(60) %}"
        "{% set x.t = x.t + x.t %}{% endfor %}",
        "{% set x = namespace(t='abcdefgh') %}{% for i in range(60) %}"
        "{% set t %}{{ x.t }}{{ x.t }}{% endset %}{% set x.t = t %}{% endfor %}",
        "{% set x = 'a' * 9000000 %}{% set y = [1] * 9 %}{{ y | join(x) }}",
        "{{ 'x' | indent(10 ** 10) }}",
        "{{ 'x' | indent(width=10 ** 10, first=true) }}",
        "{% set x = 'a' * 9000000 %}{{ x | replace('a', x) }}",
        "{% set x = 'a' * 9000000 %}{{ x.replace('a', x) }}",
        "{% set x = 'a' * 9000000 %}{{ x.join(['b'] * 9) }}",
        "{% set x = 'a' * 9000000 %}{{ x | wordwrap(1, wrapstring=x) }}",
        "{{ [1] | batch(10 ** 10, 'x') | list }}",
        "{{ [1] | slice(10 ** 10) | list }}",
    ],
)
def test_no_step_makes_a_text_of_any_length(tmp_path: Path, text: str) -> None:
    assert "more than 64 million characters" in fails(tmp_path, text).message


def test_texts_of_moderate_length_are_made_as_ever(tmp_path: Path) -> None:
    text = (
        "{{ 'a\nb' | indent(2) }} {{ ['a', 'b'] | join(', ') }} {{ 'aa' | replace('a', 'b') }} "
        "{{ 'x' ~ 1 ~ none }} {{ ', '.join(['a', 'b']) }} {{ 'a'.replace('a', 'c') }} "
        "{{ [1, 2, 3] | batch(2, 0) | list }} {{ [1] + [2] }} {{ 1 + 2 }} "
        "{% set x %}{{ 'a' ~ 'b' }}{% endset %}{{ x }} {{ [1, 2] | join }}"
        " {{ [{'n': 'a'}, {'n': 'b'}] | join('-', attribute='n') }}"
    )
    assert render(tmp_path, text) == (
        "a\n  b a, b bb x1None a, b c [[1, 2], [3, 0]] [1, 2] 3 ab 12 a-b"
    )
    assert "'zz' is undefined" in fails(tmp_path, "{{ 'a' ~ zz }}").message
