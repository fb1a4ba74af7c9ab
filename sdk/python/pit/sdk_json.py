"""What in a value JSON cannot hold: where it is, and what can be written for it.

Loaded when something could not be sent, so that the error helps; it never shows the value itself.
"""

from __future__ import annotations

import json

from pit import sdk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator

_DEEPEST = 100

_INSTEAD = {
    "Decimal": "str(x), or float(x) where digits may be lost",
    "NaTType": "None for what is not known",
    "bytes": "x.decode(), or a file of the data folder",
    "timedelta": "x.total_seconds()",
    "Timedelta": "x.total_seconds()",
    "set": "sorted(x)",
    "frozenset": "sorted(x)",
    "generator": "list(x)",
    "DataFrame": "write_output(name, x): tables are files",
    "Table": "write_output(name, x): tables are files",
}


def objection(place: str, value: Any, depth: int = 0) -> str:
    """Such as `value['rates'][1] is nan, which JSON has not; …`; empty if there is none."""
    if depth > _DEEPEST:
        return f"{place[:60]}… is nested too deeply, or holds itself"
    if isinstance(value, dict):
        return _first(
            _key(place, key) or objection(f"{place}[{key!r}]", each, depth + 1)
            for key, each in value.items()
        )
    if isinstance(value, (list, tuple)):
        return _first(objection(f"{place}[{at}]", each, depth + 1) for at, each in enumerate(value))
    if _fits(value):
        return ""
    try:
        return objection(place, sdk._plain(value), depth + 1)
    except TypeError:
        return f"{place} {_why(value)}"


def _first(found: Iterator[str]) -> str:
    return next(filter(None, found), "")


def _key(place: str, key: Any) -> str:
    if isinstance(key, (str, int, float, type(None))):
        return ""
    return f"a key of {place} is a {type(key).__name__}; write str(key)"


def _fits(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError):
        return False
    return True


def _why(value: Any) -> str:
    if isinstance(value, float):
        return f"is {value}, which JSON has not; write None for what is not known"
    if isinstance(value, str):
        return "is not valid text; write x.encode(errors='replace').decode()"
    kind = type(value).__name__
    return f"is a {kind}, which JSON has not; write {_INSTEAD.get(kind, 'str(x)')}"
