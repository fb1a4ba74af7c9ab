"""The Python environment of a project, and the variables that tasks get.

An environment is named by the digest of all that decides what is in it: uv.lock, pyproject.toml,
the interpreter, and the sources of local packages that are not editable. It is built once, by
`uv sync --frozen`, under a lock:

    .pit/envs/<digest16>/            the environment, from uv
    .pit/envs/<digest16>/pit.json    written last, so an environment without it is half built;
                                     locked, shared, by every process that uses it
    .pit/envs/<digest16>.lock       held by whoever builds; its time is that of the last use
    .pit/envs/python-<digest16>.json an answer of uv, see interpreter.py
    .pit/envs/<dag>.log             what uv said when `pit sync` failed, see environments.py

What no project and no kept run needs any more goes with retention, see surplus.py. Until then
nothing changes it, so a `uv sync` or an edit in the project during a run reaches no
task. Python's own byte code is the exception: interpreters leave it beside the modules, whole or
not at all, and what it says is what the module says.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import tomli

from pit.errors import EnvironmentFailed
from pit.fs import kernel
from pit.fs.files import remove_tree
from pit.fs.locks import Lock, is_at, share
from pit.fs.patterns import compiled
from pit.fs.reads import Reads
from pit.model import Record
from pit.project import selection
from pit.project.python import editable, interpreter, uv
from pit.text import regex

_FORMAT = b"pit environment 1"
COMPLETE = "pit.json"
"""The file that makes an environment complete."""

_ROUNDS = 3
_BUILT = regex.lazy(r"(?:build|dist|(?:src/)?[^/]*\.egg-info)/.*")
"""What building a package leaves in its folder; deeper down these are names like any other."""
_BLOCK = regex.lazy(rb"^# /// script\r?$.*?^# ///\r?$", re.MULTILINE | re.DOTALL)
_METADATA = regex.lazy(rb"^# /// script\r?$", re.MULTILINE)

_RESERVED = frozenset(
    f"PIT_{name}"
    for name in (
        "RUN_ID", "DAG_NAME", "TASK_NAME", "ATTEMPT", "SOCKET", "DATA_DIR", "PROJECT_DIR",
        "WORKSPACE", "MARKER",
    )
)  # fmt: skip
_RESERVED_PREFIXES = ("PIT_PARAM_", "PIT_MATRIX_", "PIT_AGE_")


class Environment(Record):
    """What Python tasks run with; `prefix` is None for a project without pyproject.toml.

    `site_paths` are the folders of the project, relative to it, that are importable; `unfrozen`
    are live folders outside it that are importable too, and that no snapshot covers. `hashes`
    are what the store keeps, by kind: SHA-256, so that `sha256sum uv.lock` gives the same.
    """

    python: str
    prefix: str | None
    digest: str
    hashes: dict[str, str]
    site_paths: tuple[str, ...] = ("src",)
    unfrozen: tuple[str, ...] = ()


_taken: dict[Path, int] = {}
"""The markers of the environments that this process uses, and the open files that hold them."""


class Standing(Record):
    """Whether a project's environment stands as its files want it; if not, why not, in words."""

    environment: Environment | None = None
    why: str = ""


class About(Record):
    """What pit.json says of a finished environment, and of what decided it.

    `project` is the real path of the project that it was built for, empty where that is not known.
    """

    site_paths: tuple[str, ...]
    unfrozen: tuple[str, ...]
    project: str = ""
    parts: dict[str, str] = msgspec.field(default_factory=dict)


# ---------------------------------------------------------------- building


