"""What must hold between the keys of one DAG, and between them and the project's files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import msgspec

from pit.config.dag.dataflow import (
    WORKSPACE,
    WORKSPACE_NAME,
    Link,
    clashes,
    links,
    swallowed,
    unsettled,
)
from pit.config.dag.graph import cycles, reached
from pit.config.dag.placeholders import names_in
from pit.config.keys import braces
from pit.config.keys.instances import Expansion, expanded, listed
from pit.config.keys.values import suggestion
from pit.config.scripts import check_scripts
from pit.config.sqltasks import check_sql_tasks
from pit.config.toml.findings import Findings
from pit.config.toml.position import KeyPath
from pit.errors import nearest
from pit.fs.patterns import fixed_folder, is_pattern
from pit.model import Dag, MatrixSource, Task

SUGGESTIONS = 20
"""So many unknown tasks get a suggestion; more would take too long."""

LONGEST_CYCLE = 12
"""So many members of a cycle are named."""

NEAR = 0.8
"""How like a known name one in braces in `env` must be, from 0 to 1, to be taken for a mistake."""


def check(dag: Dag, findings: Findings) -> None:
    """Add every problem of one DAG that no single key shows.

    A matrix whose values pit.toml lists is seen as its instances, any other as one task.
    """
    _check_names(dag, findings)
    check_scripts(dag, findings)
    _check_params(dag, findings)
    _check_outputs(dag, findings)
    check_sql_tasks(dag, findings)
    braces.check_braces(dag, findings)
    _check_matrices(dag, findings)
    _check_braces(dag, findings)
    axes = {place: found for place, task in enumerate(dag.tasks) if (found := listed(task))}
    check_expansion(dag, expanded(dag, axes, findings), findings)
    if dag.name in dag.requires:
        sentence = f'DAG "{dag.name}" requires itself'
        findings.add(("dag", "requires", dag.name), sentence, on_key=True)


def check_expansion(
    dag: Dag, seen: Expansion, findings: Findings, root: Path | None = None
) -> None:
    """Add every problem of how the tasks of a DAG, or their instances, meet each other.

    `root` is the snapshot that a retry is about, whose links count and not those of the project.
    """
    _check_dependencies(dag, seen, findings)
    told = _Told(dag, seen, findings)
    _check_targets(seen, told)
    _check_links(seen, told, root or seen.dag.project)
    met = links(seen.dag)
    _check_own_targets(seen, met, told)
    _check_cycles(seen, met, told)
    _check_patterns(seen, met, told)


# ---------------------------------------------------------------- names


def _check_names(dag: Dag, findings: Findings) -> None:
    names = (task.name for task in dag.tasks)
    for index, earlier, name in _repeats(names):
        twice = f'two tasks are called "{name}"'
        case = f'task names "{earlier}" and "{name}" differ only in case'
        findings.add(("tasks", index, "name"), twice if name == earlier else case)
    for index, earlier, name in _repeats(output.name for output in dag.outputs):
        if name == earlier and name:
            findings.add(("outputs", index, "name"), f'two outputs are called "{name}"')


def _repeats(names: Iterable[str]) -> Iterator[tuple[int, str, str]]:
    """Index, earlier name and name of each that equals an earlier one but for case."""
    seen: dict[str, str] = {}
    for index, name in enumerate(names):
        if name.lower() in seen:
            yield index, seen[name.lower()], name
        else:
            seen[name.lower()] = name


# ---------------------------------------------------------------- dependencies and parameters


def _check_dependencies(dag: Dag, seen: Expansion, findings: Findings) -> None:
    known = {task.name: None for task in (*dag.tasks, *seen.dag.tasks)}
    later = {task.name for task in seen.dag.tasks if task.matrix}
    unknown = [
        (index, place, name)
        for index, task in enumerate(dag.tasks)
        for place, name in enumerate(task.depends_on)
        if name not in known and name.partition(":")[0] not in later
    ]
    for count, (index, place, name) in enumerate(unknown):
        own = dag.tasks[index].name
        others = [other for other in known if other != own] if count < SUGGESTIONS else ()
        sentence = f'task "{own}" depends on unknown task "{name}"{suggestion(name, others)}'
        unreplaced, hint = braces.told("depends_on", name)
        at = findings.entry(("tasks", index, "depends_on"), place)
        findings.add(at, unreplaced or sentence, hint)


def _check_params(dag: Dag, findings: Findings) -> None:
    known = [param.name for param in dag.params]
    for index, task in enumerate(dag.tasks):
        for place, name in enumerate(task.params or ()):
            if name not in known:
                sentence = f'parameter "{name}" is not declared in [dag.params]'
                at = findings.entry(("tasks", index, "params"), place)
                findings.add(at, sentence + suggestion(name, known))


def _check_outputs(dag: Dag, findings: Findings) -> None:
    known = [task.name for task in dag.tasks]
    for index, output in enumerate(dag.outputs):
        if output.task and output.task not in known:
            sentence = f'unknown task "{output.task}"{suggestion(output.task, known)}'
            findings.add(("outputs", index, "task"), sentence)


# ---------------------------------------------------------------- matrices and names in braces


def _check_matrices(dag: Dag, findings: Findings) -> None:
    params = {param.name for param in dag.params}
    for index, task in enumerate(dag.tasks):
        for key, _ in task.matrix:
            if key in params:
                sentence = f'matrix key "{key}" is also a parameter'
                hint = f"{{{key}}} could mean either; rename one of them"
                findings.add(("tasks", index, "matrix", key), sentence, hint, on_key=True)
    _check_sources(dag, findings)


def _check_sources(dag: Dag, findings: Findings) -> None:
    """The values of a matrix are read before the run, so nothing that a run makes can be meant."""
    sources = {
        f"{index}:{key}": (("tasks", index, "matrix", key), axis.glob or axis.file)
        for index, task in enumerate(dag.tasks)
        for key, axis in task.matrix
        if isinstance(axis, MatrixSource) and (axis.glob or axis.file)
    }
    readers = tuple(Task(name=n, script="", inputs=(p,)) for n, (_, p) in sources.items())
    if not readers:
        return
    for link in links(msgspec.structs.replace(dag, tasks=(*dag.tasks, *readers))):
        if link.reader in sources:
            at, path = sources[link.reader]
            sentence = f'the matrix reads "{path}", which task "{link.maker}" makes'
            findings.add(at, sentence, "The values of a matrix must be there before the run")


def _check_braces(dag: Dag, findings: Findings) -> None:
    declared = [param.name for param in dag.params]
    for index, task in enumerate(dag.tasks):
        got = declared if task.params is None else task.params
        known = [key for key, _ in task.matrix] + [name for name in got if name != WORKSPACE_NAME]
        for key, place, path in _paths_with_braces(task):
            for name in names_in(path):
                if name not in known:
                    at = findings.entry(("tasks", index, key), place)
                    findings.add(at, *_unknown_name(name, task, known, declared))
        for table in task.tables:
            for name in names_in(table):
                if name not in known:
                    sentence, hint = _unknown_name(name, task, known, declared)
                    findings.add(("tasks", index, "targets"), sentence, hint)
        for variable, text in task.env.items():
            for name in names_in(text):
                if name not in known and (near := _nearest(name, known)):
                    sentence = f'unknown name "{{{name}}}"; did you mean "{{{near}}}"?'
                    findings.add(("tasks", index, "env", variable), sentence)


def _nearest(name: str, known: Sequence[str]) -> str | None:
    """The name that was meant, if one is so near that it is hardly another word's."""
    from difflib import get_close_matches  # most names are known

    return next(iter(get_close_matches(name, known, n=1, cutoff=NEAR)), None)


