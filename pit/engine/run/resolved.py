"""What is asked of a run, resolved: its parameters, its instances and the tasks that it runs."""

from __future__ import annotations

from datetime import date

from pit.config.dag import graph, params
from pit.engine.planning.select import prepared, selected, with_downstream
from pit.engine.run.request import Again, Request
from pit.errors import SnapshotFailed
from pit.model import Dag, Record, Task


class Resolved(Record):
    """A DAG with its matrices expanded, `declared` as written and `dag` with what that implies.

    `tasks` are those of this run, at most `slots` of them at once; `params` are its parameters.
    """

    params: dict[str, str]
    declared: Dag
    dag: Dag
    tasks: tuple[Task, ...]
    slots: int

    @property
    def whole(self) -> bool:
        """Whether the run is about every task of its DAG, however that was said."""
        return len(self.tasks) == len(self.dag.tasks)


def resolve(request: Request) -> Resolved:
    """Parameters, matrices, the selection and concurrency, before anything is recorded."""
    values = params.resolve(request.dag.params, request.given, date.today())
    again = request.again
    declared = prepared(request.dag, values, frozen=None if again is None else again.project)
    if again is not None and again.project is not None:
        _refuse_others(again, {task.name for task in declared.tasks})
    dag = graph.implied(declared)
    return Resolved(
        params=values,
        declared=declared,
        dag=dag,
        tasks=_selected(request, declared, dag),
        slots=request.concurrency or dag.concurrency,
    )


def _refuse_others(again: Again, names: set[str]) -> None:
    """Raise SnapshotFailed if what the run's matrices read outside the project makes other tasks.

    A run that was cut off has not told of all that it had.
    """
    gone, new = again.tasks - names, names - again.tasks
    if gone or (new and not again.cut_off):
        which = f"{min(gone)} is none any more" if gone else f"{min(new)} is new"
        raise SnapshotFailed(
            f"the tasks of run {again.run} are not the same any more: {which}, "
            "since its matrix reads what is outside the project",
            f"Go on with those that there are now: pit retry {again.run} --code new",
        )


def _selected(request: Request, declared: Dag, dag: Dag) -> tuple[Task, ...]:
    names = {task.name for task in dag.tasks}
    if request.only is not None:
        names &= selected(declared, request.only)
    if request.failed is not None:
        names &= with_downstream(declared, request.failed)
    return tuple(task for task in dag.tasks if task.name in names)
