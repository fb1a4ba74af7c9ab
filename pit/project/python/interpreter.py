"""Which Python a project runs on: the one that uv chooses for it, remembered.

uv honours requires-python, `.python-version` and its own settings, and takes the first Python on
PATH that fits. The answer is kept in a small file by the digest of what the project asks for, and
stands for as long as that interpreter is the same file: a run of cron, with another PATH than a
terminal's, gets the same Python, and an environment that fits is not built again. Only `pit sync`
asks `anew`.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from pit.fs import atomic
from pit.fs.files import make_folder
from pit.model import Record
from pit.project.python import uv

_ABOUT = "import sys; print(sys.implementation.name, *sys.version_info[:3])"


class Interpreter(Record):
    """A Python: its path, a name such as `cpython-3.11.7`, and the file behind the path."""

    path: str
    version: str
    file: tuple[str, int, int]


def choose(
    project: Path,
    pyproject: bytes,
    folder: Path,
    tool: uv.Uv,
    variables: Mapping[str, str],
    *,
    anew: bool = False,
) -> Interpreter:
    """The interpreter for a project; `folder` is where answers are remembered.

    With `anew` uv is asked even so, and its answer is the one that is remembered.
    """
    key = digest((os.fsencode(project), *uv.demands(project, pyproject, variables)))
    memory = folder / f"python-{key[:16]}.json"
    known = None if anew else _remembered(memory)
    if known is not None:
        return known
    # --system: never a virtual environment, neither the project's own nor the one Pit runs in.
    output = tool.must(f"no Python for project {project}", "python", "find", "--system")
    path = next((line for line in reversed(output.splitlines()) if line.startswith("/")), "")
    found = Interpreter(path=path, version=_version(path, tool), file=_file(path))
    with suppress(OSError):  # the answer stands, and where it cannot be kept uv is asked again
        write_whole(memory, msgspec.json.encode(found))
    return found


def own() -> Interpreter:
    """The Python that Pit itself stands on, outside any virtual environment."""
    path = getattr(sys, "_base_executable", None) or sys.executable
    version = "-".join((sys.implementation.name, ".".join(map(str, sys.version_info[:3]))))
    return Interpreter(path=path, version=version, file=_file(path))


def digest(parts: Iterable[bytes]) -> str:
    """SHA-256 of byte strings, each with its length, so that no two lists look the same."""
    state = hashlib.sha256()
    for part in parts:
        state.update(b"%d:" % len(part) + part)
    return state.hexdigest()


def write_whole(path: Path, content: bytes) -> None:
    """Writes a small file so that nobody ever sees half of it."""
    make_folder(path.parent)
    atomic.write(path, content, durable=True)


def _remembered(memory: Path) -> Interpreter | None:
    try:
        known = msgspec.json.decode(memory.read_bytes(), type=Interpreter)
    except (OSError, msgspec.DecodeError):
        return None
    return known if known.file == _file(known.path) else None


def _version(path: str, tool: uv.Uv) -> str:
    code, output = tool.ask((path, "-I", "-c", _ABOUT))
    words = output.split()
    if code != 0 or len(words) != 4:
        raise uv.failed(f"the Python {path} does not start", output, "Install another Python")
    return f"{words[0]}-{'.'.join(words[1:])}"


def _file(path: str) -> tuple[str, int, int]:
    """The file behind a path and how it looks; empty if there is none."""
    try:
        info = os.stat(path)
    except OSError:
        return ("", 0, 0)
    return (os.path.realpath(path), info.st_size, info.st_mtime_ns)
