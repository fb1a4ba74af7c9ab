"""uv, the tool that locks projects, builds their environments and finds Pythons for them."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

import tomli

from pit.errors import EnvironmentFailed

_TAIL = 12
_NOT_OURS = ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PYTHONHOME", "PYTHONPATH")
_DEMANDING = ("UV_MANAGED_PYTHON", "UV_NO_MANAGED_PYTHON", "UV_PYTHON", "UV_PYTHON_PREFERENCE")
_GROUPS = "dependency-groups"
"""What groups need may narrow the Pythons, too."""


class Capture(Protocol):
    """Runs a tool and answers its exit code and the end of its output (`launch.capture`)."""

    def __call__(
        self, argv: Sequence[str], *, cwd: str | Path, env: Mapping[str, str]
    ) -> tuple[int, bytes]: ...


def executable() -> str:
    """Where uv is: the one that Pit was installed with, else the first on the path."""
    with _finding:  # it asks sysconfig, whose first answer two threads must not ask for at once
        return _executable()


_finding = threading.Lock()


@cache
def _executable() -> str:
    import uv

    try:
        return uv.find_uv_bin()
    except FileNotFoundError:
        return "uv"


class Uv:
    """uv at work for one project, whose folder is its working directory."""

    def __init__(self, project: Path, capture: Capture, variables: Mapping[str, str]) -> None:
        self.project = project
        self._capture = capture
        self._variables = {k: v for k, v in variables.items() if k not in _NOT_OURS}
        self._variables |= {"NO_COLOR": "1", "UV_NO_PROGRESS": "1"}

    def run(self, *words: str, **variables: str) -> tuple[int, str]:
        """Exit code and output of `uv <words> --project <project>`."""
        return self.ask((executable(), *words, "--project", str(self.project)), **variables)

    def ask(self, argv: Sequence[str], **variables: str) -> tuple[int, str]:
        """Exit code and output of any command, in the project's folder."""
        code, output = self._capture(argv, cwd=self.project, env=self._variables | variables)
        return code, output.decode("utf-8", "replace").strip()

    def must(self, doing: str, *words: str, **variables: str) -> str:
        """The output of a `run` that succeeds; else EnvironmentFailed, naming what was done."""
        code, output = self.run(*words, **variables)
        if code == 0:
            return output
        by_hand = " ".join(("uv", *words[:1], "--project", str(self.project)))
        raise failed(
            f"{doing} (uv ended with exit code {code})", output, f"Try it by hand: {by_hand}"
        )


def failed(sentence: str, output: str, advice: str) -> EnvironmentFailed:
    """The error for a tool that failed, with the last lines that it printed."""
    tail = [line for line in output.splitlines() if line.strip()][-_TAIL:]
    return EnvironmentFailed(sentence, "\n".join((*tail, advice)))


def demands(project: Path, pyproject: bytes, variables: Mapping[str, str]) -> list[bytes]:
    """All that says which Python a project asks for, but not what is there to choose from.

    So PATH, which is one thing on a terminal and another under cron, is none of it, and neither is
    what a project depends on.
    """
    given = [f"{name}={variables[name]}" for name in _DEMANDING if name in variables]
    folders = [project, *project.parents]
    names = (".python-version", ".python-versions", "uv.toml")
    return [
        *(each.encode(errors="surrogateescape") for each in given),
        _required(pyproject),
        *(
            os.fsencode(path) + b"\0" + path.read_bytes()
            for path in (folder / name for folder in folders for name in names)
            if path.is_file()
        ),
    ]


def _required(pyproject: bytes) -> bytes:
    """What pyproject.toml says of Python; all of it where that cannot be told."""
    try:
        table = tomli.loads(pyproject.decode("utf-8"))
        uv = table.get("tool", {}).get("uv", {})
        said = {name: uv[name] for name in sorted(uv) if "python" in name or name == _GROUPS}
        return repr((table.get("project", {}).get("requires-python"), said)).encode()
    except (ValueError, AttributeError):
        return pyproject
