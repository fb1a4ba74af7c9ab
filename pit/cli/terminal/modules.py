"""A Python module that is not there: what to type to have it, told under the task that failed."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

_MISSING = re.compile(r"No module named '([A-Za-z_][A-Za-z0-9_.]*)'")
_PACKAGES = {
    "yaml": "pyyaml",
    "sklearn": "scikit-learn",
    "skimage": "scikit-image",
    "cv2": "opencv-python",
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "serial": "pyserial",
    "fitz": "pymupdf",
    "docx": "python-docx",
    "pptx": "python-pptx",
    "jwt": "pyjwt",
    "google": "",
}
"""Packages that are not called as their module; "" where the module does not tell which it is."""


def advice(lines: Iterable[str], project: Path) -> str:
    """What to do about a missing module that the last lines of a log tell of; else ""."""
    found = [name for line in lines for name in _MISSING.findall(line)]
    if not found:
        return ""
    module = found[-1].partition(".")[0]
    if _is_own(module, project):
        return (
            f'"{module}" lies in the project: Python finds it in src/, or beside the script that '
            "imports it"
        )
    place = shlex.quote(os.path.relpath(project))
    what = _PACKAGES.get(module, module) or "PACKAGE"
    if (project / "pyproject.toml").exists():
        return f"Add it to the project's environment: uv add --project {place} {what}"
    listed = next((each for each in (project, *_above(project)) if _listed(each).is_file()), None)
    if listed is not None:
        what = f"-r {shlex.quote(os.path.relpath(_listed(listed)))}"
    return (
        "This project has no pyproject.toml, so it has no packages of its own. Give it some: "
        f"uv init --bare {place} && uv add --project {place} {what}"
    )


def _is_own(module: str, project: Path) -> bool:
    """Whether a module of that name is somewhere in the project's folders."""
    folders = (project, *(each for each in project.glob("*/") if not each.name.startswith(".")))
    return any(
        (folder / f"{module}.py").is_file() or (folder / module / "__init__.py").is_file()
        for folder in folders
    )


def _above(project: Path) -> tuple[Path, ...]:
    """The workspace of a project."""
    return (project.parent.parent,) if project.parent.name == "projects" else ()


def _listed(folder: Path) -> Path:
    return folder / "requirements.txt"
