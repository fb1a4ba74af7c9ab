"""Where the numbers of rows are kept that `max_change` compares with, after a script has failed.

A script's statements stand even if it fails, so the count before the first attempt is kept until
one has succeeded: else the next run would compare with what the failed one has left.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from urllib.parse import quote


def path_of(workspace: str | Path, dag: str, task: str) -> Path:
    """The file of a task: a JSON object of tables and their rows, there only after a failure."""
    return Path(workspace, ".pit", "changes", f"{quote(dag, safe='')}.{quote(task, safe='')}.json")


def forget(workspace: str | Path, dag: str, task: str) -> bool:
    """Let the next run compare with the tables as they are then; whether there was anything."""
    with suppress(FileNotFoundError):
        path_of(workspace, dag, task).unlink()
        return True
    return False
