"""doit's own commands on Pit's tasks: what takes the place of each, and of doit's database.

A `dodo.py` makes a `Face`, and doit finds the tasks in it. From then on, in this process, `list`
and `info` show what Pit knows, `run`, `forget` and `clean` are carried out as `pit` command lines,
and the rest answers with the Pit command to use. That relies on doit's inner names, so it is done
for the version of doit that it was written against, and refused for any other.
"""

from __future__ import annotations

import fnmatch
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from doit import (
    cmd_base,
    cmd_clean,
    cmd_dumpdb,
    cmd_forget,
    cmd_ignore,
    cmd_info,
    cmd_list,
    cmd_resetdep,
    cmd_run,
    cmd_strace,
    doit_cmd,
    loader,
    version,
)
from doit.control import TaskControl
from doit.task import Task as DoitTask

from pit.engine.doit.status import DEFERRED, Outside, Status
from pit.engine.doit.tasks import Mirror
from pit.errors import BadArgument, SetupError, nearest

DODO = "dodo.py"
DOIT = (0, 37)
"""The version of doit whose commands are known here."""

_STOPPED = (129, 130, 143)


class Face:
    """The tasks of the workspace at `root`, or of its one project `only`, for doit."""

    def __init__(self, root: Path, outside: Outside, only: Path | None = None) -> None:
        self._mirror = Mirror(root, outside, only)
        with self._mirror.guarded():
            _check_version()
        _install(self._mirror)

    def create_doit_tasks(self) -> Iterator[DoitTask]:
        """Called by doit, which takes this object for a maker of tasks."""
        yield from self._mirror.tasks()


def main(arguments: Sequence[str], root: Path, face: Callable[[], Face]) -> int:
    """Runs doit on the workspace at `root`: by its dodo.py, or by `face` where it has none."""
    _check_version()
    doit = doit_cmd.DoitMain(
        _by_file(root / DODO) if (root / DODO).exists() else _by_face(root, face),
        extra_config={"COMMAND": {"dumpdb": "pit.engine.doit.commands:DumpDB"}},
    )
    doit.BIN_NAME = "pit doit"
    try:
        code = doit.run(list(arguments))
    except SystemExit as stop:
        if isinstance(stop.code, str):
            raise SetupError(stop.code) from None
        code = stop.code
    return code if isinstance(code, int) else 0


def _by_file(dodo: Path) -> Any:
    """A loader for which dodo.py is that of the workspace, wherever doit was called."""
    found = cmd_base.DodoTaskLoader()
    setup = found.setup

    def setup_there(values: Any) -> None:
        if values["dodoFile"] == DODO and not values["seek_file"]:
            values["dodoFile"] = str(dodo)
        setup(values)

    found.setup = setup_there
    return found


def _by_face(root: Path, face: Callable[[], Face]) -> Any:
    """A loader that needs no dodo.py."""
    found = cmd_base.ModuleTaskLoader({})

    def setup_here(values: Any) -> None:
        loader.initial_workdir = os.getcwd()
        os.chdir(root)
        found.namespace = {"tasks": face()}

    found.setup = setup_here
    return found


def _check_version() -> None:
    if tuple(version.VERSION[:2]) != DOIT:
        have, want = (".".join(map(str, numbers)) for numbers in (version.VERSION, DOIT))
        raise SetupError(
            f"doit {have} is installed, and Pit knows the commands of doit {want}",
            f"Install the one that Pit asks for: pip install 'doit=={want}.*'",
        )


def _install(mirror: Mirror) -> None:
    """Puts Pit's in the place of doit's commands and database, for the rest of this process."""
    cmd_base.Dependency = lambda *_args, **_options: Database(mirror)
    commands = Commands(mirror)
    cmd_list.List.STATUS_MAP = {**cmd_list.List.STATUS_MAP, DEFERRED: "D"}
    cmd_info.Info.get_reasons = staticmethod(_reasons)
    cmd_info.Info._execute = _checked(cmd_info.Info._execute)
    cmd_run.Run._execute = _guarded(mirror, commands.run)
    cmd_forget.Forget._execute = _guarded(mirror, commands.forget)
    cmd_clean.Clean._execute = _guarded(mirror, commands.clean)
    cmd_ignore.Ignore._execute = _guarded(mirror, commands.ignore)
    cmd_resetdep.ResetDep._execute = _guarded(mirror, commands.reset_dep)
    cmd_strace.Strace._execute = _guarded(mirror, commands.strace)


