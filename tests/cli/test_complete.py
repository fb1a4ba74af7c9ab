"""What a shell is offered when somebody presses the tabulator."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.builder import Pit
from tests.cli.conftest import Record


def offered(pit: Pit, *words: str) -> list[str]:
    """What bash is offered for the last word."""
    line = ["pit", "--project-dir", str(pit.root), *words]
    env = {
        "_PIT_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(line),
        "COMP_CWORD": str(len(line) - 1),
    }
    out = subprocess.run(
        pit.argv()[:3], env=pit.env | env, capture_output=True, text=True, check=False
    )
    assert out.stderr == ""
    return [item.partition(",")[2] for item in out.stdout.splitlines() if item]


def test_commands_and_options(pit: Pit) -> None:
    assert offered(pit, "st") == ["status"]
    assert "--follow" in offered(pit, "logs", "--f")
    assert "--project-dir" in offered(pit, "logs", "--p")


def test_dags_tasks_and_runs(sales: Pit, record: Record) -> None:
    old, new = record(at=time.time() - 90000), record()
    assert offered(sales, "run", "s") == ["sales"]
    assert offered(sales, "status", "") == ["sales"]
    assert offered(sales, "logs", "sales/l") == ["sales/load"]
    assert offered(sales, "logs", "sales", "--run-id", "2") == [new.id, old.id]
    assert offered(sales, "runs", "x") == []


def test_parameters_of_the_dag(pit: Pit) -> None:
    pit.project("sales").toml(
        '[dag.params]\nday = { type = "date" }\ndry = { type = "bool", default = false }\n'
        '[[tasks]]\nname = "a"\nscript = "a.sh"\n'
    )
    pit.file("a.sh", "")
    for command in ("run", "plan"):
        assert offered(pit, command, "sales/a", "-p", "d") == ["day=", "dry="]
    assert offered(pit, "run", "-p", "d") == []
    assert offered(pit, "run", "nope", "-p", "d") == []


def test_a_workspace_that_cannot_be_read_offers_nothing(pit: Pit) -> None:
    assert offered(pit, "run", "s") == []
    pit.file("pit_config.toml", "broken [")
    assert offered(pit, "run", "s") == []
    assert offered(pit, "logs", "a", "--run-id", "2") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell(pit: Pit, shell: str) -> None:
    out = pit.run("completion", shell).ok().out
    assert f"_PIT_COMPLETE={shell}_complete" in out
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=out, text=True, check=True)


def test_an_unknown_shell(pit: Pit) -> None:
    pit.run("completion", "csh").fails(2, "'csh' is not one of 'bash', 'zsh', 'fish'")
