"""How the tasks of a DAG stand: what a run would do with each, and what failed in the last one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pit.engine.planning.causes import Causes
from pit.engine.planning.look import Look
from pit.engine.staleness.comparison import Kind
from pit.engine.staleness.planner import Action, Decision
from pit.model import TaskState
from pit.state.store.store import Store
from pit.views.graph.picture import Standing


class Fact(NamedTuple):
    """How one task stands, and why."""

    standing: Standing
    why: str


Standings = dict[str, Fact]


def standings(look: Look, decisions: Iterable[Decision], store: Store) -> Standings:
    """How each task stands, by name, by a look at the whole DAG."""
    causes = Causes(look, decisions, store)
    failed = _failed(store, look.target.dag.name)
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
