"""The runners by name, and the runner of a task."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pit.config.keys import runners
from pit.model import Task
from pit.project.python.environment import Environment
from pit.project.runners.command import Command
from pit.project.runners.python import Python
from pit.project.runners.runner import Runner
from pit.project.runners.shell import Shell
from pit.project.runners.sql import Sql

_BY_NAME: dict[str, Runner] = {
    runners.PYTHON: Python(),
    runners.BASH: Shell(),
    runners.SQL: Sql(),
}


def name_of(task: Task) -> str:
    """The name of the runner that pit.toml names, else of the one of the script's extension."""
    return task.runner or runners.implied_by(task.script) or ""


def of(task: Task) -> Runner:
    """The runner of a task."""
    return named(name_of(task))


@lru_cache(maxsize=1024)
def named(name: str) -> Runner:
    """A runner as pit.toml names it."""
    return _BY_NAME.get(name) or Command(name)


def environment_of(runner: Runner, made: Environment | None) -> Environment | None:
    """The environment that its tasks run in, where `made` is that of their project."""
    runs_in_it = made is not None and runner.uses_environment(made.prefix is not None)
    return made if runs_in_it else None


def uses_environment(task: Task, project: Path) -> bool:
    """Whether a task runs in the Python environment of its project."""
    runner = of(task)
    return runner.is_python or runner.uses_environment((project / "pyproject.toml").is_file())
