"""What is foreseen of files: programs, scripts and connections that would let a task down."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builder import Pit

TASK = '[[tasks]]\nname = "a"\nscript = "{script}"\n'


@pytest.fixture
def shop(tmp_path: Path) -> Pit:
    """A workspace with the folder of one project."""
    return Pit(tmp_path).project("shop")


# ---------------------------------------------------------------- programs


def test_a_runner_whose_program_is_not_installed_is_a_warning(shop: Pit) -> None:
    shop.toml(TASK.format(script="a.js") + 'runner = "$ no-such-node --flag"\n').file("a.js", "")
    told = shop.run("validate").ok()
    assert "projects/shop/pit.toml:4:10: warning: the program" in told.err
    assert '"no-such-node" of this runner is not found' in told.err
    assert told.out.endswith("all valid, with 1 warning.\n")


@pytest.mark.parametrize(
    "runner",
    ["$ sh", "$ /bin/sh -e", "$ sh -c 'cat $0'", "$ ./tools/run", "$ env -S sh", "bash"],
)
def test_a_program_that_is_there_draws_no_word(shop: Pit, runner: str) -> None:
    shop.toml(TASK.format(script="a.x") + f'runner = "{runner}"\n').file("a.x", "", 0o755)
    shop.file("tools/run", "#!/bin/sh\n", 0o755)
    assert shop.run("validate").ok().out == "1 project with 1 task: all valid.\n"


def test_a_program_is_looked_for_where_the_task_will_look(shop: Pit, tmp_path: Path) -> None:
    program = tmp_path / "opt" / "mytool"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    toml = TASK.format(script="a.x") + 'runner = "$ mytool"\n'
    shop.toml(toml).file("a.x", "")
    assert "not found" in shop.run("validate").ok().err
    shop.toml(f'{toml}env = {{ PATH = "{program.parent}:/usr/bin" }}\n')
    assert shop.run("validate").ok().err == ""
    shop.toml(toml)
    assert shop.run("validate", PATH=f"{program.parent}:/usr/bin:/bin").ok().err == ""


def test_a_program_may_come_with_a_python_environment(shop: Pit) -> None:
    shop.toml(TASK.format(script="a.x") + 'runner = "$ dbt-of-the-project"\n').file("a.x", "")
    shop.file("pyproject.toml", '[project]\nname = "shop"\nversion = "1"\n')
    assert shop.run("validate").ok().err == ""


def test_a_program_of_the_project_that_is_not_executable_is_told_so(shop: Pit) -> None:
    shop.toml(TASK.format(script="a.x") + 'runner = "$ ./tool"\n').file("a.x", "").file("tool", "")
    told = shop.run("validate").ok()
    assert '"./tool" of this runner is not executable' in told.err
    assert "chmod +x projects/" in told.err


@pytest.mark.parametrize("runner", ["$ env", "$ /usr/bin/env", "$ env -i A=1"])
def test_a_script_that_env_could_not_execute_is_a_warning(shop: Pit, runner: str) -> None:
    shop.toml(TASK.format(script="tasks/a") + f'runner = "{runner}"\n')
    shop.file("tasks/a", "#!/bin/sh\n", 0o644)
    told = shop.run("validate").ok().err
    assert 'warning: script "tasks/a" is not executable' in told
    assert "chmod +x projects/shop/tasks/a" in told
    (shop.folder / "tasks/a").chmod(0o755)
    assert shop.run("validate").ok().err == ""
    shop.run("run", "shop").ok()


# ---------------------------------------------------------------- Python


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("x = 1\nif x\n    pass\n", "2:5", "expected ':'"),
        ("def f(:\n    pass\n", "1:7", "invalid syntax"),
        ("return 1\n", "1:1", "'return' outside function"),
        ("print 'a'\n", "1:1", "Missing parentheses in call to 'print'"),
        ("\tx = 1\n    y = 2\n", "1:1", "unexpected indent"),
    ],
)
def test_a_script_that_is_not_python_is_a_problem_with_its_line(
    shop: Pit, text: str, place: str, what: str
) -> None:
    shop.toml(TASK.format(script="tasks/a.py")).file("tasks/a.py", text)
    told = shop.run("validate").fails(11, "this is not valid Python: ", what, "1 problem found")
    assert f"projects/shop/tasks/a.py:{place.partition(':')[0]}:" in told.err
    shop.toml(TASK.format(script="tasks/a.py") + 'runner = "$ cat"\n')
    shop.run("validate").ok()


def test_with_a_python_of_its_own_it_is_a_warning(shop: Pit) -> None:
    shop.toml(TASK.format(script="a.py")).file("a.py", "if\n")
    shop.file("pyproject.toml", '[project]\nname = "shop"\nversion = "1"\n')
    assert "a.py:1:3: warning: this is not valid Python" in shop.run("validate").ok().err
    shop.file("a.py", "# /// script\n# dependencies = []\n# ///\nif\n")
    assert shop.run("validate").ok().err == ""


@pytest.mark.parametrize(
    "text",
    [
        b"import re\nre.compile('\\d')\n",
        b"#!/usr/bin/env python3\n# -*- coding: latin-1 -*-\nx = '\xe4'\n",
        b"\xef\xbb\xbfx = 1\n",
        b"x = 1\r\ny = 2\r\n",
        b"",
    ],
)
def test_python_that_runs_draws_no_word(shop: Pit, text: bytes) -> None:
    shop.toml(TASK.format(script="a.py")).file("a.py", text)
    told = shop.run("validate").ok()
    assert (told.out, told.err) == ("1 project with 1 task: all valid.\n", "")
    shop.run("run", "shop").ok()


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ('inputs = []\ntargets = ["out/a"]\n', True),
        ('inputs = []\ntargets = ["out/a"]\nparams = ["day"]\n', True),
        ('inputs = []\ntargets = ["out/{day}"]\n', False),
        ('inputs = []\ntargets = ["out/{day}/a", "out/log"]\n', False),
        ('inputs = []\ntargets = ["out/a"]\nparams = []\n', False),
        ("inputs = []\n", False),
        ('inputs = []\nalways = true\ntargets = ["out/a"]\n', False),
    ],
)
def test_one_target_for_all_values_of_a_parameter_is_noted(
    shop: Pit, keys: str, told: bool
) -> None:
    toml = '[dag.params]\nday = { type = "date", default = "today" }\n'
    shop.toml(toml + TASK.format(script="a.sh") + keys).file("a.sh", "true\n")
    note = "note: shop: a takes the parameter day and has one target for all its values"
    assert (note in shop.run("validate").ok().out) == told


# ---------------------------------------------------------------- connections and requirements


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgress://me:hunter2hunter2@db/x", 'Did you mean "postgres://"?'),
        ("mysql://me:hunter2hunter2@db/x", "unknown scheme"),
        ("postgres://me:hunter2hunter2@db:port/x", "port is not a number"),
        ("warehouse.xls", "names no database"),
        ("postgres://me:hunter2hunter2@db/x", ""),
        ("duckdb://w.duckdb", ""),
    ],
)
@pytest.mark.parametrize("own", [True, False])
def test_a_connection_that_no_driver_takes_is_a_warning(
    shop: Pit, url: str, told: str, own: bool
) -> None:
    connection = 'connection = "w"\n'
    toml = TASK.format(script="a.sql") + (connection if own else f"[dag.sql]\n{connection}")
    shop.toml(toml).file("a.sql", "select 1;\n")
    secrets = shop.root / "secrets.toml"
    secrets.write_text(f'[global]\nw = "{url}"\n')
    secrets.chmod(0o600)
    done = shop.run("validate").ok()
    assert "hunter2" not in done.out + done.err
    if told:
        place = f"projects/shop/pit.toml:{4 if own else 5}:14: warning: "
        assert f'{place}secret "w" is not a usable database URL' in done.err
        assert told in done.err
    else:
        assert done.err == ""


def test_a_required_dag_that_is_not_there_is_told_with_those_that_are(shop: Pit) -> None:
    shop.toml('[dag.requires]\nzzzzzz = "1h"\n' + TASK.format(script="a.sh")).file("a.sh", "")
    shop.run("validate").fails(11, 'requires unknown DAG "zzzzzz"', "There is no other DAG here")
    shop.project("raw").toml(TASK.format(script="a.sh")).file("a.sh", "")
    shop.run("validate").fails(11, 'requires unknown DAG "zzzzzz"', "The other DAGs here: raw")
