"""Whether others can come by the secrets: a plain file in git, recipients that anybody can add."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from pit.state.secrets.identities import withheld
from pit.state.secrets.secretfile import Content


def exposed(content: Content, recipients: Path) -> tuple[str, ...]:
    """Warnings about where a secrets file and its recipients file lie."""
    path = content.path
    if not content.is_encrypted:
        if not content.raw or not path.is_file() or not _in_git(path):
            return ()
        return (f"{path} is plain text and git does not ignore it; add it to .gitignore",)
    if not _open_to_all(recipients):
        return ()
    return (
        f"{recipients} can be changed by every user, and whoever is added there reads the secrets "
        f"from the next change on; close it with: chmod o-w {recipients}",
    )


def _open_to_all(file: Path) -> bool:
    with suppress(OSError):
        return bool(os.stat(file).st_mode & stat.S_IWOTH)
    return False


def _in_git(path: Path) -> bool:
    """Whether git would take the file; False where there is no git."""
    real = Path(os.path.realpath(path))
    git = shutil.which("git")
    if git is None or not any((folder / ".git").exists() for folder in real.parents):
        return False
    from pit.work.process import launch

    words = (git, "check-ignore", "--quiet", str(real))
    code, _ = launch.capture(words, cwd=str(real.parent), env=withheld(os.environ), timeout=10)
    return code == 1  # of a file that git has already, too
