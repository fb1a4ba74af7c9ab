"""The proper look behind "nothing to do": all that was asked for is current, as the planner says.

Where all that was read can be watched, the answer is kept as a stamp. Where it cannot, because a
database had to be asked or a file has just changed, it is an answer nevertheless: good for once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pit.engine.planning import look, stamp
from pit.engine.planning.stale_upstream import StaleUpstream, stale_upstream, watched
from pit.engine.planning.stamp import Stamp
from pit.engine.staleness import comparison
from pit.engine.staleness.planner import Decision
from pit.engine.staleness.questions import asks
from pit.engine.target.target import Target
from pit.fs.reads import Reads
from pit.model import Record

if TYPE_CHECKING:
    from pit.state.store.store import Store

Capture = Callable[..., tuple[int, bytes]]


class NothingToDo(Record):
    """There is nothing to do. `kept` says whether the stamp may be asked the next time.

    `stale` is what is stale above the chosen tasks; while anything is, it is good for once.
    """

    stamp: Stamp
    kept: bool
    stale: StaleUpstream | None = None


def answer(
    target: Target, reads: Reads, began: int, store: Store, capture: Capture
) -> NothingToDo | None:
    """The answer where everything is current; None where something is not, or cannot be told.

    `reads` has what was read for the target, and the facts of a stamp; `began` is when, in
    nanoseconds of Unix time, before anything of it was read.
    """
    config, dag = target.config, target.dag
    mark, tasks = store.records.mark(dag.name), target.tasks
    if not all(map(comparison.is_tracked, tasks)):
        return None
    secrets = None
    if config.secrets_file is not None:
        from pit.state.secrets.secrets import Secrets  # many workspaces have none

        secrets = Secrets.of(config)
    if secrets is None and any(task.runner == "sql" for task in tasks):
        return None
    for path in _settings(target):
        reads.path(path)
    view = look.Look(target, secrets, store, capture, reads=reads)
    with view.asking():
        decisions = view.decisions(until_stale=True)
    view.save()
    if not all(decision.current for decision in decisions):
        return None
    wider = watched(target)
    above: tuple[Decision, ...] = ()
    if wider is not None:
        around = look.Look(wider, secrets, store, capture, reads=reads)
        with around.asking():
            above = around.decisions()
        around.save()
    for task in (target if wider is None else wider).tasks:
        for file in view.fingerprints.files(task):
            reads.identity(file)
        if asks(task):
            reads.unwatched = "a database was asked"
    return NothingToDo(
        stamp=stamp.of(
            reads,
            dag=dag.name,
            project=str(dag.project),
            mark=mark,
            tasks=len(tasks),
            requires=dag.declared.requires,
            params=target.params,
            whole=target.whole,
        ),
        kept=(
            not reads.unwatched
            and all(decision.current for decision in above)
            and reads.settled(began)
        ),
        stale=stale_upstream(target, above, decisions) if above else None,
    )


def _settings(target: Target) -> Iterator[Path]:
    """The files that configure the workspace, the DAG and its Python, there or not."""
    config, project = target.config, target.dag.project
    yield config.root / "pit_config.toml"
    yield config.root / "projects"
    yield from (config.root / "projects").glob("*/pit.toml")
    yield project / "pit.toml"
    if config.secrets_file is not None:
        yield config.secrets_file
    for folder in (project, *project.parents):
        for name in (".python-version", ".python-versions", "pyproject.toml", "uv.lock", "uv.toml"):
            yield folder / name
