"""What retention gives up, or has given up: runs, and Python environments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from pit.model import Record
from pit.project.python.surplus import Cleared
from pit.state import retention
from pit.state.retention import Pruned, Removal


class RemovalView(Record):
    """What goes of one run: parts of its folder, or the whole of it, and its history."""

    run: str
    dag: str
    parts: tuple[str, ...]
    whole: bool
    history: bool
    bytes: int


class RemovedEnvironment(Record):
    """A Python environment that goes; `project` is empty where it is not known."""

    environment: str
    project: str
    why: str
    bytes: int


class PruneView(Record):
    """The shape of `pit prune --json`; `bytes` are those freed, or to be freed, of so many `runs`.

    `texts` are the sources kept for comparison that nothing needed any more.
    """

    dry_run: bool
    removals: tuple[RemovalView, ...]
    runs: int
    bytes: int
    problems: tuple[str, ...]
    texts: int = 0
    environments: tuple[RemovedEnvironment, ...] = ()


def planned_view(removals: Sequence[Removal], runs_dir: Path) -> PruneView:
    """What would go of runs; to be asked while it is still there."""
    found = tuple(_removal(each, runs_dir) for each in removals)
    return PruneView(
        dry_run=True,
        removals=found,
        runs=len(found),
        bytes=sum(each.bytes for each in found),
        problems=(),
    )


def _removal(removal: Removal, runs_dir: Path) -> RemovalView:
    return RemovalView(
        run=removal.run,
        dag=removal.dag,
        parts=removal.parts,
        whole=removal.whole,
        history=removal.rows,
        bytes=retention.size(removal, runs_dir),
    )


def done_view(planned: PruneView, done: Pruned, texts: int = 0) -> PruneView:
    """The same once it has gone, as far as it could."""
    return replace(
        planned,
        dry_run=False,
        runs=done.runs,
        bytes=done.bytes,
        problems=done.problems,
        texts=texts,
    )


def with_environments(view: PruneView, cleared: Cleared) -> PruneView:
    """With the Python environments that go as well."""
    return replace(
        view,
        environments=tuple(
            RemovedEnvironment(
                environment=each.prefix.name, project=each.project, why=each.why, bytes=each.bytes
            )
            for each in cleared.removed
        ),
        bytes=view.bytes + cleared.bytes,
        problems=(*view.problems, *cleared.problems),
    )


def both(first: PruneView, then: PruneView) -> PruneView:
    """Two removals as one."""
    return replace(
        then,
        removals=(*first.removals, *then.removals),
        runs=first.runs + then.runs,
        bytes=first.bytes + then.bytes,
        problems=(*first.problems, *then.problems),
    )
