"""A DAG as the shapes of a picture: one for each task, or for all instances of a matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from pit.config.dag import graph as dependencies
from pit.engine.planning.select import selected
from pit.model import Dag
from pit.text.control import printable
from pit.views.graph.picture import Picture, Shape, Standing
from pit.views.graph.standings import Standings


def part_of(dag: Dag, selection: str | None) -> Dag:
    """The DAG with its implied dependencies, or that part of it which has to do with a task."""
    whole = dependencies.implied(dag)
    if not selection:
        return whole
    signed = selection.startswith("+") or selection.endswith("+")
    names = selected(dag, selection if signed else f"+{selection}+")
    tasks = [
        replace(task, depends_on=tuple(name for name in task.depends_on if name in names))
        for task in whole.tasks
        if task.name in names
    ]
    return replace(whole, tasks=tuple(tasks))


def picture_of(dag: Dag, known: Standings, instances: bool) -> Picture:
    """The picture, with the instances of a matrix as one shape unless asked otherwise."""
    home = {task.name: task.instance_of or task.name for task in dag.tasks}
    edges = _gathered(dag, home)
    if instances or dependencies.cycle(edges):
        home = {name: name for name in home}
        edges = _gathered(dag, home)
    members: dict[str, list[str]] = {}
    for name, group in home.items():
        members.setdefault(group, []).append(name)
    runners = {home[task.name]: task.runner or "" for task in dag.tasks}
    matrices = {task.name for task in dag.tasks if task.matrix}
    shapes = [_shape(group, runners[group], names, known) for group, names in members.items()]
    shapes = [replace(each, matrix=True) if each.name in matrices else each for each in shapes]
    return Picture(
        title=dag.name, shapes=tuple(shapes), edges=edges, description=printable(dag.description)
    )


def _gathered(dag: Dag, home: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """What each shape depends on; what happens within one is left out."""
    found: dict[str, dict[str, None]] = {}
    for task in dag.tasks:
        group = home[task.name]
        sources = found.setdefault(group, {})
        sources |= dict.fromkeys(home[name] for name in task.depends_on if home[name] != group)
    return {group: tuple(sources) for group, sources in found.items()}


def _shape(name: str, runner: str, members: Sequence[str], known: Standings) -> Shape:
    """One task, or all instances of one; these stand as the worst of them does."""
    standing, word, why = None, "", ""
    facts = [known[member] for member in members if member in known]
    if facts:
        standing = min((fact.standing for fact in facts), key=list(Standing).index)
        same = [fact for fact in facts if fact.standing is standing]
        word = standing if len(same) == len(facts) else f"{len(same)} of {len(facts)} {standing}"
        why = same[0].why
    return Shape(
        name=name,
        runner=runner,
        standing=standing,
        word=word,
        why=printable(why),
        matrix=members[0] != name,
        instances=len(members) if members[0] != name else 0,
    )