def python_environment(
    project: Path,
    cache_dir: Path,
    capture: uv.Capture,
    notify: Callable[[str], None] = lambda message: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Environment:
    """The environment of a project, locked and built first where that is needed.

    `notify` is told what takes long. Raises EnvironmentFailed with the last lines of uv.
    """
    if not (project / "pyproject.toml").is_file():
        return _without_project()
    folder = cache_dir / "envs"
    variables = base_variables(os.environ)
    work = _Work(project, folder, uv.Uv(project, capture, variables), variables, notify, cancelled)
    for _ in range(_ROUNDS):
        recipe = work.recipe()
        environment = recipe.taken() or work.built(recipe)
        if environment is not None:
            return environment
    raise EnvironmentFailed(
        f"pyproject.toml or uv.lock of {project} kept changing while its environment was built"
    )


def standing(
    project: Path,
    cache_dir: Path,
    capture: uv.Capture,
    *,
    anew: bool = False,
    reads: Reads | None = None,
) -> Standing:
    """Whether the environment of a project has been built as its files are now; builds nothing.

    With `anew` its Python is chosen again, for all who look at it from then on. What was read for
    that is written down in `reads`.
    """
    reads = Reads() if reads is None else reads
    reads.path(project / "pyproject.toml")
    if not (project / "pyproject.toml").is_file():
        return Standing(environment=_without_project())
    if lock_file(project) is None:
        return Standing(why="there is no uv.lock")
    variables = base_variables(os.environ)
    tool = uv.Uv(project, capture, variables)
    work = _Work(project, cache_dir / "envs", tool, variables, lambda _: None, lambda: False)
    try:
        recipe = work.recipe(anew)
    except EnvironmentFailed as error:
        return Standing(why=str(error))
    recipe.note(reads)
    found = recipe.finished()
    return Standing(environment=found, why="" if found else recipe.difference())


def standing_environment(
    project: Path, cache_dir: Path, capture: uv.Capture, reads: Reads | None = None
) -> Environment | None:
    """The environment of a project as it is now; None where it would have to be built first."""
    return standing(project, cache_dir, capture, reads=reads).environment


def kept_environment(cache_dir: Path, hashes: Mapping[str, str]) -> Environment | None:
    """The environment that an earlier run had, by what the store kept of it, if it still stands."""
    digest = hashes.get("environment", "")
    if (without := _without_project()).digest == digest:
        return without
    recipe = _Recipe(
        project="",
        prefix=cache_dir / "envs" / digest[:16],
        interpreter=interpreter.own(),
        digest=digest,
        hashes=dict(hashes),
        local=(),
        parts={},
    )
    return recipe.taken() if digest else None


def _without_project() -> Environment:
    python = interpreter.own()
    digest = interpreter.digest((_FORMAT, python.path.encode(), python.version.encode()))
    return Environment(
        python=python.path, prefix=None, digest=digest, hashes={"environment": digest}
    )


class _Recipe(Record):
    """All that decides what is in an environment, and where it is to stand."""

    project: str
    prefix: Path
    interpreter: interpreter.Interpreter
    digest: str
    hashes: dict[str, str]
    local: tuple[str, ...]
    parts: dict[str, str]

    @property
    def lock(self) -> Path:
        """Locked by whoever builds; touched by whoever uses."""
        return self.prefix.with_suffix(".lock")

    def taken(self) -> Environment | None:
        """The environment, if it is finished, which nobody removes while this process lives."""
        marker = self.prefix / COMPLETE
        held = _taken.get(marker)
        if held is None or not is_at(held, marker):
            descriptor = share(marker)
            if descriptor is None:
                return None
            if held is not None:
                os.close(held)
            _taken[marker] = descriptor
        return self.finished()

    def finished(self) -> Environment | None:
        """The environment, if it has been built and its interpreter is still there."""
        python = self.prefix / "bin" / "python"
        complete = about(self.prefix)
        if complete is None or not os.access(python, os.X_OK):
            return None
        with suppress(OSError):  # the time tells retention alone, and a disk may be read-only
            os.utime(self.lock)
        return Environment(
            python=str(python),
            prefix=str(self.prefix),
            digest=self.digest,
            site_paths=tuple(dict.fromkeys(("src", *complete.site_paths))),
            unfrozen=complete.unfrozen,
            hashes=self.hashes,
        )

    def note(self, reads: Reads) -> None:
        """Write down what decided this recipe, and that it is finished."""
        reads.path(self.interpreter.path)
        reads.path(self.prefix / COMPLETE)
        if self.local:
            reads.unwatched = f"the local packages {', '.join(self.local)}"

    def difference(self) -> str:
        """What has changed since the project's last environment, in words."""
        if about(self.prefix) is not None:
            return "its interpreter is gone"
        was = self._last()
        if was is None:
            return "it has not been built yet"
        changed = [name for name, now in self.parts.items() if was.get(name) != now]
        return f"{' and '.join(changed) or 'something'} changed"

    def _last(self) -> dict[str, str] | None:
        """The parts of the project's environment that was used last, if it has any."""
        found = []
        for path in self.prefix.parent.glob(f"*/{COMPLETE}"):
            complete = about(path.parent)
            if complete is not None and complete.project == self.project:
                with suppress(OSError):
                    used = path.parent.with_suffix(".lock").stat().st_mtime_ns
                    found.append((used, path.name, complete.parts))
        return max(found, key=lambda each: each[:2])[2] if found else None


def about(prefix: Path) -> About | None:
    """What an environment says of itself; None if it is not there or half built."""
    try:
        return msgspec.json.decode((prefix / COMPLETE).read_bytes(), type=About)
    except (OSError, msgspec.DecodeError):
        return None


class _Work:
    """The making of one project's environment."""

    def __init__(
        self,
        project: Path,
        folder: Path,
        tool: uv.Uv,
        variables: Mapping[str, str],
        notify: Callable[[str], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self._project = project
        self._folder = folder
        self._tool = tool
        self._variables = variables
        self._notify = notify
        self._cancelled = cancelled

    def recipe(self, anew: bool = False) -> _Recipe:
        """The recipe as the project's files have it now; locks the project if it is not."""
        locked = lock_file(self._project) or self._locked()
        pyproject, lock = (self._project / "pyproject.toml").read_bytes(), locked.read_bytes()
        python = interpreter.choose(
            self._project, pyproject, self._folder, self._tool, self._variables, anew=anew
        )
        local = tuple(_local_sources(lock, locked.parent))
        contents = [part for _, source in local for part in _contents(source)]
        place = os.path.realpath(self._project)
        digest = interpreter.digest(
            (
                *(_FORMAT, os.fsencode(place), pyproject, lock),
                *(python.path.encode(), python.version.encode()),
                *contents,
            )
        )
        hashes = {
            "uv_lock": hashlib.sha256(lock).hexdigest(),
            "pyproject": hashlib.sha256(pyproject).hexdigest(),
            "environment": digest,
        }
        return _Recipe(
            project=place,
            prefix=self._folder / digest[:16],
            interpreter=python,
            digest=digest,
            hashes=hashes,
            local=tuple(name for name, _ in local),
            parts={
                "uv.lock": hashes["uv_lock"],
                "pyproject.toml": hashes["pyproject"],
                "Python": f"{python.version} {python.path}",
                "a local package": interpreter.digest(contents),
            },
        )

    def built(self, recipe: _Recipe) -> Environment | None:
        """Builds the environment, or lets somebody else do it; None if the project's files are
        not what the recipe says any more."""
        with self._turn(recipe.lock):
            if found := recipe.taken():
                return found
            remove_tree(recipe.prefix)
            self._notify(f"building the Python environment of {self._project.name} (uv sync)")
            try:
                self._sync(recipe)
                found = self._completed(recipe)
            finally:
                if found is None:
                    remove_tree(recipe.prefix)
        return found

    def _sync(self, recipe: _Recipe) -> None:
        self._check_lock()
        # uv looks only at the times of some files to tell whether a local package has changed.
        refresh = [word for name in recipe.local for word in ("--refresh-package", name)]
        self._tool.must(
            f"the Python environment of {self._project} could not be built",
            *("sync", "--frozen", "--python", recipe.interpreter.path, *refresh),
            UV_PROJECT_ENVIRONMENT=str(recipe.prefix),
        )

    def _check_lock(self) -> None:
        """Refuses a uv.lock that pyproject.toml has left behind: what it asks for would lack."""
        if self._tool.run("lock", "--check", "--offline")[0] == 0:
            return
        # Offline uv may not know enough; 1 is its answer about the lock, others are its troubles.
        code, output = self._tool.run("lock", "--check")
        if code == 1:
            raise uv.failed(
                f"uv.lock of {self._project} does not fit its pyproject.toml",
                output,
                f"Bring it up to date: uv lock --project {self._project}",
            )

    def _completed(self, recipe: _Recipe) -> Environment | None:
        """Marks the environment complete, if it was made from what the recipe says."""
        detached = editable.detach(recipe.prefix, self._project)
        if self.recipe().digest != recipe.digest:
            return None
        complete = About(
            site_paths=detached.inside,
            unfrozen=detached.outside,
            project=recipe.project,
            parts=recipe.parts,
        )
        descriptor = os.open(recipe.prefix, os.O_RDONLY | os.O_CLOEXEC)
        try:
            kernel.flush(descriptor)
        finally:
            os.close(descriptor)
        interpreter.write_whole(recipe.prefix / COMPLETE, msgspec.json.encode(complete))
        return recipe.taken()

    def _locked(self) -> Path:
        """A new uv.lock, made under a lock so that two runs do not write it at once."""
        name = interpreter.digest((os.fsencode(os.path.realpath(self._project)),))[:16]
        with self._turn(self._folder / f"project-{name}.lock"):
            if (found := lock_file(self._project)) is None:
                self._notify(f"locking the dependencies of {self._project.name} (uv lock)")
                doing = f"the dependencies of {self._project} could not be locked"
                self._tool.must(doing, "lock")
                found = lock_file(self._project)
        if found is None:
            raise EnvironmentFailed(f"uv lock made no uv.lock for {self._project}")
        return found

    @contextmanager
    def _turn(self, path: Path) -> Iterator[None]:
        """Holds a lock for which somebody else's build is waited for."""
        lock = Lock(path)
        if not lock.acquire():
            self._notify("waiting for another run that is building this environment")
            if not lock.wait(self._cancelled):
                raise EnvironmentFailed("cancelled while waiting for another run's environment")
        try:
            yield
        finally:
            lock.release()


def lock_file(project: Path) -> Path | None:
    """The project's uv.lock, or that of the uv workspace of which it is a member."""
    if (project / "uv.lock").is_file():
        return project / "uv.lock"
    for folder in project.parents:
        if (folder / "uv.lock").is_file() and _is_member(project, folder / "pyproject.toml"):
            return folder / "uv.lock"
    return None


def _is_member(project: Path, pyproject: Path) -> bool:
    """Whether a pyproject.toml above a project declares it a member of its uv workspace."""
    try:
        table = tomli.loads(pyproject.read_text("utf-8")).get("tool", {}).get("uv", {})
    except (OSError, ValueError):
        return False
    workspace = table.get("workspace", {})
    place = str(project.relative_to(pyproject.parent))
    member, excluded = (
        any(compiled(pattern).fullmatch(place) for pattern in workspace.get(key, []))
        for key in ("members", "exclude")
    )
    return member and not excluded


def _local_sources(lock: bytes, root: Path) -> Iterator[tuple[str, Path]]:
    """Name and folder of the packages that uv.lock takes from folders by copying them."""
    if b'source = { directory = "' not in lock:
        return
    for package in tomli.loads(lock.decode("utf-8")).get("package", []):
        if folder := package.get("source", {}).get("directory"):
            yield package["name"], root / folder


def _contents(folder: Path) -> Iterator[bytes]:
    """Names and contents below a folder, but for what building it leaves there."""
    places = sorted(selection.files(str(folder), ""))
    packages = {place.removesuffix("__init__.py") for place in places}
    for place in places:
        if _BUILT.fullmatch(place) and f"{place.partition('/')[0]}/" not in packages:
            continue
        yield os.fsencode(place)
        path = folder / place
        if not path.is_dir():
            yield path.read_bytes() if path.exists() else b""
        elif not folder.resolve().is_relative_to(path.resolve()):  # a link, but in no circle
            yield from _contents(path)


# ---------------------------------------------------------------- running


def command(environment: Environment, script: Path) -> tuple[str, ...]:
    """How a Python script is run: by the environment's interpreter, or by uv if it brings its
    own dependencies."""
    if has_inline_metadata(script):
        return (uv.executable(), "run", "--no-progress", "--script", str(script))
    return (environment.python, str(script))


def has_inline_metadata(script: Path) -> bool:
    """Whether a script declares its own dependencies (PEP 723)."""
    try:
        return _METADATA.search(script.read_bytes()) is not None
    except OSError:
        return False


def inline_metadata(script: bytes) -> str:
    """The block with which a script declares its own dependencies (PEP 723); empty without one."""
    found = _BLOCK.search(script)
    return found[0].decode("utf-8", "replace") if found else ""


def base_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment that tasks inherit: all but the names that Pit gives a meaning itself.

    So a run that a task starts looks nothing up in the outer one, and no key to the secrets is
    handed on. Other PIT_ names are the user's own and stay.
    """
    return {
        name: value
        for name, value in variables.items()
        if name not in _RESERVED and not name.startswith(_RESERVED_PREFIXES)
    }


def search_path(
    environment: Environment | None,
    own: Mapping[str, str],
    inherited: Mapping[str, str],
    project: Path,
    root: Path,
) -> tuple[str, ...]:
    """The folders of a task's PYTHONPATH, for running it and for finding what it imports.

    First the importable folders of the project, then what the task's own variables have, or else
    what it inherits. Whatever leads into the live project leads to its twin below `root` instead,
    where the task runs or is looked at. A relative path means the project, an inherited one what
    it means where Pit was started if that is in the project.
    """
    places = environment.site_paths if environment is not None else ()
    twins = [os.path.normpath(root / place) for place in places]
    given = own.get("PYTHONPATH", inherited.get("PYTHONPATH", "")).split(os.pathsep)
    if "PYTHONPATH" not in own:
        here = os.path.realpath(project)
        given = [
            os.path.abspath(path) if selection.lies_in(os.path.realpath(path), here) else path
            for path in filter(None, given)
        ]
    more = [_twin(os.path.join(project, path), project, root) for path in given if path]
    return tuple(dict.fromkeys((*twins, *more)))


def task_variables(
    environment: Environment | None,
    folders: Iterable[str],
    inherited: Mapping[str, str],
    own: Mapping[str, str],
) -> dict[str, str]:
    """What the environment of a project adds to a task's variables, those that it inherits and its
    own; None where the task runs in no such environment.

    VIRTUAL_ENV and PATH as `uv run` sets them; PYTHONPATH has the `folders`. Buffering and byte
    code are Python's defaults: a task that wants its output line by line says PYTHONUNBUFFERED in
    `[tasks.env]`, and without byte code each task would compile its libraries anew.
    """
    added = {"PYTHONPATH": os.pathsep.join(folders)}
    if environment is None:
        return added
    if environment.prefix is not None:
        path = os.path.join(environment.prefix, "bin")
        rest = own.get("PATH", inherited.get("PATH", os.defpath))
        added |= {"VIRTUAL_ENV": environment.prefix, "PATH": f"{path}{os.pathsep}{rest}"}
    if inherited.get("PYTHONHOME") and "PYTHONHOME" not in own:
        added["PYTHONHOME"] = ""  # it belongs to another interpreter; Python takes "" for unset
    return added


def _twin(path: str, project: Path, root: Path) -> str:
    """The path, below `root` if it leads into the live project."""
    for resolved in (os.path.abspath, os.path.realpath):
        place, top = resolved(path), resolved(project)
        if selection.lies_in(place, top):
            return os.path.normpath(root / os.path.relpath(place, top))
    return path
