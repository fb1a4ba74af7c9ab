"""Work that must end: code in a process of its own that has some seconds of the processor at most.

A machine that is busy makes it take longer, but not fail.
"""

from __future__ import annotations

import subprocess
import sys

_SECONDS = 20
"""What is tried takes a fraction of one; what tries every possibility takes years."""


def ends(code: str, *args: str) -> str:
    """What the code prints; fails if it uses up its time."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_CPU, ({_SECONDS}, {_SECONDS}))\n"
    done = subprocess.run(
        [sys.executable, "-c", limit + code, *args], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"rc {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout
