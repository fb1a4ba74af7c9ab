"""Where the numbers of rows are kept that `max_change` compares with, after a script has failed.

`pit.sql.baseline` says why, and what is in them.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path


def path_of(workspace: str | Path, dag: str, task: str) -> Path:
    """The file of a task, called by a digest, since a name may be too long for one."""
    name = hashlib.blake2s(f"{dag}/{task}".encode(), digest_size=12).hexdigest()
    return Path(workspace, ".pit", "changes", f"{name}.json")


def forget(workspace: str | Path, dag: str, task: str) -> bool:
    """Let the next run compare with the tables as they are then; whether there was anything."""
    with suppress(FileNotFoundError):
        path_of(workspace, dag, task).unlink()
        return True
    return False
