"""Watching a program with strace: how it is called, and what its records say.

The tracer runs beside the program, not as its parent (-D): so Pit starts the program itself,
sees it end, and ends what it has left behind, the tracer last. Only the few system calls that
matter stop the program (--seccomp-bpf).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pit.project.selection import lies_in

_CALLS = (
    "?open", "openat", "?openat2", "?creat", "?rename", "?renameat", "renameat2",
    "execve", "?fork", "?vfork", "?clone", "?clone3",
)  # fmt: skip
_OPTIONS = ("-D", "-f", "-qq", "-y", "--seccomp-bpf", "-e", "signal=none")
_FORKS = ("fork", "vfork", "clone", "clone3")
_TEXT = re.compile(r'<((?:[^>\\]|\\.)*)>|"((?:[^"\\]|\\.)*)"')
_FLAGS = re.compile(r"\bO_[A-Z_|]+")
_UNFINISHED, _RESUMED = "<unfinished ...>", " resumed>"
_PIT = re.compile(r'execve\("(?:[^"]*/)?pit"|^execve\("[^"]*", \["[^"]*", "-m", "pit"[,\]]')

Probe = Callable[..., tuple[int, bytes]]
"""Runs a tool to its end: exit code and output."""


def usable(run: Probe, folder: Path, env: Mapping[str, str]) -> tuple[tuple[str, ...], str]:
    """How a command line that strace watches begins; else nothing, and why, in words."""
    found = shutil.which("strace")
    if found is None:
        return (), "strace is not installed"
    prefix = (found, *_OPTIONS, "-e", f"trace={','.join(_CALLS)}", "-o")
    code, output = run((*prefix, os.devnull, "true"), cwd=folder, env=env)
    if code == 0:
        return prefix, ""
    lines = output.decode(errors="replace").strip().splitlines()
    return (), f"strace does not work here: {lines[-1] if lines else f'exit code {code}'}"


def read(records: Path, root: str) -> Iterator[tuple[str, str]]:
    """What was opened, in order: R, W or A (at its end), and the path.

    `root` is where the program started. What Pit opens when the program starts it, and all below
    that, is left out.
    """
    silent = _silent(records)
    for pid, call in _calls(records):
        name = call.partition("(")[0]
        words, _, result = call.rpartition(" = ")
        if pid in silent or name in _FORKS or result[:1] not in "0123456789":
            continue
        paths = list(_paths(words, root))
        if not paths:
            continue
        if name == "execve":
            yield from (("R", paths[0]),) if lies_in(paths[0], root) else ()
        elif name.startswith("rename"):
            yield "W", paths[-1]
        else:
            kinds = "W" if name == "creat" else _kinds(words)
            yield from ((kind, _opened(words, result, paths[0])) for kind in kinds)


def _silent(records: Path) -> frozenset[int]:
    """The processes that are Pit, or were started below it."""
    parents: dict[int, int] = {}
    silent: set[int] = set()
    for pid, call in _calls(records):
        if call.startswith(_FORKS):
            child = call.rpartition(" = ")[2].split("<")[0].strip()
            if child.isdigit():
                parents[int(child)] = pid
        elif _PIT.search(call):
            silent.add(pid)
    if not silent:
        return frozenset()
    return frozenset(
        pid for pid in silent | parents.keys() if not silent.isdisjoint(_line(pid, parents))
    )


def _line(pid: int, parents: Mapping[int, int]) -> list[int]:
    """A process and those that it descends from."""
    found = [pid]
    while (parent := parents.get(found[-1])) is not None and parent not in found:
        found.append(parent)
    return found


def _calls(records: Path) -> Iterator[tuple[int, str]]:
    """The calls with their results, one by one; those that were interrupted are whole again."""
    begun: dict[str, str] = {}
    if not records.exists():  # the tracer could not begin
        return
    with open(records, encoding="latin-1") as file:
        for line in file:
            pid, _, call = line.rstrip("\n").partition(" ")
            call = call.lstrip()
            if call.endswith(_UNFINISHED):
                begun[pid] = call.removesuffix(_UNFINISHED)
                continue
            if call.startswith("<... "):
                call = begun.pop(pid, "") + call.partition(_RESUMED)[2]
            if pid.isdigit():
                yield int(pid), call


def _paths(words: str, root: str) -> Iterator[str]:
    """The paths among the arguments of a call, each in the folder that stands before it."""
    folder = root
    for found in _TEXT.finditer(words):
        if found[1] is not None:
            folder = _plain(found[1])
        else:
            yield os.path.normpath(os.path.join(folder, _plain(found[2])))
            folder = root


def _opened(words: str, result: str, path: str) -> str:
    """The path as the program named it, or as the kernel does where that says too little."""
    texts = list(_TEXT.finditer(words))
    complete = texts[0][1] is not None or texts[0][2].startswith("/")
    found = _TEXT.search(result)
    return path if complete or found is None or found[1] is None else _plain(found[1])


def _kinds(words: str) -> str:
    found = _FLAGS.search(words)
    flags = set(found[0].split("|")) if found else set()
    if flags & {"O_DIRECTORY", "O_PATH", "O_TMPFILE"}:
        return ""
    if not flags & {"O_WRONLY", "O_RDWR"}:
        return "R"
    change = "A" if "O_APPEND" in flags else "W"
    return change if "O_WRONLY" in flags or "O_TRUNC" in flags else f"R{change}"


def _plain(text: str) -> str:
    """A path out of its C escapes."""
    if "\\" not in text:
        return text
    return os.fsdecode(text.encode("latin-1").decode("unicode_escape").encode("latin-1"))
