"""What can be foreseen of the files and programs that tasks name: will it run, here?

What can never run is a problem. What cannot run on this machine, or in the state that the project
is in, is a warning: another machine, or another task, may make up for it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pit.config.dag.dataflow import WORKSPACE, links
from pit.config.dag.placeholders import names_in
from pit.config.project import FILE
from pit.config.toml.findings import Findings, label
from pit.engine.planning.forecast import gaps
from pit.engine.staleness.planner import Gap
from pit.fs.patterns import is_pattern
from pit.model import Dag, Problem, Task
from pit.views.validation.remarks import Remarks

_LARGEST = 1 << 20
"""Bytes; a larger script is not compiled to see whether it can be."""
_BLOCK = b"# /// script"


def check(dags: Sequence[Dag], workspace: Path) -> Remarks:
    """What there is to say of the files of all DAGs, none of which is broken."""
    problems: list[Problem] = []
    likely: list[Problem] = []
    notes: list[str] = []
    for dag in dags:
        findings = Findings(*_file(dag.project / FILE, workspace))
        _check_programs(dag, findings)
        missing = _missing(dag, dags, workspace)
        _check_inputs(dag, missing, findings)
        notes += _absent(dag, missing)
        notes += _unnamed_parameters(dag)
        for script, own in _python_scripts(dag).items():
            found = _syntax(dag.project / script, workspace)
            (problems if own else likely).extend(found)
        likely += findings.problems()
    return Remarks(tuple(problems), tuple(likely), tuple(notes))


def _file(path: Path, workspace: Path) -> tuple[str, str]:
    try:
        return label(path, workspace), path.read_text("utf-8", "replace")
    except OSError:
        return label(path, workspace), ""


# ---------------------------------------------------------------- programs


def _check_programs(dag: Dag, findings: Findings) -> None:
    """Runners whose program is not installed, and scripts that `env` could not execute."""
    known: dict[tuple[str, str], bool] = {}
    for index, task in enumerate(dag.tasks):
        words = _words(task)
        if not words:
            continue
        path = {**dag.env, **task.env}.get("PATH", "")
        program = words[0]
        if (program, path) not in known:
            known[program, path] = _is_there(program, path, dag.project)
            if not known[program, path]:
                sentence, hint = _unusable(program, dag.project)
                findings.add(("tasks", index, "runner"), sentence, hint)
        if _executes(words) and not os.access(dag.project / task.script, os.X_OK):
            hint = _make_executable(dag.project / task.script)
            sentence = f'script "{task.script}" is not executable, and "$ env" executes it'
            findings.add(("tasks", index, "script"), sentence, hint)


def _words(task: Task) -> list[str]:
    if not task.runner or not task.runner.startswith("$"):
        return []
    return shlex.split(task.runner.removeprefix("$"))


def _is_there(program: str, path: str, project: Path) -> bool:
    """Whether a task would find a program; that of a Python environment is not looked for."""
    if "/" in program:
        return os.access(project / program, os.X_OK)
    if shutil.which(program, path=path or None) is not None:
        return True
    return (project / "pyproject.toml").exists()


def _unusable(program: str, project: Path) -> tuple[str, str]:
    """What is wrong with the program of a runner, and what to do."""
    if "/" in program and (project / program).is_file():
        sentence = f'the program "{program}" of this runner is not executable'
        return sentence, _make_executable(project / program)
    sentence = f'the program "{program}" of this runner is not found'
    return sentence, "Install it, or put its folder into PATH; a run here would fail"


def _make_executable(file: Path) -> str:
    return f"Make it so: chmod +x {shlex.quote(os.path.relpath(file))}"


def _executes(words: Sequence[str]) -> bool:
    """Whether a command executes the script that follows it, as `env` does."""
    name = os.path.basename(words[0])
    return name == "env" and all("=" in word or word.startswith("-") for word in words[1:])


# ---------------------------------------------------------------- inputs


def _missing(dag: Dag, dags: Iterable[Dag], workspace: Path) -> list[Gap]:
    """The literal inputs that are not there and that no task of any DAG makes."""
    made = {(link.reader, link.input) for link in links(dag)}
    lacking = [
        Gap(task=task.name, input=path)
        for task in dag.tasks
        for path in task.inputs or ()
        if not is_pattern(path) and not names_in(path.removeprefix(WORKSPACE))
        if (task.name, path) not in made and not os.path.lexists(_path(dag, path, workspace))
    ]
    others = [other for other in dags if other.name != dag.name]
    found = gaps(lacking, dag.tasks, dag.project, workspace, lambda: others)
    return [gap for gap in found if not gap.maker]


def _path(dag: Dag, path: str, workspace: Path) -> Path:
    if path.startswith(WORKSPACE):
        return workspace / path.removeprefix(WORKSPACE)
    return dag.project / path


def _check_inputs(dag: Dag, missing: Iterable[Gap], findings: Findings) -> None:
    """Inputs that are not there, where another is like it."""
    index = {task.name: place for place, task in enumerate(dag.tasks)}
    for gap in missing:
        if gap.meant:
            inputs = dag.tasks[index[gap.task]].inputs or ()
            at = findings.entry(("tasks", index[gap.task], "inputs"), inputs.index(gap.input))
            sentence = f'input "{gap.input}" is not there; did you mean "{gap.meant}"?'
            findings.add(at, sentence)


def _absent(dag: Dag, missing: Iterable[Gap]) -> Iterator[str]:
    for gap in missing:
        if not gap.meant:
            what = f"reads {gap.input}, which is not there, and no task makes it"
            yield f"{dag.name}/{gap.task} {what}"


# ---------------------------------------------------------------- parameters


def _unnamed_parameters(dag: Dag) -> Iterator[str]:
    """Tasks that take a parameter and make the same file whatever its value is."""
    for param in dag.params:
        names = [task.name for task in dag.tasks if _overwrites(task, param.name)]
        if names:
            verb = "takes" if len(names) == 1 else "take"
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
            yield (
                f"{dag.name}: {shown} {verb} the parameter {param.name} and has one target for all "
                f"its values, so each other value makes it again; put {{{param.name}}} into the "
                "target's path, or leave the parameter out of the task's params"
            )


def _overwrites(task: Task, param: str) -> bool:
    tracked = task.inputs is not None and not task.always
    takes = task.params is None or param in task.params
    return bool(tracked and takes and task.targets) and not any(
        f"{{{param}}}" in target for target in task.targets
    )


# ---------------------------------------------------------------- Python


def _python_scripts(dag: Dag) -> dict[str, bool]:
    """The Python scripts of a DAG, and whether the Python that Pit runs on will run them."""
    own = not (dag.project / "pyproject.toml").exists()
    return {task.script: own for task in dag.tasks if task.runner == "python" and task.script}


def _syntax(script: Path, workspace: Path) -> Iterator[Problem]:
    """What keeps a script from being compiled, at its line."""
    try:
        source = script.read_bytes()
    except OSError:
        return
    if len(source) > _LARGEST or _BLOCK in source:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, str(script), "exec", dont_inherit=True)
    except SyntaxError as error:
        sentence = f"this is not valid Python: {error.msg}"
        findings = Findings(*_file(script, workspace))
        findings.add_at((error.lineno or 1, max(error.offset or 1, 1)), sentence)
        yield from findings.problems()
    except (ValueError, RecursionError, MemoryError):
        return  # Python itself will say what is wrong with it
