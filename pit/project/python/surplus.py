"""The Python environments that nothing needs any more, found and removed.

An environment stays while it is what its project's files ask for, while a run whose snapshot is
kept was executed with it (a retry executes that snapshot again), while a process uses it, and
until it has not been used for as many days as runs are kept. What is half built and being built by
nobody goes at once.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path

from pit.errors import PitError
from pit.fs.files import failure, remove_tree, usage
from pit.fs.locks import Lock, held
from pit.model import Record
from pit.project.python import environment
from pit.project.python.environment import COMPLETE, About
from pit.text import regex

DAY = 86400.0
_GONE = ".pit-gone-"
_ENVIRONMENT = regex.lazy(r"[0-9a-f]{16}")


class Surplus(Record):
    """An environment that may go: its folder, the project that it was for, and why, in words.

    `bytes` are what its removal frees; packages that uv shares with its cache count nothing.
    `used` is when it was last used, None for one that was never finished.
    """

    prefix: Path
    project: str
    why: str
    bytes: int
    used: float | None


class Cleared(Record):
    """What a removal achieved: what went, and a sentence for all that could not be removed."""

    removed: tuple[Surplus, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """The bytes freed."""
        return sum(each.bytes for each in self.removed)


# ---------------------------------------------------------------- the plan


def surplus(
    cache_dir: Path, named: Callable[[], Collection[str]], days: float, now: float
) -> tuple[Surplus, ...]:
    """The environments that may go; `named` gives the digests that kept runs name.

    `named` and the projects are asked only where something is old enough.
    """
    folder = cache_dir / "envs"
    broken, old = [], []
    known: defaultdict[str, dict[Path, About]] = defaultdict(dict)
    for prefix in _environments(folder):
        about = environment.about(prefix)
        if about is None:
            broken.append(prefix)
            continue
        known[about.project][prefix] = about
        if now - _used(prefix) > days * DAY:
            old.append((prefix, about))
    kept = {digest[:16] for digest in named()} if old else frozenset()
    unwanted = (
        _old(prefix, about, now)
        for prefix, about in old
        if prefix.name not in kept and prefix != _current(about.project, known[about.project])
    )
    return (*(_half(prefix) for prefix in broken if not held(_lock(prefix))), *unwanted)


def _environments(folder: Path) -> list[Path]:
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if _ENVIRONMENT.fullmatch(path.name) or path.name.startswith(_GONE)
        )
    except OSError:
        return []


def _used(prefix: Path) -> float:
    """When an environment was last used, in Unix time."""
    times = [0.0]
    for path in (prefix / COMPLETE, _lock(prefix)):
        with suppress(OSError):
            times.append(path.stat().st_mtime)
    return max(times)


def _lock(prefix: Path) -> Path:
    return prefix.with_suffix(".lock")


def _current(project: str, known: dict[Path, About]) -> Path | None:
    """The environment of a project as its files are now; of several, the one used last.

    Several there are after another Python or another version of a local package.
    """
    if not project:
        return None
    place = Path(project)
    files = {"pyproject.toml": place / "pyproject.toml", "uv.lock": environment.lock_file(place)}
    now = {name: _sha256(path) for name, path in files.items()}
    fitting = [
        prefix
        for prefix, about in known.items()
        if all(digest and about.parts.get(name) == digest for name, digest in now.items())
    ]
    return max(fitting, key=_used, default=None)


def _sha256(path: Path | None) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path is not None else ""
    except OSError:
        return ""


def _half(prefix: Path) -> Surplus:
    size = usage(prefix, linked=False)
    return Surplus(prefix=prefix, project="", why="never finished", bytes=size, used=None)


def _old(prefix: Path, about: About, now: float) -> Surplus:
    used = _used(prefix)
    return Surplus(
        prefix=prefix,
        project=about.project,
        why=f"not used for {(now - used) / DAY:.0f} days",
        bytes=usage(prefix, linked=False),
        used=used,
    )


# ---------------------------------------------------------------- carrying out


def remove(planned: Iterable[Surplus]) -> Cleared:
    """Removes what was planned, but for what is in use or has been used since; goes on after a
    problem."""
    removed: list[Surplus] = []
    problems: list[str] = []
    for each in planned:
        try:
            if _remove(each):
                removed.append(each)
        except PitError as error:
            problems.append(str(error))
    return Cleared(removed=tuple(removed), problems=tuple(problems))


def _remove(each: Surplus) -> bool:
    """Whether it went. It gets another name first, so that nobody ever meets half of it."""
    prefix = each.prefix
    if each.used is not None and _used(prefix) != each.used:
        return False
    with _Alone(prefix) as alone:
        finished = environment.about(prefix) is not None
        if not alone or finished != (each.used is not None):
            return False
        try:
            if not prefix.name.startswith(_GONE):
                prefix = prefix.rename(_free(prefix))
            remove_tree(prefix)
        except OSError as error:
            raise failure(error, f"cannot remove {error.filename or prefix}") from error
    return True


def _free(prefix: Path) -> Path:
    """A name for an environment that is going, which no earlier removal left anything under."""
    gone = prefix.with_name(f"{_GONE}{prefix.name}")
    remove_tree(gone)
    return gone


class _Alone:
    """The sole right to an environment, for as long as the block lasts; false if others have it.

    Those who build it hold its lock, those who use it its marker.
    """

    def __init__(self, prefix: Path) -> None:
        self._locks = [Lock(_lock(prefix)), Lock(prefix / COMPLETE)]

    def __enter__(self) -> bool:
        building, using = self._locks
        return building.acquire() and (not os.path.exists(using.path) or using.acquire())

    def __exit__(self, *_: object) -> None:
        building, using = self._locks
        using.release()
        if building.held and not building.path.with_suffix("").exists():
            with suppress(OSError):
                building.path.unlink()
        building.release()
