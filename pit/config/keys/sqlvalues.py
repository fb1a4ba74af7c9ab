"""What the keys of SQL tasks may hold: shares, bounds, the expectations of a check, tables."""

from __future__ import annotations

import re
from typing import Any

from pit.config.keys.values import BRACES, UNFIT, DataPath, Kind, shown
from pit.config.toml.findings import Findings
from pit.config.toml.position import KeyPath
from pit.model import Bounds
from pit.text import regex

TABLE = "table:"
"""What a target begins with that is a table of the task's connection."""

_NUMBER = r"-?\d+(?:\.\d+)?"
_SHARE = regex.lazy(r"(\d+(?:\.\d+)?)\s*%")
_ONE_SIDED = regex.lazy(rf"(>=|<=|>|<|=)\s*({_NUMBER})")
_RANGE = regex.lazy(rf"({_NUMBER})\s*\.\.\s*({_NUMBER})")
_ODD = regex.lazy(r"[\x00-\x1f\x7f;]")


class Share(Kind):
    """A share such as "20%", as a number: 0.2."""

    what = 'a share such as "20%"'

    def __init__(self, most: float = 1.0) -> None:
        self._most = most

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            percent = f"{100 * value:g}" if 0 < value < 1 else f"{value:g}"
            return self.refuse(value, at, findings, f'Write "{percent}%"')
        found = _SHARE.fullmatch(value.strip()) if isinstance(value, str) else None
        if found is None:
            return self.refuse(value, at, findings)
        share = float(found[1]) / 100
        if share > self._most:
            findings.add(at, f"{at[-1]} is at most {100 * self._most:g}%, not {shown(value)}")
            return UNFIT
        return share

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{_SHARE.pattern}$"}

    def written(self, value: Any) -> Any:
        return f"{100 * value:g}%"


class Shares(Kind):
    """A table of shares by column."""

    what = 'a table such as { email = "1%" }'

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if not isinstance(value, dict):
            return self.refuse(value, at, findings)
        read = {name: Share().read(share, (*at, name), findings) for name, share in value.items()}
        return {name: share for name, share in read.items() if share is not UNFIT}

    def schema(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": Share().schema()}


def bounds(text: str) -> Bounds | None:
    """The range that a text such as `>0`, `= 7` or `10..20` means; None for any other text."""
    text = text.strip()
    if found := _ONE_SIDED.fullmatch(text):
        sign, number = found[1], float(found[2])
        least = number if sign in (">", ">=", "=") else None
        most = number if sign in ("<", "<=", "=") else None
        return Bounds(text=text, least=least, most=most, open=sign in "<>")
    if found := _RANGE.fullmatch(text):
        return Bounds(text=text, least=float(found[1]), most=float(found[2]))
    return None


class RowCount(Kind):
    """How many rows: a whole number, or a range of them."""

    what = 'a number of rows such as ">0", "=0" or "10..20"'

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            value = f"={value}"
        found = bounds(value) if isinstance(value, str) else None
        if found is None:
            return self.refuse(value, at, findings)
        return _possible(found, at, findings)

    def schema(self) -> dict[str, Any]:
        text = {"type": "string", "pattern": f"^({_ONE_SIDED.pattern}|{_RANGE.pattern})$"}
        return {"anyOf": [text, {"type": "integer", "minimum": 0}]}


class CheckedValue(Kind):
    """One value: a text, a number, true or false, or a text that is a range such as ">= 0.95"."""

    what = 'a text, a number, true, false, or a range such as ">= 0.95"'

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if not isinstance(value, str | int | float):
            return self.refuse(value, at, findings)
        if value != value:  # nan, which TOML has
            findings.add(at, f"{at[-1]} is nan, which equals nothing, so the check always fails")
            return UNFIT
        found = bounds(value) if isinstance(value, str) else None
        return value if found is None else _possible(found, at, findings)

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "number", "boolean"]}


def _possible(found: Bounds, at: KeyPath, findings: Findings) -> Bounds:
    if found.least is not None and found.most is not None and found.least > found.most:
        findings.add(
            at, f"no number lies in {shown(found.text)}: its end comes before its beginning"
        )
    return found


class Target(Kind):
    """A file or folder, or `table:` and a table's name."""

    what = 'a path in quotes, or "table:…"'

    def __init__(self) -> None:
        self._path = DataPath(named=True)

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if not isinstance(value, str) or not value.startswith(TABLE):
            return self._path.read(value, at, findings)
        name = value[len(TABLE) :].strip()
        bare = re.sub(r"\{[A-Za-z_][A-Za-z0-9_]*\}", "", name)
        if not name or _ODD.search(name) or BRACES.search(bare):
            findings.add(at, f"{shown(value)} names no table", 'Write "table:mart.delays"')
            return UNFIT
        return f"{TABLE}{name}"

    def schema(self) -> dict[str, Any]:
        return self._path.schema()
