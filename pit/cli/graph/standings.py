"""How the tasks of a DAG stand: what a run would do with each, and what failed in the last one."""

from __future__ import annotations

from typing import NamedTuple

from pit.cli.options import Settings
from pit.cli.target import look
from pit.engine.planning.causes import Causes
from pit.engine.staleness.comparison import Kind
from pit.engine.staleness.planner import Action, Decision
from pit.engine.target.target import Target
from pit.model import TaskState
from pit.state.store.store import Store
from pit.views.graph.picture import Standing


class Fact(NamedTuple):
    """How one task stands, and why."""

    standing: Standing
    why: str


Standings = dict[str, Fact]


def standings(settings: Settings, target: Target) -> Standings:
    """How each task stands, by name; raises as a look does if that cannot be told."""
    with Store.open_readonly(target.config.metadata_db) as store:
        seen = look(settings, target.choosing(target.dag.tasks), store)
        with seen.asking():
            decisions = seen.decisions()
        seen.save()
        causes = Causes(
            target,
            decisions,
            store,
            lambda digest: store.records.text(digest) or seen.fingerprints.text(digest),
        )
        failed = _failed(store, target.dag.name)
        return {each.task: _fact(each, causes, failed) for each in decisions}


def _fact(decision: Decision, causes: Causes, failed: dict[str, str]) -> Fact:
    if decision.action is Action.SKIP:
        run = decision.record.run if decision.record else ""
        return Fact(Standing.CURRENT, f"since run {run}" if run else "accepted")
    if decision.task in failed:
        return Fact(Standing.FAILED, failed[decision.task])
    why = causes.brief(decision.task)
    if decision.action is Action.DEFER:
        return Fact(Standing.DEFERRED, why)
    unasked = {change.kind for change in decision.changes} <= {Kind.ALWAYS, Kind.UNTRACKED}
    return Fact(Standing.ALWAYS if unasked else Standing.STALE, why)


def _failed(store: Store, dag: str) -> dict[str, str]:
    """What failed in the latest run, and with which error."""
    return {
        task.task: ", ".join(filter(None, (task.error, f"in run {run.id}")))
        for run in store.runs.latest(dag, 1)
        for task in store.runs.tasks(run.id)
        if task.state is TaskState.FAILED
    }
