"""Which tasks of a DAG a command means: `load`, `load+`, `+load`, `report` (a matrix), `load_*`.

Several are joined by commas: `extract,+load`. A file that a task makes, `out/clean.csv`, means it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from pit.config import matrix
from pit.config.dag import graph
from pit.config.dag.dataflow import makes
from pit.config.keys import movement
from pit.errors import InvalidConfig, UnknownTask
from pit.fs.reads import Reads
from pit.model import Dag
from pit.project.selection import WatchedDisk


def prepared(
    dag: Dag,
    params: Mapping[str, str],
    reads: Reads | None = None,
    frozen: Path | None = None,
) -> Dag:
    """The DAG with its matrix tasks expanded, its parameters put into paths, and what its loads
    read among their inputs.

    InvalidConfig or BadParameter if that does not work out. What matrices take their values from
    is written down in `reads`. Of the project they take them as the snapshot `frozen` has it.
    """
    reads = Reads() if reads is None else reads
    expanded = None
    if frozen is not None:
        from pit.project import manifest  # retries alone need it

        taken = manifest.read(frozen.with_name("manifest"))
        with suppress(InvalidConfig):  # a list that .pitignore leaves out is not there
            expanded = matrix.expand(dag, frozen, WatchedDisk(reads, str(frozen), taken))
    if expanded is None:
        expanded = matrix.expand(dag, dag.project, WatchedDisk(reads))
    return movement.reading_sources(matrix.with_params(expanded, params))


def selected(dag: Dag, text: str) -> frozenset[str]:
    """The names of the tasks that `text` selects; UnknownTask for a part that selects none.

    A `+` before a task takes what it needs as well, one after it what depends on it.
    """
    implied = graph.implied(dag)
    return frozenset().union(*(_selected(dag, implied, part) for part in text.split(",")))


def _selected(dag: Dag, implied: Dag, text: str) -> set[str]:
    word = text.removeprefix("+").removesuffix("+")
    found = set(_named(dag, word))
    if not found:
        raise UnknownTask(dag.name, word, [task.name for task in dag.tasks])
    for name in tuple(found):
        if text.startswith("+"):
            found |= graph.upstream(implied, name)
        if text.endswith("+"):
            found |= graph.downstream(implied, name)
    return found


def with_downstream(dag: Dag, names: Iterable[str]) -> frozenset[str]:
    """These tasks and all that depend on them; names that the DAG no longer has are left out."""
    implied = graph.implied(dag)
    known = {task.name for task in dag.tasks} & set(names)
    return frozenset(known.union(*(graph.downstream(implied, name) for name in known)))


def _named(dag: Dag, word: str) -> Iterable[str]:
    instances = matrix.instances(dag)
    if word in instances:
        return instances[word]
    names = [task.name for task in dag.tasks]
    if word in names:
        return [word]
    by_pattern = [name for name in names if fnmatchcase(name, word)]
    return by_pattern or _by_values(dag, word) or _by_target(dag, word)


def _by_values(dag: Dag, word: str) -> list[str]:
    """The instance that somebody names with its values as they are, not percent-encoded."""
    return [
        task.name
        for task in dag.tasks
        if task.instance_of and word == ":".join((task.instance_of, *task.values.values()))
    ]


def _by_target(dag: Dag, path: str) -> list[str]:
    """The task that makes a file, as make has it."""
    return [task.name for task in dag.tasks if path and makes(task, path.rstrip("/"))]
