"""uv, the tool that locks projects, builds their environments and finds Pythons for them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

from pit.errors import EnvironmentFailed

_TAIL = 12
_NOT_OURS = ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PYTHONHOME", "PYTHONPATH")


class Capture(Protocol):
    """Runs a tool and answers its exit code and the end of its output (`process.capture`)."""

    def __call__(
        self, argv: Sequence[str], *, cwd: str | Path, env: Mapping[str, str]
    ) -> tuple[int, bytes]: ...


@cache
def executable() -> str:
    """Where uv is: the one that Pit was installed with, else the first on the path."""
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


def settings(project: Path, variables: Mapping[str, str]) -> list[bytes]:
    """Everything but pyproject.toml that decides which Python uv takes for a project."""
    given = [
        f"{name}={value}".encode(errors="surrogateescape")
        for name, value in sorted(variables.items())
        if name == "PATH" or name.startswith("UV_")
    ]
    folders = [project, *project.parents]
    names = (".python-version", ".python-versions", "uv.toml")
    return given + [
        os.fsencode(path) + b"\0" + path.read_bytes()
        for path in (folder / name for folder in folders for name in names)
        if path.is_file()
    ]