def _paths_with_braces(task: Task) -> Iterator[tuple[str, int, str]]:
    """Key, place and text of the paths in which there may be names; the workspace left out."""
    for key, paths in (("inputs", task.inputs or ()), ("targets", task.targets)):
        for place, path in enumerate(paths):
            if "{" in path:
                yield key, place, path.removeprefix(WORKSPACE)


def _unknown_name(
    name: str, task: Task, known: Sequence[str], declared: Sequence[str]
) -> tuple[str, str]:
    """A sentence about a name in a path, and a hint."""
    if name == WORKSPACE_NAME:
        return f'"{WORKSPACE}" can only stand at the beginning of a path', ""
    if name in declared:
        return f'task "{task.name}" does not get the parameter "{name}"', "Add it to its params"
    near = nearest(name, known)
    meant = f'; did you mean "{{{near}}}"?' if near else ""
    hint = "Names in braces are keys of the task's matrix and parameters of the DAG"
    return f'unknown name "{{{name}}}"{meant}', "" if near else hint


# ---------------------------------------------------------------- targets


def _check_targets(seen: Expansion, told: _Told) -> None:
    tasks = seen.dag.tasks
    for (first, earlier), (index, target) in clashes(seen.dag):
        if first == index and earlier == target and not tasks[index].instance_of:
            continue  # a repeat within one list, which its kind has reported
        sentence = _clash(tasks[first], earlier, tasks[index], target)
        told.add(index, "targets", target, sentence, _clash_hint(tasks[first], tasks[index]))
    for index, target, file in swallowed(seen.dag):
        sentence = f'target "{target}" would overwrite a file that the DAG is made of'
        hint = ""
        if target != file:
            verb = "may match" if is_pattern(target) else "holds"
            sentence = f'target "{target}" {verb} {file}, which the DAG is made of'
            hint = "Let the task write into a folder of its own, such as out/"
        told.add(index, "targets", target, sentence, hint)


