"""What `pit run --learn` watches: the files that a task opens, as places that pit.toml can name.

strace sees everything that a task's processes open. Where it cannot be used, a Python task has
an audit hook (see audit_hook.py), which sees what Python itself opens but not what libraries open
in C; other tasks are not watched. Each attempt has a folder of its own for its records.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec.structs import replace

from pit.model import Record
from pit.order import Order
from pit.project import selection
from pit.project.selection import lies_in
from pit.work.site import Invocation
from pit.work.trace import audit_hook, strace

_SYSTEM = (
    "/proc", "/sys", "/dev", "/run", "/etc", "/usr", "/bin", "/sbin", "/boot", "/nix", "/snap",
    "/lib", "/lib32", "/lib64", "/libx32", "/var/cache", "/var/lib", "/var/run", "/opt/homebrew",
    "/System", "/Library", "/private/etc",
)  # fmt: skip
_PYTHON = re.compile(r"/lib(64)?/python\d|/(site|dist)-packages/|/pyvenv\.cfg$|\.so(\.\d+)*$")
_OF_PIT = frozenset(
    {"pit.toml", "pyproject.toml", "uv.lock", "uv.toml", ".python-version", selection.IGNORE_FILE}
)
"""Files at the top of a project that Pit and uv read, and that decide about every task."""


class Opened(Record):
    """What one attempt opened: each path with what was done to it, in order, by letters.

    R: read, W: written, A: written at its end; each letter once. `by` is what watched.
    """

    by: str
    kinds: dict[str, str]


class Watcher:
    """Has the attempts of a run watched; threads may share it."""

    def __init__(self, folder: Path, tracer: tuple[str, ...] = ()) -> None:
        self._folder, self._tracer = folder, tracer
        self._last: dict[str, tuple[Path, str, str]] = {}

    def watched(self, order: Order, program: Invocation, python: bool) -> Invocation:
        """The program as it has to be started so that the order's attempt is watched."""
        place = self._folder / order.marker
        self._last.pop(order.task, None)
        if self._tracer and _can_start(program):
            by, new = "strace", replace(program, argv=self._traced(program, place))
        elif python:
            by, new = "python", replace(program, env=_hooked(program, place))
        else:
            return program
        place.mkdir(mode=0o700, parents=True)
        if by == "python":
            shutil.copyfile(audit_hook.__file__, place / "sitecustomize.py")
        self._last[order.task] = place / audit_hook.RECORDS, by, program.cwd
        return new

    def _traced(self, program: Invocation, place: Path) -> tuple[str, ...]:
        return (*self._tracer, str(place / audit_hook.RECORDS), *program.argv)

    def opened(self, task: str) -> Opened | None:
        """What the task's last attempt opened; None if it was not watched."""
        if task not in self._last:
            return None
        records, by, cwd = self._last[task]
        found = strace.read(records, cwd) if by == "strace" else _noted(records)
        kinds: dict[str, str] = {}
        for kind, path in found:
            before = kinds.get(path, "")
            if kind not in before:
                kinds[path] = before + kind
        return Opened(by=by, kinds=kinds)


def _can_start(program: Invocation) -> bool:
    """Whether the program is there; if not, Pit itself says so best."""
    name = program.argv[0]
    path = os.path.join(program.cwd, name) if "/" in name else name
    return shutil.which(path, path=program.env.get("PATH", os.defpath)) is not None


def _hooked(program: Invocation, place: Path) -> dict[str, str]:
    paths = (str(place), *filter(None, (program.env.get("PYTHONPATH"),)))
    return program.env | {"PYTHONPATH": os.pathsep.join(paths)}


def _noted(records: Path) -> Iterator[tuple[str, str]]:
    """What the hook has written down."""
    try:
        found = records.read_bytes().split(b"\0")
    except FileNotFoundError:
        return
    yield from ((chr(each[0]), os.fsdecode(each[1:])) for each in found if each)


# ---------------------------------------------------------------- places


class Places:
    """Where paths that a task opened lie, in the words of pit.toml.

    `root` is the run's snapshot of `project`; `left_out` are folders and files that are no data.
    """

    def __init__(
        self, root: Path, project: Path, workspace: Path, left_out: Iterable[str | Path]
    ) -> None:
        self._root, self._project, self._workspace = root, project, workspace
        self._run = tuple(_spellings(root))
        self._trees = [
            (spelled, prefix)
            for path, prefix in ((root, ""), (project, ""), (workspace, selection.WORKSPACE))
            for spelled in _spellings(path)
        ]
        ours = {spelled for path in left_out for spelled in _spellings(path)}
        self._ours = tuple(path for path in ours if path != "/")
        self._temporary = tuple(_spellings(tempfile.gettempdir()))

    def spelled(self, path: str) -> str:
        """A path, or an absolute or `{workspace}/` pattern, the shortest way: below the project
        it is relative, below the workspace it begins with `{workspace}/`."""
        path = path.replace(selection.WORKSPACE, f"{self._workspace}/", 1)
        for tree, prefix in self._trees if path.startswith("/") else ():
            if path.startswith(f"{tree}/"):
                return prefix + path[len(tree) + 1 :]
        return path

    def read(self, path: str) -> str | None:
        """The place of a file that was read, if it is there and may be data."""
        place = self._data(path)
        found = place is not None and any(map(os.path.isfile, self._paths(place)))
        return place if found else None

    def written(self, path: str) -> str | None:
        """The place of a file that was written, if it has stayed and may be a product."""
        place = self._data(path)
        if place is None or (os.path.isabs(place) and _in(path, self._temporary)):
            return None
        return place if os.path.isfile(next(self._paths(place))) else None

    def stands_live(self, place: str) -> bool:
        """Whether the file of a place is there without the run."""
        return any(map(os.path.isfile, list(self._paths(place))[-1:]))

    def _paths(self, place: str) -> Iterator[str]:
        """Where the file of a place may be: in the run, then live."""
        inner = place.removeprefix(selection.WORKSPACE)
        if inner != place:
            yield os.path.join(self._workspace, inner)
        else:
            yield os.path.join(self._root, place)
            yield os.path.join(self._project, place)

    def matching(self, pattern: str) -> set[str]:
        """The places that a pattern matches, in the run or live."""
        inner = pattern.removeprefix(selection.WORKSPACE)
        if inner != pattern:
            found = selection.matching(str(self._workspace), inner)
            return {self.spelled(f"{self._workspace}/{place}") for place in found}
        roots = (str(self._root), str(self._project))
        return {place for root in roots for place in selection.matching(root, pattern)}

    def _data(self, path: str) -> str | None:
        place = self.spelled(path)
        ours = _in(path, self._ours) and not _in(path, self._run)  # the snapshot lies in `runs`
        if ours or _PYTHON.search(path) or place in _OF_PIT:
            return None
        inner = place.removeprefix(selection.WORKSPACE)
        if selection.is_database(inner) or any(map(selection.is_left_out, inner.split("/"))):
            return None
        if os.path.isabs(place) and (_in(place, _SYSTEM) or "/." in place):
            return None
        return place


def _spellings(path: str | Path) -> Iterator[str]:
    """A path as it is given, and with its links resolved."""
    yield from dict.fromkeys((os.path.abspath(path), os.path.realpath(path)))


def _in(path: str, folders: Iterable[str]) -> bool:
    return any(lies_in(path, folder) for folder in folders)
