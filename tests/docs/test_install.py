"""The wheel, built and installed in an empty environment outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import uv

from tests.docs.pages import ROOT


def done(argv: list[str | Path], cwd: Path) -> str:
    """The output of a command that must succeed; nothing of this checkout is on its paths."""
    away = {"PYTHONPATH", "VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"}
    env = {k: v for k, v in os.environ.items() if k not in away and not k.startswith("PIT_")}
    finished = subprocess.run(
        argv,
        cwd=cwd,
        env=env | {"UV_PYTHON_DOWNLOADS": "never"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert finished.returncode == 0, finished.stdout
    return finished.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    done([uv.find_uv_bin(), "build", "--wheel", "--quiet", "--out-dir", folder, ROOT], folder)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `pit` command of an environment that holds the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("installed")
    done([uv.find_uv_bin(), "venv", "--quiet", "--python", sys.executable, folder / "env"], folder)
    python = folder / "env" / "bin" / "python"
    done([uv.find_uv_bin(), "pip", "install", "--quiet", "--python", python, wheel], folder)
    return folder / "env" / "bin" / "pit"


def test_the_wheel_holds_types_scaffolds_and_licence(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    scaffold = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "pit" / "cli" / "scaffold").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert scaffold <= set(names)
    assert "pit/py.typed" in names
    sdk = {
        f"pit/bundled/{path.relative_to(ROOT)}"
        for path in (ROOT / "sdk").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert sdk <= set(names)
    for face in ("workspace", "project"):
        assert f"pit/dodo_templates/{face}/dodo.py" in names
    assert any(name.endswith("LICENSE") for name in names)
    assert not any(name.startswith(("tests", "examples", "benchmarks")) for name in names)


@pytest.mark.parametrize("kind", ["python", "sql", "shell"])
def test_the_installed_command_makes_and_runs_each_kind_of_project(
    installed: Path, tmp_path: Path, kind: str
) -> None:
    done([installed, "new", "shop", "--type", kind], tmp_path)
    done([installed, "validate"], tmp_path / "shop")
    done([installed, "run", "sample_pipeline"], tmp_path / "shop")
    assert "sample_pipeline" in done([installed, "status"], tmp_path / "shop")
