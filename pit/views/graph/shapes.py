"""A DAG as the shapes of a picture: one for each task, or for all instances of a matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from pit.config.dag.expanded import ExpandedDag
from pit.config.dag.graph import Edges, cycle
from pit.engine.target.select import selected
from pit.text.control import printable
from pit.views.graph.picture import Picture, Shape, Standing
from pit.views.graph.standings import Standings


def part_of(dag: ExpandedDag, selection: str) -> dict[str, tuple[str, ...]]:
    """What each task needs, of the whole DAG, or of what has to do with the selected tasks."""
    if not selection:
        return dict(dag.needs)
    signed = selection.startswith("+") or selection.endswith("+")
    names = selected(dag, selection if signed else f"+{selection}+")
    return {
        name: tuple(each for each in needs if each in names)
        for name, needs in dag.needs.items()
        if name in names
    }


def picture_of(dag: ExpandedDag, part: Edges, known: Standings, instances: bool) -> Picture:
    """A part of the DAG, with the instances of a matrix as one shape unless asked otherwise."""
    tasks = [dag.tasks[name] for name in part]
    home = {task.name: task.instance_of or task.name for task in tasks}
    edges = _gathered(part, home)
    if instances or cycle(edges):
        home = {name: name for name in home}
        edges = _gathered(part, home)
    members: dict[str, list[str]] = {}
    for name, group in home.items():
        members.setdefault(group, []).append(name)
    runners = {home[task.name]: task.runner or "" for task in tasks}
    matrices = {task.name for task in tasks if task.matrix}
    shapes = [_shape(group, runners[group], names, known) for group, names in members.items()]
    shapes = [replace(each, matrix=True) if each.name in matrices else each for each in shapes]
    return Picture(
        title=dag.name,
        shapes=tuple(shapes),
        edges=edges,
        description=printable(dag.declared.description),
    )


def _gathered(part: Edges, home: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """What each shape depends on; what happens within one is left out."""
    found: dict[str, dict[str, None]] = {}
    for name, needs in part.items():
        group = home[name]
        sources = found.setdefault(group, {})
        sources |= dict.fromkeys(home[each] for each in needs if home[each] != group)
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
