"""Freezing what an environment would import from the live project.

An editable install leaves `.pth` files that put folders of the project on the import path, or a
finder that maps packages to them. Both lead to the live tree, so an edit during a run would
reach its tasks. When an environment has been built, what leads into the project is taken out of
it; each run puts the snapshot's twins of those folders on PYTHONPATH instead.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pit.fs import atomic
from pit.model import Record
from pit.project.selection import lies_in


class Detached(Record):
    """What was found: folders relative to the project, and live paths that stay in use."""

    inside: tuple[str, ...]
    outside: tuple[str, ...]


def detach(prefix: Path, project: Path) -> Detached:
    """Takes every way into the project out of the environment `prefix`."""
    root = os.path.realpath(project)
    inside: dict[str, None] = {}
    outside: dict[str, None] = {}
    for pth in sorted(prefix.glob("lib*/python*/site-packages/*.pth")):
        kept = []
        for line in pth.read_text("utf-8", "surrogateescape").splitlines():
            ways = list(_ways(pth.parent, line))
            if ways and all(way.movable and lies_in(way.folder, root) for way in ways):
                inside |= dict.fromkeys(os.path.relpath(way.folder, root) for way in ways)
                continue
            outside |= dict.fromkeys(way.folder for way in ways)
            kept.append(line)
        _rewrite(pth, kept)
    return Detached(inside=tuple(inside), outside=tuple(outside))


class _Way(NamedTuple):
    """A folder on the import path; not movable if a package is mapped to it by another name."""

    folder: str
    movable: bool = True


def _ways(site: Path, line: str) -> Iterator[_Way]:
    """The folders that one line of a `.pth` file puts in use, as far as it can be told."""
    text = line.strip()
    if not text or text.startswith("#"):
        return
    if not text.startswith(("import ", "import\t")):
        yield _Way(os.path.realpath(site / text))
        return
    finder = site / f"{text.split()[1].rstrip(';')}.py"
    if finder.is_file():
        yield from _mapped(finder)


def _mapped(finder: Path) -> Iterator[_Way]:
    """The folders to which a setuptools finder maps packages."""
    for statement in ast.parse(finder.read_bytes()).body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id="MAPPING"), value=ast.Dict() as mapping):
                for package, path in ast.literal_eval(mapping).items():
                    yield _way_to(package.split("."), os.path.realpath(path))


def _way_to(names: list[str], path: str) -> _Way:
    """The folder in which a search for a package finds it at `path`."""
    folder = path
    for name in reversed(names):
        folder, found = os.path.split(folder)
        if os.path.splitext(found)[0] != name:
            return _Way(path, movable=False)
    return _Way(folder)


def _rewrite(pth: Path, lines: list[str]) -> None:
    """Replaces the file: written in place, the twin in uv's cache would change with it."""
    text = "".join(f"{line}\n" for line in lines)
    atomic.write(pth, text.encode("utf-8", "surrogateescape"), mode=0o666)
