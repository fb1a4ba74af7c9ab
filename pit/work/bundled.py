"""What Pit carries for tasks: the SDK, in folders that are data to Pit itself.

Two packages are called `pit`, the orchestrator and what tasks import as `pit.sdk`, and an
interpreter may find either first. The SDK's `__init__.py` is one line that takes in every other
`pit` on the path; the orchestrator's appends the folder of the bundled SDK to its own path. So
`pit.sdk` and `pit.cli` are there whichever came first, and nothing may be read from either.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pit.fs import atomic
from pit.fs.files import make_folder

_PACKAGE = Path(__file__).parents[1]
_SHIPPED = _PACKAGE / "bundled" / "sdk"  # in a wheel; in a checkout it lies beside the package
SDK = _SHIPPED if _SHIPPED.is_dir() else _PACKAGE.parent / "sdk"
"""The folder of the SDKs: PROTOCOL.md, python/, node/."""

PYTHON = str(SDK / "python")
"""The folder that tasks have first on their PYTHONPATH."""

NODE = str(SDK / "node")
"""The same for NODE_PATH: a snapshot has no node_modules that could hold the SDK."""

_SEARCHED = {"PYTHONPATH": PYTHON, "NODE_PATH": NODE}


def with_sdk(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables with the SDKs first on their PYTHONPATH and NODE_PATH.

    Every task gets them, not Python tasks alone: shell scripts and `$ command` runners start
    Pythons too, and one that does not import `pit.sdk` never looks into the folder.
    """
    found = {}
    for name, folder in _SEARCHED.items():
        given = variables.get(name, "").split(os.pathsep)
        paths = [folder, *(path for path in given if path and path != folder)]
        found[name] = os.pathsep.join(paths)
    return {**variables, **found}


def with_command(variables: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The variables with `pit` on their PATH, for shell tasks that ask: `pit sdk …`.

    Where cron starts Pit by its full name, PATH is short and has no `pit`. Then a script that
    starts this one is put into `folder`, which comes last on PATH.
    """
    path = variables.get("PATH", os.defpath)
    if shutil.which("pit", path=path) is not None:
        return dict(variables)
    # -P: the folder that a task works in may hold a pit of its own.
    text = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m pit "$@"\n'
    with suppress(OSError):  # a disk without room is told by what cannot do without
        _put(folder / "pit", text.encode())
    return {**variables, "PATH": f"{path}{os.pathsep}{folder}"}


def _put(script: Path, content: bytes) -> None:
    """Have an executable file hold just this; other runs may do the same at the same time."""
    try:
        if script.read_bytes() == content:
            return
    except OSError:
        make_folder(script.parent)
    atomic.write(script, content, mode=0o700)
