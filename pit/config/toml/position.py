"""Where each key and value of a TOML text stands, for error messages.

The grammar costs 25 ms to load, so it is loaded only when there is an error to show.
Lines and columns count from 1, columns in characters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import tomli

if TYPE_CHECKING:
    from tree_sitter import Node

KeyPath = tuple[str | int, ...]
"""Keys and array indexes from the top: ("tasks", 0, "retries")."""

Spot = tuple[int, int]
"""A line and a column."""

_KEYS = ("bare_key", "quoted_key", "dotted_key")


class Place(NamedTuple):
    """Where a key begins and where its value begins; the same for an array's element."""

    key: Spot
    value: Spot


def locate(text: str) -> Mapping[KeyPath, Place]:
    """The first place of every key path in `text`; text with syntax errors gives what it can."""
    walk = _Walk(text)
    places: dict[KeyPath, Place] = {}
    for statement in walk.statements():
        for path, place in walk.places(statement):
            places.setdefault(path, place)
    return places


def repeated(text: str, line: int) -> tuple[KeyPath, Place, Place] | None:
    """Whether the last key or header up to `line` was set before: its path and both places."""
    before: list[_Statement] = []
    for statement in _Walk(text).statements():
        if statement.place.key[0] > line:
            break
        before.append(statement)
    last = before.pop() if before else None
    for earlier in before:
        if last and _conflict(earlier, last):
            return last.path, earlier.place, last.place
    return None


def _conflict(earlier: _Statement, later: _Statement) -> bool:
    """Whether both set one key; a header may come before or after the tables inside it."""
    length = min(len(earlier.path), len(later.path))
    if earlier.path[:length] != later.path[:length]:
        return False
    outer = earlier if len(earlier.path) == length else later
    return len(earlier.path) == len(later.path) or outer.value is not None


class _Statement(NamedTuple):
    """A `key = value` or a `[header]`; `within` is how much of `path` the table around gives."""

    path: KeyPath
    within: int
    place: Place
    value: Node | None


class _Walk:
    """One pass over a syntax tree, counting the elements of arrays of tables."""

    def __init__(self, text: str) -> None:
        import tree_sitter_toml
        from tree_sitter import Language, Parser

        language = Language(tree_sitter_toml.language())
        self._root = Parser(language).parse(text.encode()).root_node
        self._lines = text.split("\n")
        self._counts: Counter[KeyPath] = Counter()

    def statements(self) -> Iterator[_Statement]:
        """The headers and pairs of the text in their order."""
        for node in self._root.named_children:
            if node.type == "pair":
                yield from self._pair((), node)
            elif node.type in ("table", "table_array_element"):
                yield from self._table(node)

    def places(self, statement: _Statement) -> Iterator[tuple[KeyPath, Place]]:
        """The places of all key paths that a statement sets, those in its value included."""
        for length in range(statement.within + 1, len(statement.path) + 1):
            yield statement.path[:length], statement.place
        if statement.value:
            yield from self._inside(statement.path, statement.value)

    def _table(self, node: Node) -> Iterator[_Statement]:
        header = next((child for child in node.named_children if child.type in _KEYS), None)
        if header is None:
            return
        path = self._resolved(self._words(header), node.type == "table_array_element")
        spot = self._spot(header)
        yield _Statement(path, 0, Place(spot, spot), None)
        for child in node.named_children:
            if child.type == "pair":
                yield from self._pair(path, child)

    def _resolved(self, words: list[str], element: bool) -> KeyPath:
        """The path of a header, with the index of the current element of each array in it."""
        path: KeyPath = ()
        for word in words:
            path = (*path, word)
            if self._counts[path] and not (element and len(words) == 1):
                path = (*path, self._counts[path] - 1)
        if not element:
            return path
        array = path[:-1] if isinstance(path[-1], int) else path
        self._counts[array] += 1
        return (*array, self._counts[array] - 1)

    def _pair(self, prefix: KeyPath, node: Node) -> Iterator[_Statement]:
        parts = [child for child in node.named_children if child.type != "comment"]
        if len(parts) < 2 or parts[0].type not in _KEYS:
            return
        key, value = parts[0], parts[-1]
        place = Place(self._spot(key), self._spot(value))
        yield _Statement((*prefix, *self._words(key)), len(prefix), place, value)

    def _inside(self, path: KeyPath, node: Node) -> Iterator[tuple[KeyPath, Place]]:
        if node.type == "inline_table":
            for child in node.named_children:
                for pair in self._pair(path, child) if child.type == "pair" else ():
                    yield from self.places(pair)
        elif node.type == "array":
            elements = (child for child in node.named_children if child.type != "comment")
            for index, child in enumerate(elements):
                yield (*path, index), Place(self._spot(child), self._spot(child))
                yield from self._inside((*path, index), child)

    def _words(self, node: Node) -> list[str]:
        if node.type == "dotted_key":
            return [word for part in node.named_children for word in self._words(part)]
        text = (node.text or b"").decode()
        if node.type == "quoted_key":
            try:
                return list(tomli.loads(f"{text} = 0"))
            except tomli.TOMLDecodeError:
                return [text]
        return [text]

    def _spot(self, node: Node) -> Spot:
        row, byte = node.start_point
        before = self._lines[row].encode()[:byte]
        return row + 1, len(before.decode(errors="replace")) + 1
