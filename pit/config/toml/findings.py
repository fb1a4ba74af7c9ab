"""The problems of one file while it is read: noted by key path, given their lines at the end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pit.config.toml.position import KeyPath, Place, Spot, locate
from pit.model import Problem


def label(path: Path, root: Path) -> str:
    """How messages name a file: relative to the workspace at `root` where it lies in that."""
    return printable(str(path.relative_to(root) if path.is_relative_to(root) else path))


def printable(name: str) -> str:
    """A file name as text that can be printed and stored, whatever bytes it is made of."""
    return os.fsencode(name).decode(errors="replace")


class _Finding(NamedTuple):
    at: KeyPath
    sentence: str
    hint: str
    on_key: bool
    spot: Spot | None


class Findings:
    """Collects what is wrong with one file; `path` is how messages name the file."""

    def __init__(self, path: str, text: str = "") -> None:
        self.path = path
        self.text = text
        self._found: list[_Finding] = []
        self._kept: dict[KeyPath, list[int]] = {}
        self._touched: set[KeyPath] = set()

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, at: KeyPath, sentence: str, hint: str = "", *, on_key: bool = False) -> None:
        """Note a problem with the value at a key path, or with the key itself."""
        self._found.append(_Finding(at, sentence, hint, on_key, None))
        self._touched.update(at[:length] for length in range(1, len(at) + 1))

    def add_at(self, spot: Spot | None, sentence: str, hint: str = "") -> None:
        """Note a problem whose line and column are known, or that has none."""
        self._found.append(_Finding((), sentence, hint, False, spot or (0, 0)))

    def doubt(self, at: KeyPath) -> None:
        """Note that the value at a key path is not what the file meant to say, as when its key is
        misspelt; the problem is told elsewhere."""
        self._touched.add(at)

    def doubts(self, at: KeyPath) -> bool:
        """Whether something is wrong at a key path or below it: what follows from that is not
        another mistake."""
        return at in self._touched

    def shorten(self, at: KeyPath, kept: list[int]) -> None:
        """Note that of a list in the file only the entries at these places are used."""
        self._kept[at] = kept

    def entry(self, at: KeyPath, place: int) -> KeyPath:
        """The key path of an entry of a list, by its place among those that are used."""
        return (*at, self._kept[at][place] if at in self._kept else place)

    def problems(self) -> tuple[Problem, ...]:
        """All problems with their positions, in the order of the lines."""
        if not self._found:
            return ()
        places = self._places()
        lines = self.text.split("\n")
        found = {self._problem(finding, places, lines): None for finding in self._found}
        return tuple(sorted(found, key=lambda problem: (problem.line, problem.column)))

    def _places(self) -> Mapping[KeyPath, Place]:
        return locate(self.text) if any(not found.spot for found in self._found) else {}

    def _problem(
        self, finding: _Finding, places: Mapping[KeyPath, Place], lines: list[str]
    ) -> Problem:
        line, column = finding.spot or _spot(finding, places)
        return Problem(
            path=self.path,
            sentence=finding.sentence,
            line=line,
            column=column,
            source=lines[line - 1].rstrip("\r") if 0 < line <= len(lines) else "",
            hint=finding.hint,
        )


def _spot(finding: _Finding, places: Mapping[KeyPath, Place]) -> Spot:
    """The place of the key path, or of the nearest table or key around it."""
    for length in range(len(finding.at), 0, -1):
        place = places.get(finding.at[:length])
        if place:
            exact = length == len(finding.at) and not finding.on_key
            return place.value if exact else place.key
    return 1, 1
