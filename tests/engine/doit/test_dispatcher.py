"""doit's package in place without its own code, which runs when one of its names is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "use",
    [
        "import doit; assert doit.__version__ and doit.get_var and doit.__path__",
        "from doit import create_after, run",
        "from doit.doit_cmd import DoitMain; import doit; doit.run",
        "import doit.tools; from doit import *; run",
    ],
)
def test_who_asks_for_a_name_of_doit_gets_all_of_it(use: str) -> None:
    program = f"""
import sys, pit.engine.doit.dispatch
assert "doit.control" in sys.modules and "doit.plugin" not in sys.modules
{use}
assert "doit.plugin" in sys.modules
import doit
assert doit is sys.modules["doit"] and doit.Globals and not hasattr(doit, "nothing")
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_doit_that_is_there_already_is_used_as_it_is() -> None:
    program = """
import doit, doit.control
import pit.engine.doit.dispatch as dispatch
assert dispatch.TaskControl is doit.control.TaskControl
assert dispatch.Dispatch("d", {"a": []}).next() == dispatch.Ready(task="a")
"""
    subprocess.run([sys.executable, "-c", program], check=True)
