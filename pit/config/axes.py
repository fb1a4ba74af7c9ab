"""The values of the keys of a matrix: listed in pit.toml, or read from files before a run.

A pattern gives, for each file, what its wildcards stand for: `data/*.csv` gives JFK for
data/JFK.csv, and `src/**/*.c` gives lib/zip for src/lib/zip.c. Put in place of the wildcards, a
value always gives the path again. A file gives its lines, without blank ones and `#` comments;
a .csv or .tsv file with a header the cells of a column. What is repeated in a file counts once.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol, TextIO

from pit.config.dag.dataflow import WORKSPACE
from pit.config.keys.instances import MOST_INSTANCES, Axes, encoded
from pit.config.keys.keys import TABLES_OF_VALUES
from pit.config.keys.values import shown, suggestion, value_problem
from pit.config.toml.findings import Findings, printable
from pit.config.toml.position import KeyPath
from pit.fs.patterns import is_pattern, wild_span
from pit.model import MatrixSource, Task


class Disk(Protocol):
    """The disk from which values are read; whoever gives it sees what was read."""

    def matching(self, root: str, pattern: str) -> Iterable[str]:
        """The places below a root, relative to it, that a pattern matches."""

    def read(self, path: str) -> None:
        """The file at this path is about to be read."""


LARGEST = 64 * 1024 * 1024
"""Bytes; a larger file is not read for values."""

_SOUGHT_BEFORE = "Values are read before the run begins: what its tasks make does not count"

_Found = Iterator[tuple[str, str]]
"""Values, each with where it is from."""


class _Unusable(Exception):
    """A source has no values, or some that cannot be used: a sentence and a hint."""


class Reader:
    """Reads the values of matrices below `root` and `workspace`; problems go to the findings."""

    def __init__(self, root: Path, workspace: Path, places: Disk, findings: Findings) -> None:
        self._root, self._workspace = str(root), str(workspace)
        self._places, self._findings = places, findings
        self._known: dict[tuple[MatrixSource, str], tuple[str, ...]] = {}

    def axes(self, task: Task, at: KeyPath) -> Axes:
        """The values of each key of one task's matrix; none where there is a problem."""
        return {
            key: axis if isinstance(axis, tuple) else self._values(axis, key, (*at, key))
            for key, axis in task.matrix
        }

    def _values(self, source: MatrixSource, key: str, at: KeyPath) -> tuple[str, ...]:
        if (source, key) not in self._known:
            self._known[source, key] = self._read(source, key, at)
        return self._known[source, key]

    def _read(self, source: MatrixSource, key: str, at: KeyPath) -> tuple[str, ...]:
        import csv  # few DAGs take values from a file

        path = source.file
        try:
            found = self._globbed(source.glob) if source.glob else self._filed(source, key)
            return _checked(found, source)
        except _Unusable as error:
            self._findings.add(at, *error.args)
        except (FileNotFoundError, NotADirectoryError):
            self._findings.add(at, f'file of values "{path}" not found', _SOUGHT_BEFORE)
        except OSError as error:
            self._findings.add(at, f'file of values "{path}" cannot be read: {error.strerror}')
        except (UnicodeDecodeError, csv.Error) as error:
            self._findings.add(at, f'"{path}" is not a file of values in UTF-8: {error}')
        return ()

    def _globbed(self, pattern: str) -> _Found:
        """What the wildcards stand for in each file matched; after a last slash, each folder."""
        root, below = self._located(pattern)
        for place in sorted(self._places.matching(root, below)):
            if os.path.isdir(os.path.join(root, place)) is pattern.endswith("/"):
                value = stem(below, place)
                if is_pattern(value):
                    said = f"{shown(printable(place))} has a wildcard in its name"
                    raise _Unusable(f"{said}, so it cannot be a matrix value")
                yield value, printable(place)

    def _filed(self, source: MatrixSource, key: str) -> _Found:
        path = os.path.join(*self._located(source.file))
        self._places.read(path)
        with _opened(path, source.file) as file:
            if source.file.lower().endswith(TABLES_OF_VALUES):
                found = _cells(file, source, source.column or key)
            else:
                found = _lines(file)
            for number, value in found:
                yield value, f"{source.file}:{number}"

    def _located(self, path: str) -> tuple[str, str]:
        """The folder that a path is relative to, and the path in it."""
        if path.startswith(WORKSPACE):
            return self._workspace, path.removeprefix(WORKSPACE)
        return ("/", path.lstrip("/")) if path.startswith("/") else (self._root, path)


def stem(pattern: str, place: str) -> str:
    """What the wildcards of a pattern stand for in a place that it matches.

    It is "." where they stand for no folder at all, as in a/x.csv for `a/**/x.csv`.
    """
    head, tail = wild_span(pattern.rstrip("/")) or (place, "")
    fits = len(place) > len(head) + len(tail) and place.endswith(tail)
    return place[len(head) : len(place) - len(tail)] if fits else "."


def _checked(found: _Found, source: MatrixSource) -> tuple[str, ...]:
    """The values without repeats; _Unusable names the first that cannot be used."""
    seen: dict[str, tuple[str, str]] = {}
    for value, origin in found:
        sentence = value_problem(value)
        if sentence:
            raise _Unusable(f"{origin}: {sentence}")
        earlier, where = seen.setdefault(encoded(value).lower(), (value, origin))
        if earlier != value:
            both = f'"{earlier}" ({where}) and "{value}" ({origin})'
            raise _Unusable(f"matrix values {both} differ only in case")
        if len(seen) > MOST_INSTANCES:
            raise _Unusable(f'"{source.glob or source.file}" has over {MOST_INSTANCES:,} values')
    if not seen:
        raise _Unusable(_nothing(source), _SOUGHT_BEFORE)
    return tuple(value for value, _ in seen.values())


def _nothing(source: MatrixSource) -> str:
    if not source.glob:
        return f'file of values "{source.file}" has none'
    kind = "folder" if source.glob.endswith("/") else "file"
    return f'no {kind} matches "{source.glob}", so there are no matrix values'


# ---------------------------------------------------------------- files of values


def _opened(path: str, written: str) -> TextIO:
    """A regular file of moderate size as text; a pipe is never opened."""
    facts = os.stat(path)
    if not stat.S_ISREG(facts.st_mode):
        raise _Unusable(f'"{written}" is not a file')
    if facts.st_size > LARGEST:
        raise _Unusable(f'"{written}" is too large for a file of values')
    return open(path, encoding="utf-8-sig", newline="")


def _lines(file: TextIO) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(file, 1):
        value = line.strip()
        if value and not value.startswith("#"):
            yield number, value


def _cells(file: TextIO, source: MatrixSource, column: str) -> Iterator[tuple[int, str]]:
    """The cells below a column's name in the first row, without blank ones."""
    import csv

    rows = csv.reader(file, delimiter="\t" if source.file.lower().endswith(".tsv") else ",")
    header = [name.strip() for name in next(rows, ())]
    if column not in header:
        near = suggestion(column, header)
        hint = "" if near else f"It has: {', '.join(header)}. Name one: column = …"
        raise _Unusable(f'"{source.file}" has no column "{column}"{near}', hint if header else "")
    place = header.index(column)
    for row in rows:
        value = row[place].strip() if place < len(row) else ""
        if value:
            yield rows.line_num, value
