"""Run parameters: what `[dag.params]` declares and what `-p name=value` gives, as text.

Every value has one canonical spelling ("007" is "7", "yes" is "true", "today" is a date), so
that equal values compare equal wherever they are stored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta

from pit.errors import BadParameter, nearest
from pit.model import Param, ParamType, Task
from pit.text import regex

DAYS = {"today": 0, "yesterday": -1}
"""Words for a date, in days from today."""

_TRUTHS = {
    "true": "true",
    "yes": "true",
    "on": "true",
    "1": "true",
    "false": "false",
    "no": "false",
    "off": "false",
    "0": "false",
}
_WHOLE = regex.lazy(r"[+-]?[0-9]{1,1000}")
_FRACTION = regex.lazy(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DATE = regex.lazy(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def resolve(params: Sequence[Param], given: Mapping[str, str], today: date) -> dict[str, str]:
    """Every parameter's value in its canonical spelling; BadParameter names all that is wrong."""
    wrong = [_unknown(name, params) for name in given if all(name != p.name for p in params)]
    values: dict[str, str] = {}
    for param in params:
        text = given.get(param.name, param.default)
        if text is None:
            wrong.append(f'parameter "{param.name}" is required ({described(param)})')
            continue
        try:
            values[param.name] = canonical(param, text, today)
        except ValueError as error:
            wrong.append(f'parameter "{param.name}": {error}')
    if wrong:
        raise BadParameter("; ".join(wrong), _hint(params, values))
    return values


def canonical(param: Param, text: str, today: date) -> str:
    """One value in its canonical spelling; ValueError with a sentence if it does not fit."""
    if "\0" in text:
        raise ValueError("a value cannot contain a NUL character")
    return _READERS[param.type](param, text, today)


def described(param: Param) -> str:
    """What a parameter takes, in a few words: "a date such as 2026-01-31"."""
    if param.type is ParamType.CHOICE:
        return f"one of {', '.join(param.choices)}"
    return _WORDS[param.type]


def key(task: Task, values: Mapping[str, str]) -> str:
    """The values that a task gets, as the text by which its records are kept apart."""
    wanted = values if task.params is None else task.params
    given = {name: values[name] for name in sorted(wanted)}
    return json.dumps(given, ensure_ascii=False) if given else ""


def earlier_key(task: Task, values: Mapping[str, str]) -> str | None:
    """`key` of an earlier run; None if that is from before the task got a parameter."""
    try:
        return key(task, values)
    except KeyError:
        return None


_WORDS = {
    ParamType.STRING: "a text",
    ParamType.INT: "a whole number",
    ParamType.FLOAT: "a number",
    ParamType.BOOL: "true or false",
    ParamType.DATE: "a date such as 2026-01-31, today or yesterday",
}


def _string(param: Param, text: str, today: date) -> str:
    return text


def _int(param: Param, text: str, today: date) -> str:
    if not _WHOLE.fullmatch(text.strip()):
        raise ValueError(f'"{text}" is not {described(param)}')
    return str(int(text))


def _float(param: Param, text: str, today: date) -> str:
    if not _FRACTION.fullmatch(text.strip()) or math.isinf(float(text)):
        raise ValueError(f'"{text}" is not {described(param)}')
    return repr(float(text))


def _bool(param: Param, text: str, today: date) -> str:
    try:
        return _TRUTHS[text.strip().lower()]
    except KeyError:
        raise ValueError(f'"{text}" is neither true nor false') from None


def _date(param: Param, text: str, today: date) -> str:
    word = text.strip().lower()
    if word in DAYS:
        return (today + timedelta(days=DAYS[word])).isoformat()
    if not _DATE.fullmatch(word):
        raise ValueError(f'"{text}" is not {described(param)}')
    try:
        return date.fromisoformat(word).isoformat()
    except ValueError:
        raise ValueError(f'"{text}" is not in the calendar') from None


def _choice(param: Param, text: str, today: date) -> str:
    if text in param.choices:
        return text
    near = nearest(text, param.choices)
    meant = f'; did you mean "{near}"?' if near else f"; it takes {described(param)}"
    raise ValueError(f'"{text}" is not among the choices{meant}')


_READERS: dict[ParamType, Callable[[Param, str, date], str]] = {
    ParamType.STRING: _string,
    ParamType.INT: _int,
    ParamType.FLOAT: _float,
    ParamType.BOOL: _bool,
    ParamType.DATE: _date,
    ParamType.CHOICE: _choice,
}


def _unknown(name: str, params: Sequence[Param]) -> str:
    near = nearest(name, [param.name for param in params])
    return f'unknown parameter "{name}"' + (f'; did you mean "{near}"?' if near else "")


def _hint(params: Sequence[Param], values: Mapping[str, str]) -> str:
    missing = [param.name for param in params if param.name not in values]
    if missing:
        return "Give it with: " + " ".join(f"-p {name}=…" for name in missing)
    names = ", ".join(param.name for param in params)
    return f"Parameters of this DAG: {names}" if names else "This DAG has no parameters"
