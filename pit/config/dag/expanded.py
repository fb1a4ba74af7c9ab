"""A DAG as it can run, and what follows from its tasks: what each needs, their order.

pit.toml is read into a `Dag`, whose tasks may have a matrix and names in braces. Before anything is
decided about it, it becomes an `ExpandedDag`: a type of its own, so that nobody takes the one for
the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

from msgspec.structs import replace

from pit.config.dag import graph
from pit.config.dag.dataflow import links
from pit.model import Dag, Record, Task


class ExpandedDag(Record, dict=True):
    """A DAG with instances in place of matrices, and parameters in place of their names.

    `declared` is what pit.toml says, `tasks` are by name, in its order. Their `depends_on` is as
    written there; what counts is `needs`. What follows from the tasks is worked out once.
    """

    declared: Dag
    tasks: dict[str, Task]

    @classmethod
    def of(cls, declared: Dag, tasks: Iterable[Task]) -> ExpandedDag:
        """A DAG with these tasks in place of those of pit.toml."""
        return cls(declared=declared, tasks={task.name: task for task in tasks})

    @property
    def name(self) -> str:
        """The DAG's name."""
        return self.declared.name

    @property
    def project(self) -> Path:
        """The project's folder."""
        return self.declared.project

    @cached_property
    def needs(self) -> Mapping[str, tuple[str, ...]]:
        """What each task depends on: as written, and as its inputs imply."""
        made: dict[str, dict[str, None]] = {}
        for link in links(replace(self.declared, tasks=tuple(self.tasks.values()))):
            if link.maker != link.reader:
                made.setdefault(link.reader, {})[link.maker] = None
        return {
            name: tuple(dict.fromkeys((*task.depends_on, *made[name])))
            if name in made
            else task.depends_on
            for name, task in self.tasks.items()
        }

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The names of the tasks, each after all that it needs, else as declared."""
        return graph.topological(self.needs)

    @cached_property
    def _dependants(self) -> Mapping[str, list[str]]:
        return graph.turned(self.needs)

    def upstream(self, *names: str) -> frozenset[str]:
        """All that these tasks need, directly or through others; not they themselves."""
        return graph.reached(names, self.needs)

    def downstream(self, *names: str) -> frozenset[str]:
        """All that need one of these tasks, directly or through others; not they themselves."""
        return graph.reached(names, self._dependants)

    @cached_property
    def instances(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the instances of each matrix task."""
        found: dict[str, list[str]] = {}
        for task in self.tasks.values():
            if task.instance_of:
                found.setdefault(task.instance_of, []).append(task.name)
        return {name: tuple(names) for name, names in found.items()}
