"""Takes fingerprints: all that a tracked task would read now, in one place on the disk.

The place is a run's snapshot, or the live project when nothing is to be run. What upstream tasks
have made is told to it as they end; of those that are not part of the run, it looks at what stands.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pit.engine import current
from pit.model import Dag, FileMark, Fingerprint, Record, Task
from pit.project import selection
from pit.project.python import environment, source
from pit.project.runners import templates
from pit.project.snapshot import digest
from pit.project.snapshot.digest import Digests
from pit.spec import graph
from pit.spec.patterns import is_pattern, matches

if TYPE_CHECKING:
    from pit.sql.wire import Answer

Url = Callable[[Task], str | None]
Urls = Callable[[Task], Mapping[str, str]]
Ask = Callable[[Task], "Answer | None"]

CODE = (".py", ".sql", ".sh", ".j2")
"""Of which files the text is kept: to compare meaning, and to show what has changed."""


class Surroundings(Record):
    """What all tasks of a run share: files, parameters, the Python environment, databases.

    `steady` says that no task writes at `root` meanwhile. `orphans` are places that hold what
    tasks made which the DAG no longer has, `private` files are those that no snapshot takes: no
    input matches them. `implied` is the DAG with what its inputs imply, if that is known; `urls`
    gives the databases of a task's `secrets`, by key; `ask` asks a database what is needed to judge
    a task, None where nothing is.
    """

    dag: Dag
    root: Path
    workspace: Path
    params: Mapping[str, str]
    environment: environment.Environment | None
    url: Url
    steady: bool = False
    orphans: frozenset[str] = frozenset()
    private: tuple[Path, ...] = ()
    implied: Dag | None = None
    urls: Urls = lambda task: {}
    ask: Ask = lambda task: None


class Fingerprints:
    """The fingerprints of a DAG's tasks at `root`; threads may share it."""

    def __init__(self, surroundings: Surroundings, digests: Digests) -> None:
        self._around = surroundings
        self._digests = digests
        self._tasks = {task.name: task for task in surroundings.dag.tasks}
        implied = surroundings.implied or graph.implied(surroundings.dag)
        self._makers = {task.name: task.depends_on for task in implied.tasks}
        self._made: dict[str, dict[str, FileMark]] = {}
        self._handed: dict[str, Mapping[str, FileMark]] = {}
        self._successes: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._unseen = set(surroundings.orphans)
        self._private = _stats(surroundings.private)
        self._steady: source.Finder | None = None
        self._lock = threading.Lock()

    # ------------------------------------------------------------------ what is told to it

    def note(
        self,
        task: str,
        run: str,
        products: Mapping[str, FileMark] | None = None,
        handed: Mapping[str, FileMark] | None = None,
    ) -> None:
        """Task `task` has last succeeded in `run`, and made `products` (None: look yourself); what
        it hands on beside them is `handed`."""
        with self._lock:
            self._successes[task] = run
            self._handed[task] = handed or {}
            if products is not None:
                self._made[task] = dict(products)
            else:
                self._made.pop(task, None)

    def hide(self, places: Iterable[str]) -> None:
        """No input matches these places either: the snapshot of a run would not have them."""
        self._unseen.update(places)

    # ------------------------------------------------------------------ what is asked of it

    def of(self, task: Task, answer: Answer | None = None) -> Fingerprint:
        """What the task would read now; OSError if something cannot be read.

        `answer` is what its database has said.

        A dependency that an input implies counts by that input alone, so the task is taken as it
        was declared.
        """
        around, task = self._around, self._tasks[task.name]
        python = task.runner == "python"
        env = around.environment if python else None
        sources = self._sources(task)
        return Fingerprint(
            version=current.VERSION,
            sources=sources,
            definition=current.definition(around.dag, task, around.params) | self._block(task),
            environment=env.digest if env else "",
            packages=self._lock_text() if python else "",
            inputs=self._inputs(task),
            upstream={name: made for name in task.depends_on if (made := self._left_by(name))},
            successes={
                name: self._successes.get(name, "")
                for name in task.depends_on
                if not self._tasks[name].targets
            },
            database=self.database(task),
            databases=self.databases(task),
            watched="" if answer is None else answer.digest,
        )

    def answer(self, task: Task) -> Answer | None:
        """What the task's database says of its tables and its `fingerprint`; None: not asked."""
        return self._around.ask(task)

    def made(self, name: str) -> dict[str, FileMark]:
        """What stands at the targets of a task, as it made them."""
        with self._lock:
            known = self._made.get(name)
        if known is None:
            known = self.products(self._tasks[name])
            with self._lock:
                self._made[name] = known
        return known

    def handed(self, name: str) -> Mapping[str, FileMark]:
        """What a task hands on beside its targets, as `note` was told."""
        return self._handed.get(name, {})

    def _left_by(self, name: str) -> dict[str, FileMark]:
        """All that a task has made for others."""
        return {**self.made(name), **self.handed(name)}

    def products(self, task: Task) -> dict[str, FileMark]:
        """What stands at the task's targets now."""
        around = self._around
        return digest.products(around.root, task.targets, self._digests, around.workspace)

    def standing(self, task: Task, recorded: Mapping[str, FileMark]) -> dict[str, FileMark]:
        """What stands now of what a success of the task has made, as `present` has it."""
        return present(task, recorded, self._around.root, self._around.workspace, self._digests)

    def database(self, task: Task) -> str:
        """The identity of the database that a task works on; never its password."""
        url = self._around.url(task)
        if url is None:
            return ""
        return self._identity(url)

    def databases(self, task: Task) -> dict[str, str]:
        """The identities of the databases that a task's `secrets` lead to, by key."""
        urls = self._around.urls(task) if task.secrets else {}
        return {key: self._identity(url) for key, url in urls.items()}

    def _identity(self, url: str) -> str:
        from pit.sql import connect  # most runs have no database

        return connect.identity(connect.parse(url, self._around.workspace))

    def files(self, task: Task) -> tuple[str, ...]:
        """The files of the databases that a task works on, as far as they are in files."""
        url = self._around.url(task)
        urls = [
            *(self._around.urls(task).values() if task.secrets else ()),
            *((url,) if url else ()),
        ]
        if not urls:
            return ()
        from pit.sql import connect

        found = [connect.parse(each, self._around.workspace) for each in urls]
        return tuple(dict.fromkeys(each.path for each in found if each.path and not each.in_memory))

    def maker(self, task: Task, place: str) -> str:
        """The task that makes one of this task's inputs, or nothing."""
        makers = self._makers[task.name]
        return next((name for name in makers if place in self._made.get(name, {})), "")

    def text(self, digest_of_text: str) -> bytes | None:
        """A source that was met while taking fingerprints, by its digest."""
        path = self._texts.get(digest_of_text)
        try:
            text = None if path is None else Path(path).read_bytes()
        except OSError:
            return None
        # A task may have written over its own source since.
        return text if text is not None and digest.digest_bytes(text) == digest_of_text else None

    def texts(self, fingerprint: Fingerprint) -> dict[str, bytes]:
        """The texts of code behind a fingerprint, and of uv.lock, by digest."""
        wanted = {key for place, key in fingerprint.sources.items() if place.endswith(CODE)}
        wanted |= {fingerprint.packages} - {""}
        found = {key: self.text(key) for key in wanted}
        return {key: text for key, text in found.items() if text is not None}

    # ------------------------------------------------------------------ parts

    def _inputs(self, task: Task) -> dict[str, FileMark]:
        """What the declared inputs name; what a skipped task made need not stand there yet.

        What a task made counts as its product, down to the empty folders, whoever looks.
        """
        around, patterns = self._around, task.inputs or ()
        found = digest.marks(
            around.root, patterns, self._digests, around.workspace, around.dag.project
        )
        for place in self._unseen & found.keys() | self._private_among(found):
            del found[place]
        for name in self._makers[task.name]:
            made = self.made(name)
            found |= {place: mark for place, mark in made.items() if _named(place, patterns)}
        return found

    def _private_among(self, found: Mapping[str, FileMark]) -> set[str]:
        """The places in the project that are private files, under whatever name."""
        sizes = {size for _, _, size in self._private}
        return {
            place
            for place, mark in found.items()
            if mark.size in sizes and not os.path.isabs(place)
            if not self._private.isdisjoint(_stats([self._around.root / place]))
        }

    def _sources(self, task: Task) -> dict[str, str]:
        root = str(self._around.root)
        files: tuple[str, ...] = (task.script,) if task.script else ()
        if task.runner == "sql" and task.script:
            files = templates.sources(self._around.root, task.script)
        elif task.runner == "python" and self._around.environment is not None:
            files = self._finder(self._around.environment.site_paths).sources(task.script).files
        return {
            place: self._source(f"{root}/{place}")
            for place in files
            if not _named(place, task.targets)  # what it makes itself is no code of its own
        }

    def _finder(self, paths: tuple[str, ...]) -> source.Finder:
        """Knows what it has looked at once, which is sound where no task writes meanwhile."""
        if self._steady is not None:
            return self._steady
        finder = source.Finder(self._around.root, paths, self._digests)
        if self._around.steady:
            self._steady = finder
        return finder

    def _source(self, path: str) -> str:
        found = self._digests.of(path).digest
        self._texts[found] = path
        return found

    def _lock_text(self) -> str:
        path = self._around.root / "uv.lock"
        return self._source(str(path)) if path.is_file() else ""

    def _block(self, task: Task) -> dict[str, str]:
        """The dependencies that a script brings itself: a comment to Python, but not to us."""
        if task.runner != "python":
            return {}
        block = environment.inline_metadata(self._around.root / task.script)
        return {"inline metadata": block} if block else {}


