"""What README and tutorial tell people to type is typed, in order, in an empty folder."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, blocks, sections

DEV = (ROOT / "dev").read_text()
PORT = "8391"
"""The port of the pages' web service, which others on this machine may be using."""


def free_port() -> int:
    """A port of the loopback interface that nobody uses just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def typed(commands: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run blocks of shell as one session of a person whose `pit` is this one."""
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    command = shlex.join([sys.executable, "-P", "-m", "pit"])
    (bin_folder / "pit").write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {command} "$@"\n')
    (bin_folder / "pit").chmod(0o755)
    env = {key: value for key, value in os.environ.items() if not key.startswith("PIT_")}
    env |= {"PATH": f"{bin_folder}:{env['PATH']}", "NO_COLOR": "1", "UV_PYTHON_DOWNLOADS": "never"}
    (folder / "empty").mkdir()
    leaving = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"
    session = "\n".join([leaving, *commands]).replace(PORT, str(free_port()))
    return subprocess.run(
        ["bash", "-eux", "-o", "pipefail", "-c", session],
        cwd=folder / "empty",
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )


def without_measurements(line: str) -> str:
    """A line of output without what differs from run to run."""
    line = re.sub(r"\b\d{8}_\d{6}\.\d{3}_", "RUN_", line)
    line = re.sub(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b", "WHEN", line)
    line = re.sub(r" *[\d.]+ ?(ms|s|MB|kB)\b", " #", line)
    return " ".join(line.replace("just now", "# ago").split())


def check(page: str, tmp_path: Path) -> None:
    """Type the shell blocks of a page; each line of its text blocks must have been said."""
    done = typed(blocks(page, "sh"), tmp_path)
    assert done.returncode == 0, done.stdout
    said = {without_measurements(line) for line in done.stdout.splitlines()}
    for block in blocks(page, "text"):
        for line in block.splitlines():
            assert without_measurements(line) in said, f"{line!r} is not in\n{done.stdout}"


@pytest.mark.parametrize("section", ["The smallest example", "A tour"])
def test_what_the_readme_tells_to_type_works_as_it_stands(tmp_path: Path, section: str) -> None:
    check(sections(ROOT / "README.md")[section], tmp_path)


def test_the_example_of_incremental_running_works_as_it_stands(tmp_path: Path) -> None:
    check(sections(DOCS / "incremental.md")["A worked example"], tmp_path)


def test_the_tutorial_works_as_it_stands(tmp_path: Path) -> None:
    done = typed(blocks((DOCS / "tutorial.md").read_text(), "sh"), tmp_path)
    assert done.returncode == 0, done.stdout
    assert "total: 135.75" in done.stdout
    assert "total: 80" in done.stdout
    assert "exit code 1" in done.stdout


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_command_of_dev_is_one(page: str) -> None:
    used = set(re.findall(r"\./dev (\w+)", (ROOT / page).read_text()))
    usage = DEV[DEV.index("usage()") : DEV.index("END\n}")]
    known = set(re.findall(r"^  (\w+) ", usage, re.MULTILINE))
    assert used
    assert used <= known


def test_dev_is_plain_posix_shell_and_says_what_it_can_do() -> None:
    subprocess.run(["sh", "-n", ROOT / "dev"], check=True)
    told = subprocess.run([ROOT / "dev"], capture_output=True, text=True, check=True).stdout
    assert "demo" in told
    assert "test" in told
