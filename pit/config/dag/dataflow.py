"""Which task reads what another one makes: `inputs` held against `targets`, as in make."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pit.fs.overlap import may_meet
from pit.fs.patterns import PathIndex, ancestors, fixed_folder, is_pattern, matches, reaching
from pit.model import Dag, Task

WORKSPACE_NAME = "workspace"
WORKSPACE = f"{{{WORKSPACE_NAME}}}/"
"""How a path that is relative to the workspace begins."""


class Link(NamedTuple):
    """`reader` lists `input`, which names or may contain `target`, a target of `maker`."""

    reader: str
    input: str
    maker: str
    target: str


def makes(task: Task, place: str) -> bool:
    """Whether a place is among a task's targets, or inside one that is a folder."""
    return any(
        matches(target, place) or place.startswith(f"{target.rstrip('/')}/")
        for target in task.targets
    )


OWN = ("pit.toml", "pyproject.toml", "uv.lock", ".python-version", ".pitignore", "secrets.toml")
"""What Pit and uv read of a project, beside its code."""
OF_WORKSPACE = (f"{WORKSPACE}pit_config.toml", f"{WORKSPACE}secrets.toml")


class Swallowed(NamedTuple):
    """`target` of task number `task` is, holds or may match a `file` that the DAG is made of."""

    task: int
    target: str
    file: str


def swallowed(dag: Dag) -> Iterator[Swallowed]:
    """The targets in whose place a file may stand that the DAG is made of."""
    home = _home(dag)
    code = dict.fromkeys((*OWN, *(task.script for task in dag.tasks if task.script), *OF_WORKSPACE))
    held = {file: file for file in code}
    project = f"{WORKSPACE}{dag.project.parent.name}/{dag.project.name}"
    around = (project, *ancestors(project), *ancestors(f"{dag.project.parent.parent}/"))
    held |= dict.fromkeys(around, "pit.toml")
    for file in reversed(code):
        held |= dict.fromkeys(ancestors(file), file)
    known = sorted(held)
    for index, task in enumerate(dag.tasks):
        for target in task.targets:
            place = home(target)
            if place in held:
                yield Swallowed(index, target, held[place])
            elif is_pattern(place):
                files = {held[each] for each in _beginning(place, known) if matches(place, each)}
                if files:
                    yield Swallowed(index, target, next(file for file in code if file in files))


def _beginning(pattern: str, ordered: Sequence[str]) -> Sequence[str]:
    """Of sorted paths those that begin as the pattern does."""
    head = _head(pattern)
    return ordered[bisect_left(ordered, head) : bisect_left(ordered, f"{head}\U0010ffff")]


class Clash(NamedTuple):
    """Two targets that name one file, or one of which lies in the other; `later` is at fault."""

    earlier: tuple[int, str]
    later: tuple[int, str]


def links(dag: Dag) -> list[Link]:
    """Every meeting of an input with a target, a task's own targets included.

    An input meets a target that it names, that its pattern matches, that lies inside the
    folder it names, or whose folder it lies in. Pattern against pattern never meets, unless
    they are the same text. Near-linear in the number of paths. Where a pattern may
    meet another all the same, see `unsettled`.
    """
    made = _Targets(dag)
    if not made.makers:
        return []
    found = []
    for task in dag.tasks:
        for path in task.inputs or ():
            for target in made.met_by(path):
                for maker in made.makers[target]:
                    found.append(Link(task.name, path, maker, made.written[target]))
    return found


def unsettled(dag: Dag) -> Iterator[Link]:
    """Every input that may be met by what the pattern of another task's target makes, where
    neither text says so: the input is another pattern, or a folder around it.

    Only what begins alike is compared, so that many patterns in folders of their own cost little.
    """
    home = _home(dag)
    patterns: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for task in dag.tasks:
        for target in task.targets:
            if is_pattern(place := home(target)):
                patterns[_head(place)].append((place, task.name, target))
    if not patterns:
        return
    heads = sorted(patterns)
    for task in dag.tasks:
        for path in task.inputs or ():
            place = home(path)
            for found in _alike(_head(place), heads):
                for pattern, maker, target in patterns[found]:
                    if maker != task.name and _may_hold(place, pattern):
                        yield Link(task.name, path, maker, target)


def _head(place: str) -> str:
    """What a pattern begins with, or a folder with its slash."""
    return re.split(r"[*?\[]", place, maxsplit=1)[0] if is_pattern(place) else f"{place}/"


