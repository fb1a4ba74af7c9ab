"""Which tasks of a DAG a command means: `load`, `load+`, `+load`, `report` (a matrix), `load_*`.

Several are joined by commas: `extract,+load`. A file that a task makes, `out/clean.csv`, means it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from fnmatch import fnmatchcase

from pit.config.dag.dataflow import makes
from pit.config.dag.expanded import ExpandedDag
from pit.errors import UnknownTask


def selected(dag: ExpandedDag, text: str) -> frozenset[str]:
    """The names of the tasks that `text` selects; UnknownTask for a part that selects none.

    A `+` before a task takes what it needs as well, one after it what depends on it.
    """
    return frozenset().union(*(_selected(dag, part) for part in text.split(",")))


def _selected(dag: ExpandedDag, text: str) -> Iterator[str]:
    word = text.removeprefix("+").removesuffix("+")
    found = _named(dag, word)
    if not found:
        raise UnknownTask(dag.name, word, list(dag.tasks))
    yield from found
    if text.startswith("+"):
        yield from dag.upstream(*found)
    if text.endswith("+"):
        yield from dag.downstream(*found)


def with_downstream(dag: ExpandedDag, names: Iterable[str]) -> frozenset[str]:
    """These tasks and all that depend on them; names that the DAG no longer has are left out."""
    known = dag.tasks.keys() & set(names)
    return dag.downstream(*known) | known


def _named(dag: ExpandedDag, word: str) -> Collection[str]:
    if word in dag.instances:
        return dag.instances[word]
    if word in dag.tasks:
        return [word]
    by_pattern = [name for name in dag.tasks if fnmatchcase(name, word)]
    return by_pattern or _by_values(dag, word) or _by_target(dag, word)


def _by_values(dag: ExpandedDag, word: str) -> list[str]:
    """The instance that somebody names with its values as they are, not percent-encoded."""
    return [
        name
        for name, task in dag.tasks.items()
        if task.instance_of and word == ":".join((task.instance_of, *task.values.values()))
    ]


def _by_target(dag: ExpandedDag, path: str) -> list[str]:
    """The task that makes a file, as make has it."""
    return [name for name, each in dag.tasks.items() if path and makes(each, path.rstrip("/"))]
