"""What belongs to a project: which files a snapshot takes, and which ones a pattern matches.

Left out everywhere: version control, virtual environments, caches, database files with their
journals (a copy would be torn, a link would let two places write their journals apart), and
Pit's own temporary files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pit.fs.patterns import ancestors, compiled, fixed_folder, is_pattern, reaching
from pit.fs.reads import Reads

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILE = ".pitignore"
WORKSPACE = "{workspace}/"
TEMPORARY = ".pit-"
"""How the names of Pit's own temporary files and folders begin."""

LEFT_OUT = frozenset(
    {
        ".git", ".hg", ".svn", ".jj",
        ".venv", "__pycache__", "node_modules",
        ".mypy_cache", ".ruff_cache", ".pytest_cache", ".tox", ".nox", ".ipynb_checkpoints",
    }
)  # fmt: skip
PLACEHOLDERS = frozenset({".gitkeep", ".keep", ".gitignore", ".gitattributes", ".DS_Store"})
"""Files that people and their tools keep in a folder whatever else it holds."""
_DATABASES = tuple(
    kind + journal
    for kind in (".duckdb", ".ddb", ".db", ".sqlite", ".sqlite3")
    for journal in ("", "-wal", "-shm", "-journal", ".wal")
)
_VIRTUAL_ENVIRONMENT = "pyvenv.cfg"


def is_left_out(name: str) -> bool:
    """Whether a snapshot never takes a file or folder of this name."""
    return name in LEFT_OUT or name.startswith(TEMPORARY) or name.endswith(".pyc")


def is_placeholder(path: str) -> bool:
    """Whether a file, by its name, is one that its folder keeps whatever else it holds."""
    return os.path.basename(path) in PLACEHOLDERS


def is_database(name: str) -> bool:
    """Whether a file of this name is a DuckDB or SQLite database, or a journal of one."""
    return name.endswith(_DATABASES)


def is_virtual_environment(names: list[str]) -> bool:
    """Whether a folder that holds these names is a Python environment, whatever it is called."""
    return _VIRTUAL_ENVIRONMENT in names


def lies_in(path: str, folder: str) -> bool:
    """Whether a path is that folder or something below it; both absolute and resolved."""
    return path == folder or path.startswith(folder if folder == "/" else f"{folder}/")


def located(path: str | Path) -> str:
    """The path with the links among its folders resolved, its own name kept."""
    head, tail = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(head), tail)


