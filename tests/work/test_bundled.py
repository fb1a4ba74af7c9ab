"""What Pit puts at the side of every task: the SDK's folder, and its own command."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from pit.work import bundled
from tests.builder import Pit


def test_the_sdk_comes_first_on_pythonpath_and_once() -> None:
    def with_sdk(path: str | None) -> str:
        return bundled.with_sdk({} if path is None else {"PYTHONPATH": path})["PYTHONPATH"]

    assert with_sdk(None) == with_sdk("") == bundled.PYTHON
    assert with_sdk(f"/a:{bundled.PYTHON}:/b") == f"{bundled.PYTHON}:/a:/b"
    assert bundled.with_sdk({"NODE_PATH": "/a"})["NODE_PATH"] == f"{bundled.NODE}:/a"


def test_a_command_that_is_on_the_path_stays_the_only_one(tmp_path: Path) -> None:
    (tmp_path / "pit").write_text("#!/bin/sh\n")
    (tmp_path / "pit").chmod(0o755)
    variables = {"PATH": f"/nowhere:{tmp_path}"}
    assert bundled.with_command(variables, tmp_path / "bin") == variables
    assert not (tmp_path / "bin").exists()


def test_where_there_is_none_one_is_put_last(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "bin"
    for _ in range(2):
        variables = bundled.with_command({"PATH": "/usr/bin"}, folder)
        assert variables == {"PATH": f"/usr/bin:{folder}"}
    assert [path.name for path in folder.iterdir()] == ["pit"]
    told = subprocess.run(["pit", "--version"], env=os.environ | variables, capture_output=True)
    assert told.stdout.startswith(b"pit ")


def test_shell_tasks_of_a_run_that_cron_starts_find_pit(pit: Pit) -> None:
    toml = '[dag]\nname = "p"\n[[tasks]]\nname = "t"\nscript = "t.sh"\n'
    script = "pit sdk set_value name=x value:=1 && pit sdk get_value name=x\n"
    pit.project("p").toml(toml).file("t.sh", script).file("pit.py", "raise SystemExit(3)\n")
    pit.run("run", "p", PATH="/usr/bin:/bin").ok()
    assert pit.log("t") == "1\n"
