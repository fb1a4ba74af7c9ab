"""doit's dispatcher behind two methods: which task may start next, and how a task has ended.

All that a run needs of doit is here, so that whoever schedules knows nothing of its nodes. doit's
own runners are not used: they cannot cancel, and hold a thread through a retry's delay.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pit.engine.doit.dispatcher import ExecNode, TaskControl
from pit.engine.doit.dispatcher import Task as DoitTask
from pit.model import Record

Ending = Literal["done", "failed", "skipped"]
"""How a task has ended for those that depend on it."""

_STATUS: Mapping[Ending, str] = {"done": "successful", "failed": "failure", "skipped": "ignore"}
"""What doit calls it; it hands "failure" and "ignore" on to the dependents."""

_HOLD_ON = "hold on"
"""doit's answer while every task that is left waits for another."""


class Ready(Record):
    """A task whose dependencies have ended; by name those that failed, and those left undone."""

    task: str
    failed: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


class Dispatch:
    """The tasks of one DAG, each when all that it depends on has ended.

    `needs` gives the dependencies of each task, and must be in topological order: doit walks a
    reversed chain in quadratic time. Dependencies that are not among its keys are left out.
    """

    def __init__(self, dag: str, needs: Mapping[str, Iterable[str]]) -> None:
        self._dag = dag
        control = TaskControl(
            [
                doit_task(dag, task, [name for name in depends_on if name in needs])
                for task, depends_on in needs.items()
            ]
        )
        control.process(None)
        dispatcher = control.task_dispatcher()
        self._nodes: Mapping[str, ExecNode] = dispatcher.nodes
        self._answers = dispatcher.generator
        self._ready: deque[ExecNode] = deque()
        self._holding = self._exhausted = False

    def next(self) -> Ready | None:
        """A task that may start now, or None: until another one ends, or for ever."""
        if not self._ready and not self._holding:
            self._send(None)
        if not self._ready:
            return None
        node = self._ready.popleft()
        return Ready(
            task=self._name(node),
            failed=self._names(node.bad_deps),
            skipped=self._names(node.ignored_deps),
        )

    def ended(self, task: str, how: Ending) -> None:
        """A task that `next` gave is over, which may free others."""
        node = self._nodes[f"{self._dag}:{task}"]
        node.run_status = _STATUS[how]
        self._send(node)

    def _send(self, ended: ExecNode | None) -> None:
        """Tell doit what has ended, and keep what it answers."""
        if self._exhausted:
            return
        try:
            answer = self._answers.send(ended)
        except StopIteration:
            self._exhausted = self._holding = True
            return
        self._holding = answer == _HOLD_ON
        if not self._holding:
            self._ready.append(answer)

    def _names(self, nodes: Iterable[ExecNode]) -> tuple[str, ...]:
        return tuple(sorted(map(self._name, nodes)))

    def _name(self, node: ExecNode) -> str:
        name: str = node.task.name
        return name[len(self._dag) + 1 :]


def doit_task(dag: str, task: str, depends_on: Iterable[str], **shown: Any) -> DoitTask:
    """A task of a DAG as doit's, named `<dag>:<task>`; it has no actions.

    A run needs no more than what it depends on; what doit's commands are to show comes in `shown`.
    """
    return DoitTask(
        f"{dag}:{task}", None, task_dep=[f"{dag}:{name}" for name in depends_on], **shown
    )
