"""The runners that pit.toml may name, and the extensions that imply one: the only table of them.

What each runner does with a script is told in `pit.project.runners`.
"""

from __future__ import annotations

import os

PYTHON = "python"
BASH = "bash"
SQL = "sql"
COMMAND = "$"
"""How a command begins: `$ node` runs `node <script>`."""

TEMPLATE = ".sql.j2"
"""What the name of a template of SQL ends with."""

BY_EXTENSION = {".py": PYTHON, ".sh": BASH, ".sql": SQL, TEMPLATE: SQL}

NAMES = tuple(dict.fromkeys(BY_EXTENSION.values()))
LATER = ("dbt",)
"""Names that a later release will know."""


def extension_of(script: str) -> str:
    """What a script's name ends with; that of a template are its last two parts: `.sql.j2`."""
    stem, extension = os.path.splitext(script)
    return f"{os.path.splitext(stem)[1]}{extension}" if extension == ".j2" else extension


def implied_by(script: str) -> str | None:
    """The runner that a script's extension implies."""
    return BY_EXTENSION.get(extension_of(script))
