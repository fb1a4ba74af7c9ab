"""Where the orders of a run are performed: its folders on this machine, and the Python there.

The other half of an order: a place in the project, a runner and the variables of a task become a
path, a command and an environment here. Whoever performs orders makes a site of his own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pit.model import Record
from pit.order import Order
from pit.project import publish
from pit.project.python import environment
from pit.project.python.environment import Environment
from pit.project.runners import table
from pit.work import bundled


class Invocation(Record):
    """A program as it is to be started: its words, all its variables, its working directory."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str


class Site:
    """One run's place on this machine.

    `project` is the run's copy of the project, where its tasks work; `live` is what it is a copy
    of: a PYTHONPATH that leads there means the copy. `python` is the project's environment, None
    where no task needs one. `variables` are those that all tasks of the run share.
    """

    def __init__(
        self,
        run: str,
        dag: str,
        *,
        workspace: Path,
        live: Path,
        project: Path,
        data: Path,
        logs: Path,
        python: Environment | None = None,
    ) -> None:
        self.workspace, self.live, self.project = workspace, live, project
        self.data, self.logs, self.python = data, logs, python
        self._paths: dict[tuple[bool, str | None], tuple[str, ...]] = {}
        inherited = bundled.with_sdk(environment.base_variables(os.environ))
        self.variables = bundled.with_command(inherited, workspace / ".pit" / "bin") | {
            "PIT_RUN_ID": run,
            "PIT_DAG_NAME": dag,
            "PIT_DATA_DIR": str(data),
            "PIT_PROJECT_DIR": str(project),
            "PIT_WORKSPACE": str(workspace),
        }

    def log(self, order: Order) -> Path:
        """The log file of a task."""
        return self.logs / order.log

    def targets(self, order: Order) -> tuple[str, ...]:
        """What a task promises to make, as `publish` takes it."""
        return publish.anchored(order.targets, self.workspace)

    def variables_of(self, order: Order) -> dict[str, str]:
        """The variables that all tasks share and those of an attempt, of whatever kind it is."""
        own = bundled.with_sdk(order.env)
        return (
            self.variables
            | {name: own[name] for name in order.env}
            | {"PIT_TASK_NAME": order.task, "PIT_ATTEMPT": str(order.attempt)}
        )

    def invocation(self, order: Order) -> Invocation | None:
        """The program that carries an order out; None for one that is sent to a database."""
        runner = table.named(order.runner)
        if runner.is_sql:
            return None
        used = table.environment_of(runner, self.python)
        # Unbuffered, or a Python that is killed takes its last words with it.
        early = {"PYTHONUNBUFFERED": "1"} if used is not None else {}
        return Invocation(
            argv=runner.command(self.project / order.script, self.python),
            env=early
            | self.variables_of(order)
            | environment.task_variables(
                used, self._folders(used, order.env), self.variables, order.env
            ),
            cwd=str(self.project),
        )

    def _folders(self, used: Environment | None, own: Mapping[str, str]) -> tuple[str, ...]:
        """The folders of a PYTHONPATH: Pit's own, then those of the project and its tasks."""
        key = used is None, own.get("PYTHONPATH")
        if key not in self._paths:
            path = environment.search_path(used, own, self.variables, self.live, self.project)
            self._paths[key] = tuple(dict.fromkeys((bundled.PYTHON, *path)))
        return self._paths[key]