def _guarded(mirror: Mirror, function: Callable[..., int]) -> Callable[..., int]:
    """A method of a doit command; doit passes the options that the function's parameters name."""

    @wraps(function)
    def execute(command: Any, /, **options: Any) -> int:
        with mirror.guarded():
            return function(command, **options)

    return execute


def _checked(info: Callable[..., int]) -> Callable[..., int]:
    """`doit info`, which shows a traceback for a name that it does not know."""

    @wraps(info)
    def execute(command: Any, pos_args: list[str], hide_status: bool = False) -> int:
        cmd_base.check_tasks_exist({task.name for task in command.task_list}, pos_args)
        return info(command, pos_args, hide_status)

    return execute


def _reasons(reasons: Sequence[str]) -> str:
    return "\n".join(f" * {reason}" for reason in reasons)


# ---------------------------------------------------------------- doit's database


class Database:
    """What doit asks its database of dependencies, answered from Pit's records; makes no file."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    def get_status(self, task: Any, tasks_dict: Any, get_log: bool = False) -> Status:
        """How a task stands, and why it is not current."""
        with self._mirror.guarded():
            return self._mirror.standing.of(task.name)

    def status_is_ignore(self, task: Any) -> bool:
        """Whether a task is to be ignored: never, Pit has no such state."""
        return False

    def close(self) -> None:
        """Nothing is held open."""


class DumpDB(cmd_dumpdb.DumpDB):  # type: ignore[misc]
    """`doit dumpdb`: doit's own where there is such a database, else where to look instead.

    A plug-in of doit, because doit carries out this command without reading dodo.py.
    """

    name = "dumpdb"

    def execute(self, opt_values: Any, pos_args: Any) -> Any:
        """Dumps the database, if there is one."""
        if cmd_dumpdb.whichdb(opt_values["dep_file"]) is not None:
            return super().execute(opt_values, pos_args)
        sys.stderr.write(
            "ERROR: there is no database of doit here. What Pit knows of a task is shown by:\n"
            "  pit why DAG/TASK --json, pit status DAG --json\n"
        )
        return BadArgument.exit_code


# ---------------------------------------------------------------- doit's commands


class Commands:
    """doit's commands as Pit carries them out; the parameters are doit's options by name."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    def run(
        self,
        command: Any,
        always: bool,
        single: bool,
        num_process: int,
        verbosity: int | None,
        reporter: Any,
        outfile: Any,
        pdb: bool | None,
    ) -> int:
        """`doit run`: one `pit run` for each DAG, those that others require first."""
        unused = {"--reporter": reporter != "console", "--output-file": isinstance(outfile, str)}
        for option in (name for name, used in {**unused, "--pdb": bool(pdb)}.items() if used):
            self._mirror.outside.warn(f"{option} means nothing to Pit", "")
        options = [
            *(["--force"] if always else []),
            *([f"--concurrency={num_process}"] if num_process else []),
            *(["--verbose"] if verbosity == 2 else []),
        ]
        control = TaskControl(command.task_list)
        self._check_names(command.sel_tasks or (), control.tasks, control.targets)
        control.process(command.sel_tasks)
        selection = self._selection(control.selected_tasks)
        needs = "" if single else "+"
        return self._each(("run", *each, options) for each in self._at_once(selection, needs))

    def forget(
        self, command: Any, forget_sub: bool, forget_disable_default: bool, forget_all: bool
    ) -> int:
        """`doit forget`: one `pit forget` for each DAG."""
        names = None if forget_all else command.sel_tasks
        if names is None and not forget_all and forget_disable_default:
            raise BadArgument("no task is named", "Name one, or forget all with --all")
        options = ["--all-params"] if forget_all else []
        selection = self._selected(command, names, forget_sub)
        return self._each(("forget", *each, options) for each in self._at_once(selection))

    def clean(
        self,
        command: Any,
        dryrun: bool,
        cleandep: bool,
        cleanall: bool,
        cleanforget: bool,
        pos_args: list[str],
    ) -> int:
        """`doit clean`: one `pit clean`, which forgets as well, for each DAG."""
        names = None if cleanall else pos_args or command.sel_tasks
        options = ["--dry-run"] if dryrun else ["--yes"]
        selection = self._selected(command, names, cleandep)
        return self._each(("clean", *each, options) for each in self._at_once(selection))

    def ignore(self, command: Any, pos_args: list[str]) -> int:
        """`doit ignore`, which Pit does not have."""
        raise BadArgument(
            "Pit ignores no task: what is skipped must be current",
            f'Vouch for what stands there: pit accept {_written(pos_args)} -m "why"',
        )

    def reset_dep(self, command: Any, pos_args: list[str]) -> int:
        """`doit reset-dep`, which Pit does not have."""
        raise BadArgument(
            "Pit records what a task has read when it succeeds, and not otherwise",
            f'Vouch for what stands there: pit accept {_written(pos_args)} -m "why"',
        )

    def strace(self, command: Any, pos_args: list[str]) -> int:
        """`doit strace`, which Pit does in a run."""
        raise BadArgument(
            "Pit watches what a task opens while it runs it",
            f"Run it with: pit run --learn {_written(pos_args)}",
        )

    # ------------------------------------------------------------------ what is meant

    def _selected(self, command: Any, names: list[str] | None, deps: bool) -> dict[str, set[str]]:
        """Tasks by DAG as the commands that run nothing select them: by name or pattern."""
        known = [task.name for task in command.task_list]
        if names is None:
            return self._selection(known)
        self._check_names(names, known)
        chosen = [found for name in names for found in fnmatch.filter(known, name)]
        selection = self._selection(chosen)
        if deps:
            for dag, tasks in selection.items():
                tasks |= self._mirror.subjects[dag].dag.upstream(*tasks)
        return selection

    def _check_names(self, names: Sequence[str], known: Collection[str], *more: Any) -> None:
        """An error for a name that is neither known, nor a pattern or an option."""
        self._mirror.check_named(names)
        for name in names:
            if "*" not in name and name[:1] != "-" and not any(name in k for k in (known, *more)):
                near = nearest(name, known)
                hint = f'Did you mean "{near}"?' if near else "List the tasks with: doit list --all"
                raise BadArgument(f'"{name}" is not a task', hint)

    def _selection(self, names: Iterable[str]) -> dict[str, set[str]]:
        """Tasks by DAG; a group stands for its tasks."""
        found: dict[str, set[str]] = {}
        for name in dict.fromkeys(names):
            dag, _, task = name.partition(":")
            if dag not in self._mirror.subjects:
                raise BadArgument(
                    f'task "{name}" is not in a pit.toml',
                    f"Keep tasks of your own in another file than {DODO}: doit -f mine.py",
                )
            found.setdefault(dag, set()).update(self._mirror.members(dag, task))
        return found

    def _at_once(
        self, selection: Mapping[str, set[str]], needs: str = ""
    ) -> Iterator[tuple[str, str]]:
        """Each DAG with one target for `pit` that names all its tasks; required DAGs first."""
        for dag in self._mirror.ordered(selection):
            tasks = self._in_order(dag, selection[dag])
            whole = len(tasks) == len(self._mirror.subjects[dag].dag.tasks)
            chosen = ",".join(needs + task for task in tasks)
            yield dag, dag if whole else f"{dag}/{chosen}"

    def _in_order(self, dag: str, chosen: set[str]) -> list[str]:
        return [task for task in self._mirror.subjects[dag].dag.order if task in chosen]

    def _each(self, orders: Iterable[tuple[str, str, str, Sequence[str]]]) -> int:
        """Carries out command lines one after the other; the first exit code that is not 0."""
        worst = 0
        for verb, dag, target, options in orders:
            code = self._mirror.pit(verb, target, *options, *self._parameters(dag, options))
            worst = worst or code
            if code in _STOPPED:
                break
        return worst

    def _parameters(self, dag: str, options: Sequence[str]) -> Iterable[str]:
        return () if "--all-params" in options else self._mirror.parameters(dag)


def _written(names: Sequence[str]) -> str:
    """A doit name as `pit` writes it."""
    return names[0].replace(":", "/", 1) if names else "DAG/TASK"
