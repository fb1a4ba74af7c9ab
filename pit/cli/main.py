"""The entry of `pit`: the list of commands, and the one place where errors become output."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import click

from pit.cli.options import Given, global_options, workspace_root
from pit.cli.terminal.console import Console
from pit.errors import InvalidConfig, PitError, RunNotSuccessful, UsageError, nearest
from pit.version import VERSION

if TYPE_CHECKING:
    from pathlib import Path

EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130
EXIT_DISK_FULL = 25
EXIT_BROKEN_PIPE = 141


class Entry(NamedTuple):
    """A command in the list: where its code is, and its help, known without importing it."""

    source: str
    help: str


SECTIONS: dict[str, dict[str, Entry]] = {
    "Begin": {
        "new": Entry(
            "pit.cli.commands.new:new", "Make a workspace with a first project that runs."
        ),
        "init": Entry("pit.cli.commands.new:init", "Add a project to the workspace."),
    },
    "Work": {
        "validate": Entry(
            "pit.cli.commands.validate:validate", "Check every project, and show all problems."
        ),
        "run": Entry("pit.cli.commands.run:run", "Run a DAG, or some of its tasks."),
        "sync": Entry("pit.cli.commands.sync:sync", "Build the projects' Python environments."),
        "plan": Entry("pit.cli.commands.plan:plan", "Show what a run would do, and why."),
        "retry": Entry("pit.cli.commands.retry:retry", "Go on with a run that did not succeed."),
    },
    "Look": {
        "status": Entry(
            "pit.cli.commands.status:status", "Show how each DAG stands, or one with its tasks."
        ),
        "why": Entry("pit.cli.commands.why:why", "Explain why a task would run, or would not."),
        "logs": Entry("pit.cli.commands.logs:logs", "Show what the tasks of a run wrote."),
        "runs": Entry("pit.cli.commands.runs:runs", "List runs, the latest first."),
        "outputs": Entry(
            "pit.cli.commands.runs:outputs", "List what the projects declare to produce."
        ),
        "sql": Entry(
            "pit.cli.commands.sql:sql", "Send a query to a connection, or try the connections."
        ),
        "graph": Entry(
            "pit.cli.commands.graph:graph", "Draw a DAG: on the terminal, as SVG, Mermaid, DOT."
        ),
    },
    "Secrets": {
        "secrets": Entry(
            "pit.cli.secrets.group:secrets", "Keep secrets: encrypt, edit, set, audit."
        ),
    },
    "Keep": {
        "accept": Entry("pit.cli.commands.records:accept", "Take a task's targets as current."),
        "forget": Entry(
            "pit.cli.commands.records:forget", "Drop what is known of tasks: they run again."
        ),
        "clean": Entry("pit.cli.commands.records:clean", "Remove what tasks have made."),
        "prune": Entry("pit.cli.commands.prune:prune", "Remove old runs, as retention says."),
    },
    "Connect": {
        "sdk": Entry("pit.cli.commands.sdk:sdk", "Ask Pit for something, from a shell task."),
        "schema": Entry("pit.cli.commands.validate:schema", "Print the JSON Schema of pit.toml."),
        "doit": Entry("pit.cli.commands.doit:doit", "Call doit, on the tasks of this workspace."),
        "completion": Entry(
            "pit.cli.complete:completion", "Print the completion script of a shell."
        ),
    },
}
"""Every command, in the order of the help."""

COMMANDS: dict[str, Entry] = {
    name: entry for section in SECTIONS.values() for name, entry in section.items()
}


class Lazy(click.Group):
    """A group whose commands are imported when they are called.

    `entries` are its commands in the order of the help, `words` what stands before their names.
    """

    entries: ClassVar[Mapping[str, Entry]]
    words: ClassVar[str] = ""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command's name."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command; None if there is none of that name."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.source.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def instead(self, name: str) -> str:
        """What to do in the place of a command that there is not, where that is known."""
        return ""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments begin with; suggest one where none is found."""
        name = args[0]
        if name in self.entries or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        near = nearest(name, self.entries)
        hint = self.instead(name) or f"List the commands with: pit {self.words}--help"
        if near and not self.instead(name):
            hint = f'Did you mean "{self.words}{near}"?'
        raise UsageError(f'there is no command "{self.words}{name}"', hint)


class Program(Lazy):
    """`pit` itself."""

    entries = COMMANDS

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One of the commands in the list, or of the two that are options as well."""
        return _ALSO.get(cmd_name) or super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments begin with."""
        if args[0] in _ALSO:
            return args[0], _ALSO[args[0]], args[1:]
        return super().resolve_command(ctx, args)

    def instead(self, name: str) -> str:
        """What to do in the place of a command of another tool."""
        from pit.cli import meant

        return meant.command(name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader that went away ends it quietly, before click answers with 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise click.exceptions.Exit(EXIT_BROKEN_PIPE) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section."""
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<10}", e.help) for name, e in entries.items()])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands first, the options after them."""
        self.format_commands(ctx, formatter)
        records = [r for param in self.get_params(ctx) if (r := param.get_help_record(ctx))]
        with formatter.section("Options"):
            formatter.write_dl(records)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete command names from the list, so that no command is imported for it."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=entry.help)
            for name, entry in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]


def _show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    given = ctx.find_object(Given)
    if value and given is not None and not ctx.resilient_parsing:
        given.console.out(f"pit {VERSION}")
        ctx.exit()


@click.command("version", add_help_option=False)
@click.pass_obj
def _version(given: Given) -> None:
    """Show the version, as --version does."""
    given.console.out(f"pit {VERSION}")


