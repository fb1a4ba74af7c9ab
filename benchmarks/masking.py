"""A task that prints a gigabyte after it has been given secrets: how fast that reaches the log.

Budget: 300 MB/s, the same as without. What is printed is text as programs log it, in which every
form of three secrets is searched for; the peer is the same output of a task that was given none.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from logs import task_seconds
from measure import folder, medians, project, report

BUDGET = 300.0
MEGABYTES = 1_000
TOML = '[dag]\n\n[[tasks]]\nname = "print"\nscript = "tasks/print.sh"\n'
SECRETS = """[global]
token = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
[global.warehouse]
driver = "postgres"
host = "db.example"
user = "loader"
password = "correct horse battery staple"
[global.api]
key = "AKIAIOSFODNN7EXAMPLE/wJalrXUtnFEMI"
"""
ASK = """
import os, socket
sock = socket.socket(socket.AF_UNIX)
sock.connect(os.environ["PIT_SOCKET"])
for name in "token", "warehouse", "api":
    sock.sendall(b'{"method": "get_secret", "params": {"key": "%s"}}\\n' % name.encode())
    assert b"error" not in sock.recv(65536)
"""
LINE = "2026-11-26 21:35:53,104 INFO loader: 18233 rows of claims_2026.csv checked in 0.23 s\n"


def main() -> None:
    """Print both rates."""
    with folder() as workspace:
        text = workspace / "text"
        text.write_text(LINE * (10_000_000 // len(LINE)))
        (workspace / "ask.py").write_text(ASK)
        (workspace / "secrets.toml").write_text(SECRETS)
        (workspace / "secrets.toml").chmod(0o600)
        (workspace / "pit_config.toml").write_text('secrets_dir = "secrets.toml"\n')
        printing = f"for i in $(seq {MEGABYTES // 10}); do cat {text}; done\n"
        project(workspace, "without", TOML, {"print": printing})
        asked = f"{sys.executable} {workspace}/ask.py\n{printing}"
        project(workspace, "with", TOML, {"print": asked})
        found = medians({name: _taken(workspace, name) for name in ("without", "with")}, rounds=3)
    rates = {name: MEGABYTES / taken for name, taken in found.items()}
    figures = f"{rates['with']:.0f} MB/s; without secrets {rates['without']:.0f} MB/s"
    report("1 GB of masked output, ≥ 300 MB/s", BUDGET, rates["with"], figures)


def _taken(workspace: Path, dag: str) -> Callable[[], float]:
    return lambda: task_seconds(workspace, dag)[0]


if __name__ == "__main__":
    main()
