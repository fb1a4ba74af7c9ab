"""Orders: what each task of a run is told to do; where, and by which program, its site knows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from pit.config.dag import nearby
from pit.config.keys.runners import TEMPLATE
from pit.engine.planning import explain
from pit.engine.run.lifecycle import OpenRun
from pit.engine.scheduling import jobs
from pit.engine.scheduling.jobs import Job, Refusal
from pit.engine.staleness import comparison, databases
from pit.model import Check, Load, ParamType, Reason, RetryOn, Save, Task, TaskType
from pit.order import Order, Templated
from pit.project.runners import table

if TYPE_CHECKING:
    from pit.engine.run.task_socket import TaskServices
    from pit.engine.staleness.planner import Planner


class Orders:
    """Makes the jobs of one run, and the orders of their attempts, each when it begins."""

    def __init__(
        self,
        run: OpenRun,
        services: TaskServices,
        planner: Planner,
    ) -> None:
        self._request, self._target, self._dir = run.request, run.target, run.dir
        self._services, self._planner = services, planner
        self._dag, self._tasks = run.target.dag.declared, run.target.dag.tasks
        self._recorded = run.services.store.records.tasks(self._dag.name)
        started = datetime.fromtimestamp(run.clock.now(), UTC)
        self._started_at = started.isoformat(timespec="seconds")

    def jobs(self) -> list[Job]:
        """The jobs of this run in topological order."""
        made = {task.name: self._job(task) for task in self._target.tasks}
        return jobs.ordered(made, self._target.dag.order)

    def _job(self, task: Task) -> Job:
        continued = self._request.continued
        stubbed = table.of(task).is_sql and not self._services.has_secrets
        return Job(
            name=task.name,
            depends_on=self._target.dag.needs[task.name],
            policy=jobs.policy(task),
            stub=self._script(task) if stubbed else None,
            tracked=comparison.is_tracked(task),
            params=self._params_of(task),
            done=continued.done.get(task.name, "") if continued is not None else "",
        )

    def _params_of(self, task: Task) -> str | None:
        """The text of a task's parameter values; None where no record is concerned.

        A task that is not tracked any more, and runs, makes its old record a lie.
        """
        if not comparison.is_tracked(task) and task.name not in self._recorded:
            return None
        return self._target.key(task)

    def _script(self, task: Task) -> str:
        return str(self._dir.project / task.script) if task.script else ""

    # ------------------------------------------------------------------ one attempt

    def order(self, name: str, attempt: int) -> Order | Refusal:
        """What a task is told to do in an attempt, or what it would lack.

        As in make, what it reads must be there.
        """
        task = self._tasks[name]
        if lacking := self._planner.missing(name):
            names = [gap.input for gap in lacking]
            dag, root = self._target.dag, self._target.config.root
            near = nearby.meant(name, names[0], dag.tasks.values(), dag.project, root)
            return Refusal(reason=Reason.MISSING_INPUT, error=explain.absent(names, near))
        if lack := self._services.lack(task):
            return Refusal(reason=Reason.MISSING_SECRET, error=lack)
        order = self._order(task, attempt)
        if order.connection:
            lack = self._services.lacks_connection(order)
        elif table.of(task).is_sql:
            lack = "no connection: name one on the task, or in [dag.sql]"
        return Refusal(reason=Reason.MISSING_CONNECTION, error=lack) if lack else order

    def _connection(self, task: Task) -> str:
        """The name of the connection that an attempt needs: to speak to, or to be left alone by."""
        if not self._services.has_secrets:
            return ""
        return databases.connection(self._dag, task) or ""

    def _work(self, task: Task) -> Load | Save | Check | None:
        """What a SQL task does beyond sending its script."""
        if task.load is not None:
            return task.load
        if task.type is TaskType.CHECK:
            return Check(
                keep=f"checks/{self._dir.log_file(task.name).stem}.parquet",
                query=task.query,
                expect=task.expect,
                severity=task.severity,
            )
        return replace(task.save, query=task.query) if task.save is not None else None

    def _template(self, task: Task) -> Templated | None:
        """What a template of SQL has in scope; None for a script that is sent as it is."""
        if not task.script.endswith(TEMPLATE):
            return None
        wanted = self._wanted(task)
        declared = {param.name: param.type for param in self._dag.params}
        return Templated(
            params={name: _typed(declared[name], self._target.params[name]) for name in wanted},
            dates=tuple(name for name in wanted if declared[name] is ParamType.DATE),
            run={"started_at": self._started_at},
        )

    def _sql(self, task: Task) -> dict[str, Any]:
        """What an order says of the SQL that is to be executed."""
        return {
            "retry_any": task.retry_on is RetryOn.ANY,
            "work": self._work(task),
            "template": self._template(task),
            "tables": task.tables,
            "max_change": task.max_change,
        }

    def _order(self, task: Task, attempt: int) -> Order:
        sql = self._sql(task) if table.of(task).is_sql else {}
        return Order(
            run=self._dir.id,
            dag=self._dag.name,
            task=task.name,
            attempt=attempt,
            attempts=task.retries + 1,
            marker=os.urandom(8).hex(),
            log=self._dir.log_file(task.name).name,
            runner=table.name_of(task),
            script=task.script,
            env=self._variables(task),
            connection=self._connection(task),
            targets=task.targets,
            secrets=task.secrets,
            timeout=task.timeout,
            grace=self._request.grace,
            **sql,
        )

    def _wanted(self, task: Task) -> Sequence[str]:
        """The names of the parameters that a task gets."""
        return tuple(self._target.params) if task.params is None else task.params

    def _variables(self, task: Task) -> dict[str, str]:
        """The variables of a task that pit.toml and the parameters make."""
        params = self._target.params
        given = {f"PIT_PARAM_{name.upper()}": params[name] for name in self._wanted(task)}
        return self._dag.env | task.env | given


def _typed(kind: ParamType, text: str) -> str | int | float | bool:
    """A parameter's value in its type; a date stays text."""
    match kind:
        case ParamType.INT:
            return int(text)
        case ParamType.FLOAT:
            return float(text)
        case ParamType.BOOL:
            return text == "true"
    return text