@click.command("help", add_help_option=False)
@click.argument("words", nargs=-1)
@click.pass_obj
def _help(given: Given, words: tuple[str, ...]) -> None:
    """Show what --help shows after the same words."""
    program.main([*words, "--help"], prog_name="pit", obj=given, standalone_mode=False)


_ALSO = {"help": _help, "version": _version}
"""Commands that are not in the list, for those who expect them."""

program = Program(
    name="pit",
    help="Run pipelines of plain scripts and SQL files, and know how each run went.",
    epilog="Help on one command: pit COMMAND --help",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    params=[
        *global_options(),
        click.Option(
            ["-V", "--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_show_version,
            help="Show the version and exit.",
        ),
    ],
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; every error ends here as output."""
    _open_streams()
    given = Given(Console())
    code = _guarded(given, list(sys.argv[1:] if arguments is None else arguments))
    return _flushed(given, code)


def _open_streams() -> None:
    """Put nothing in the place of closed standard streams, or files would get their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _guarded(given: Given, arguments: list[str]) -> int:
    try:
        code = program.main(
            arguments or ["--help"], prog_name="pit", obj=given, standalone_mode=False
        )
        return code if isinstance(code, int) else 0
    except RunNotSuccessful as error:
        return error.exit_code
    except PitError as error:
        return failed(given.console, error)
    except click.ClickException as error:
        return _misused(given, error, arguments)
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except SystemExit as error:  # a signal has ended a program that had the terminal to itself
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except OSError as error:
        return _refused(given, error)
    except Exception as error:  # the boundary: whatever is left is a defect of Pit
        return _crashed(given, error)


def failed(console: Console, error: PitError) -> int:
    """Show an error that the user can meet, and give its exit code."""
    if isinstance(error, InvalidConfig):
        for problem in error.problems:
            console.problem(problem)
        console.note()
    console.error(str(error), error.hint)
    return error.exit_code


def _misused(given: Given, error: click.ClickException, arguments: Sequence[str]) -> int:
    """A command line that click cannot read, in the same words as every other error."""
    console = given.console
    near = getattr(error, "possibilities", None)
    ctx = getattr(error, "ctx", None)
    hint = f"Help: {ctx.command_path if ctx else 'pit'} --help"
    if near:
        hint = f"Did you mean {' or '.join(near)}?"
    if isinstance(error, click.NoSuchOption):
        from pit.cli import meant

        said = meant.parameter(given, error.option_name, arguments)
        hint = said or meant.option(error.option_name) or hint
    message = error.message if near else error.format_message()
    more = _offered(error, ctx) if isinstance(error, click.UsageError) and ctx else ""
    console.error(message[:1].lower() + message[1:].rstrip("."), f"{more}{hint}")
    return 2


def _offered(error: click.UsageError, ctx: click.Context) -> str:
    """What could stand in the place of an argument that is missing, or how several are written."""
    if isinstance(error, click.MissingParameter) and error.param is not None:
        offers = [str(item.value) for item in error.param.shell_complete(ctx, "")]
        more = ", …" if len(offers) > _OFFERS else ""
        return f"Such as: {', '.join(offers[:_OFFERS])}{more}\n" if offers else ""
    names = [param.metavar or "" for param in ctx.command.params]
    if "unexpected extra argument" in error.message and any("/TASK" in name for name in names):
        return "Several tasks are joined by commas: DAG/TASK,TASK\n"
    return ""


_OFFERS = 10
"""So many values of an argument are offered in an error."""


def _refused(given: Given, error: OSError) -> int:
    """Something that the operating system did not allow."""
    if given.verbose:
        given.console.note(_traceback(error))
    place = f"{error.filename}: " if error.filename else ""
    given.console.error(f"{place}{error.strerror or error}")
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return EXIT_DISK_FULL if full else 1


def _crashed(given: Given, error: Exception) -> int:
    """A defect: the traceback goes to a file that can be sent, or to the screen."""
    trace = _traceback(error)
    path = workspace_root(given) / ".pit" / "crash.log"
    saved = _saved(path, trace)
    if given.verbose or not saved:
        given.console.note(trace)
    hint = "This is a defect of Pit, not of your project."
    if saved:
        hint += f" Please report it with the last entry of {path}"
    given.console.error(f"internal error: {type(error).__name__}: {error}", hint)
    return EXIT_INTERNAL


def _traceback(error: BaseException) -> str:
    import traceback

    return "".join(traceback.format_exception(error)).rstrip()


def _saved(path: Path, trace: str) -> bool:
    """Append to the crash log, if this is a workspace that can be written.

    The arguments stay out of it: they may hold what nobody else should read.
    """
    import platform
    import time

    if not (path.parent.is_dir() or (path.parent.parent / "projects").is_dir()):
        return False
    stamp = time.strftime("%Y-%m-%d %H:%M:%S %z")
    head = f"{stamp}  pit {VERSION}  Python {platform.python_version()}  {platform.platform()}"
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(path, flags, 0o600), "a", encoding="utf-8") as file:
            file.write(f"{head}\n{trace}\n\n")
    except OSError:
        return False
    return True


def _flushed(given: Given, code: int) -> int:
    """Flush standard output here, where a reader that went away or a full disk can be answered."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _let_go_of_stdout()
        return code or EXIT_BROKEN_PIPE
    except OSError as error:
        _let_go_of_stdout()
        return code or _refused(given, error)
    return code


def _let_go_of_stdout() -> None:
    """Point standard output at nothing, so that the interpreter's own flush cannot complain."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)


if __name__ == "__main__":
    sys.exit(main())
