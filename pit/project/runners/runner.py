"""What a runner is: it gives the command of a task and the files of its code, both in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pit.model import Record, Task
from pit.project.files import Files
from pit.project.python.environment import Environment
from pit.project.python.source import Finder


class Way(Record):
    """What a task finds when it runs: its own variables, and the folders of its PYTHONPATH."""

    variables: Mapping[str, str]
    path: Sequence[str]


class Runner(Protocol):
    """How tasks of one kind are run, and which files are their code."""

    @property
    def is_sql(self) -> bool:
        """Whether its tasks are sent to a database instead of being started as programs."""

    @property
    def is_python(self) -> bool:
        """Whether it starts Python itself."""

    def uses_environment(self, is_project: bool) -> bool:
        """Whether its tasks run in the environment of the project; `is_project`: it has a
        pyproject.toml, and so one of its own."""

    def command(self, script: Path, environment: Environment | None) -> tuple[str, ...]:
        """The words with which a script is started."""

    def sources(self, task: Task, finder: Finder, way: Way) -> tuple[str, ...]:
        """The places of the files that are a task's code, its script first."""

    def metadata(self, task: Task, files: Files) -> str:
        """What a script says itself of the packages that it needs; empty for nothing."""

    def compares(self, script: str, place: str) -> bool:
        """Whether that file among the code of a script is compared in its meaning."""

    def same_meaning(self, old: bytes, new: bytes) -> bool:
        """Whether two texts of such a file do the same."""