def _check_links(seen: Expansion, told: _Told, root: Path) -> None:
    """No link leads a target out of the project."""
    project = os.path.realpath(root)

    @cache
    def link_above(place: str) -> str:
        """The first link at a place or on the way to it that leads out; empty if none does."""
        if not place:
            return ""
        if above := link_above(place.rpartition("/")[0]):
            return above
        path = f"{project}/{place}"
        leads_out = os.path.islink(path) and not f"{os.path.realpath(path)}/".startswith(
            f"{project}/"
        )
        return place if leads_out else ""

    for index, task in enumerate(seen.dag.tasks):
        for target in task.targets:
            if target.startswith(("/", WORKSPACE)):
                continue
            place = fixed_folder(target) if is_pattern(target) else target.rstrip("/")
            if link := link_above(place):
                told.add(index, "targets", target, *_link_out(project, target, link))


def _link_out(project: str, target: str, link: str) -> tuple[str, str]:
    aim = os.path.realpath(f"{project}/{link}")
    sentence = f'target "{target}": {link} is a link that leads out of the project, to {aim}'
    return sentence, (
        f'Let the task write there itself: a target that is absolute or begins with "{WORKSPACE}"'
    )


def _clash(first: Task, earlier: str, task: Task, target: str) -> str:
    if first.name == task.name:
        return f'task "{task.name}" has the target "{target}" twice'
    if earlier.rstrip("/") != target.rstrip("/"):
        return (
            f'target "{target}" of task "{task.name}" overlaps target "{earlier}" of task '
            f'"{first.name}"'
        )
    return f'tasks "{first.name}" and "{task.name}" have the same target "{target}"'


def _clash_hint(first: Task, task: Task) -> str:
    if not task.instance_of or first.instance_of != task.instance_of:
        return "Every target needs one task that makes it"
    keys = " and ".join(
        f"{{{key}}}" for key, value in task.values.items() if first.values[key] != value
    )
    return f"Every instance needs a target of its own: put {keys} into its path" if keys else ""


def _check_own_targets(seen: Expansion, met: Sequence[Link], told: _Told) -> None:
    own = [link for link in met if link.reader == link.maker]
    index = {task.name: place for place, task in enumerate(seen.dag.tasks)} if own else {}
    for link in own:
        hint = "A task must not read what it makes itself"
        told.add(index[link.reader], "inputs", link.input, _own_target(link), hint)


def _own_target(link: Link) -> str:
    if link.input.rstrip("/") == link.target.rstrip("/"):
        return f'"{link.input}" is both an input and a target of task "{link.reader}"'
    verb = "matches" if is_pattern(link.input) else "meets"
    return f'input "{link.input}" of task "{link.reader}" {verb} its own target "{link.target}"'


