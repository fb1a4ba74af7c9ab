"""Where in a script each statement stands: aligns a parser's statements with the script's text.

DuckDB hands back most statements as the text between two semicolons, comments included; what it
rewrites while parsing (PRAGMA, PIVOT, IMPORT DATABASE) comes back as other text, or none, and one
stretch of the script may become several statements. So the script is cut at its semicolons, equal
texts are matched in order, and what is left in between is matched by position.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pit.model import Record
from pit.sql.text.table import clip, visible, width


class Stretch(Record, frozen=True):
    """A stretch of a script between semicolons: `line` of its first word, `above` of its start.

    `text` begins at the first word, `raw` right behind the semicolon before.
    """

    line: int
    above: int
    text: str
    raw: str


def cut(text: str, words: Sequence[int]) -> list[Stretch]:
    """The stretches that hold a word; `words` are the byte offsets of the text's tokens."""
    data = text.encode()
    places: list[Stretch] = []
    line, start, first = 1, 0, -1
    for offset in (*words, len(data)):
        if offset < len(data) and data[offset] != ord(";"):
            first = offset if first < 0 else first
            continue
        if first >= 0:
            places.append(_place(data, line, start, first, offset))
        line += data.count(b"\n", start, offset + 1)
        start, first = offset + 1, -1
    return places


def _place(data: bytes, line: int, start: int, first: int, end: int) -> Stretch:
    return Stretch(
        line=line + data.count(b"\n", start, first),
        above=line,
        text=data[first:end].decode().rstrip(),
        raw=data[start:end].decode(),
    )


def align(places: Sequence[Stretch], queries: Sequence[str]) -> Iterator[tuple[Stretch, bool]]:
    """For each query its place, and whether it is the very text that stands there."""
    found = list(_equal(places, queries))
    low = 0
    begun = -1
    for number, index in enumerate(found):
        if index is not None:
            low, begun = index + 1, number
            yield places[index], True
        else:
            high = next((i for i in found[number + 1 :] if i is not None), len(places))
            nearest = min(low + number - begun - 1, high - 1)
            yield places[max(nearest, 0)], False


def _equal(places: Sequence[Stretch], queries: Sequence[str]) -> Iterator[int | None]:
    """For each query the next place with the same text, or None."""
    at = 0
    known = {_bare(place.raw) for place in places}
    for query in queries:
        bare = _bare(query)
        index = None
        if bare in known:
            ahead = range(at, len(places))
            index = next((i for i in ahead if _bare(places[i].raw) == bare), None)
        if index is not None:
            at = index + 1
        yield index


def _bare(text: str) -> str:
    return text.rstrip("; \t\r\n")


_SHOWN = 110
"""How much of a line a picture shows, in characters."""


def point(text: str, offset: int, first: int = 1) -> tuple[int, str]:
    """The line that holds the character at `offset`, and a picture of it with a caret.

    `first` is the number of the text's first line.
    """
    number = first + text.count("\n", 0, offset)
    begin = text.rfind("\n", 0, offset) + 1
    end = text.find("\n", offset)
    cut_from = max(begin, offset - _SHOWN // 2)
    before = ("…" if cut_from > begin else "") + _flat(text[cut_from:offset])
    after = _flat(text[offset : len(text) if end < 0 else end])
    head = f"LINE {number}: "
    line = clip(head + before + after, max(_SHOWN, width(before) + _SHOWN // 2))
    return number, f"{line}\n{' ' * width(head + before)}^"


def _flat(text: str) -> str:
    return visible(text.replace("\t", " ").rstrip("\r"))
