"""The proper look behind "nothing to do": all that was asked for is current, as the planner says.

Where all that was read can be watched, the answer is kept as a stamp. Where it cannot, because a
database had to be asked or a file has just changed, it is an answer nevertheless: good for once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from pit.config.dag import params
from pit.engine.planning import look, stamp
from pit.engine.planning.select import prepared, selected
from pit.engine.planning.stale_upstream import Selection, StaleUpstream, stale_upstream, watched
from pit.engine.planning.stamp import Stamp
from pit.engine.staleness import comparison
from pit.engine.staleness.planner import Decision, Target, target_of
from pit.engine.staleness.questions import asks
from pit.errors import PitError
from pit.fs.reads import Reads
from pit.model import Dag, Record, WorkspaceConfig
from pit.state.secrets.secrets import Secrets

if TYPE_CHECKING:
    from pit.state.store.store import Store

Capture = Callable[..., tuple[int, bytes]]


class Question(Record):
    """What might have nothing to do; `given` are the parameters as typed.

    `began` is when, in nanoseconds of Unix time, before anything of it was read.
    """

    dag: Dag
    config: WorkspaceConfig
    selection: str | None
    given: Mapping[str, str]
    began: int


class NothingToDo(Record):
    """There is nothing to do. `kept` says whether the stamp may be asked the next time.

    `chosen` are the tasks, `dag` all that there are, with the dependencies that inputs imply.
    `stale` is what is stale above a selection; while anything is, the answer is good for once.
    """

    stamp: Stamp
    kept: bool
    dag: Dag
    chosen: tuple[str, ...]
    stale: StaleUpstream | None = None


def answer(question: Question, store: Store, capture: Capture) -> NothingToDo | None:
    """The answer where everything is current; None where something is not, or cannot be told."""
    try:
        return _answered(question, store, capture)
    except (PitError, OSError, ValueError):
        return None  # whatever it is, a real run meets it again and says it properly


def _answered(question: Question, store: Store, capture: Capture) -> NothingToDo | None:
    dag, config = question.dag, question.config
    mark, reads = store.records.mark(dag.name), Reads()
    reads.facts |= stamp.facts(comparison.VERSION)
    values = params.resolve(dag.params, question.given, date.today())
    declared = prepared(dag, values, reads)
    chosen = None if question.selection is None else selected(declared, question.selection)
    target = target_of(declared, config, values, chosen)
    tasks = [task for task in declared.tasks if task.name in target.chosen]
    if not all(map(comparison.is_tracked, tasks)):
        return None
    secrets = Secrets.of(config) if config.secrets_file is not None else None
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
    selection = Selection(
        dag=declared,
        chosen=target.chosen,
        typed=question.selection or "",
        given=question.given,
    )
    watching = watched(selection)
    above: tuple[Decision, ...] = ()
    if watching:
        wider = target_of(declared, config, values, watching)
        around = look.Look(wider, secrets, store, capture, reads=reads)
        with around.asking():
            above = around.decisions()
        around.save()
    for task in (each for each in declared.tasks if each.name in target.chosen | watching):
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
            requires=dag.requires,
            params=values,
            whole=len(tasks) == len(declared.tasks),
        ),
        kept=(
            not reads.unwatched
            and all(decision.current for decision in above)
            and reads.settled(question.began)
        ),
        dag=target.dag,
        chosen=tuple(task.name for task in tasks),
        stale=stale_upstream(selection, above, decisions) if above else None,
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
