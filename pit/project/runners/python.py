"""Python: a script of any name, run by the project's interpreter, or by uv if it brings its own
dependencies; its code is what it imports, compared in meaning."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli

from pit.model import Task
from pit.project.files import Files
from pit.project.python import environment
from pit.project.python.environment import Environment
from pit.project.python.source import Finder
from pit.project.runners.runner import Way


class Python:
    """The runner `python`."""

    is_sql = False
    is_python = True

    def uses_environment(self, is_project: bool) -> bool:
        """Always: without a project it is that of Pit itself."""
        return True

    def command(self, script: Path, made: Environment | None) -> tuple[str, ...]:
        """The interpreter and the script; `uv run --script` if it brings its dependencies."""
        assert made is not None, "a Python task needs an environment"
        return environment.command(made, script)

    def sources(self, task: Task, finder: Finder, way: Way) -> tuple[str, ...]:
        """The script, the modules that it uses, and what uv reads of it if uv runs it."""
        files = finder.sources(task.script, way.path).files
        block = self.metadata(task, finder.files)
        if not block:
            return files
        more = (*_lock(finder, task.script), *_local(finder, task.script, block))
        return tuple(dict.fromkeys((*files, *more)))

    def metadata(self, task: Task, files: Files) -> str:
        """The script's block of inline metadata."""
        return environment.inline_metadata(files.read(task.script))

    def compares(self, script: str, place: str) -> bool:
        """The script, and modules of Python."""
        return place == os.path.normpath(script) or place.endswith(".py")

    def same_meaning(self, old: bytes, new: bytes) -> bool:
        """Whether two texts of Python do the same."""
        from pit.project.python.meaning import same_python  # heavy, and most texts are the same

        return same_python(old, new)


def _lock(finder: Finder, script: str) -> list[str]:
    """The lock file that `uv lock --script` has made for a script."""
    return finder.named([f"{script}.lock"])


def _local(finder: Finder, script: str, block: str) -> Iterator[str]:
    """The files of the packages that a script takes from folders of the project."""
    for source in _sources(block):
        if isinstance(path := source.get("path"), str):
            yield from finder.all_in(os.path.join(os.path.dirname(script), path))


def _sources(block: str) -> list[dict[str, Any]]:
    text = "\n".join(line[2:] for line in block.splitlines()[1:-1])
    try:
        found = tomli.loads(text).get("tool", {}).get("uv", {}).get("sources", {}).values()
    except (tomli.TOMLDecodeError, AttributeError):
        return []  # uv says what is wrong with it
    several = [each if isinstance(each, list) else [each] for each in found]
    return [each for some in several for each in some if isinstance(each, dict)]
