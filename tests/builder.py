"""The whole program in a workspace: `Pit(tmp).project("sales").toml(…).run("validate")`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec


class Result(msgspec.Struct, frozen=True):
    """What one call of the real command did."""

    code: int
    out: str
    err: str

    def ok(self) -> Result:
        """Itself, after asserting that the command succeeded."""
        assert self.code == 0, f"exit {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"
        return self

    def fails(self, code: int, *texts: str) -> Result:
        """Itself, after asserting the exit code and that each text was printed."""
        assert self.code == code, f"exit {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"
        for text in texts:
            assert text in self.out + self.err, f"{text!r} not in\n{self.out}\n{self.err}"
        return self

    @property
    def json(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.out)

    @property
    def events(self) -> list[dict[str, Any]]:
        """Standard output as one JSON document per line."""
        return [json.loads(line) for line in self.out.splitlines() if line.strip()]

    @property
    def executed(self) -> set[str]:
        """The tasks that `pit run --json` executed; the others were skipped."""
        return {each["task"] for each in self.events if each["event"] == "attempt_started"}

    @property
    def planned(self) -> dict[str, str]:
        """What `pit plan --json` says is to be done with each task: run, skip or defer."""
        return {each["task"]: each["action"] for each in self.json["tasks"]}


class Pit:
    """A workspace under construction and the real `pit` command that runs in it."""

    def __init__(self, root: Path, **env: str) -> None:
        self.root = root
        self.folder = root
        self.env = (
            {key: value for key, value in os.environ.items() if not key.startswith("PIT_")}
            | {"NO_COLOR": "1", "COLUMNS": "100", "UV_PYTHON_DOWNLOADS": "never"}
            | env
        )

    def project(self, name: str) -> Pit:
        """The same workspace; what follows goes into `projects/<name>/`."""
        self.folder = self.root / "projects" / name
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def toml(self, text: str) -> Pit:
        """Write the project's pit.toml."""
        return self.file("pit.toml", text)

    def file(self, path: str, text: str | bytes, mode: int | None = None) -> Pit:
        """Write one file below the current project (or the workspace, before any)."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text if isinstance(text, bytes) else text.encode())
        if mode is not None:
            target.chmod(mode)
        return self

    def scripts(self, **tasks: str) -> Pit:
        """Write `tasks/<name>.sh` for each and return the workspace."""
        for name, text in tasks.items():
            self.file(f"tasks/{name}.sh", text)
        return self

    def argv(self, *args: str) -> list[str]:
        """The command line of `pit` in this workspace."""
        return [sys.executable, "-m", "pit", "--project-dir", str(self.root), *args]

    def run(self, *args: str, timeout: float = 120, **env: str) -> Result:
        """Run `pit <args>` to its end."""
        done = subprocess.run(
            self.argv(*args),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=self.env | env,
            timeout=timeout,
            cwd=self.root,
        )
        return Result(
            done.returncode,
            done.stdout.decode(errors="replace"),
            done.stderr.decode(errors="replace"),
        )

    def inside(self, folder: Path, *args: str, **env: str) -> Result:
        """Run `pit <args>` to its end in that folder, without naming the workspace."""
        argv = [sys.executable, "-m", "pit", *args]
        done = subprocess.run(
            argv, capture_output=True, stdin=subprocess.DEVNULL, env=self.env | env, cwd=folder
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *args: str, **env: str) -> subprocess.Popen[bytes]:
        """Start `pit <args>` and leave it running; the caller ends it."""
        return subprocess.Popen(
            self.argv(*args),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.env | env,
            cwd=self.root,
        )

    def runs(self) -> list[Path]:
        """The run folders, oldest first."""
        folder = self.root / "runs"
        return sorted(p for p in folder.glob("[0-9]*_*")) if folder.is_dir() else []

    def log(self, task: str, run: int = -1) -> str:
        """The log of a task in the run at that index."""
        return (self.runs()[run] / "logs" / f"{task}.log").read_text(errors="replace")

    def marked(self, marker: str) -> Iterator[int]:
        """The ids of processes whose command line contains `marker`."""
        pattern = re.compile(re.escape(marker.encode()))
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if pattern.search((entry / "cmdline").read_bytes()):
                        yield int(entry.name)
                except OSError:
                    continue