def shown(path: str) -> str:
    """A path fit for a message, whatever bytes its name consists of."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


Found = tuple[str, os.stat_result]
"""A file of a folder: its name, and what the system tells of it."""


class Excluded:
    """Paths and patterns below the project that are said not to be part of it.

    `private` are files that are not to be met anywhere: through a link, or under another name.
    """

    def __init__(self, project: Path, paths: Iterable[Path], private: Iterable[Path] = ()) -> None:
        self._private = tuple(private)
        paths = (*paths, *self._private)
        resolve = lru_cache(os.path.realpath)
        roots = {os.path.abspath(project), os.path.realpath(project)}
        places = set()
        self._located: list[str] = []
        for path in map(os.path.abspath, paths):
            head, tail = os.path.split(path)
            self._located.append(os.path.join(resolve(head), tail))
            for spelled in {path, self._located[-1]}:
                places |= {
                    spelled[len(root) + 1 :] for root in roots if spelled.startswith(f"{root}/")
                }
        self._places = frozenset(places)
        patterns = [compiled(place).pattern for place in places if is_pattern(place)]
        self._matches = re.compile("|".join(patterns) or r"(?!)", re.DOTALL).fullmatch

    def __bool__(self) -> bool:
        return bool(self._places)

    def covers(self, place: str) -> bool:
        """Whether this very place is excluded."""
        return place in self._places or self._matches(place) is not None

    @cached_property
    def files(self) -> frozenset[str]:
        """What the excluded paths are, wherever they lie, symbolic links resolved."""
        links = filter(os.path.islink, self._located)
        return frozenset((*self._located, *map(os.path.realpath, links)))

    @cached_property
    def _same(self) -> frozenset[tuple[int, int]]:
        """Device and inode of the private files."""
        found = set()
        for path in self._private:
            with suppress(OSError):
                info = os.stat(path)
                found.add((info.st_dev, info.st_ino))
        return frozenset(found)

    @cached_property
    def _names(self) -> dict[str, frozenset[str]]:
        """The names of excluded files by their folder, links resolved."""
        found: dict[str, set[str]] = {}
        for folder, name in map(os.path.split, self.files):
            found.setdefault(folder, set()).add(name)
        return {folder: frozenset(names) for folder, names in found.items()}

    def spared(self, folder: str, files: list[Found]) -> list[Found]:
        """The regular files of a resolved folder, but for those that are excluded by whatever way
        they are met."""
        names = self._names.get(folder, frozenset())
        if not names and not self._same:
            return files
        return [
            (name, info)
            for name, info in files
            if name not in names and (info.st_dev, info.st_ino) not in self._same
        ]

    def is_private(self, path: str) -> bool:
        """Whether a path leads to one of the private files, whatever it is called."""
        if not self._same:
            return False
        with suppress(OSError):
            info = os.stat(path)
            return (info.st_dev, info.st_ino) in self._same
        return False

    def contains(self, place: str) -> bool:
        """Whether this place or a folder above it is excluded."""
        return self.covers(place) or any(map(self.covers, ancestors(place)))


class Ignore:
    """The `.pitignore` rules that hold in one folder: its own and those of the folders above."""

    def __init__(self, above: Ignore | None, folder: str, spec: GitIgnoreSpec) -> None:
        self._above = above
        self._folder = folder
        self._spec = spec

    @staticmethod
    def read(path: str, folder: str, above: Ignore | None) -> Ignore:
        """Adds the rules of one file; `folder` is its place in the project, "" or "a/b/".

        OSError and ValueError (a rule that makes no sense) are the caller's.
        """
        from pit.project import gitignore  # most projects have no such file

        lines = Path(path).read_text("utf-8", "surrogateescape").splitlines()
        return Ignore(above, folder, gitignore.read(lines))

    def covers(self, place: str) -> bool:
        """Whether `place` is ignored; a folder's place ends with a slash.

        As in git, the nearest file that says anything about a place has the last word.
        """
        rules: Ignore | None = self
        while rules is not None:
            verdict = rules._spec.check_file(place[len(rules._folder) :]).include
            if verdict is not None:
                return verdict
            rules = rules._above
        return False


# ---------------------------------------------------------------- patterns on a disk


class Entry(NamedTuple):
    """One name in a folder. `is_link` says of a folder that only a link leads to it; what is
    neither folder nor file is a link to nothing, a socket, a FIFO or a device."""

    name: str
    is_folder: bool
    is_link: bool = False
    is_file: bool = True


Entries = Callable[[str], Sequence[Entry]]
"""What counts in a folder, by its path below a root, sorted by name; nothing where it is gone."""


def entries_of(root: str, read: Callable[[str], None] = lambda folder: None) -> Entries:
    """What counts in the folders below `root` as they are on the disk; `read` is told of each."""

    def listed(place: str) -> Sequence[Entry]:
        folder = os.path.join(root, place)
        read(folder)
        return [
            Entry(entry.name, _is_folder(entry), entry.is_symlink(), _is_file(entry))
            for entry in _listed(folder)
        ]

    return listed


def matching(root: str, pattern: str, entries: Entries | None = None) -> Iterator[str]:
    """The paths below `root`, relative to it, that a literal path or pattern names.

    A literal path is given if it is there (a link counts, wherever it leads); if a file is itself
    called `*.csv`, all that the pattern matches is given as well. Wildcards never reach hidden
    files or what snapshots leave out, and `**` goes through no linked folder, so that circles end.
    Files and folders alike.
    """
    pattern = pattern.rstrip("/")
    literal = os.path.lexists(os.path.join(root, pattern))
    if literal:
        yield pattern
    if is_pattern(pattern):
        start = fixed_folder(pattern)
        matches = compiled(pattern).fullmatch
        enters = _entering(pattern)
        linked = "**" not in pattern
        for place, is_folder in below(entries or entries_of(root), start, enters, linked):
            if not matches(place) or (is_folder and pattern.endswith("**")):
                continue
            if not (literal and place == pattern):
                yield place


def files(root: str, pattern: str, entries: Entries | None = None) -> Iterator[str]:
    """The files that `matching` names; a folder that is named literally stands for its files."""
    literal = pattern.rstrip("/")
    entries = entries or entries_of(root)
    for place in matching(root, pattern, entries):
        if not os.path.isdir(os.path.join(root, place)):
            yield place
        elif place == literal:
            inner = below(entries, place, lambda folder: True)
            yield from (name for name, is_folder in inner if not is_folder)


@lru_cache(maxsize=256)
def _entering(pattern: str) -> Callable[[str], bool]:
    return reaching(pattern)


def below(
    entries: Entries, start: str, enters: Callable[[str], object], linked: bool = False
) -> Iterator[tuple[str, bool]]:
    """Every place below `start` that wildcards may reach, sorted by folder, and whether it is
    a folder, which one behind a link is only where links are followed; goes down only where
    `enters` says so."""
    folders = [start]
    while folders:
        folder = folders.pop()
        for entry in entries(folder):
            place = f"{folder}/{entry.name}" if folder else entry.name
            is_folder = entry.is_folder and (linked or not entry.is_link)
            yield place, is_folder
            if is_folder and enters(place):
                folders.append(place)


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle, or where we may not look
        return False


def _listed(folder: str) -> list[os.DirEntry[str]]:
    """The entries of a folder that count, by name; none where it is gone or closed to us."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        return []
    if is_virtual_environment([entry.name for entry in entries]):
        return []
    return [entry for entry in entries if not is_left_out(entry.name)]


class Taken(Protocol):
    """What a snapshot took."""

    def has(self, place: str) -> bool:
        """Whether something was taken at a place."""


class WatchedDisk:
    """The disk, as the axes of a matrix read it; what they read is written down.

    In the snapshot `frozen` only what was `taken` is there.
    """

    def __init__(
        self, reads: Reads | None = None, frozen: str = "", taken: Taken | None = None
    ) -> None:
        self._reads = Reads() if reads is None else reads
        self._frozen, self._taken = frozen, taken

    def matching(self, root: str, pattern: str) -> Iterable[str]:
        """The places below a root that a pattern matches."""
        self._reads.folder(os.path.join(root, fixed_folder(pattern)))
        found = matching(root, pattern, entries_of(root, self._reads.folder))
        if self._taken is None or root != self._frozen:
            return found
        return filter(self._taken.has, found)

    def read(self, path: str) -> None:
        """A file is about to be read."""
        self._reads.path(path)
