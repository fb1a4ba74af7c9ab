"""What a task's `script` must be: one file of the project, with a runner for it."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from pit.config.dag.nearby import files, nearest_file
from pit.config.keys import runners
from pit.config.keys.values import command_told, is_command, shown
from pit.config.toml.findings import Findings
from pit.model import Dag, Task

SUGGESTIONS = 20
"""So many missing scripts get a suggestion; more would take too long."""

_MISSING = "not found"

_COMMAND_BY_EXTENSION = {
    ".r": "$ Rscript",
    ".rmd": "$ Rscript -e 'rmarkdown::render(commandArgs(TRUE))'",
    ".qmd": "$ quarto render",
    ".js": "$ node",
    ".mjs": "$ node",
    ".cjs": "$ node",
    ".ts": "$ npx tsx",
    ".ipynb": "$ jupyter execute",
    ".jl": "$ julia",
    ".rb": "$ ruby",
    ".pl": "$ perl",
    ".php": "$ php",
    ".lua": "$ lua",
    ".awk": "$ awk -f",
    ".go": "$ go run",
    ".java": "$ java",
    ".scala": "$ scala",
    ".kts": "$ kotlinc -script",
    ".ps1": "$ pwsh -File",
    ".zsh": "$ zsh",
    ".fish": "$ fish",
    ".ksh": "$ ksh",
    ".bash": "bash",
    ".pyw": "python",
    ".mk": "$ make -f",
    ".do": "$ stata -b do",
    ".m": "$ octave",
    ".gp": "$ gnuplot",
}
"""What usually runs files of other kinds, by extension in small letters."""


def check_scripts(dag: Dag, findings: Findings) -> None:
    """Add every problem of the scripts: each a file that is there, and that something runs."""
    project = str(dag.project)
    known: dict[str, str] = {}
    missing: list[int] = []
    for index, task in enumerate(dag.tasks):
        if not task.script:
            continue
        if task.script not in known:
            known[task.script] = _file_problem(f"{project}/{task.script}")
        problem = known[task.script]
        if problem == _MISSING:
            missing.append(index)
        elif problem:
            findings.add(("tasks", index, "script"), f'script "{task.script}" {problem}')
        if not problem:
            _check_runner(task, index, findings)
    _add_missing(dag, missing, findings)


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


def _check_runner(task: Task, index: int, findings: Findings) -> None:
    """A script whose runner is neither written nor told by its extension."""
    if task.runner is not None or findings.doubts(("tasks", index, "runner")):
        return
    extension = runners.extension_of(task.script)
    if extension in runners.BY_EXTENSION:
        return
    what = f"for {extension} scripts" if extension else "for a script without extension"
    runner = _COMMAND_BY_EXTENSION.get(extension.lower())
    hint = f"Write its runner: runner = {shown(runner)}"
    if runner is None:
        usual = ", ".join(shown(one) for one in runners.NAMES)
        hint = f'Set runner to {usual}, or a command: runner = "$ node"'
    if not extension:
        hint += '; with #! and chmod +x it runs by runner = "$ env"'
    findings.add(("tasks", index, "script"), f"there is no runner {what}", hint)


def _add_missing(dag: Dag, missing: Sequence[int], findings: Findings) -> None:
    """Scripts that are not there: mistyped, or commands where a file should stand."""
    known = list(files(str(dag.project))) if missing else []
    for count, index in enumerate(missing):
        task, at = dag.tasks[index], ("tasks", index, "script")
        near = nearest_file(task.script, known) if count < SUGGESTIONS else None
        if is_command(task.script) and not (near and is_command(near)):
            findings.add(at, *command_told(task.script, known))
            continue
        meant = f'; did you mean "{near}"?' if near else ""
        findings.add(at, f'script "{task.script}" {_MISSING}{meant}')
        if not near:
            _check_runner(task, index, findings)
