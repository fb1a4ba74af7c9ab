"""What a run needs of doit, without what doit's command line needs.

`import doit` loads its commands and its search for plug-ins, which is two thirds of what doit costs
a start and of no use to a run. Here the package is put in place without running its `__init__`;
that runs as soon as somebody asks for one of its names or another of its modules, as a dodo.py may.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any


def _bare_package() -> ModuleType | None:
    """The package `doit` without what is in it; None if it has been imported already."""
    spec = importlib.util.find_spec("doit")
    if "doit" in sys.modules or spec is None:
        return None
    sys.modules["doit"] = importlib.util.module_from_spec(spec)
    return sys.modules["doit"]


def _complete_later(package: ModuleType) -> None:
    """Have a package run its own code when it is asked for a name, or for where its modules lie."""
    spec, path = package.__spec__, package.__path__
    assert spec is not None
    assert spec.loader is not None
    run = spec.loader.exec_module

    def complete(name: str) -> Any:
        del package.__getattr__
        package.__path__ = path
        run(package)
        return getattr(package, name)

    del package.__path__
    package.__getattr__ = complete  # type: ignore[method-assign]


_package = _bare_package()

from doit.control import ExecNode, TaskControl  # noqa: E402 (after the package is in place)
from doit.task import Task  # noqa: E402

if _package is not None:
    _complete_later(_package)

__all__ = ["ExecNode", "Task", "TaskControl"]
