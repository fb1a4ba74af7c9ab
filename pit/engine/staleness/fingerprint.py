"""Takes fingerprints: all that a tracked task would read now, in one view of the project.

What upstream tasks have made is told to it as they end; of those that are not part of the run, it
looks at what stands.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pit.engine.staleness import comparison
from pit.engine.target.target import Target
from pit.fs.patterns import is_pattern
from pit.model import FileMark, Fingerprint, Record, Task
from pit.project import digest
from pit.project.places import is_named
from pit.project.python.environment import Environment, search_path
from pit.project.python.source import Finder
from pit.project.runners import table
from pit.project.runners.runner import Way
from pit.project.view import ProjectView, Shown

if TYPE_CHECKING:
    from pit.sql.protocol import Answer

MADE_CODE = (".py", ".pyw", ".so", ".pyd", ".pth", ".sql", ".j2", ".zip")
"""What a task may make that is code of others."""

CODE = (".py", ".sql", ".sh", ".j2")
"""Of which files the text is kept: to compare meaning, and to show what has changed."""


class Databases(Record):
    """What is known of the databases of tasks.

    `url` gives the URL of a task's connection, `urls` those that its `secrets` lead to, by key;
    `ask` asks a database what is needed to judge a task, None where nothing is.
    """

    url: Callable[[Task], str | None]
    urls: Callable[[Task], Mapping[str, str]] = lambda task: {}
    ask: Callable[[Task], Answer | None] = lambda task: None


class Fingerprints:
    """The fingerprints of a DAG's tasks; threads may share it."""

    def __init__(
        self,
        target: Target,
        view: ProjectView,
        environment: Environment | None,
        databases: Databases,
    ) -> None:
        self._target, self._dag, self._view = target, target.dag.declared, view
        self._environment, self._databases = environment, databases
        self._tasks, self._needs = target.dag.tasks, target.dag.needs
        self._made: dict[str, dict[str, FileMark]] = {}
        self._handed: dict[str, Mapping[str, FileMark]] = {}
        self._successes: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._coders = {task.name for task in self._tasks.values() if _may_make_code(task)}
        self._above: dict[str, Shown] = {}
        self._finders: dict[frozenset[tuple[str, FileMark]], Finder] = {}
        self._paths: dict[tuple[bool, str | None], tuple[str, ...]] = {}
        self._finding = threading.Lock()
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
            if task in self._coders and self._made.get(task, products) != products:
                self._above = {}  # somebody was shown other code
            if products is not None:
                self._made[task] = dict(products)
            else:
                self._made.pop(task, None)

    # ------------------------------------------------------------------ what is asked of it

    def of(self, task: Task, answer: Answer | None = None) -> Fingerprint:
        """What the task would read now; OSError if something cannot be read.

        `answer` is what its database has said. A dependency that an input implies counts by that
        input alone: what is named here is what pit.toml names.
        """
        in_environment = table.uses_environment(task, self._dag.project)
        env = table.environment_of(table.of(task), self._environment)
        sources = self._sources(task)
        return Fingerprint(
            version=comparison.VERSION,
            sources=sources,
            definition=self._definition(task),
            environment=env.digest if env else "",
            packages=self._lock_text() if in_environment else "",
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

    def _definition(self, task: Task) -> dict[str, str]:
        """What pit.toml says of a task, and the script of the dependencies that it brings."""
        said = comparison.definition(self._dag, task, self._target.params)
        return said | self._block(task)

    def answer(self, task: Task) -> Answer | None:
        """What the task's database says of its tables and its `fingerprint`; None: not asked."""
        return self._databases.ask(task)

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
        return self._view.products(task.targets)

    def database(self, task: Task) -> str:
        """The identity of the database that a task works on; never its password."""
        url = self._databases.url(task)
        if url is None:
            return ""
        return self._identity(url)

    def databases(self, task: Task) -> dict[str, str]:
        """The identities of the databases that a task's `secrets` lead to, by key."""
        urls = self._databases.urls(task) if task.secrets else {}
        return {key: self._identity(url) for key, url in urls.items()}

    def _identity(self, url: str) -> str:
        from pit.sql.connection.urls import identity, parse  # most runs have no database

        return identity(parse(url, self._view.workspace))

    def files(self, task: Task) -> tuple[str, ...]:
        """The files of the databases that a task works on, as far as they are in files."""
        url = self._databases.url(task)
        urls = [
            *(self._databases.urls(task).values() if task.secrets else ()),
            *((url,) if url else ()),
        ]
        if not urls:
            return ()
        from pit.sql.connection.urls import parse

        found = [parse(each, self._view.workspace) for each in urls]
        return tuple(dict.fromkeys(each.path for each in found if each.path and not each.in_memory))

    def maker(self, task: Task, place: str) -> str:
        """The task that makes one of this task's inputs, or nothing."""
        makers = self._needs[task.name]
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
        wanted = {
            key
            for place, key in fingerprint.sources.items()
            if place.endswith(CODE) or comparison.compares(fingerprint, place)
        }
        wanted |= {fingerprint.packages} - {""}
        found = {key: self.text(key) for key in wanted}
        return {key: text for key, text in found.items() if text is not None}

    # ------------------------------------------------------------------ parts

    def _inputs(self, task: Task) -> dict[str, FileMark]:
        """What the declared inputs name; what a skipped task made need not stand there yet.

        What a task made counts as its product, down to the empty folders, whoever looks.
        """
        patterns = task.inputs or ()
        found = self._view.inputs(patterns)
        makers = self._needs[task.name]
        for name in makers:
            made = self.made(name)
            found |= {place: mark for place, mark in made.items() if is_named(place, patterns)}
        for path in patterns if makers else ():
            real = path if is_pattern(path) else self._view.real_place(path)
            if real != path:  # a link leads to what a task makes
                made = {place: mark for name in makers for place, mark in self.made(name).items()}
                found |= {path: made[real]} if real in made else {}
        return found

    def _sources(self, task: Task) -> dict[str, str]:
        """The files of its code: what it reads or makes itself is none, nor what it is handed."""
        if not task.script:
            return {}
        shown = self._shown(task)
        makers = (self._tasks[name] for name in task.depends_on)
        others = [*(task.inputs or ()), *(target for maker in makers for target in maker.targets)]
        return {
            place: self._source(place, shown)
            for place in self._code(task, shown)
            if not is_named(place, task.targets)
            and (place == task.script or place.endswith(".py") or not is_named(place, others))
        }

    def _shown(self, task: Task) -> Shown:
        """The code that tasks upstream have made, which need not stand here yet.

        Kept for each task: what one is shown comes from what those are shown that it needs.
        """
        if not self._coders:
            return {}
        known, path = self._above, [task.name]
        while path:
            lacking = [name for name in self._needs[path[-1]] if name not in known]
            path += lacking
            if not lacking:
                name = path.pop()
                known[name] = self._merged(known, name)
        return known[task.name]

    def _merged(self, known: Mapping[str, Shown], name: str) -> Shown:
        """What the tasks that one needs have made of code, and are shown themselves."""
        needs = self._needs[name]
        made = [_code_of(self.made(each)) for each in needs if each in self._coders]
        parts = {id(part): part for part in (*made, *(known[each] for each in needs)) if part}
        if len(parts) < 2:
            return next(iter(parts.values()), {})
        return {place: mark for part in parts.values() for place, mark in part.items()}

    def _code(self, task: Task, shown: Shown) -> tuple[str, ...]:
        runner = table.of(task)
        if runner.is_python and self._environment is None:
            return (task.script,)  # nobody knows what it imports
        with self._finding:
            return runner.sources(task, self._finder(shown), self._way(task))

    def _way(self, task: Task) -> Way:
        """What the task finds when it runs, if it runs where the view looks."""
        own = self._dag.env | task.env
        used = table.environment_of(table.of(task), self._environment)
        key = (used is None, own.get("PYTHONPATH"))
        if key not in self._paths:
            self._paths[key] = search_path(
                used, own, os.environ, self._dag.project, Path(self._view.root)
            )
        return Way(variables=own, path=self._paths[key])

    def _finder(self, shown: Shown) -> Finder:
        """Knows what it has looked at once: the view does not change, but for what is shown."""
        key = frozenset(shown.items())
        if key not in self._finders:
            self._finders[key] = Finder(self._view.files(shown))
        return self._finders[key]

    def _source(self, place: str, shown: Shown) -> str:
        found = self._view.mark(place, shown).digest
        self._texts[found] = self._view.path(place)
        return found

    def _lock_text(self) -> str:
        return self._source("uv.lock", {}) if self._view.is_file("uv.lock") else ""

    def _block(self, task: Task) -> dict[str, str]:
        """The dependencies that a script brings itself: a comment to Python, but not to us."""
        if not task.script:
            return {}
        block = table.of(task).metadata(task, self._view.files())
        return {"inline metadata": block} if block else {}


def _code_of(made: Mapping[str, FileMark]) -> Shown:
    return {place: mark for place, mark in made.items() if place.endswith(MADE_CODE)}


def _may_make_code(task: Task) -> bool:
    """Whether something that a task makes could be code of another."""
    return any(
        target.endswith(MADE_CODE) or is_pattern(target) or "." not in target.rpartition("/")[2]
        for target in task.targets
    )
