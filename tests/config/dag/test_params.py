"""Run parameters: canonical values, and everything wrong said at once."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pit.config.dag.params import resolve
from pit.errors import BadParameter
from pit.model import Param, ParamType

TODAY = date(2026, 3, 1)


def one(kind: ParamType, text: str, choices: tuple[str, ...] = ()) -> str:
    param = Param(name="p", type=kind, choices=choices)
    return resolve([param], {"p": text}, TODAY)["p"]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (ParamType.STRING, " as it is ", " as it is "),
        (ParamType.STRING, "", ""),
        (ParamType.INT, "007", "7"),
        (ParamType.INT, " -5 ", "-5"),
        (ParamType.INT, "+5", "5"),
        (ParamType.FLOAT, "1", "1.0"),
        (ParamType.FLOAT, "1e3", "1000.0"),
        (ParamType.FLOAT, ".5", "0.5"),
        (ParamType.BOOL, "Yes", "true"),
        (ParamType.BOOL, "0", "false"),
        (ParamType.DATE, "2026-01-31", "2026-01-31"),
        (ParamType.DATE, "today", "2026-03-01"),
        (ParamType.DATE, "Yesterday", "2026-02-28"),
    ],
)
def test_every_value_has_one_spelling(kind: ParamType, text: str, value: str) -> None:
    assert one(kind, text) == value


@pytest.mark.parametrize(
    ("kind", "text", "sentence"),
    [
        (ParamType.INT, "1.5", 'parameter "p": "1.5" is not a whole number'),
        (ParamType.INT, "1_000", 'parameter "p": "1_000" is not a whole number'),
        (ParamType.INT, "", 'parameter "p": "" is not a whole number'),
        (ParamType.FLOAT, "nan", 'parameter "p": "nan" is not a number'),
        (ParamType.FLOAT, "1e999", 'parameter "p": "1e999" is not a number'),
        (ParamType.BOOL, "maybe", 'parameter "p": "maybe" is neither true nor false'),
        (ParamType.DATE, "2026-02-30", 'parameter "p": "2026-02-30" is not in the calendar'),
        (
            ParamType.DATE,
            "31.01.2026",
            'parameter "p": "31.01.2026" is not a date such as 2026-01-31, today or yesterday',
        ),
        (ParamType.STRING, "a\0b", 'parameter "p": a value cannot contain a NUL character'),
    ],
)
def test_a_value_that_does_not_fit(kind: ParamType, text: str, sentence: str) -> None:
    with pytest.raises(BadParameter) as caught:
        one(kind, text)
    assert str(caught.value) == sentence
    assert caught.value.exit_code == 2


def test_choices() -> None:
    assert one(ParamType.CHOICE, "full", ("full", "delta")) == "full"
    with pytest.raises(BadParameter, match='did you mean "full"'):
        one(ParamType.CHOICE, "ful", ("full", "delta"))
    with pytest.raises(BadParameter, match="it takes one of full, delta"):
        one(ParamType.CHOICE, "xyz", ("full", "delta"))


def test_defaults_are_resolved_on_the_day_of_the_run() -> None:
    params = [
        Param(name="date", type=ParamType.DATE, default="yesterday"),
        Param(name="limit", type=ParamType.INT, default="10"),
    ]
    assert resolve(params, {}, TODAY) == {"date": "2026-02-28", "limit": "10"}
    assert resolve(params, {"limit": "3"}, TODAY)["limit"] == "3"


def test_all_that_is_wrong_is_said_at_once() -> None:
    params = [
        Param(name="date", type=ParamType.DATE),
        Param(name="mode", type=ParamType.CHOICE, choices=("full", "delta")),
        Param(name="limit", type=ParamType.INT),
    ]
    with pytest.raises(BadParameter) as caught:
        resolve(params, {"dat": "today", "limit": "x"}, TODAY)
    assert str(caught.value).split("; ") == [
        'unknown parameter "dat"',
        'did you mean "date"?',
        'parameter "date" is required (a date such as 2026-01-31, today or yesterday)',
        'parameter "mode" is required (one of full, delta)',
        'parameter "limit": "x" is not a whole number',
    ]
    assert caught.value.hint == "Give it with: -p date=… -p mode=… -p limit=…"


def test_an_unknown_parameter_lists_what_there_is() -> None:
    with pytest.raises(BadParameter, match='unknown parameter "x"') as caught:
        resolve([], {"x": "1"}, TODAY)
    assert caught.value.hint == "This DAG has no parameters"


@given(st.sampled_from(list(ParamType)), st.text(max_size=20))
def test_a_canonical_value_is_its_own_canonical_value(kind: ParamType, text: str) -> None:
    try:
        value = one(kind, text, ("a", "b"))
    except BadParameter:
        return
    assert one(kind, value, ("a", "b")) == value
