"""The same work for Pit and its peers: `count` small files, each copied by a task of its own.

The work of a task is the same for all: `bash copy.sh`, which calls `cp`, four at a time. Each peer
gets a folder of its own with the inputs and its own way of saying it; it is told of every task one
by one, without patterns. A peer that is not installed is left out, and that is said.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from measure import PIT, project, run, seconds

Describe = Callable[[Path, Sequence[str]], None]


class Peer(NamedTuple):
    """A tool with its project: `folder` holds in/ and out/, `argv` brings out/ up to date."""

    name: str
    folder: Path
    argv: Sequence[str]
    cwd: Path

    def run(self) -> float:
        """Bring all up to date; how long that took, in seconds."""
        return seconds(lambda: run([*self.argv], self.cwd))

    def edit(self, task: str, text: str) -> None:
        """Change the input of one task."""
        (self.folder / "in" / task).write_text(text)

    def made(self, task: str) -> str:
        """What stands at the target of one task."""
        return (self.folder / "out" / task).read_text()


def names(count: int) -> list[str]:
    """The names of the tasks, which are those of their files."""
    return [f"f{number:05}" for number in range(count)]


def peers(root: Path, count: int) -> dict[str, Peer]:
    """Pit and all peers that are installed, each with its project and all of it up to date."""
    found = fresh(root, count)
    for peer in found.values():
        first_run(peer, count)
    return found


def fresh(root: Path, count: int) -> dict[str, Peer]:
    """Pit and all peers that are installed, each with its project and nothing of it done."""
    return {peer.name: peer for peer in _peers(root, names(count))}


def first_run(peer: Peer, count: int) -> float:
    """Have all done; how long that took, in seconds."""
    taken = peer.run()
    last = names(count)[-1]
    assert peer.made(last) == f"{last} 0\n", f"{peer.name} did not copy"
    return taken


def _peers(root: Path, tasks: Sequence[str]) -> Iterator[Peer]:
    workspace = root / "pit"
    made = project(workspace, "copies", _pit_toml(tasks), {"copy": _COPY})
    _inputs(made, tasks)
    yield Peer("pit", made, (*PIT, "run", "copies"), workspace)
    for name, (describe, argv) in _OTHERS.items():
        command = argv()
        if command is None:
            print(f"  ({name} is not installed here and left out)")
            continue
        folder = root / name
        _inputs(folder, tasks)
        describe(folder, tasks)
        yield Peer(name, folder, command, folder)


def _inputs(folder: Path, tasks: Sequence[str]) -> None:
    for name in ("in", "out"):
        (folder / name).mkdir(parents=True)
    (folder / "copy.sh").write_text(_COPY)
    for task in tasks:
        (folder / "in" / task).write_text(f"{task} 0\n")


_COPY = 'cp "in/$NAME" "out/$NAME"\n'


def _pit_toml(tasks: Sequence[str]) -> str:
    return "[dag]\nconcurrency = 4\n\n" + "\n".join(
        f'[[tasks]]\nname = "{task}"\nscript = "tasks/copy.sh"\n'
        f'inputs = ["in/{task}"]\ntargets = ["out/{task}"]\nenv = {{ NAME = "{task}" }}\n'
        for task in tasks
    )


def _makefile(folder: Path, tasks: Sequence[str]) -> None:
    rules = "".join(f"out/{task}: in/{task}\n\t@NAME={task} bash copy.sh\n" for task in tasks)
    targets = " ".join(f"out/{task}" for task in tasks)
    (folder / "Makefile").write_text(f".PHONY: all\nall: {targets}\n{rules}")


def _ninja_file(folder: Path, tasks: Sequence[str]) -> None:
    rule = "rule copy\n  command = NAME=$name bash copy.sh\n"
    builds = "".join(f"build out/{task}: copy in/{task}\n  name = {task}\n" for task in tasks)
    (folder / "build.ninja").write_text(rule + builds)


def _dodo_file(folder: Path, tasks: Sequence[str]) -> None:
    (folder / "dodo.py").write_text(
        "DOIT_CONFIG = {'verbosity': 0}\n"
        "def task_copy():\n"
        f"    for name in {list(tasks)!r}:\n"
        "        yield {'name': name, 'actions': [f'NAME={name} bash copy.sh'],\n"
        "               'file_dep': [f'in/{name}'], 'targets': [f'out/{name}']}\n"
    )


def _taskfile(folder: Path, tasks: Sequence[str]) -> None:
    deps = "".join(f"      - {task}\n" for task in tasks)
    rules = "".join(
        f"  {task}:\n    sources: [in/{task}]\n    generates: [out/{task}]\n"
        f"    cmds: [NAME={task} bash copy.sh]\n"
        for task in tasks
    )
    text = f"version: '3'\nsilent: true\ntasks:\n  default:\n    deps:\n{deps}{rules}"
    (folder / "Taskfile.yml").write_text(text)


def _make() -> Sequence[str] | None:
    return ("make", "-j4") if shutil.which("make") else None


def _ninja() -> Sequence[str] | None:
    return ("ninja", "-j4", "--quiet") if shutil.which("ninja") else None


def _doit() -> Sequence[str]:
    return (sys.executable, "-m", "doit", "-n4", "-Pthread")  # a dependency of Pit


def _go_task() -> Sequence[str] | None:
    """go-task, whose command may be called like that or `task`, as another tool is, too."""
    for name in ("go-task", "task"):
        if shutil.which(name):
            told = subprocess.run([name, "--help"], capture_output=True, text=True)
            if "[task...]" in told.stdout + told.stderr:
                return (name, "--concurrency", "4")
    return None


_OTHERS: dict[str, tuple[Describe, Callable[[], Sequence[str] | None]]] = {
    "make": (_makefile, _make),
    "ninja": (_ninja_file, _ninja),
    "doit": (_dodo_file, _doit),
    "go-task": (_taskfile, _go_task),
}
"""How each peer is told what to do, and its command line; None if it is not there."""
