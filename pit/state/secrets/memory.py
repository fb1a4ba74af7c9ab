"""What is in this process's memory, kept from other processes of the same user."""

from __future__ import annotations

import ctypes
import resource
import sys
from contextlib import suppress

_PR_SET_DUMPABLE = 4


def keep_to_itself() -> None:
    """From now on no other process of the user can read this one's memory; no core is dumped.

    What it starts dumps none into its folder either, unless it asks for that (`ulimit -c`).
    """
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
