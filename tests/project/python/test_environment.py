"""Environments, built for real by uv, and the variables that tasks get."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pit.errors import EnvironmentFailed
from pit.project.python import environment, interpreter, surplus
from pit.project.python.environment import Environment, python_environment

PYPROJECT = """
[project]
name = "demo"
version = "1.2.3"
requires-python = ">=3.11"
dependencies = ["iniconfig"]

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""


class Tool:
    """Runs what it is told to, and remembers it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(
        self, argv: Sequence[str], *, cwd: str | Path, env: Mapping[str, str]
    ) -> tuple[int, bytes]:
        self.calls.append(" ".join(map(str, argv[1:])))
        done = subprocess.run(
            argv, cwd=cwd, env=dict(env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        return done.returncode, done.stdout

    def made(self, words: str) -> int:
        """How many calls began with these words."""
        return sum(call.startswith(words) for call in self.calls)


class Built:
    """A project with a package and a dependency, and its environment."""

    def __init__(self, root: Path) -> None:
        self.project = root / "projects" / "demo"
        self.cache = root / ".pit"
        self.tool = Tool()
        self.said: list[str] = []
        _write(self.project / "pyproject.toml", PYPROJECT)
        _write(self.project / "src/demo/__init__.py", "where = 'live'\n")
        self.environment = self.make()

    def make(self) -> Environment:
        return python_environment(self.project, self.cache, self.tool, self.said.append)


def task_variables(
    used: Environment | None,
    project: Path,
    snapshot: Path,
    inherited: Mapping[str, str],
    own: Mapping[str, str],
    first: Sequence[str] = (),
) -> dict[str, str]:
    """The variables of a task whose PYTHONPATH has `first` and its search path."""
    folders = (*first, *environment.search_path(used, own, inherited, project, snapshot))
    return environment.task_variables(used, folders, inherited, own)


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture(autouse=True, scope="module")
def _no_downloads() -> None:
    os.environ["UV_PYTHON_DOWNLOADS"] = "never"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(tmp_path_factory.mktemp("environment"))


def _run(built: Built, code: str, snapshot: Path, **more: str) -> str:
    """What a Python task with this code prints."""
    variables = environment.base_variables(os.environ) | more
    variables |= task_variables(built.environment, built.project, snapshot, variables, {})
    done = subprocess.run(
        [built.environment.python, "-c", code],
        env=variables,
        cwd=built.cache,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


# ---------------------------------------------------------------- the shared environment


def test_a_project_without_a_lock_is_locked_and_built(built: Built) -> None:
    assert (built.project / "uv.lock").is_file()
    assert not (built.project / ".venv").exists()
    made = built.environment
    assert made.prefix == str(built.cache / "envs" / made.digest[:16])
    assert made.python == f"{made.prefix}/bin/python"
    assert (made.site_paths, made.unfrozen) == (("src",), ())
    assert [said.partition(" ")[0] for said in built.said[:2]] == ["locking", "building"]
    sums = subprocess.run(
        ["sha256sum", "uv.lock", "pyproject.toml"],
        cwd=built.project,
        capture_output=True,
        text=True,
        check=True,
    )
    assert sums.stdout.split()[::2] == [made.hashes["uv_lock"], made.hashes["pyproject"]]
    assert made.hashes["environment"] == made.digest


def test_what_this_process_uses_is_not_removed(built: Built) -> None:
    lock = built.cache / "envs" / f"{built.environment.digest[:16]}.lock"
    os.utime(lock, (0, 0))
    os.utime(f"{built.environment.prefix}/pit.json", (0, 0))
    (built.project / "uv.lock").rename(built.project / "away")
    planned = surplus.surplus(built.cache, tuple, 30, time.time())
    (built.project / "away").rename(built.project / "uv.lock")
    assert [str(each.prefix) for each in planned] == [built.environment.prefix]
    assert surplus.remove(planned).removed == ()
    assert built.make() == built.environment


def test_a_finished_environment_is_found_without_any_process(built: Built) -> None:
    before = list(built.tool.calls)
    assert built.make() == built.environment
    assert built.tool.calls == before


def test_tasks_import_the_snapshot_and_never_the_live_project(built: Built, tmp_path: Path) -> None:
    _write(tmp_path / "src/demo/__init__.py", "where = 'snapshot'\n")
    late = _write(built.project / "src/late.py", "")
    code = "import demo, importlib.util as u; print(demo.where, u.find_spec('late'))"
    assert _run(built, code, tmp_path) == "snapshot None"
    late.unlink()
    code = "import importlib.metadata as m, iniconfig; print(m.version('demo'))"
    assert _run(built, code, tmp_path) == "1.2.3"
    shutil.rmtree(tmp_path / "src")
    code = "import importlib.util as u; print(u.find_spec('demo'))"
    assert _run(built, code, tmp_path) == "None"


def test_the_cache_of_uv_keeps_its_editable_paths(built: Built, tmp_path: Path) -> None:
    """Taking a path out of one environment must not change files that others share."""
    by_hand = tmp_path / "venv"
    built.tool(
        [environment.uv.executable(), "sync", "--frozen", "-q", "--project", str(built.project)],
        cwd=built.project,
        env=os.environ | {"UV_PROJECT_ENVIRONMENT": str(by_hand)},
    )
    done = subprocess.run(
        [by_hand / "bin/python", "-c", "import demo; print(demo.where)"],
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "live"


def test_variables_are_those_of_uv_run(built: Built, tmp_path: Path) -> None:
    code = "import os, sys; print(os.environ['VIRTUAL_ENV'], sys.prefix, os.environ['PATH'])"
    virtual, prefix, path = _run(built, code, tmp_path, PATH="/usr/bin:/bin").split()
    assert virtual == prefix == built.environment.prefix
    assert path == f"{prefix}/bin:/usr/bin:/bin"


def test_python_settings_of_the_parent_do_not_break_tasks(built: Built, tmp_path: Path) -> None:
    code = "import sys; print(sys.prefix)"
    assert _run(built, code, tmp_path, PYTHONHOME="/nonsense") == built.environment.prefix


def test_a_half_built_environment_is_built_again(built: Built, tmp_path: Path) -> None:
    (Path(built.environment.prefix or "") / "pit.json").unlink()
    before = built.tool.made("sync")
    assert built.make() == built.environment
    assert built.tool.made("sync") == before + 1


def test_an_environment_that_lost_its_interpreter_is_built_again(built: Built) -> None:
    os.unlink(built.environment.python)
    before = built.tool.made("sync")
    assert built.make() == built.environment
    assert built.tool.made("sync") == before + 1
    assert os.access(built.environment.python, os.X_OK)


def test_another_pyproject_is_another_environment(built: Built, tmp_path: Path) -> None:
    text = (built.project / "pyproject.toml").read_text()
    lock = (built.project / "uv.lock").read_text()
    try:
        _write(built.project / "pyproject.toml", text + "# a comment\n")
        other = built.make()
        assert other.digest != built.environment.digest
        assert other.prefix != built.environment.prefix
        assert Path(built.environment.python).exists()
    finally:
        _write(built.project / "pyproject.toml", text)
        _write(built.project / "uv.lock", lock)


def test_a_lock_that_pyproject_has_left_behind_is_refused(built: Built) -> None:
    text = (built.project / "pyproject.toml").read_text()
    try:
        _write(built.project / "pyproject.toml", text.replace('["ini', '["packaging", "ini'))
        with pytest.raises(EnvironmentFailed, match=r"does not fit its pyproject\.toml") as failure:
            built.make()
        assert "uv lock --project" in failure.value.hint
    finally:
        _write(built.project / "pyproject.toml", text)


def test_a_file_that_changes_while_uv_reads_it_starts_over(built: Built) -> None:
    """The environment is named by what went into it, whatever happened meanwhile."""
    text = (built.project / "pyproject.toml").read_text()
    tool = Tool()

    def meddling(
        argv: Sequence[str], *, cwd: str | Path, env: Mapping[str, str]
    ) -> tuple[int, bytes]:
        answer = tool(argv, cwd=cwd, env=env)
        if "sync" in argv and tool.made("sync") == 1:
            _write(built.project / "pyproject.toml", text + "# second\n")
        return answer

    try:
        _write(built.project / "pyproject.toml", text + "# first\n")
        made = python_environment(built.project, built.cache, meddling)
        assert tool.made("sync") == 2
        assert built.make().digest == made.digest
    finally:
        _write(built.project / "pyproject.toml", text)


# ---------------------------------------------------------------- failing


def test_what_uv_says_is_handed_on(tmp_path: Path) -> None:
    project = tmp_path / "broken"
    text = PYPROJECT.replace('["iniconfig"]', '["iniconfig==99.99"]')
    _write(project / "pyproject.toml", text)
    with pytest.raises(EnvironmentFailed, match="could not be locked") as failure:
        python_environment(project, tmp_path / ".pit", Tool())
    assert "iniconfig==99.99" in failure.value.hint
    assert failure.value.hint.endswith(f"Try it by hand: uv lock --project {project}")


def test_a_python_that_is_not_there(tmp_path: Path) -> None:
    project = tmp_path / "future"
    _write(project / "pyproject.toml", PYPROJECT.replace(">=3.11", ">=3.99"))
    _write(project / "uv.lock", "")
    with pytest.raises(EnvironmentFailed, match="no Python for project") as failure:
        python_environment(project, tmp_path / ".pit", Tool())
    assert "3.99" in failure.value.hint


# ---------------------------------------------------------------- without uv


def test_a_project_without_pyproject_runs_on_the_base_interpreter(tmp_path: Path) -> None:
    tool = Tool()
    made = python_environment(tmp_path, tmp_path / ".pit", tool)
    prefix = subprocess.run(
        [made.python, "-c", "import sys; print(sys.prefix == sys.base_prefix)"],
        capture_output=True,
        text=True,
    )
    assert prefix.stdout.strip() == "True"
    assert (made.prefix, tool.calls) == (None, [])
    assert made.hashes == {"environment": made.digest}
    variables = task_variables(made, tmp_path, Path("/snapshot"), {}, {})
    assert variables == {"PYTHONPATH": "/snapshot/src"}


def test_pits_own_variables_are_not_inherited() -> None:
    own = {
        f"PIT_{name}": "x"
        for name in (
            "RUN_ID", "DAG_NAME", "TASK_NAME", "ATTEMPT", "SOCKET", "DATA_DIR", "PROJECT_DIR",
            "WORKSPACE", "MARKER", "PARAM_DATE", "MATRIX_AIRPORT",
            "AGE_KEY", "AGE_KEY_FILE", "AGE_KEY_OF_TOMORROW",
        )
    }  # fmt: skip
    users = {"PATH": "/bin", "PIT_STOP": "user's own", "HOME": "/root"}
    assert environment.base_variables(own | users) == users


def test_pythonpath_of_the_user_stays_and_leads_to_the_snapshot(tmp_path: Path) -> None:
    made = Environment(
        python="p", prefix=None, digest="", hashes={}, site_paths=("src", ".", "libs/one")
    )
    project = tmp_path / "project"
    (project / "extra").mkdir(parents=True)
    given = {"PYTHONPATH": f"{project}/extra:/opt/mine::{project}/src"}
    variables = task_variables(made, project, Path("/snap"), given, {}, ("/sdk",))
    assert variables["PYTHONPATH"].split(":") == [
        "/sdk",
        "/snap/src",
        "/snap",
        "/snap/libs/one",
        "/snap/extra",
        "/opt/mine",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# /// script\n# dependencies = []\n# ///\n", True),
        ("#!/usr/bin/env python\n# /// script\r\n# ///\r\n", True),
        ("print('# /// script')\n", False),
        ("# /// scripts\n# ///\n", False),
        ("", False),
    ],
)
def test_inline_metadata(tmp_path: Path, text: str, expected: bool) -> None:
    script = tmp_path / "script.py"
    script.write_bytes(text.encode())
    assert environment.has_inline_metadata(script) is expected
    made = Environment(python="/env/bin/python", prefix="/env", digest="", hashes={})
    argv = environment.command(made, script)
    assert argv[-1] == str(script)
    assert ("--script" in argv) is expected


def test_a_script_without_readable_text_has_no_metadata(tmp_path: Path) -> None:
    assert not environment.has_inline_metadata(tmp_path / "missing.py")


# ---------------------------------------------------------------- what an environment imports


def _site(tmp_path: Path) -> tuple[Path, Path, Path]:
    project, prefix = tmp_path / "project", tmp_path / "env"
    site = prefix / "lib/python3.11/site-packages"
    site.mkdir(parents=True)
    (project / "src").mkdir(parents=True)
    return project, prefix, site


def test_editable_paths_are_taken_out(tmp_path: Path) -> None:
    project, prefix, site = _site(tmp_path)
    pth = _write(site / "demo.pth", f"{project}/src\n/opt/shared\n# note\nimport _distutils_hack\n")
    found = environment.editable.detach(prefix, project)
    assert (found.inside, found.outside) == (("src",), ("/opt/shared",))
    assert pth.read_text() == "/opt/shared\n# note\nimport _distutils_hack\n"


def test_setuptools_finders_are_taken_out(tmp_path: Path) -> None:
    project, prefix, site = _site(tmp_path)
    finder = "__editable___demo_0_1_finder"
    mapping = {"demo": f"{project}/demo", "a.b": f"{project}/lib/a/b", "m": f"{project}/m.py"}
    _write(site / f"{finder}.py", f"MAPPING: dict[str, str] = {mapping!r}\n")
    pth = _write(site / "__editable__.demo-0.1.pth", f"import {finder}; {finder}.install()\n")
    found = environment.editable.detach(prefix, project)
    assert (found.inside, found.outside) == ((".", "lib"), ())
    assert pth.read_text() == ""


def test_a_package_mapped_to_another_name_stays_live_and_is_reported(tmp_path: Path) -> None:
    project, prefix, site = _site(tmp_path)
    _write(site / "finder.py", f"MAPPING: dict[str, str] = {{'demo': '{project}/code'}}\n")
    pth = _write(site / "demo.pth", "import finder; finder.install()\n")
    found = environment.editable.detach(prefix, project)
    assert (found.inside, found.outside) == ((), (f"{project}/code",))
    assert "finder" in pth.read_text()


def test_local_packages_belong_to_the_digest(tmp_path: Path) -> None:
    lock = b'[[package]]\nname = "lib"\nsource = { directory = "../lib" }\n'
    _write(tmp_path / "lib/lib.py", "one = 1\n")
    (tmp_path / "project").mkdir()
    ((name, folder),) = environment._local_sources(lock, tmp_path / "project")
    before = interpreter.digest(environment._contents(folder))
    _write(tmp_path / "lib/build/lib.py", "what building leaves")
    _write(tmp_path / "lib/lib.egg-info/PKG-INFO", "what building leaves")
    _write(tmp_path / "lib/src/lib.egg-info/PKG-INFO", "what building leaves")
    _write(tmp_path / "lib/dist/lib.whl", "what building leaves")
    assert (name, interpreter.digest(environment._contents(folder))) == ("lib", before)
    _write(tmp_path / "lib/lib.py", "two = 2\n")
    assert interpreter.digest(environment._contents(folder)) != before


@pytest.mark.parametrize(
    "place",
    [
        "lib/build/core.py",
        "src/lib/dist/core.py",
        "lib/data.egg-info/x",
        "build/__init__.py",
        "build",
    ],
)
def test_what_only_looks_like_left_by_building_belongs_to_the_digest(
    tmp_path: Path, place: str
) -> None:
    before = interpreter.digest(environment._contents(tmp_path))
    _write(tmp_path / place, "one = 1\n")
    between = interpreter.digest(environment._contents(tmp_path))
    _write(tmp_path / place, "two = 2\n")
    assert len({before, between, interpreter.digest(environment._contents(tmp_path))}) == 3


def test_links_in_a_local_package_are_followed_once(tmp_path: Path) -> None:
    _write(tmp_path / "shared/core.py", "one = 1\n")
    (tmp_path / "lib/inner").mkdir(parents=True)
    (tmp_path / "lib/shared").symlink_to("../shared")
    (tmp_path / "lib/inner/round").symlink_to("..")
    (tmp_path / "lib/gone").symlink_to("nowhere")
    before = interpreter.digest(environment._contents(tmp_path / "lib"))
    _write(tmp_path / "shared/core.py", "two = 2\n")
    assert interpreter.digest(environment._contents(tmp_path / "lib")) != before


def test_a_tasks_own_path_comes_behind_the_projects(tmp_path: Path) -> None:
    made = Environment(python="p", prefix="/env", digest="", hashes={})
    project = tmp_path / "project"
    (project / "out").mkdir(parents=True)
    (project / "linked").symlink_to("/opt/mine")
    given = {"PYTHONPATH": "/inherited", "PATH": "/usr/bin", "PYTHONHOME": "/usr"}
    own = {"PYTHONPATH": f"lib:./a/../b:linked:{project}/out::/opt/x", "PATH": "/bin"}
    variables = task_variables(made, project, Path("/snap"), given, own, ("/sdk",))
    assert variables == {
        "PYTHONPATH": "/sdk:/snap/src:/snap/lib:/snap/b:/snap/linked:/snap/out:/opt/x",
        "PATH": "/env/bin:/bin",
        "VIRTUAL_ENV": "/env",
        "PYTHONHOME": "",
    }
    assert task_variables(None, project, Path("/snap"), given, {}, ("/sdk",)) == {
        "PYTHONPATH": "/sdk:/inherited"
    }


def test_the_lock_of_a_uv_workspace_serves_its_members(tmp_path: Path) -> None:
    text = "[tool.uv.workspace]\nmembers = ['projects/*']\nexclude = ['projects/old']\n"
    _write(tmp_path / "pyproject.toml", text)
    _write(tmp_path / "uv.lock", "")
    for name in ("new", "old"):
        (tmp_path / "projects" / name).mkdir(parents=True)
    assert environment.lock_file(tmp_path / "projects/new") == tmp_path / "uv.lock"
    assert environment.lock_file(tmp_path / "projects/old") is None
    own = _write(tmp_path / "projects/new/uv.lock", "")
    assert environment.lock_file(tmp_path / "projects/new") == own


def test_digests_know_where_a_part_ends() -> None:
    assert interpreter.digest((b"ab", b"c")) != interpreter.digest((b"a", b"bc"))


def test_the_answer_of_uv_is_remembered_until_the_interpreter_changes(tmp_path: Path) -> None:
    python = _write(tmp_path / "python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    asked: list[str] = []

    def uv_answers(
        argv: Sequence[str], *, cwd: str | Path, env: Mapping[str, str]
    ) -> tuple[int, bytes]:
        asked.append(" ".join(argv[1:3]))
        if argv[0] == str(python):
            done = subprocess.run(argv, env=dict(env), capture_output=True, check=True)
            return 0, done.stdout
        return 0, f"warning: something\n{python}\n".encode()

    tool = environment.uv.Uv(tmp_path, uv_answers, {})

    def choose(
        requires: str, variables: Mapping[str, str], more: str = "", anew: bool = False
    ) -> interpreter.Interpreter:
        toml = f'[project]\nrequires-python = "{requires}"\n{more}'.encode()
        return interpreter.choose(tmp_path, toml, tmp_path / "envs", tool, variables, anew=anew)

    first = choose(">=3.11", {"PATH": "/home/me/bin:/usr/bin"})
    assert first.version == f"cpython-{'.'.join(map(str, sys.version_info[:3]))}"
    assert choose(">=3.11", {"PATH": "/usr/bin", "UV_CACHE_DIR": "/tmp"}) == first
    assert choose(">=3.11", {}, 'dependencies = ["numpy"]\n') == first
    assert asked.count("python find") == 1
    choose(">=3.12", {})
    choose(">=3.11", {"UV_PYTHON": "3.12"})
    choose(">=3.11", {}, '[tool.uv]\npython-preference = "only-system"\n')
    choose("\xff", {}, "[[")
    _write(tmp_path / ".python-version", "3.12")
    choose(">=3.11", {})
    assert asked.count("python find") == 6
    choose(">=3.11", {}, anew=True)
    assert asked.count("python find") == 7
    os.utime(python, (1, 1))
    choose(">=3.11", {})
    assert asked.count("python find") == 8
