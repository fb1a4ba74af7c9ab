"""SQL: sent to a database; its code is the script and, of a template, what that includes."""

from __future__ import annotations

from pathlib import Path

from pit.config.keys.runners import TEMPLATE
from pit.model import Task
from pit.project.files import Files
from pit.project.python.environment import Environment
from pit.project.python.source import Finder
from pit.project.runners import templates
from pit.project.runners.runner import Way


class Sql:
    """The runner `sql`."""

    is_sql = True
    is_python = False

    def uses_environment(self, is_project: bool) -> bool:
        """Never: no program of the project's is started."""
        return False

    def command(self, script: Path, environment: Environment | None) -> tuple[str, ...]:
        """None: a script is sent, not started."""
        return ()

    def sources(self, task: Task, finder: Finder, way: Way) -> tuple[str, ...]:
        """The script, and all that a template may include."""
        return templates.sources(finder.files, task.script)

    def metadata(self, task: Task, files: Files) -> str:
        """Nothing: it brings no packages."""
        return ""

    def compares(self, script: str, place: str) -> bool:
        """The script; what a template is made of is text to it, comments of SQL included."""
        return not script.endswith(TEMPLATE)

    def same_meaning(self, old: bytes, new: bytes) -> bool:
        """Whether two scripts do the same on every database."""
        from pit.project.python.meaning import same_sql  # heavy, and most texts are the same

        return same_sql(old, new)
