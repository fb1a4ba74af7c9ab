"""Which files are a task's code, by the real command: an edit to what it executes makes it run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.builder import Pit
from tests.engine.staleness.test_incremental import ran

TASK = '[[tasks]]\nname = "{}"\nscript = "{}"\ninputs = []\n{}\n'


def tasks(pit: Pit, *declared: tuple[str, str, str], dag: str = "") -> Pit:
    """A project with these tasks: name, script and further keys of each."""
    return pit.project("m").toml(dag + "".join(TASK.format(*each) for each in declared))


def put(pit: Pit, **files: str) -> None:
    """Write files of Python below the project, `__` in their names being slashes."""
    for name, text in files.items():
        pit.file(f"{name.replace('__', '/')}.py", text)


# ---------------------------------------------------------------- the import path

PATHS = {
    "relative": 'env = { PYTHONPATH = "lib" }',
    "several": 'env = { PYTHONPATH = "/nowhere:other:./lib/" }',
    "command": 'runner = "$ python3"\nenv = { PYTHONPATH = "lib" }',
    "prefixed": 'runner = "$ env PYTHONPATH=lib python3"',
    "by_shell": "runner = \"$ sh -c 'PYTHONPATH=$PWD/lib python3 $0'\"",
}


def test_modules_are_looked_for_where_the_task_will_find_them(pit: Pit) -> None:
    tasks(pit, *((name, "tasks/t.py", keys) for name, keys in PATHS.items()))
    put(pit, tasks__t="import lm\nprint(lm.X)\n", lib__lm="X = 1\n", more__lm="X = 0\n")
    pit.run("run", "m").ok()
    assert [pit.log(name) for name in PATHS] == ["1\n"] * len(PATHS)
    assert ran(pit) == set()
    put(pit, lib__lm="X = 2\n")
    assert ran(pit) == set(PATHS)
    assert [pit.log(name) for name in PATHS] == ["2\n"] * len(PATHS)
    put(pit, more__lm="X = 3\n")
    assert ran(pit) == set()


def test_an_absolute_path_into_the_project_means_the_frozen_copy(pit: Pit) -> None:
    lib = pit.root / "projects/m/lib"
    tasks(
        pit,
        ("own", "tasks/t.py", f'env = {{ PYTHONPATH = "{lib}" }}'),
        ("shell", "tasks/t.sh", f'env = {{ PYTHONPATH = "{lib}" }}'),
    )
    put(pit, tasks__t="import lm\nprint(lm.__file__)\n", lib__lm="X = 1\n")
    pit.file("tasks/t.sh", 'python3 -c "import lm; print(lm.__file__)"\n')
    pit.run("run", "m").ok()
    assert pit.log("own") == pit.log("shell") == f"{pit.runs()[0]}/project/lib/lm.py\n"
    assert ran(pit) == set()
    put(pit, lib__lm="X = 2\n")
    assert ran(pit) == {"own"}


def test_an_inherited_path_into_the_project_counts(pit: Pit) -> None:
    tasks(pit, ("t", "tasks/t.py", ""))
    put(pit, tasks__t="import lm\nprint(lm.X)\n", lib__lm="X = 1\n", more__lm="")
    pit.env["PYTHONPATH"] = os.pathsep.join(
        [str(pit.folder / "lib"), os.environ.get("PYTHONPATH", "")]
    )
    pit.run("run", "m").ok()
    assert ran(pit) == set()
    put(pit, lib__lm="X = 2\n", more__lm="X = 3\n")
    assert ran(pit) == {"t"}
    assert pit.log("t") == "2\n"


@pytest.mark.parametrize("where", ["dag", "tasks"])
def test_src_comes_before_what_the_variables_say(pit: Pit, where: str) -> None:
    keys = 'env = { PYTHONPATH = "lib" }'
    dag = f"[dag]\n{keys}\n" if where == "dag" else ""
    tasks(pit, ("t", "tasks/t.py", "" if dag else keys), dag=dag)
    put(pit, tasks__t="import one, two\nprint(one.X, two.X)\n", src__one="X = 1\n")
    put(pit, lib__one="X = 0\n", lib__two="X = 2\n")
    pit.run("run", "m").ok()
    assert pit.log("t") == "1 2\n"


# ---------------------------------------------------------------- Python by its runner


@pytest.mark.parametrize("script", ["tasks/job", "tasks/t.pyw", "tasks/t.python"])
def test_the_script_of_a_python_task_is_python_whatever_it_is_called(pit: Pit, script: str) -> None:
    tasks(pit, ("t", script, 'runner = "python"'))
    pit.file(script, "import m\nprint(m.X)\n")
    put(pit, src__m="X = 1\n", src__other="X = 1\n")
    pit.run("run", "m").ok()
    pit.file(script, "# said\nimport m\nprint(m.X)\n")
    put(pit, src__m="X = 1  # one\n", src__other="X = 2\n")
    assert ran(pit) == set()
    put(pit, src__m="X = 2\n")
    assert ran(pit) == {"t"}
    assert "print(m.X + 1)" in pit.file(script, "import m\nprint(m.X + 1)\n").run("why", "m/t").out


# ---------------------------------------------------------------- names that stand as text

NAMED = {
    "resources": "from importlib import resources as r\n(r.files('pk') / 'q.txt').read_text()",
    "module": "import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'pk'], check=True)",
    "line": "import subprocess\nsubprocess.run('python3 -m pk.__main__', shell=True, check=True)",
    "glued": "import os\nassert not os.system('python3 -mpk')",
    "flags": "import subprocess\nsubprocess.check_call('python3 -um pk', shell=True)",
    "over_lines": "import os\nassert not os.system('python3 '\n    '-m p'\n    'k')",
    "added": "import os\nassert not os.system('python3 -m ' + 'pk')",
    "inline": "import sys, os\nos.execl(sys.executable, 'x', '-c', 'import pk.__main__')",
    "of_bytes": "import os\nassert not os.system(b'python3 -c \"import pk.__main__\"')",
    "parts": "import os\nname = 'pk'\nassert not os.system(f'python3 -m {name}')",
    "runs": "import runpy\nrunpy.run_module('pk', run_name='__main__')",
    "file": "import os\nassert not os.system('python3 src/pk/__main__.py')",
    "folder": "import subprocess, sys\nsubprocess.run([sys.executable, 'src/pk'], check=True)",
    "joined": "import os, sys\nos.system(' '.join([sys.executable, '-m', 'pk']))",
    "executed": "exec(open('src/pk/__main__.py').read())",
    "made_up": "import os\nfor n in ['pk/__main']: assert not os.system(f'python3 src/{n}__.py')",
}


def test_what_is_named_by_text_counts(pit: Pit) -> None:
    tasks(pit, *((name, f"tasks/{name}.py", "") for name in NAMED), ("plain", "tasks/plain.py", ""))
    for name, text in NAMED.items():
        pit.file(f"tasks/{name}.py", text)
    put(pit, tasks__plain="text = 'imports pk, or runs python'\n", src__other="X = 1\n")
    pit.file("src/pk/__init__.py", "").file("src/pk/__main__.py", "print(1)\n")
    pit.file("src/pk/q.txt", "1").file("data/q.txt", "1")
    pit.run("run", "m").ok()
    pit.file("src/pk/__main__.py", "print(1)  # one\n")
    pit.file("data/q.txt", "2")
    assert ran(pit) == set()
    pit.file("src/pk/__main__.py", "print(2)\n")
    assert NAMED.keys() - ran(pit) == {"resources"}
    pit.file("src/pk/q.txt", "2")
    again = ran(pit)
    assert "resources" in again
    assert "plain" not in again


def test_a_folder_of_data_without_modules_is_a_package_to_resources(pit: Pit) -> None:
    tasks(pit, ("t", "tasks/t.py", ""), ("other", "tasks/other.py", ""))
    put(pit, tasks__t="from importlib.resources import files\nprint(files('pk') / 'q.txt')\n")
    put(pit, tasks__other="print('pk')\n")
    pit.file("src/pk/q.txt", "1")
    pit.run("run", "m").ok()
    pit.file("src/pk/q.txt", "2")
    assert ran(pit) == {"t"}


def test_data_beside_a_module_that_asks_where_it_lies_counts(pit: Pit) -> None:
    tasks(pit, ("t", "tasks/t.py", ""), ("other", "tasks/other.py", ""))
    put(pit, tasks__t="import conf\n", tasks__other="import plain\n", src__plain="X = 1\n")
    put(pit, src__conf="import os\nopen(os.path.dirname(__file__) + '/conf.yml').read()\n")
    pit.file("src/conf.yml", "1").file("conf/other.yml", "1")
    pit.run("run", "m").ok()
    pit.file("conf/other.yml", "2")
    assert ran(pit) == set()
    pit.file("src/conf.yml", "2")
    assert ran(pit) == {"t"}


# ---------------------------------------------------------------- locks of scripts

BLOCK = "# /// script\n# dependencies = []\n# ///\nprint(1)\n"


def test_the_lock_of_a_script_with_dependencies_counts(pit: Pit) -> None:
    tasks(pit, ("with", "tasks/with.py", ""), ("without", "tasks/without.py", ""))
    pit.file("tasks/with.py", BLOCK).file("tasks/without.py", "print(1)\n")
    lock = 'version = 1\nrevision = 3\nrequires-python = ">=3.11"\n'
    pit.file("tasks/with.py.lock", lock).file("tasks/without.py.lock", lock)
    pit.run("run", "m").ok()
    assert ran(pit) == set()
    pit.file("tasks/with.py.lock", lock + "\n").file("tasks/without.py.lock", lock + "\n")
    pit.file("tasks/with.py", BLOCK + "# said\n")
    assert ran(pit) == {"with"}


# ---------------------------------------------------------------- commands

COMMANDS = {
    "words": ("tasks/n.py", "$ bash tasks/cp.sh", "tasks/cp.sh"),
    "option": ("tasks/n.py", "$ bash tasks/cp.sh --config=conf/x.ini", "conf/x.ini"),
    "assigned": ("tasks/n.py", "$ env CONF=./conf/x.ini true", "conf/x.ini"),
    "glued": ("tasks/n.py", "$ grep -fconf/x.ini", "conf/x.ini"),
    "quoted": ("tasks/n.py", "$ bash -c '. tasks/cp.sh; echo $0'", "tasks/cp.sh"),
    "variable": ("tasks/n.py", "$ sh -c 'cat $PIT_PROJECT_DIR/conf/x.ini'", "conf/x.ini"),
    "notebook": ("tasks/n.py", "$ cat", "tasks/n.py"),
    "queries": ("tasks/q.sql", "$ cat", "tasks/q.sql"),
    "shebang": ("tasks/x", "$ env", "src/m.py"),
    "python": ("tasks/n.py", "$ python3 -O", "src/m.py"),
    "job": ("tasks/job", "$ python3", "src/m.py"),
    "in_shell": ("tasks/job", "$ sh -c 'python3 $0 a b'", "src/m.py"),
    "driver": ("conf/x.ini", "$ python3 tools/drive.py", "tools/near.py"),
    "inline": ("tasks/n.py", "$ python3 -c 'import m'", "src/m.py"),
    "ran_module": ("tasks/n.py", "$ python3 -m m", "src/m.py"),
    "wrapped": ("tasks/n.py", "$ bash tasks/cp.sh", "src/m.py"),
}


def test_what_a_command_names_and_imports_is_its_code_and_every_byte_counts(pit: Pit) -> None:
    env = 'env = { PYTHONPATH = "src" }'
    declared = (
        (name, script, f'runner = """{runner}"""\n{env}')
        for name, (script, runner, _) in COMMANDS.items()
    )
    tasks(pit, *declared)
    python = "# %% [markdown]\nimport m\nprint(m.X)\n"
    pit.file("tasks/n.py", python).file("tasks/q.sql", "select 1 -- one\n")
    pit.file("tasks/job", python).file("tasks/x", f"#!/usr/bin/env python3\n{python}", 0o755)
    pit.file("tasks/cp.sh", "cat tasks/n.py\n").file("conf/x.ini", "import\n")
    put(pit, src__m="X = 1\n", src__other="X = 1\n", tools__drive="import near\n")
    put(pit, tools__near="X = 1\n")
    pit.file("data/in.csv", "1")
    pit.run("run", "m").ok()
    put(pit, src__other="X = 2\n")
    pit.file("data/in.csv", "2")
    assert ran(pit) == set()
    for edited in dict.fromkeys(file for _, _, file in COMMANDS.values()):
        path = pit.folder / edited
        path.write_text(path.read_text() + "# said\n")
        stale = {name for name, (*_, file) in COMMANDS.items() if file == edited}
        assert stale <= ran(pit), edited


def test_a_word_that_names_what_the_task_is_handed_or_makes_is_no_code(pit: Pit) -> None:
    tasks(
        pit,
        ("make", "tasks/make.sh", 'targets = ["mid.txt"]'),
        (
            "use",
            "tasks/use.sh",
            'runner = "$ bash tasks/cp.sh mid.txt out.txt"\n'
            'depends_on = ["make"]\ntargets = ["out.txt"]',
        ),
    )
    pit.scripts(make="echo 1 > mid.txt", use="true", cp='cp "$1" "$2"')
    pit.run("run", "m").ok()
    assert ran(pit) == set()
    pit.file("tasks/cp.sh", 'cp "$1" "$2"; true\n')
    assert ran(pit) == {"use"}
    assert ran(pit) == set()
    pit.scripts(make="echo 2 > mid.txt")
    assert ran(pit) == {"make", "use"}


def test_what_bash_reads_before_a_script_is_code(pit: Pit) -> None:
    tasks(pit, ("t", "tasks/t.sh", 'env = { BASH_ENV = "tasks/env.sh" }'), ("u", "tasks/t.sh", ""))
    pit.scripts(t="echo $WORD", env="WORD=1")
    pit.run("run", "m").ok()
    pit.scripts(env="WORD=2")
    assert ran(pit) == {"t"}
    assert pit.log("t") == "2\n"


def test_validate_remarks_on_python_that_is_started_out_of_sight(pit: Pit) -> None:
    tasks(
        pit,
        ("sh", "tasks/t.sh", ""),
        ("command", "conf.ini", 'runner = "$ bash tasks/t.sh"'),
        ("plain", "tasks/plain.sh", ""),
    )
    pit.scripts(t="# runs m\npython3 tools/x.py --fast\n", plain="echo python3 is there\n")
    put(pit, tools__x="import near\n", tools__near="", tools__other="")
    pit.file("conf.ini", "")
    out = pit.run("validate").ok().out
    for name in ("sh", "command"):
        assert f"m/{name} starts Python in tasks/t.sh" in out
    assert "a change in tools/near.py, tools/x.py leaves" in out
    assert "m/plain" not in out
    pit.toml((pit.folder / "pit.toml").read_text().replace("inputs = []", 'inputs = ["tools"]'))
    assert "starts Python" not in pit.run("validate").ok().out


# ---------------------------------------------------------------- the project's environment

PYPROJECT = """
[project]
name = "m"
version = "{}"
requires-python = ">=3.11"
dependencies = []
"""


def test_every_program_of_a_python_project_gets_its_environment(pit: Pit) -> None:
    tasks(
        pit,
        ("shell", "tasks/t.sh", 'env = { PATH = "/usr/bin:/bin" }'),
        ("command", "tasks/t.sh", 'runner = "$ bash"'),
        ("sql", "tasks/t.sql", 'connection = "w"'),
    )
    pit.file("tasks/t.sql", "select 1")
    pit.file("pyproject.toml", PYPROJECT.format(1)).file("src/mine.py", "")
    pit.scripts(t="python3 -c 'import sys, mine; print(sys.prefix)'; echo $VIRTUAL_ENV")
    pit.run("run", "m").ok()
    for name in ("shell", "command"):
        prefix, virtual = pit.log(name).split()
        assert prefix == virtual
        assert Path(prefix).parent == pit.root / ".pit/envs"
    assert ran(pit) == set()
    pit.file("pyproject.toml", PYPROJECT.format(2))
    (pit.folder / "uv.lock").unlink()
    assert "environment" in pit.run("why", "m/shell").ok().out
    assert ran(pit) == {"shell", "command"}


def test_sql_alone_needs_no_environment(pit: Pit) -> None:
    tasks(pit, ("sql", "tasks/t.sql", 'connection = "w"')).file("tasks/t.sql", "select 1")
    pit.file("pyproject.toml", PYPROJECT.format(1))
    pit.run("run", "m").ok()
    assert not (pit.root / ".pit/envs").exists()
    assert not (pit.folder / "uv.lock").exists()


def test_without_a_pyproject_shell_tasks_are_as_they_were(pit: Pit) -> None:
    tasks(pit, ("sh", "tasks/t.sh", ""), ("py", "tasks/t.py", ""))
    pit.scripts(t='echo "${VIRTUAL_ENV-none}"; echo "$PATH"').file("tasks/t.py", "")
    pit.run("run", "m", PATH="/usr/bin:/bin", VIRTUAL_ENV="").ok()
    first, path = pit.log("sh").splitlines()
    assert first == ""
    assert path.startswith("/usr/bin:/bin")
