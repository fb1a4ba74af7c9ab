"""ODBC connection strings, `Driver={…};Server=…;`: taken apart and written.

A value in braces may hold anything, a closing brace doubled. Of a keyword that stands twice the
first counts, as ODBC has it; keywords know no case.
"""

from __future__ import annotations

from collections.abc import Mapping

from pit.errors import InvalidConnection

_SPECIAL = frozenset("[]{}(),;?*=!@")


def split(text: str) -> dict[str, str]:
    """The keywords, in lower case, and their values; raises InvalidConnection."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        sign = text.find("=", at)
        if sign < 0:
            if text[at:].strip(" ;\r\n\t"):
                raise _broken()
            break
        keyword = text[at:sign].strip(" ;\r\n\t").lower()
        if not keyword or ";" in keyword:
            raise _broken()
        value, at = _value(text, sign + 1)
        found.setdefault(keyword, value)
    return found


def _value(text: str, start: int) -> tuple[str, int]:
    while text[start : start + 1].isspace():
        start += 1
    if not text.startswith("{", start):
        end = text.find(";", start)
        end = len(text) if end < 0 else end
        return text[start:end].strip(), end + 1
    value: list[str] = []
    at = start + 1
    while True:
        close = text.find("}", at)
        if close < 0:
            raise _broken()
        value.append(text[at:close])
        if not text.startswith("}}", close):
            break
        value.append("}")
        at = close + 2
    end = text.find(";", close)
    end = len(text) if end < 0 else end
    if text[close + 1 : end].strip():
        raise _broken()
    return "".join(value), end + 1


def join(keywords: Mapping[str, str]) -> str:
    """A connection string with these keywords, in this order."""
    return "".join(f"{keyword}={braced(value)};" for keyword, value in keywords.items())


def braced(value: str) -> str:
    """A value, in braces where it needs them."""
    if not value or (value == value.strip() and not _SPECIAL.intersection(value)):
        return value
    return "{" + value.replace("}", "}}") + "}"


def _broken() -> InvalidConnection:
    return InvalidConnection(
        "the ODBC connection string is broken",
        "Write keyword=value pairs with semicolons between; put a value with a semicolon in braces",
    )
