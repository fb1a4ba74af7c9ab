"""`pit doit`, and the dodo.py files that `pit new` and `pit init` write."""

from __future__ import annotations

import subprocess
from pathlib import Path

from doit.doit_cmd import DoitMain

from tests.builder import Pit
from tests.docs.pages import DOCS, code, first_cells, sections
from tests.doit import TEMPLATES, doit

TASK = '[[tasks]]\nname = "a"\nscript = "a.sh"\n'


def test_new_and_init_write_faces_that_work(pit: Pit) -> None:
    pit.run("new", "demo", "--type", "shell").ok()
    demo = Pit(pit.root / "demo")
    demo.run("init", "second", "--type", "shell").ok()
    listed = doit(demo.root, "list", "--all").ok().out
    assert [line.split()[0] for line in listed.splitlines()] == [
        "sample_pipeline",
        "sample_pipeline:clean",
        "sample_pipeline:totals",
        "second",
        "second:clean",
        "second:totals",
    ]
    doit(demo.root / "projects/second", "run", "second:clean").ok()
    assert (demo.root / "projects/second/out/orders.csv").is_file()
    assert not (demo.root / "projects/sample_pipeline/out").exists()


def test_a_dodo_file_that_is_there_already_is_left_alone(pit: Pit) -> None:
    pit.file("dodo.py", "# mine\n").run("init", "sales", "--type", "shell").ok()
    assert (pit.root / "dodo.py").read_text() == "# mine\n"
    (pit.root / "dodo.py").unlink()
    pit.run("init", "marts", "--type", "shell").ok()
    assert (pit.root / "dodo.py").read_text() == (TEMPLATES / "workspace/dodo.py").read_text()


def test_arguments_reach_doit_as_they_are(pit: Pit) -> None:
    pit.project("sales").toml(TASK).file("a.sh", "echo done\n")
    assert pit.run("doit", "list", "--all", "--status", "-q").ok().out.split() == [
        *("R", "sales"),
        *("R", "sales:a"),
    ]
    assert "PURPOSE" in pit.run("doit", "help", "run").ok().out
    assert pit.run("doit", "--version").ok().out.startswith("0.37")
    assert "Usage: pit doit" in pit.run("doit", "--help").ok().out
    pit.run("doit", "run", "-v", "2", "sales:a").ok()
    assert pit.log("a") == "done\n"
    pit.run("doit", "run", "nope").fails(2, '"nope" is not a task')
    pit.run("doit", "list", "nope").fails(3, "'nope' is not a task")
    pit.run("doit", "dumpdb").fails(2, "pit why")


def test_a_dodo_file_of_an_earlier_release_works(pit: Pit) -> None:
    text = (TEMPLATES / "workspace/dodo.py").read_text()
    assert "from pit.dodo" in text
    pit.project("sales").file("a.sh", "true").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\n')
    pit.file("../../dodo.py", text.replace("from pit.dodo", "from pit.cli.doit"))
    assert "sales:a" in doit(pit.root, "list", "--all").ok().out


def test_it_needs_no_dodo_file_and_uses_the_one_that_is_there(pit: Pit, tmp_path: Path) -> None:
    pit.project("sales").toml(TASK).file("a.sh", "")
    assert pit.run("doit", "list").ok().out.split() == ["sales"]
    text = (TEMPLATES / "workspace/dodo.py").read_text()
    (tmp_path / "dodo.py").write_text(text + '\nDOIT_CONFIG = {"default_tasks": ["sales:a"]}\n')
    pit.run("doit").ok()
    (run,) = pit.run("runs", "--json").ok().json
    assert run["state"] == "success"
    broken = "raise SystemExit('this file is not for you')\n"
    (tmp_path / "dodo.py").write_text(broken)
    pit.run("doit", "list").fails(22, "error: this file is not for you")


def test_global_options_count_for_what_doit_carries_out(pit: Pit) -> None:
    pit.file("keys.toml", '[global]\nwarehouse = "duckdb://w.duckdb"\n', mode=0o600)
    text = (TEMPLATES / "workspace/dodo.py").read_text()
    pit.file("dodo.py", text).project("sales").file("a.sql", "SELECT 41 + 1 AS answer;\n").toml(
        '[dag.sql]\nconnection = "warehouse"\n'
        '[[tasks]]\nname = "a"\nscript = "a.sql"\ninputs = []\n'
    )
    pit.run("doit", "run").ok()
    assert "not executed" in pit.log("a")
    out = pit.run("doit", "--secrets", "keys.toml", "--verbose", "run").ok().out
    assert "[a] " in out
    assert "42" in pit.log("a")
    (pit.root / "keys.toml").rename(pit.root / "projects/keys.toml")
    words = ["--project-dir", "..", "--secrets", "keys.toml", "doit", "list", "-s", "sales:a"]
    listed = subprocess.run(
        [*pit.argv()[:3], *words],
        cwd=pit.root / "projects",
        env=pit.env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stdout.split()[0] == "U"


def test_problems_end_it_with_the_exit_code_of_pit(pit: Pit) -> None:
    pit.run("doit", "list").fails(10, "no workspace here or above")
    pit.project("sales").toml("[dag")
    result = pit.run("doit", "list").fails(11, "projects/sales/pit.toml:1:")
    assert "Traceback" not in result.err


def test_the_manual_names_every_command_of_doit() -> None:
    rows = first_cells(sections(DOCS / "doit.md")["What each command does"])
    commands = [command.get_name() for command in DoitMain.DOIT_CMDS]
    assert sorted(name for row in rows for name in code(row)) == sorted(commands)
