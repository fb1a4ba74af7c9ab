"""The Python environments of many projects: looked at, or brought up to date side by side.

One that fails stops no other. What its commands said then stands whole in `.pit/envs/<name>.log`,
until the next time that it works out.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from pit.errors import PitError
from pit.fs.files import make_folder
from pit.model import Record
from pit.project.python import environment, uv
from pit.project.python.environment import Environment

AT_ONCE = 4
"""How many environments are built at a time; uv itself works on several packages at once."""


class State(StrEnum):
    """How a project's environment stands, or what has become of it."""

    CURRENT = "current"
    BUILT = "built"
    STALE = "stale"
    FAILED = "failed"
    CANCELLED = "cancelled"
    NONE = "none"


class Project(Record):
    """A project by its DAG's name, or its folder's where pit.toml is broken."""

    name: str
    folder: Path


class SyncReport(Record):
    """How one project's environment stands.

    `why` is why it had to be built, or is stale; `error` and `hint` say why it could not be, and
    `log` is the file with all that uv said then. NONE: without a pyproject.toml there is none.
    """

    name: str
    state: State
    why: str = ""
    seconds: float = 0.0
    environment: Environment | None = None
    error: str = ""
    hint: str = ""
    log: str = ""


class Builder(Record):
    """Where environments are, and with what they are made."""

    cache_dir: Path
    capture: uv.Capture
    tell: Callable[[str, str], None] = lambda name, message: None
    cancelled: Callable[[], bool] = lambda: False


def checked(project: Project, builder: Builder) -> SyncReport:
    """How a project's environment stands; nothing is built and nothing is locked."""
    began = time.monotonic()
    found = environment.standing(project.folder, builder.cache_dir, builder.capture)
    return SyncReport(
        name=project.name,
        state=State.STALE if found.environment is None else _state(found.environment),
        why=found.why,
        seconds=time.monotonic() - began,
        environment=found.environment,
    )


def synced(projects: Sequence[Project], builder: Builder) -> Iterator[SyncReport]:
    """Bring environments up to date, four at a time; each report comes when it is known.

    `builder.tell` is called with a project's name and what is being done, from several threads.
    """
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sync") as pool:
        for done in as_completed([pool.submit(_synced, each, builder) for each in projects]):
            yield done.result()


def _synced(project: Project, builder: Builder) -> SyncReport:
    began = time.monotonic()
    transcript = _Transcript(builder.capture)
    log = builder.cache_dir / "envs" / f"{project.name}.log"
    why = ""
    try:
        if builder.cancelled():
            return SyncReport(name=project.name, state=State.CANCELLED)
        why = environment.standing(project.folder, builder.cache_dir, transcript, anew=True).why
        found = environment.python_environment(
            project.folder,
            builder.cache_dir,
            transcript,
            lambda message: builder.tell(project.name, message),
            builder.cancelled,
        )
    except (PitError, OSError) as error:
        if builder.cancelled():
            return SyncReport(name=project.name, state=State.CANCELLED, why=why)
        return SyncReport(
            name=project.name,
            state=State.FAILED,
            why=why,
            seconds=time.monotonic() - began,
            error=str(error),
            hint=getattr(error, "hint", ""),
            log=transcript.saved(log),
        )
    with suppress(OSError):
        log.unlink()
    return SyncReport(
        name=project.name,
        state=State.BUILT if why else _state(found),
        why=why,
        seconds=time.monotonic() - began,
        environment=found,
    )


def _state(found: Environment) -> State:
    return State.NONE if found.prefix is None else State.CURRENT


class _Transcript:
    """A `Capture` that remembers each command and all that it said."""

    def __init__(self, capture: uv.Capture) -> None:
        self._capture = capture
        self._said: list[bytes] = []

    def __call__(
        self, argv: Sequence[str], *, cwd: str | Path, env: Mapping[str, str]
    ) -> tuple[int, bytes]:
        code, output = self._capture(argv, cwd=cwd, env=env)
        command = f"$ {shlex.join(map(str, argv))}\n".encode(errors="surrogateescape")
        self._said.append(command + output.rstrip() + b"\n[exit code %d]\n\n" % code)
        return code, output

    def saved(self, log: Path) -> str:
        """Write it to a file; the file's path, or nothing if there is none."""
        if not self._said:
            return ""
        try:
            make_folder(log.parent)
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(handle, "wb") as file:
                file.write(b"".join(self._said))
        except OSError:  # it goes beside the error, and must not take its place
            return ""
        return str(log)
