"""How the tasks of a DAG stand: what a run would do with each, and what failed in the last one."""

from __future__ import annotations

from typing import NamedTuple

from pit.cli.options import Settings
from pit.cli.target import Aim, Memory, look, remembered
from pit.engine.causes import Causes
from pit.engine.current import Kind
from pit.engine.look import Action, Outlook
from pit.model import TaskState
from pit.spec.picture import Standing


class Fact(NamedTuple):
    """How one task stands, and why."""

    standing: Standing
    why: str


Standings = dict[str, Fact]


def standings(settings: Settings, aim: Aim) -> Standings:
    """How each task stands, by name; raises as a look does if that cannot be told."""
    with remembered(aim.config) as memory:
        seen = look(settings, aim, memory)
        with seen.asking():
            outlooks = seen.outlooks()
        seen.save()
        causes = Causes(
            aim.dag,
            outlooks,
            aim.params,
            memory,
            lambda digest: memory.text(digest) or seen.fingerprints.text(digest),
        )
        failed = _failed(memory, aim.dag.name)
        return {each.task: _fact(each, causes, failed) for each in outlooks}


def _fact(outlook: Outlook, causes: Causes, failed: dict[str, str]) -> Fact:
    if outlook.action is Action.SKIP:
        run = outlook.record.run if outlook.record else ""
        return Fact(Standing.CURRENT, f"since run {run}" if run else "accepted")
    if outlook.task in failed:
        return Fact(Standing.FAILED, failed[outlook.task])
    why = causes.brief(outlook.task)
    if outlook.action is Action.DEFER:
        return Fact(Standing.DEFERRED, why)
    unasked = {change.kind for change in outlook.changes} <= {Kind.ALWAYS, Kind.UNTRACKED}
    return Fact(Standing.ALWAYS if unasked else Standing.STALE, why)


def _failed(memory: Memory, dag: str) -> dict[str, str]:
    """What failed in the latest run, and with which error."""
    return {
        task.task: ", ".join(filter(None, (task.error, f"in run {run.id}")))
        for run in memory.runs(dag, 1)
        for task in memory.tasks(run.id)
        if task.state is TaskState.FAILED
    }
