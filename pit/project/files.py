"""The files of a project, as code is looked for among them: four narrow questions.

Whoever looks for code asks nothing else of the disk, so that what is asked can be answered from
another place, or written down.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple, Protocol

from pit.model import FileMark
from pit.project import selection
from pit.project.digest import Digests


class Names(NamedTuple):
    """What a folder holds: the names of its folders and of its regular files."""

    folders: frozenset[str] = frozenset()
    files: tuple[str, ...] = ()


class Files(Protocol):
    """The files below one folder; a place is a path relative to it, "" is the folder itself."""

    @property
    def root(self) -> str:
        """The folder, as an absolute path."""

    def names(self, folder: str) -> Names:
        """What a folder holds of all that a snapshot takes; nothing if there is no such folder."""

    def mark(self, place: str) -> FileMark:
        """The mark of a file's content; OSError if it cannot be read."""

    def read(self, place: str) -> bytes:
        """A file's content; OSError if it cannot be read."""

    def real(self, path: str) -> str:
        """A place or an absolute path as an absolute path without links."""


class DiskFiles:
    """The files below a folder as they are on the disk now."""

    def __init__(self, root: str | Path, digests: Digests | None = None) -> None:
        self.root = os.path.abspath(root)
        self._digests = Digests() if digests is None else digests

    def names(self, folder: str) -> Names:
        """What a folder holds of all that a snapshot takes; nothing if there is no such folder."""
        try:
            with os.scandir(self._path(folder)) as entries:
                found = [entry for entry in entries if not selection.is_left_out(entry.name)]
        except (FileNotFoundError, NotADirectoryError):
            return Names()
        if folder and selection.is_virtual_environment([entry.name for entry in found]):
            return Names()
        folders, files = set(), []
        for entry in found:
            if _is_folder(entry):
                folders.add(entry.name)
            elif _is_file(entry) and not selection.is_database(entry.name):
                files.append(entry.name)
        return Names(frozenset(folders), tuple(files))

    def mark(self, place: str) -> FileMark:
        """The mark of a file's content; OSError if it cannot be read."""
        return self._digests.of(self._path(place))

    def read(self, place: str) -> bytes:
        """A file's content; OSError if it cannot be read."""
        return Path(self._path(place)).read_bytes()

    def real(self, path: str) -> str:
        """A place or an absolute path as an absolute path without links."""
        return os.path.realpath(self._path(path))

    def _path(self, place: str) -> str:
        return f"{self.root}/{place}" if place[:1] != "/" else place


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def _is_file(entry: os.DirEntry[str]) -> bool:
    return os.path.isfile(entry.path) if entry.is_symlink() else entry.is_file()