class _Told:
    """Problems of an expanded DAG, at the keys that pit.toml has for the task or instance.

    What is wrong with one entry of a task's list is said for the first instance alone.
    """

    def __init__(self, dag: Dag, seen: Expansion, findings: Findings) -> None:
        self._dag, self._seen, self._findings = dag, seen, findings
        self._places: set[KeyPath] = set()

    def add(self, index: int, key: str, text: str, sentence: str, hint: str = "") -> None:
        """Note a problem with one of the texts that task number `index` lists under a key."""
        at = self._at(index, key, text)
        if self._seen.dag.tasks[index].instance_of:
            if at in self._places:
                return
            self._places.add(at)
        self._findings.add(at, sentence, hint)

    def depends(self, index: int, name: str) -> bool:
        """Whether task number `index` says itself that it depends on `name`."""
        return name in self._seen.dag.tasks[index].depends_on

    def _at(self, index: int, key: str, text: str) -> KeyPath:
        """Where pit.toml has that text, or the key if it cannot be told."""
        origin = self._seen.origins[index]
        prefix = ("tasks", origin, key)
        texts: Sequence[str] = getattr(self._seen.dag.tasks[index], key) or ()
        if key == "depends_on":
            texts = self._dag.tasks[origin].depends_on
            text = text if text in texts else text.partition(":")[0]
        return self._findings.entry(prefix, texts.index(text)) if text in texts else prefix


def _check_patterns(seen: Expansion, met: Sequence[Link], told: _Told) -> None:
    """Between a pattern of a target and another that it may meet, the order must be written."""
    found = list(unsettled(seen.dag))
    if not found:
        return
    graph: dict[str, set[str]] = {task.name: set(task.depends_on) for task in seen.dag.tasks}
    for link in met:
        graph[link.reader].add(link.maker)
    index = {task.name: place for place, task in enumerate(seen.dag.tasks)}
    above = cache(lambda name: reached({name}, graph))
    said: set[tuple[str, str, str]] = set()
    for link in found:
        if link.maker in above(link.reader) or link.reader in above(link.maker):
            continue
        maker = seen.dag.tasks[index[link.maker]].instance_of or link.maker
        if (link.reader, link.input, maker) in said:
            continue
        said.add((link.reader, link.input, maker))
        verb = "may match" if is_pattern(link.input) else "holds"
        sentence = (
            f'input "{link.input}" of task "{link.reader}" {verb} what task "{maker}" makes as '
            f'"{link.target}", and nothing says which of them comes first'
        )
        hint = f'Write it: depends_on = ["{maker}"], or patterns that cannot meet'
        told.add(index[link.reader], "inputs", link.input, sentence, hint)


# ---------------------------------------------------------------- cycles


def _check_cycles(seen: Expansion, met: Sequence[Link], told: _Told) -> None:
    reads: dict[tuple[str, str], Link] = {}
    graph = {task.name: list(task.depends_on) for task in seen.dag.tasks}
    for link in met:
        if link.reader != link.maker:
            reads.setdefault((link.reader, link.maker), link)
            graph[link.reader].append(link.maker)
    found = cycles(graph)
    if not found:
        return
    index = {task.name: place for place, task in enumerate(seen.dag.tasks)}
    for members in found:
        _add_cycle(members, index, reads, told)


def _add_cycle(
    members: tuple[str, ...],
    index: dict[str, int],
    reads: dict[tuple[str, str], Link],
    told: _Told,
) -> None:
    """One cycle, at the line that makes its first member depend on its second."""
    why = []
    places: list[tuple[int, str, str]] = []
    for name, dependency in zip(members, (*members[1:], members[0]), strict=True):
        if told.depends(index[name], dependency):
            places.append((index[name], "depends_on", dependency))
            continue
        link = reads[name, dependency]
        places.append((index[name], "inputs", link.input))
        why.append(f'"{name}" reads "{link.input}", which "{dependency}" makes')
    told.add(*places[0], _cycle(members), "; ".join(why[:LONGEST_CYCLE]))


def _cycle(members: tuple[str, ...]) -> str:
    if len(members) == 1:
        return f'task "{members[0]}" depends on itself'
    shown = list(members)
    if len(shown) > LONGEST_CYCLE:
        left_out = len(shown) - LONGEST_CYCLE
        shown[LONGEST_CYCLE - 1 : -1] = [f"… ({left_out} more) …"]
    return f"dependency cycle: {' → '.join((*shown, members[0]))}"
