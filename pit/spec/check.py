"""What must hold between the keys of one DAG, and between them and the project's files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence

from pit.errors import nearest
from pit.model import Dag, Task
from pit.spec.dataflow import Link, clashes, links
from pit.spec.findings import Findings
from pit.spec.graph import cycles
from pit.spec.patterns import is_pattern
from pit.spec.position import KeyPath
from pit.spec.values import suggestion

SUGGESTIONS = 20
"""So many missing scripts or tasks get a suggestion; more would take too long."""

LONGEST_CYCLE = 12
"""So many members of a cycle are named."""

FILES_SEEN = 5_000
"""So many files of a project are looked at for suggestions."""


def check(dag: Dag, findings: Findings) -> None:
    """Add every problem of one DAG that no single key shows."""
    _check_names(dag, findings)
    _check_scripts(dag, findings)
    _check_dependencies(dag, findings)
    _check_params(dag, findings)
    _check_targets(dag, findings)
    met = links(dag)
    _check_own_targets(dag, met, findings)
    _check_cycles(dag, met, findings)
    if dag.name in dag.requires:
        sentence = f'DAG "{dag.name}" requires itself'
        findings.add(("dag", "requires", dag.name), sentence, on_key=True)


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


# ---------------------------------------------------------------- scripts


def _check_scripts(dag: Dag, findings: Findings) -> None:
    project = str(dag.project)
    known: dict[str, str] = {"": ""}
    missing: list[tuple[int, str]] = []
    for index, task in enumerate(dag.tasks):
        if task.script not in known:
            known[task.script] = _file_problem(f"{project}/{task.script}")
        if known[task.script] == _MISSING:
            missing.append((index, task.script))
        elif known[task.script]:
            sentence = f'script "{task.script}" {known[task.script]}'
            findings.add(("tasks", index, "script"), sentence)
    _add_missing(project, missing, findings)


_MISSING = "not found"


def _file_problem(path: str) -> str:
    """What keeps a path from being a script, as the end of a sentence; empty if nothing does."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "is a link that leads nowhere" if os.path.islink(path) else _MISSING
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"
    if stat.S_ISREG(mode):
        return ""
    return "is a folder" if stat.S_ISDIR(mode) else "is not a regular file"


def _add_missing(project: str, missing: list[tuple[int, str]], findings: Findings) -> None:
    files = list(_files(project)) if missing else []
    for count, (index, script) in enumerate(missing):
        near = _nearest_file(script, files) if count < SUGGESTIONS else None
        meant = f'; did you mean "{near}"?' if near else ""
        findings.add(("tasks", index, "script"), f'script "{script}" {_MISSING}{meant}')


def _nearest_file(script: str, files: Sequence[str]) -> str | None:
    name = os.path.basename(script).lower()
    moved = [path for path in files if os.path.basename(path).lower() == name]
    return moved[0] if len(moved) == 1 else nearest(script, files)


def _files(project: str) -> Iterator[str]:
    """Paths of files in the project, hidden folders left out, at most `FILES_SEEN`."""
    seen = 0
    for folder, folders, names in os.walk(project):
        folders[:] = sorted(name for name in folders if name[0] != "." and name[:2] != "__")
        for name in sorted(names):
            seen += 1
            if seen > FILES_SEEN:
                return
            yield os.path.relpath(os.path.join(folder, name), project)


# ---------------------------------------------------------------- dependencies and parameters


def _check_dependencies(dag: Dag, findings: Findings) -> None:
    known = {task.name: None for task in dag.tasks}
    unknown = [
        (index, place, name)
        for index, task in enumerate(dag.tasks)
        for place, name in enumerate(task.depends_on)
        if name not in known
    ]
    for count, (index, place, name) in enumerate(unknown):
        own = dag.tasks[index].name
        others = [other for other in known if other != own] if count < SUGGESTIONS else ()
        sentence = f'task "{own}" depends on unknown task "{name}"{suggestion(name, others)}'
        findings.add(("tasks", index, "depends_on", place), sentence)


def _check_params(dag: Dag, findings: Findings) -> None:
    known = [param.name for param in dag.params]
    for index, task in enumerate(dag.tasks):
        for place, name in enumerate(task.params or ()):
            if name not in known:
                sentence = f'parameter "{name}" is not declared in [dag.params]'
                at = ("tasks", index, "params", place)
                findings.add(at, sentence + suggestion(name, known))


