"""The chain of causes behind a task that would run, or since when it is current."""

from __future__ import annotations

from collections.abc import Sequence

from pit.engine.planning import absence
from pit.engine.planning.causes import Cause, Causes
from pit.engine.planning.look import Look
from pit.engine.staleness.planner import Action, Decision
from pit.model import Record, Task
from pit.state.store.store import Store
from pit.views.plan import Since, since


class WhyView(Record):
    """The shape of `pit why --json`.

    `since` is null unless the task is current; then `then` says why it ran the last time. `causes`
    say why it would run now, or may. `seconds` is what its last success took. `stale` says what a
    run of this task alone would leave stale above it, and `hint` what to type instead; both are
    empty if nothing is.
    """

    dag: str
    task: str
    params: dict[str, str]
    action: Action
    since: Since | None
    seconds: float | None
    causes: tuple[Cause, ...]
    then: tuple[Cause, ...]
    stale: str = ""
    hint: str = ""


def why_view(look: Look, decisions: Sequence[Decision], store: Store, task: str) -> WhyView:
    """Why a task would run, or would not, by a look at its whole DAG."""
    decision = next(each for each in decisions if each.task == task)
    target = look.target

    def absent(task: Task) -> tuple[Cause, ...]:
        return absence.reasons(task, target.dag.name, target.key(task), store)

    causes = Causes(look, decisions, store, absent)
    record = decision.record if decision.action is Action.SKIP else None
    return WhyView(
        dag=target.dag.name,
        task=task,
        params=target.params,
        action=decision.action,
        since=since(record) if record is not None else None,
        seconds=decision.seconds,
        causes=causes.of(task),
        then=causes.in_run(task, record.run) if record is not None else (),
    )
