"""Commands (`runner = "$ …"`): the script is their last word, and their code is what they name.

What the program makes of the files is not known, so every byte counts. Where it is Python, by its
own name or that of the script, the modules that are imported count too.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from pit.config.keys.runners import COMMAND
from pit.model import Task
from pit.project.files import Files
from pit.project.python.environment import Environment
from pit.project.python.source import Finder
from pit.project.runners.runner import Way
from pit.text import regex

_STARTERS = frozenset(
    """
    celery conda coverage dagster fastapi flask gunicorn hatch hypercorn ipython jupyter jupytext
    kedro luigi mamba marimo micromamba mpirun nox papermill pdm pipenv pixi poetry prefect py.test
    pytest rye srun streamlit tox torchrun uv uvicorn uvx
    """.split()  # noqa: SIM905
)
"""Programs that run a script as Python, whatever it is called."""
_VARIABLE = regex.lazy(r"^\$(?:\w+|\{\w+\})/?")
_SET = regex.lazy(r"PYTHONPATH=([^\s'\"]+)")


class Command:
    """A runner that is a command line, split as a shell would."""

    is_sql = False
    is_python = False

    def __init__(self, text: str) -> None:
        self._words = shlex.split(text.removeprefix(COMMAND).strip())

    def uses_environment(self, is_project: bool) -> bool:
        """Where the project has one: its programs come first on PATH."""
        return is_project

    def command(self, script: Path, environment: Environment | None) -> tuple[str, ...]:
        """The words, and the script as the last one."""
        return (*self._words, str(script))

    def sources(self, task: Task, finder: Finder, way: Way) -> tuple[str, ...]:
        """The script, the files of the project that the words name, and what is imported by those
        of them that are Python."""
        speaks = any(os.path.basename(word) in _STARTERS for word in self._words)
        path = (*_folders(self._words), *way.path)
        found = finder.commanded(self._words, task.script, path, speaks)
        return tuple(dict.fromkeys((*found.files, *finder.named([f"{task.script}.lock"]))))

    def metadata(self, task: Task, files: Files) -> str:
        """Nothing that is not in the bytes of the script already."""
        return ""

    def compares(self, script: str, place: str) -> bool:
        """Nothing: a comment to Python may be a statement to whoever reads it here."""
        return False

    def same_meaning(self, old: bytes, new: bytes) -> bool:
        """Only if they are the same."""
        return old == new


def _folders(words: Sequence[str]) -> Iterator[str]:
    """The folders that a command puts on the path of its Python itself."""
    for word in words:
        for value in _SET.findall(word):
            yield from (_VARIABLE.sub("", path) for path in value.split(os.pathsep) if path)
