"""The trash: folders that retention gives up after a run, set aside by a rename.

Removing ten thousand files takes a while, and whoever waits for a run should not wait for that. So
they leave their place at once, and are removed while the next run works, or by `pit prune`. What
cannot be set aside is removed in its place.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

from pit.fs.files import make_folder, remove_tree

FOLDER = ".trash"


def set_aside(path: Path, runs_dir: Path) -> bool:
    """Moves a folder out of the way; False if it cannot be moved, or is not there."""
    trash = runs_dir / FOLDER
    if not os.path.lexists(path):
        return False
    try:
        make_folder(trash)
        os.rename(path, trash / f"{path.parent.name}-{path.name}-{os.urandom(4).hex()}")
    except OSError:
        return False
    return True


def size(runs_dir: Path) -> int:
    """How many folders wait to be removed."""
    try:
        return len(os.listdir(runs_dir / FOLDER))
    except OSError:
        return 0


def empty(runs_dir: Path) -> None:
    """Removes what was set aside, also beside others who do; the next one tries what cannot be."""
    with suppress(OSError):
        remove_tree(runs_dir / FOLDER)


def empty_meanwhile(runs_dir: Path) -> None:
    """Empties it in a thread, which ends with the process at the latest."""
    if size(runs_dir):
        threading.Thread(target=empty, args=(runs_dir,), name="trash", daemon=True).start()


def empty_if_crowded(runs_dir: Path) -> None:
    """Empties it if more waits than may wait from one run to the next."""
    if size(runs_dir) > _A_FEW:
        empty(runs_dir)


_A_FEW = 5
"""So many folders may wait in the trash from one run to the next."""