def _alike(head: str, heads: Sequence[str]) -> Iterator[str]:
    """Of the sorted heads those that begin with `head`, or with which it begins."""
    at = bisect_left(heads, head)
    while at < len(heads) and heads[at].startswith(head):
        yield heads[at]
        at += 1
    for length in range(len(head)):
        at = bisect_left(heads, head[:length])
        if at < len(heads) and heads[at] == head[:length]:
            yield heads[at]


def _may_hold(place: str, pattern: str) -> bool:
    """Whether an input, another than the pattern of a target, may name what that matches."""
    if is_pattern(place):
        return place != pattern and may_meet(place, pattern)
    return fixed_folder(pattern) == place or place in ancestors(fixed_folder(pattern))


def clashes(dag: Dag) -> list[Clash]:
    """Pairs of targets, as (task index, target as written), that cannot both be promised."""
    home = _home(dag)
    seen: dict[str, tuple[int, str]] = {}
    found = []
    for owner in ((i, target) for i, task in enumerate(dag.tasks) for target in task.targets):
        place = home(owner[1])
        if place in seen:
            found.append(Clash(seen[place], owner))
        else:
            seen[place] = owner
    return found + [_ordered(seen[a], seen[b]) for a, b in _nested(seen)]


def _ordered(one: tuple[int, str], other: tuple[int, str]) -> Clash:
    return Clash(*sorted((one, other), key=lambda owner: owner[0]))


def _nested(seen: dict[str, tuple[int, str]]) -> Iterator[tuple[str, str]]:
    """Pairs of places of which one contains or matches the other."""
    for place in seen:
        for folder in ancestors(fixed_folder(place) + "/." if is_pattern(place) else place):
            if folder in seen:
                yield folder, place
    patterns = [place for place in seen if is_pattern(place)]
    if not patterns:
        return
    literal = PathIndex(place for place in seen if not is_pattern(place))
    for pattern in patterns:
        for place in literal.matching(pattern):
            yield pattern, place


class _Targets:
    """All targets of a DAG by their place, and how inputs find them."""

    def __init__(self, dag: Dag) -> None:
        self._home = _home(dag)
        self.makers: dict[str, list[str]] = defaultdict(list)
        self.written: dict[str, str] = {}
        for task in dag.tasks:
            for target in task.targets:
                place = self._home(target)
                self.makers[place].append(task.name)
                self.written[place] = target
        self._patterns = [place for place in self.makers if is_pattern(place)]
        self._literal = PathIndex(place for place in self.makers if not is_pattern(place))
        self._folders = [p for p, text in self.written.items() if text.endswith("/")]
        self._by_pattern = self._readers_by_target_pattern(dag)
        self._known: dict[str, Sequence[str]] = {}

    def met_by(self, path: str) -> Sequence[str]:
        """The places of the targets that one input meets."""
        if path not in self._known:
            place = self._home(path)
            meet = self._met_by_pattern if is_pattern(place) else self._met_by_literal
            self._known[path] = tuple(dict.fromkeys(meet(place)))
        return self._known[path]

    def _met_by_literal(self, place: str) -> Iterator[str]:
        if place in self.makers:
            yield place
        yield from (folder for folder in ancestors(place) if folder in self.makers)
        yield from self._literal.below(place)
        yield from self._by_pattern.get(place, ())

    def _met_by_pattern(self, pattern: str) -> Iterator[str]:
        if pattern in self.makers:
            yield pattern
        above = ancestors(f"{fixed_folder(pattern)}/.")
        yield from (folder for folder in above if folder in self.makers)
        yield from self._literal.matching(pattern)
        if self._folders:
            may_hold = reaching(pattern)
            yield from (folder for folder in self._folders if may_hold(folder))

    def _readers_by_target_pattern(self, dag: Dag) -> dict[str, list[str]]:
        """Literal inputs by place, with the target patterns that match each."""
        found: dict[str, list[str]] = defaultdict(list)
        if self._patterns:
            places = (self._home(path) for task in dag.tasks for path in task.inputs or ())
            literal = PathIndex(place for place in places if not is_pattern(place))
            for pattern in self._patterns:
                for place in literal.matching(pattern):
                    found[place].append(pattern)
        return found


def _home(dag: Dag) -> Callable[[str], str]:
    """A function that gives every spelling of a path the same text, without its last slash.

    Inside the project that is the relative path, inside the workspace `{workspace}/…`.
    """
    workspace = f"{str(dag.project.parent.parent).rstrip('/')}/"
    inside = f"{WORKSPACE}{dag.project.parent.name}/{dag.project.name}/"

    def place(path: str) -> str:
        if path.startswith(workspace):
            path = WORKSPACE + path[len(workspace) :]
        return path.removeprefix(inside).rstrip("/") or path

    return place
