"""What a run would do, why, and how long it would take; nothing is started."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from pit.config.workspace import discover
from pit.engine.locks import place
from pit.engine.planning.causes import Causes
from pit.engine.planning.forecast import Forecast, forecast, gaps
from pit.engine.planning.look import Look
from pit.engine.planning.missing_secrets import Unmet
from pit.engine.staleness.comparison import Change
from pit.engine.staleness.planner import Action, Decision, Gap
from pit.engine.target.target import Target
from pit.errors import RequirementNotMet
from pit.model import Dag, Overlap, Problem, Record, TaskRecord
from pit.state import liveness
from pit.state.store.store import Store
from pit.text.times import ago


class Since(Record):
    """Since when a task is current; `note` is what somebody said who accepted it by hand.

    `seconds` is what it took in the run that made it.
    """

    run: str
    at: float
    seconds: float
    note: str


class TaskPlan(Record):
    """What a run would do with one task; `seconds` is null if it has never succeeded.

    `changes` are what differs from its last success, `after` those of its dependencies that would
    run, or may. `since` is null unless it would be skipped.
    """

    task: str
    action: Action
    why: str
    changes: tuple[Change, ...]
    after: tuple[str, ...]
    seconds: float | None
    since: Since | None


class PlanView(Record):
    """The shape of `pit plan --json`; `stub` if SQL tasks would be shown and not executed.

    `gaps` are inputs that are not there. `meets` says what a run would meet before its first task:
    a requirement that is not met, or another run of the DAG. `unmet` is what the secrets do not
    give its tasks. `stale` says what a selection leaves stale above it, and `hint` what to type
    instead; both are empty if nothing is.
    """

    dag: str
    selection: str
    params: dict[str, str]
    concurrency: int
    tasks: tuple[TaskPlan, ...]
    forecast: Forecast
    gaps: tuple[Gap, ...]
    stub: bool
    meets: tuple[str, ...] = ()
    unmet: tuple[Unmet, ...] = ()
    stale: str = ""
    hint: str = ""


class Untold(Record):
    """A DAG of which it cannot be said what a run would do, such as for want of a parameter."""

    dag: str
    why: str


class PlansView(Record):
    """The shape of `pit plan --json` without a DAG; `problems` are those of projects that cannot be
    read."""

    dags: tuple[PlanView, ...]
    untold: tuple[Untold, ...]
    problems: tuple[Problem, ...]


def plan_view(
    look: Look,
    decisions: Sequence[Decision],
    store: Store,
    concurrency: int | None,
    stale: tuple[str, str],
) -> PlanView:
    """What a run of a look's target would do; `concurrency` is None for the DAG's own.

    `stale` is what the target leaves stale above it, with a hint.
    """
    target, dag = look.target, look.target.dag
    slots = concurrency or dag.declared.concurrency
    causes = Causes(look, decisions, store)

    def others() -> list[Dag]:
        return [each for each in discover(target.config).dags.values() if each.name != dag.name]

    lacking = [gap for decision in decisions for gap in decision.gaps]
    return PlanView(
        dag=dag.name,
        selection=target.typed.selection,
        params=target.params,
        concurrency=slots,
        tasks=tuple(_task(decision, causes) for decision in decisions),
        forecast=forecast(dag.needs, decisions, slots),
        gaps=gaps(lacking, dag.tasks.values(), dag.project, target.config.root, others),
        stub=target.config.stub and _is_stub(target),
        meets=tuple(_meets(target, store)),
        unmet=look.unmet(decisions),
        stale=stale[0],
        hint=stale[1],
    )


def _is_stub(target: Target) -> bool:
    """Whether there is SQL to execute and no secrets file."""
    return target.config.secrets_file is None and any(t.runner == "sql" for t in target.tasks)


def _meets(target: Target, store: Store) -> Iterator[str]:
    """What a run would meet before its first task, as far as the store knows."""
    dag, config = target.dag.declared, target.config
    if not config.stub and _is_stub(target):
        yield "there is no secrets file, and stub = false in pit_config.toml"
    if dag.overlap is not Overlap.ALLOW:
        runs = store.runs.running(dag.name)
        others = [run.id for run in runs if liveness.is_alive(run, config.runs_dir)]
        verdict = "refused" if dag.overlap is Overlap.SKIP else "made to wait"
        if others:
            running = f"{', '.join(others)} is running"
            yield f'{running}: with overlap = "{dag.overlap}" a run is {verdict}'
    for name, age in dag.requires.items():
        try:
            place.check_requirements(dag.name, {name: age}, store, time.time())
        except RequirementNotMet as error:
            yield str(error)


def _task(decision: Decision, causes: Causes) -> TaskPlan:
    record = decision.record if decision.action is Action.SKIP else None
    known = since(record) if record is not None else None
    why = _current(known, time.time()) if known else causes.brief(decision.task)
    return TaskPlan(
        task=decision.task,
        action=decision.action,
        why=why,
        changes=decision.changes,
        after=decision.after,
        seconds=decision.seconds,
        since=known,
    )


def since(record: TaskRecord) -> Since:
    """Since when the task of a record is current."""
    return Since(run=record.run, at=record.at, seconds=record.seconds, note=record.note)


def _current(known: Since, now: float) -> str:
    """The same in words."""
    if known.note:
        return f'accepted {ago(known.at, now)}: "{known.note}"'
    return f"current since run {known.run}, {ago(known.at, now)}"
