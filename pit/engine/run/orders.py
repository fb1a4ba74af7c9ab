"""Orders: what each task of a run is told to do; where, and by which program, its site knows."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from pit.config.keys.runners import TEMPLATE
from pit.engine.run.lifecycle import Lifetime
from pit.engine.scheduling import jobs
from pit.engine.scheduling.jobs import Job, Refusal
from pit.engine.staleness import comparison, databases
from pit.model import Check, Load, ParamType, Reason, RetryOn, Save, Task, TaskType
from pit.order import Order, Templated
from pit.project.runners import table

if TYPE_CHECKING:
    from pit.engine.run.task_socket import Asking


class Orders:
    """Makes the jobs of one run, and the orders of their attempts, each when it begins.

    `params_of` gives the text of a task's parameter values, None for one that has no records.
    """

    def __init__(
        self,
        life: Lifetime,
        asking: Asking,
        params_of: Callable[[Task], str | None],
    ) -> None:
        self._request, self._target, self._dir = life.request, life.target, life.dir
        self._asking, self._params_of = asking, params_of
        self._dag, self._tasks = life.target.dag.declared, life.target.dag.tasks
        started = datetime.fromtimestamp(life.clock.now(), UTC)
        self._started_at = started.isoformat(timespec="seconds")

    def jobs(self) -> list[Job]:
        """The jobs of this run in topological order."""
        made = {task.name: self._job(task) for task in self._target.tasks}
        return jobs.ordered(made, self._target.dag.order)

    def _job(self, task: Task) -> Job:
        again = self._request.again
        stubbed = table.of(task).is_sql and not self._asking.has_secrets
        return Job(
            name=task.name,
            depends_on=self._target.dag.needs[task.name],
            policy=jobs.policy(task),
            stub=self._script(task) if stubbed else None,
            tracked=comparison.is_tracked(task),
            params=self._params_of(task),
            done=again.done.get(task.name, "") if again is not None else "",
        )

    def _script(self, task: Task) -> str:
        return str(self._dir.project / task.script) if task.script else ""

    # ------------------------------------------------------------------ one attempt

    def order(self, name: str, attempt: int) -> Order | Refusal:
        """What a task is told to do in an attempt, or what it would lack."""
        task = self._tasks[name]
        if lack := self._asking.lack(task):
            return Refusal(reason=Reason.MISSING_SECRET, error=lack)
        order = self._order(task, attempt)
        if order.connection:
            lack = self._asking.lacks_connection(order)
        elif table.of(task).is_sql:
            lack = "no connection: name one on the task, or in [dag.sql]"
        return Refusal(reason=Reason.MISSING_CONNECTION, error=lack) if lack else order

    def _connection(self, task: Task) -> str:
        """The name of the connection that an attempt needs: to speak to, or to be left alone by."""
        if not self._asking.has_secrets:
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
