"""Claims: who may execute a task, or change its record, with certain values of its parameters.

A claim is a lock among those of the workspace's runs. A run holds one while it executes a tracked
task, and signs it for those who wait; so does whoever accepts, forgets or cleans it meanwhile,
without a signature.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pit.state.locks import Lock


def claim_of(locks: Path, dag: str, task: str, params: str) -> Lock:
    """The lock, not taken yet, on a task with the parameter values of which this is the text."""
    name = hashlib.sha256("\0".join((dag, task, params)).encode("utf-8", "replace")).hexdigest()
    return Lock(locks / f"{name[:24]}.lock")


def let_go(lock: Lock) -> None:
    """Releases a claim that is held; its file goes first, so that nobody waits on a dead one."""
    lock.path.unlink(missing_ok=True)
    lock.release()


@contextmanager
def claimed(locks: Path, dag: str, task: str, params: str) -> Iterator[bool]:
    """Holds the claim while its `with` lasts; gives False if somebody else has it."""
    lock = claim_of(locks, dag, task, params)
    held = lock.acquire()
    try:
        yield held
    finally:
        if held:
            let_go(lock)
