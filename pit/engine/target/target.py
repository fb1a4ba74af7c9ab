"""The target of a command: tasks of a DAG, with the values of its parameters.

`resolve` is the one place where what was typed is given its meaning. Whoever is handed a `Target`
asks nothing of a command line, of pit.toml or of the calendar any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path

from msgspec.structs import replace

from pit.config import matrix
from pit.config.dag import params
from pit.config.dag.expanded import ExpandedDag
from pit.config.keys import movement
from pit.engine.target.select import selected, with_downstream
from pit.engine.target.typed import Typed
from pit.errors import InvalidConfig
from pit.fs.reads import Reads
from pit.model import Dag, Record, Task, WorkspaceConfig
from pit.project.selection import WatchedDisk


class Target(Record):
    """What a command is about: the `chosen` tasks of a DAG, by name, with these parameters."""

    config: WorkspaceConfig
    dag: ExpandedDag
    params: dict[str, str]
    chosen: frozenset[str]
    typed: Typed

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The chosen tasks, in the order of pit.toml."""
        return tuple(task for name, task in self.dag.tasks.items() if name in self.chosen)

    @property
    def whole(self) -> bool:
        """Whether it is every task of its DAG, however that was said."""
        return len(self.chosen) == len(self.dag.tasks)

    def key(self, task: Task) -> str:
        """The values that a task gets, as the text by which its records are kept apart."""
        return params.key(task, self.params)

    def choosing(self, names: Iterable[str]) -> Target:
        """The same with other tasks of the DAG."""
        return replace(self, chosen=frozenset(names))


def resolve(
    declared: Dag,
    typed: Typed,
    config: WorkspaceConfig,
    day: date,
    *,
    reads: Reads | None = None,
    frozen: Path | None = None,
) -> Target:
    """What is meant by what was `typed`, on a day, of a DAG as pit.toml has it.

    BadParameter, InvalidConfig or UnknownTask if that is nothing. What matrices take their values
    from is written down in `reads`; of the project they take them as the snapshot `frozen` has it.
    """
    values = params.resolve(declared.params, typed.params, day)
    dag = expanded(declared, values, reads, frozen)
    return Target(config=config, dag=dag, params=values, chosen=_chosen(dag, typed), typed=typed)


def expanded(
    declared: Dag,
    values: Mapping[str, str],
    reads: Reads | None = None,
    frozen: Path | None = None,
) -> ExpandedDag:
    """The DAG with its instances, parameters in its paths, and what its loads read among their
    inputs."""
    tasks = _instances(declared, Reads() if reads is None else reads, frozen)
    tasks = matrix.with_params(declared, tasks, values, frozen)
    return ExpandedDag.of(declared, map(movement.reading_source, tasks))


def without_params(declared: Dag) -> ExpandedDag:
    """The DAG to be shown while values of its parameters are lacking: their names stay in braces.

    Nothing can be decided about it. InvalidConfig if its matrices have no values.
    """
    return ExpandedDag.of(declared, _instances(declared, Reads(), None))


def _instances(declared: Dag, reads: Reads, frozen: Path | None) -> tuple[Task, ...]:
    if frozen is not None:
        from pit.project import manifest  # retries alone need it

        taken = manifest.read(frozen.with_name("manifest"))
        with suppress(InvalidConfig):  # a list that .pitignore leaves out is not there
            return matrix.expand(declared, frozen, WatchedDisk(reads, str(frozen), taken))
    return matrix.expand(declared, declared.project, WatchedDisk(reads))


def _chosen(dag: ExpandedDag, typed: Typed) -> frozenset[str]:
    names = frozenset(dag.tasks)
    if typed.selection:
        names &= selected(dag, typed.selection)
    if typed.undone is not None:
        names &= with_downstream(dag, typed.undone)
    return names