def present(
    task: Task, recorded: Mapping[str, FileMark], project: Path, workspace: Path, digests: Digests
) -> dict[str, FileMark]:
    """What now stands in the project of a task's products.

    A folder counts with all that it holds; what else a pattern matches is not the task's.
    """
    found: dict[str, FileMark] = {}
    for target in task.targets:
        with suppress(OSError):  # what cannot be read is not what was made
            made = digest.products(project, (target,), digests, workspace)
            if is_pattern(target):
                made = {place: mark for place, mark in made.items() if place in recorded}
            found |= made
    _pass_over_placeholders(found, recorded)
    for place in recorded.keys() - found.keys():
        with suppress(OSError):
            found[place] = digests.of(os.path.join(project, place))
    return found


def _pass_over_placeholders(found: dict[str, FileMark], recorded: Mapping[str, FileMark]) -> None:
    """What keeps a folder in version control is neither a product nor a stranger's; a folder that
    holds nothing else is empty."""
    for place in found.keys() - recorded.keys():
        if selection.is_placeholder(place):
            del found[place]
            folder = f"{os.path.dirname(place)}/"
            if folder in recorded and not any(other.startswith(folder) for other in found):
                found[folder] = recorded[folder]


def _stats(paths: Iterable[Path]) -> frozenset[tuple[int, int, int]]:
    """Device, inode and size of the files that are there, links followed."""
    found = set()
    for path in paths:
        with suppress(OSError):
            info = os.stat(path)
            found.add((info.st_dev, info.st_ino, info.st_size))
    return frozenset(found)


def _named(place: str, patterns: Iterable[str]) -> bool:
    """Whether an input names a place, itself or by the folder that it lies in."""
    return any(
        matches(pattern, place) or place.startswith(f"{pattern.rstrip('/')}/")
        for pattern in patterns
    )
