"""What is asked of a run, resolved: its parameters, its instances and the tasks that it runs."""

from __future__ import annotations

from datetime import date

from pit.config.dag import graph, params
from pit.engine.planning.select import prepared, selected, with_downstream
from pit.engine.run.request import Continued, Request
from pit.engine.staleness.planner import Target
from pit.errors import SnapshotFailed
from pit.model import Dag, Record, Task, WorkspaceConfig


class Resolved(Record):
    """A DAG with its matrices expanded, `declared` as written and `dag` with what that implies.

    `tasks` are those of this run, at most `slots` of them at once; `params` are its parameters.
    """

    params: dict[str, str]
    declared: Dag
    dag: Dag
    tasks: tuple[Task, ...]
    slots: int

    def target(self, config: WorkspaceConfig) -> Target:
        """What is decided about."""
        return Target(
            declared=self.declared,
            dag=self.dag,
            config=config,
            params=self.params,
            chosen=frozenset(task.name for task in self.tasks),
        )

    @property
    def whole(self) -> bool:
        """Whether the run is about every task of its DAG, however that was said."""
        return len(self.tasks) == len(self.dag.tasks)


def resolve(request: Request) -> Resolved:
    """Parameters, matrices, the selection and concurrency, before anything is recorded."""
    values = params.resolve(request.dag.params, request.given, date.today())
    continued = request.continued
    declared = prepared(
        request.dag, values, frozen=None if continued is None else continued.project
    )
    if continued is not None and continued.project is not None:
        _refuse_others(continued, {task.name for task in declared.tasks})
    dag = graph.implied(declared)
    return Resolved(
        params=values,
        declared=declared,
        dag=dag,
        tasks=_selected(request, declared, dag),
        slots=request.concurrency or dag.concurrency,
    )


def _refuse_others(continued: Continued, names: set[str]) -> None:
    """Raise SnapshotFailed if what the run's matrices read outside the project makes other tasks.

    A run that was cut off has not told of all that it had.
    """
    gone, new = continued.tasks - names, names - continued.tasks
    if gone or (new and not continued.cut_off):
        which = f"{min(gone)} is none any more" if gone else f"{min(new)} is new"
        raise SnapshotFailed(
            f"the tasks of run {continued.run} are not the same any more: {which}, "
            "since its matrix reads what is outside the project",
            f"Go on with those that there are now: pit retry {continued.run} --code new",
        )


def _selected(request: Request, declared: Dag, dag: Dag) -> tuple[Task, ...]:
    names = {task.name for task in dag.tasks}
    if request.only is not None:
        names &= selected(declared, request.only)
    if request.failed is not None:
        names &= with_downstream(declared, request.failed)
    return tuple(task for task in dag.tasks if task.name in names)
