"""Whether a plain secrets file lies where git would take it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pit.state.identities import withheld
from pit.state.secretfile import Content


def exposed(content: Content) -> tuple[str, ...]:
    """A warning, if a plain secrets file lies in a git repository that does not ignore it."""
    path = content.path
    if content.is_encrypted or not content.raw or not path.is_file() or not _in_git(path):
        return ()
    return (f"{path} is plain text and git does not ignore it; add it to .gitignore",)


def _in_git(path: Path) -> bool:
    """Whether git would take the file; False where there is no git."""
    real = Path(os.path.realpath(path))
    git = shutil.which("git")
    if git is None or not any((folder / ".git").exists() for folder in real.parents):
        return False
    from pit.work import process

    words = (git, "check-ignore", "--quiet", str(real))
    code, _ = process.capture(words, cwd=str(real.parent), env=withheld(os.environ), timeout=10)
    return code == 1  # of a file that git has already, too
