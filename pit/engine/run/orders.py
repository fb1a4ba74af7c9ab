"""Orders: what each task of a run is told to do, where, and in which environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from pit.config.keys.runners import TEMPLATE
from pit.engine.run.lifecycle import Lifetime
from pit.engine.scheduling import jobs
from pit.engine.scheduling.jobs import Job, Refusal
from pit.engine.staleness import comparison, databases
from pit.errors import SecretsError
from pit.model import (
    Check,
    Load,
    Order,
    ParamType,
    Reason,
    RetryOn,
    Save,
    Task,
    TaskType,
    Templated,
)
from pit.project import publish
from pit.project.python import environment
from pit.project.runners import table
from pit.project.runners.runner import Runner
from pit.work import bundled

if TYPE_CHECKING:
    from pit.engine.run.task_socket import Asking


class Orders:
    """Makes the jobs of one run, and the orders of their attempts, each when it begins.

    `params_of` gives the text of a task's parameter values, None for one that has no records.
    """

    def __init__(
        self,
        life: Lifetime,
        env: environment.Environment | None,
        asking: Asking,
        params_of: Callable[[Task], str | None],
    ) -> None:
        self._request, self._target, self._dir = life.request, life.target, life.dir
        self._env, self._asking, self._params_of = env, asking, params_of
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
        """What a task is told to do in an attempt; it is now that its connection is asked for."""
        task = self._tasks[name]
        if lack := self._asking.lack(task):
            return Refusal(reason=Reason.MISSING_SECRET, error=lack)
        order = self._order(task, attempt)
        connection = self._connection(task)
        if connection is None:
            if order.argv:
                return order
            error = "no connection: name one on the task, or in [dag.sql]"
            return Refusal(reason=Reason.MISSING_CONNECTION, error=error)
        try:
            return replace(order, database=self._asking.connection(name, attempt, connection))
        except SecretsError as error:
            return Refusal(reason=Reason.MISSING_CONNECTION, error=self._asking.told(error))

    def _connection(self, task: Task) -> str | None:
        """The name of the connection that an attempt needs: to speak to, or to be left alone by."""
        return databases.connection(self._dag, task) if self._asking.has_secrets else None

    def _work(self, task: Task) -> Load | Save | Check | None:
        """What a SQL task does beyond sending its script."""
        if task.load is not None:
            (source,) = publish.anchored((task.load.source,), self._target.config.root)
            return replace(task.load, source=source)
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
        log = self._dir.log_file(task.name)
        wanted = self._target.params if task.params is None else task.params
        declared = {param.name: param.type for param in self._dag.params}
        own = {name: text for name, text in self.variables.items() if name.startswith("PIT_")}
        return Templated(
            rendered=str(log.with_suffix(".sql")),
            params={name: _typed(declared[name], self._target.params[name]) for name in wanted},
            dates=tuple(name for name in wanted if declared[name] is ParamType.DATE),
            env=self._overlay(task) | own,
            run={"started_at": self._started_at},
        )

    def _sql(self, task: Task) -> dict[str, Any]:
        """What an order says of the SQL that is to be executed."""
        return {
            "sql": self._script(task),
            "retry_any": task.retry_on is RetryOn.ANY,
            "work": self._work(task),
            "template": self._template(task),
            "tables": task.tables,
            "max_change": task.max_change,
        }

    def _order(self, task: Task, attempt: int) -> Order:
        runner = table.of(task)
        script = self._dir.project / task.script
        work = self._sql(task) if runner.is_sql else {"argv": runner.command(script, self._env)}
        return Order(
            run=self._dir.id,
            dag=self._dag.name,
            task=task.name,
            attempt=attempt,
            attempts=task.retries + 1,
            log=str(self._dir.log_file(task.name)),
            cwd=str(self._dir.project),
            env=self._environ(task, runner) | {"PIT_ATTEMPT": str(attempt)},
            marker=os.urandom(8).hex(),
            targets=publish.anchored(task.targets, self._target.config.root),
            secrets=task.secrets,
            timeout=task.timeout,
            grace=self._request.grace,
            **work,
        )

    # ------------------------------------------------------------------ variables

    def _overlay(self, task: Task) -> dict[str, str]:
        """What this task's variables add to those that it shares with the others."""
        params = self._target.params
        wanted = params if task.params is None else task.params
        given = {f"PIT_PARAM_{name.upper()}": params[name] for name in wanted}
        own = self._dag.env | task.env
        found = bundled.with_sdk(own)
        own = {name: found[name] for name in own}
        return own | given | {"PIT_TASK_NAME": task.name}

    @cached_property
    def variables(self) -> dict[str, str]:
        """The environment that every task of this run shares."""
        inherited = bundled.with_sdk(environment.base_variables(os.environ))
        bin_folder = self._target.config.cache_dir / "bin"
        return bundled.with_command(inherited, bin_folder) | {
            "PIT_RUN_ID": self._dir.id,
            "PIT_DAG_NAME": self._dag.name,
            "PIT_DATA_DIR": str(self._dir.data),
            "PIT_PROJECT_DIR": str(self._dir.project),
            "PIT_WORKSPACE": str(self._target.config.root),
        }

    def _environ(self, task: Task, runner: Runner) -> dict[str, str]:
        """All variables of a task: what it inherits, its own, and those of its environment."""
        variables = self.variables | self._overlay(task)
        if runner.is_sql:
            return variables
        used = table.environment_of(task, self._env)
        # Unbuffered, or a Python that is killed takes its last words with it.
        early = {"PYTHONUNBUFFERED": "1"} if used is not None else {}
        return (
            early
            | variables
            | environment.task_variables(
                used,
                self._dag.project,
                self._dir.project,
                self.variables,
                self._dag.env | task.env,
                first=(bundled.PYTHON,),
            )
        )


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