# ---------------------------------------------------------------- targets


def _check_targets(dag: Dag, findings: Findings) -> None:
    for (first, earlier), (index, target) in clashes(dag):
        if first == index and earlier == target:
            continue  # a repeat within one list, which its kind has reported
        at = _at(dag.tasks[index].targets, ("tasks", index, "targets"), target)
        sentence = _clash(dag.tasks[first], earlier, dag.tasks[index], target)
        findings.add(at, sentence, "Every target needs one task that makes it")
    scripts = {task.script for task in dag.tasks} | {"pit.toml"}
    for index, task in enumerate(dag.tasks):
        for place, target in enumerate(task.targets):
            if target in scripts:
                sentence = f'target "{target}" would overwrite a file that the DAG is made of'
                findings.add(("tasks", index, "targets", place), sentence)


def _clash(first: Task, earlier: str, task: Task, target: str) -> str:
    if earlier.rstrip("/") != target.rstrip("/"):
        return (
            f'target "{target}" of task "{task.name}" overlaps target "{earlier}" of task '
            f'"{first.name}"'
        )
    return f'tasks "{first.name}" and "{task.name}" have the same target "{target}"'


def _check_own_targets(dag: Dag, met: Sequence[Link], findings: Findings) -> None:
    own = [link for link in met if link.reader == link.maker]
    if not own:
        return
    index = {task.name: place for place, task in enumerate(dag.tasks)}
    for link in own:
        place = index[link.reader]
        at = _at(dag.tasks[place].inputs or (), ("tasks", place, "inputs"), link.input)
        findings.add(at, _own_target(link), "A task must not read what it makes itself")


def _own_target(link: Link) -> str:
    if link.input.rstrip("/") == link.target.rstrip("/"):
        return f'"{link.input}" is both an input and a target of task "{link.reader}"'
    verb = "matches" if is_pattern(link.input) else "meets"
    return f'input "{link.input}" of task "{link.reader}" {verb} its own target "{link.target}"'


def _at(paths: Sequence[str], prefix: KeyPath, path: str) -> KeyPath:
    return (*prefix, paths.index(path)) if path in paths else prefix


# ---------------------------------------------------------------- cycles


def _check_cycles(dag: Dag, met: Sequence[Link], findings: Findings) -> None:
    reads: dict[tuple[str, str], Link] = {}
    graph = {task.name: list(task.depends_on) for task in dag.tasks}
    for link in met:
        if link.reader != link.maker:
            reads.setdefault((link.reader, link.maker), link)
            graph[link.reader].append(link.maker)
    found = cycles(graph)
    index = {task.name: place for place, task in enumerate(dag.tasks)} if found else {}
    for members in found:
        _add_cycle(dag, members, index, reads, findings)


def _add_cycle(
    dag: Dag,
    members: tuple[str, ...],
    index: dict[str, int],
    reads: dict[tuple[str, str], Link],
    findings: Findings,
) -> None:
    """One cycle, at the line that makes its first member depend on its second."""
    why = []
    places: list[KeyPath] = []
    for name, dependency in zip(members, (*members[1:], members[0]), strict=True):
        task = dag.tasks[index[name]]
        if dependency in task.depends_on:
            places.append(_at(task.depends_on, ("tasks", index[name], "depends_on"), dependency))
            continue
        link = reads[name, dependency]
        places.append(_at(task.inputs or (), ("tasks", index[name], "inputs"), link.input))
        why.append(f'"{name}" reads "{link.input}", which "{dependency}" makes')
    findings.add(places[0], _cycle(members), "; ".join(why[:LONGEST_CYCLE]))


def _cycle(members: tuple[str, ...]) -> str:
    if len(members) == 1:
        return f'task "{members[0]}" depends on itself'
    shown = list(members)
    if len(shown) > LONGEST_CYCLE:
        left_out = len(shown) - LONGEST_CYCLE
        shown[LONGEST_CYCLE - 1 : -1] = [f"… ({left_out} more) …"]
    return f"dependency cycle: {' → '.join((*shown, members[0]))}"
