"""A look at a DAG without running it: the planner on the live project, for people and for cron."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pit.engine.planning import missing_secrets
from pit.engine.planning.missing_secrets import Unmet
from pit.engine.staleness.databases import Connections
from pit.engine.staleness.fingerprint import Databases, Fingerprints
from pit.engine.staleness.orphaned import orphaned, rules_of
from pit.engine.staleness.planner import Decision, Planner
from pit.engine.staleness.questions import Questions, asks
from pit.engine.target.target import Target
from pit.fs.reads import Reads
from pit.project.digest import Digests
from pit.project.python import environment
from pit.project.runners import table
from pit.project.view import live_view
from pit.state.cache.digests import DigestCache

if TYPE_CHECKING:
    from pit.state.secrets.secrets import Secrets
    from pit.state.store.store import Store

Capture = Callable[..., tuple[int, bytes]]


class Look:
    """One look at a target; `save` keeps the digests that it had to take.

    What it reads is written down in `reads`.
    """

    def __init__(
        self,
        target: Target,
        secrets: Secrets | None,
        store: Store,
        capture: Capture,
        *,
        force: bool = False,
        reads: Reads | None = None,
    ) -> None:
        self.target, self._secrets = target, secrets
        self.reads = Reads() if reads is None else reads
        project, config = target.dag.project, target.config
        self._cache = DigestCache(store.database)
        self._digests = Digests(self._cache.load(str(project), str(config.runs_dir)))
        self.environment = self._environment(capture)
        connections = Connections(target.dag.declared, secrets, config.root)
        self._questions = Questions(connections.url, look=True)
        orphans = orphaned(target.dag, store, self._digests, self.reads)
        self.planner = Planner(
            target,
            live_view(project, config.root, rules_of(target, orphans), self._digests, self.reads),
            store,
            Databases(url=connections.url, urls=connections.urls, ask=self._questions.of),
            self.environment,
            forced="--force" if force else "",
        )

    def _environment(self, capture: Capture) -> environment.Environment | None:
        project = self.target.dag.project
        if not any(
            table.uses_environment(task, project) for task in self.target.dag.tasks.values()
        ):
            return None
        cache = self.target.config.cache_dir
        return environment.standing_environment(project, cache, capture, self.reads)

    @property
    def fingerprints(self) -> Fingerprints:
        """The fingerprints that this look takes."""
        return self.planner.fingerprints

    def decisions(self, until_stale: bool = False) -> tuple[Decision, ...]:
        """What a run would do with each task, in topological order; see `Planner.decide_all`."""
        return self.planner.decide_all(until_stale)

    def unmet(self, decisions: Iterable[Decision]) -> tuple[Unmet, ...]:
        """What the secrets do not give the tasks that would run, or may."""
        dag = self.target.dag
        would = [dag.tasks[each.task] for each in decisions if not each.current]
        return missing_secrets.unmet(self._secrets, dag.declared, would)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While it lasts, databases are asked, for reading alone, by a SQL process of its own."""
        if not any(asks(task) for task in self.target.dag.tasks.values()):
            yield
            return
        from tempfile import TemporaryDirectory

        from pit.work.process import launch
        from pit.work.sql.sessions import Sessions  # few tasks need one to be judged

        cancel = launch.Cancel()
        with (
            closing(cancel),
            TemporaryDirectory(prefix="pit-look-") as folder,
            Sessions(
                spawn=launch.spawn_session,
                cwd=self.target.dag.project,
                env=environment.base_variables(os.environ),
                stderr=Path(folder, "stderr"),
                workspace=self.target.config.root,
            ) as sessions,
        ):
            self._questions.begin(lambda: sessions, cancel)
            try:
                yield
            finally:
                self._questions.end()

    def save(self) -> None:
        """Keep the digests for the next look."""
        self._cache.save(self._digests.changes())
