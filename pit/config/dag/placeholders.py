"""Names in braces, such as `{airport}`, and the values that are put in their place.

A name stands for a matrix key or a run parameter. `${NAME}` and `{{name}}` are left alone: they
mean something to others. Values are put in all at once, so braces in a value mean nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from pit.text import regex

NAMED = regex.lazy(r"(?<![{$])\{([A-Za-z_][A-Za-z0-9_]*)\}(?!\})")
_BRACE = regex.lazy(r"[{}]")


def names_in(text: str) -> tuple[str, ...]:
    """The names in braces, in their order."""
    return tuple(NAMED.findall(text)) if "{" in text else ()


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with the values of the names that are known; other braces stay."""
    if "{" not in text:
        return text
    return NAMED.sub(lambda found: values.get(found[1], found[0]), text)


class Template:
    """A text taken apart once, so that many values can be put into it quickly."""

    def __init__(self, text: str, names: Collection[str]) -> None:
        self.text = text
        self.names = tuple(name for name in names_in(text) if name in names)
        self._format = "".join(_pieces(text, names))

    def filled(self, values: Mapping[str, str]) -> str:
        """The text with a value for each of `names`; other braces stay."""
        return self._format.format_map(values) if self.names else self.text


def _pieces(text: str, names: Collection[str]) -> Iterable[str]:
    """The text as a format string in which only the names given are fields."""
    at = 0
    for found in NAMED.finditer(text):
        if found[1] in names:
            yield _BRACE.sub(r"\g<0>\g<0>", text[at : found.start()])
            yield found[0]
            at = found.end()
    yield _BRACE.sub(r"\g<0>\g<0>", text[at:])
