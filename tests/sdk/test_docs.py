"""docs/sdk.md against the SDK: functions, errors, blocks of code, and the example as typed."""

from __future__ import annotations

import ast
import inspect
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from pit import sdk
from pit.version import VERSION
from tests.docs.pages import DOCS, ROOT, blocks, code, first_cells, sections
from tests.docs.test_commands import check

PAGE = DOCS / "sdk.md"


def names(cells: list[str]) -> list[str]:
    """The functions that the first cells of a table name."""
    return [word.partition("(")[0] for cell in cells for word in code(cell)]


def test_each_function_and_each_error_is_documented_and_no_other() -> None:
    page = sections(PAGE)
    written = names(first_cells(page["Functions of Python"])) + names(first_cells(page["Errors"]))
    assert sorted(written) == sorted(sdk.__all__)


def test_the_signatures_are_as_written() -> None:
    for cell in first_cells(sections(PAGE)["Functions of Python"]):
        for call in code(cell):
            name, _, rest = call.partition("(")
            if not rest or "…" in rest:
                continue
            signature = inspect.signature(getattr(sdk, name))
            plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
            told = str(signature.replace(parameters=plain, return_annotation=signature.empty))
            wanted = f"({rest}".replace('"', "'")
            assert told.replace(", /", "") == wanted, name


def test_python_in_the_page_imports_what_there_is() -> None:
    for page in (PAGE, ROOT / "sdk" / "python" / "README.md"):
        for block in blocks(page.read_text(), "python"):
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and node.module == "pit.sdk":
                    assert {alias.name for alias in node.names} <= {*sdk.__all__}


def test_the_test_in_the_page_works(tmp_path: Path) -> None:
    """The last block is a test of a script; here is the script."""
    (test,) = (b for b in blocks(PAGE.read_text(), "python") if "def test_" in b)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "open_claims.py").write_text(
        "from pit.sdk import read_input, write_output\n"
        "rows = read_input('claims', return_type='rows')\n"
        "write_output('open_claims', [row for row in rows if row['open']])\n"
    )
    (tmp_path / "test_claims.py").write_text(test)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_claims.py"]
    told = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_javascript_in_the_pages_calls_what_there_is() -> None:
    exported = (ROOT / "sdk" / "node" / "pit-sdk" / "index.mjs").read_text()
    for page in (PAGE, ROOT / "sdk" / "node" / "pit-sdk" / "README.md"):
        for block in blocks(page.read_text(), "js"):
            assert all(f"  {name},\n" in exported for name in re.findall(r"pit\.(\w+)\(", block))
            subprocess.run(["node", "--check", "-"], input=block, text=True, check=True)


def test_the_sdks_have_the_version_of_pit() -> None:
    python = tomllib.loads((ROOT / "sdk" / "python" / "pyproject.toml").read_text())
    node = json.loads((ROOT / "sdk" / "node" / "pit-sdk" / "package.json").read_text())
    assert VERSION == python["project"]["version"] == node["version"]


def test_the_example_works_as_it_stands(tmp_path: Path) -> None:
    check(sections(PAGE)["A worked example"], tmp_path)
