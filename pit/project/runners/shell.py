"""Shell scripts: run by bash; what else they read is to be named in `inputs`."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

from pit.model import Task
from pit.project.files import Files
from pit.project.python.environment import Environment
from pit.project.python.source import Finder
from pit.project.runners.runner import Way

_READ_FIRST = ("BASH_ENV", "ENV")
"""Variables that name a script which the shell executes before its own."""


class Shell:
    """The runner `bash`."""

    is_sql = False
    is_python = False

    def uses_environment(self, is_project: bool) -> bool:
        """Where the project has one: the Pythons that a script starts are those of the project."""
        return is_project

    def command(self, script: Path, environment: Environment | None) -> tuple[str, ...]:
        """How a shell script is run; it needs no run bit."""
        return (_executable("bash"), str(script))

    def sources(self, task: Task, finder: Finder, way: Way) -> tuple[str, ...]:
        """The script, and what its variables have bash execute before it."""
        first = [way.variables[name] for name in _READ_FIRST if name in way.variables]
        return tuple(dict.fromkeys((task.script, *finder.named(first))))

    def metadata(self, task: Task, files: Files) -> str:
        """Nothing: it brings no packages."""
        return ""

    def compares(self, script: str, place: str) -> bool:
        """Nothing: in a shell script every byte may matter."""
        return False

    def same_meaning(self, old: bytes, new: bytes) -> bool:
        """Only if they are the same."""
        return old == new


@cache
def _executable(name: str) -> str:
    """The absolute path of a command, so that the search is paid once a run."""
    return shutil.which(name) or name
