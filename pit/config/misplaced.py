"""pit.toml files where no project is looked for, and where each belongs.

A project is `projects/NAME/pit.toml`. Who comes from another tool puts the file at the top, or a
folder too high or too deep, and would be told nothing: such files are only looked for where
something is to be said of them.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from pit.config.keys.values import NAME
from pit.model import Record

_FILE = "pit.toml"
_PROJECTS = "projects"
_OURS = ("runs", ".pit")
"""Folders of a workspace that hold copies of projects."""

_ALWAYS = ("pyproject.toml", "uv.lock", ".python-version", "src")
"""What belongs to a project though its pit.toml does not name it."""

_SHOWN = 5
_LARGEST = 1 << 20


class Misplaced(Record):
    """A pit.toml, and the folder of `projects/` that it belongs into; both below `root`."""

    root: Path
    file: Path
    folder: str

    @property
    def sentence(self) -> str:
        """Where it lies, and that it is not seen there."""
        lies = self.file.relative_to(self.root)
        return f"{lies} is not a project here: it belongs in {_PROJECTS}/{self.folder}"

    @property
    def command(self) -> str:
        """What to type in the workspace, to have it there."""
        source, target = self.file.parent, f"{_PROJECTS}/{self.folder}"
        if source in (self.root, self.root / _PROJECTS):
            found = [str((source / each).relative_to(self.root)) for each in _parts(self.file)]
            words = " ".join(shlex.quote(each) for each in found)
            return f"mkdir -p {target} && mv {words} {target}/"
        parent = "" if source.is_relative_to(self.root / _PROJECTS) else f"mkdir -p {_PROJECTS} && "
        return f"{parent}mv {shlex.quote(str(source.relative_to(self.root)))} {target}"


def misplaced(root: Path) -> Iterator[Misplaced]:
    """The pit.toml files of a folder that are at its top, or a folder too high or too deep."""
    taken = set(_names(root / _PROJECTS))
    for folder in (root, root / _PROJECTS):
        if (folder / _FILE).is_file():
            yield Misplaced(root=root, file=folder / _FILE, folder=_free(_name(folder), taken))
    for above in (root, *(root / _PROJECTS / name for name in sorted(taken))):
        if above != root and (above / _FILE).exists():
            continue
        for name in _names(above):
            is_place = above == root and name in (_PROJECTS, *_OURS)
            if not is_place and (above / name / _FILE).is_file():
                place = _free(name, taken)
                yield Misplaced(root=root, file=above / name / _FILE, folder=place)


def _names(folder: Path) -> list[str]:
    """The folders in a folder that are not hidden; none if it is not there or not ours to read."""
    try:
        with os.scandir(folder) as found:
            return sorted(each.name for each in found if each.name[0] not in "._" and each.is_dir())
    except OSError:
        return []


def _name(folder: Path) -> str:
    """A name for the project whose pit.toml lies in a folder that is none: the DAG's, else its."""
    own = re.search(r"""(?m)^[ \t]*name[ \t]*=[ \t]*["']([^"'\n]+)["']""", _before_tasks(folder))
    for name in (own[1] if own else "", folder.name if folder.name != _PROJECTS else ""):
        if NAME.fullmatch(name):
            return name
    return "my_project"


def _free(name: str, taken: set[str]) -> str:
    return name if name not in taken else f"{name}_2"


def _text(file: Path) -> str:
    try:
        with open(file, encoding="utf-8", errors="replace") as opened:
            return opened.read(_LARGEST)
    except OSError:
        return ""


def _before_tasks(folder: Path) -> str:
    return _text(folder / _FILE).partition("[[")[0]


def _parts(file: Path) -> list[str]:
    """pit.toml, and the files and folders beside it that it speaks of."""
    spoken = re.findall(r"""["']([^"'\n/{}*]+)[^"'\n]*["']""", _text(file))
    beside = [each for each in dict.fromkeys((*spoken, *_ALWAYS)) if (file.parent / each).exists()]
    found = [each for each in beside if each not in (_PROJECTS, *_OURS, ".", "..", _FILE)]
    return [_FILE, *found[:_SHOWN], *(["…"] if len(found) > _SHOWN else [])]
