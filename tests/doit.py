"""The real `doit` command, and the dodo.py files that make it work in a workspace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.builder import Pit, Result

DOIT = Path(sys.executable).with_name("doit")
TEMPLATES = Path(__file__).parents[1] / "dodo_templates"


def doit(where: Path, *words: str, **env: str) -> Result:
    """Run `doit` in a folder to its end."""
    done = subprocess.run(
        [DOIT, *words],
        cwd=where,
        env=Pit(where).env | env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return Result(done.returncode, done.stdout, done.stderr)
