"""`pit.sdk` in every environment that a task can have, beside the orchestrator's own `pit`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import uv

from tests.builder import Pit
from tests.docs.pages import ROOT

PROBE = """
import sys
from pit.sdk import get_value, set_value
set_value("python", sys.version.split()[0])
print("asked:", get_value("python"))
print("sdk:", sys.modules["pit.sdk"].__file__)
"""

ORCHESTRATOR = (
    PROBE + "import pit.errors, pit.cli.main; print('orchestrator:', pit.errors.__file__)"
)

PYPROJECT = '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.9"\n'


def workspace(pit: Pit, runner: str, script: str = PROBE, name: str = "t.py", **env: str) -> Pit:
    """A project with one task."""
    lines = [f'{key} = "{value}"' for key, value in env.items()]
    runner = f'runner = "{runner}"\n' if runner else ""
    variables = "[tasks.env]\n" + "\n".join(lines) + "\n" if lines else ""
    toml = f'[dag]\nname = "p"\n[[tasks]]\nname = "t"\nscript = "{name}"\n{runner}{variables}'
    return pit.project("p").toml(toml).file(name, script)


def asked(pit: Pit, *texts: str) -> str:
    """The log of the task, which has got an answer."""
    pit.run("run", "p").ok()
    log = pit.log("t")
    assert "asked: 3" in log, log
    assert f"sdk: {ROOT}/sdk/python/pit/sdk.py" in log
    for text in texts:
        assert text in log
    return log


def made(folder: Path, *options: str) -> Path:
    """The interpreter of a new virtual environment."""
    subprocess.run(
        [uv.find_uv_bin(), "venv", "--quiet", "--python", sys.executable, *options, folder],
        check=True,
        env=os.environ | {"UV_PYTHON_DOWNLOADS": "never"},
    )
    return folder / "bin" / "python"


def test_a_project_without_an_environment(pit: Pit) -> None:
    asked(workspace(pit, ""))


def test_a_project_with_an_environment_of_uv(pit: Pit) -> None:
    asked(workspace(pit, "").file("pyproject.toml", PYPROJECT))


def test_a_script_that_brings_its_own_dependencies(pit: Pit) -> None:
    metadata = '# /// script\n# requires-python = ">=3.9"\n# dependencies = []\n# ///\n'
    asked(workspace(pit, "", metadata + PROBE))


def test_a_plain_virtual_environment_by_a_custom_runner(pit: Pit, tmp_path: Path) -> None:
    asked(workspace(pit, f"$ {made(tmp_path / 'env')}"))


def test_an_environment_that_holds_the_orchestrator(pit: Pit) -> None:
    text = f"orchestrator: {ROOT}/pit/errors.py"
    asked(workspace(pit, f"$ {sys.executable}", ORCHESTRATOR), text)


def test_the_orchestrator_on_a_pythonpath_of_the_tasks_own(pit: Pit) -> None:
    text = f"orchestrator: {ROOT}/pit/errors.py"
    asked(workspace(pit, f"$ {sys.executable}", ORCHESTRATOR, PYTHONPATH=str(ROOT)), text)


def test_a_shell_task_that_starts_a_python(pit: Pit) -> None:
    script = f"{sys.executable} - <<'PY'\n{PROBE}PY\n"
    asked(workspace(pit, "", script, name="t.sh"))


def test_a_package_of_the_project_called_pit_goes_on_working(pit: Pit) -> None:
    script = PROBE + "import pit.own; print('own:', pit.own.WORD)"
    workspace(pit, "", script).file("src/pit/__init__.py", "").file("src/pit/own.py", "WORD = 'w'")
    asked(pit, "own: w")


def test_shell_tasks_call_pit_and_start_runs_of_their_own(pit: Pit) -> None:
    command = f"{sys.executable} -m pit"
    script = f"""set -e
{command} sdk set_value name=outer value=1
{command} run inner
{command} sdk set_value name=outer value=2
echo "asked: $({command} sdk get_value name=outer)"
"""
    pit.project("inner").toml('[dag]\nname = "inner"\n[[tasks]]\nname = "i"\nscript = "i.py"\n')
    pit.file("i.py", PROBE.replace("asked", "inner asked"))
    workspace(pit, "", script, name="t.sh")
    pit.run("run", "p").ok()
    outer, inner = sorted(pit.runs(), key=lambda run: run.name.endswith("_inner"))
    assert "asked: 2" in (outer / "logs" / "t.log").read_text()
    assert "inner asked: 3" in (inner / "logs" / "i.log").read_text()


def test_both_import_without_pythonpath_too() -> None:
    code = "import pit.sdk, pit.cli.main; print(pit.sdk.__file__)"
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    argv = [sys.executable, "-c", code]
    told = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == f"{ROOT}/sdk/python/pit/sdk.py"


@pytest.mark.slow
def test_the_sdk_as_a_distribution_of_its_own(pit: Pit, tmp_path: Path) -> None:
    python = made(tmp_path / "env")
    source = tmp_path / "source"
    subprocess.run(["cp", "-r", ROOT / "sdk" / "python", source], check=True)
    install = [uv.find_uv_bin(), "pip", "install", "--quiet", "--python", python, source]
    subprocess.run(install, check=True)
    code = "import pit.sdk, pit_sdk.db; print(pit.sdk.__file__)"
    argv = [python, "-c", code]
    told = subprocess.run(argv, cwd=tmp_path, env={}, capture_output=True, text=True, check=True)
    assert told.stdout.strip().startswith(str(tmp_path / "env"))
    asked(workspace(pit, f"$ {python}"))


@pytest.mark.slow
def test_the_wheel_in_the_environment_of_a_task(pit: Pit, tmp_path: Path) -> None:
    """The orchestrator from its wheel runs, and the same wheel is in the task's environment."""
    build = [uv.find_uv_bin(), "build", "--wheel", "--quiet", "--out-dir", tmp_path / "w", ROOT]
    subprocess.run(build, check=True)
    python = made(tmp_path / "env")
    (wheel,) = (tmp_path / "w").glob("*.whl")
    install = [uv.find_uv_bin(), "pip", "install", "--quiet", "--python", python, wheel]
    subprocess.run(install, check=True)
    workspace(pit, f"$ {python}", ORCHESTRATOR)
    command = [tmp_path / "env" / "bin" / "pit", "--project-dir", pit.root, "run", "p"]
    told = subprocess.run(command, env=pit.env, cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr
    log = pit.log("t")
    site = next((tmp_path / "env" / "lib").glob("python*")) / "site-packages" / "pit"
    assert "asked: 3" in log
    assert f"sdk: {site}/bundled/sdk/python/pit/sdk.py" in log
    assert f"orchestrator: {site}/errors.py" in log
