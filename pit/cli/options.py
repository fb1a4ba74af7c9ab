"""What every command shares: the global options, and the settings that they make.

The global options are accepted before the command and after it; the later one wins. A command
is declared with `@command` in place of `@click.command` and gets its `Settings` first.
"""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from pit.cli.terminal.console import Console
from pit.errors import BadArgument

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from pit.config.workspace import Workspace
    from pit.model import WorkspaceConfig


class Given:
    """The global options as far as they have been read; the object of click's context."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.project_dir: str | None = None
        self.secrets: str | None = None
        self.identity: str | None = None
        self.verbose = False


class Settings:
    """The global options, resolved: where the workspace is, how much to say, and where."""

    def __init__(
        self,
        console: Console,
        root: Path,
        *,
        secrets: Path | None = None,
        identity: Path | None = None,
        verbose: bool = False,
    ) -> None:
        self.console, self.root = console, root
        self.secrets, self.identity, self.verbose = secrets, identity, verbose

    @functools.cached_property
    def day(self) -> date:
        """The day that `today` means in this command, however long it takes."""
        from datetime import date

        return date.today()

    def at(self, root: Path) -> Settings:
        """The same for another workspace."""
        secrets, identity = self.secrets, self.identity
        return Settings(
            self.console, root, secrets=secrets, identity=identity, verbose=self.verbose
        )

    def again(self, words: str) -> str:
        """A `pit` command line to type next, for the same workspace as this one."""
        try:
            usual = workspace_root(Given(self.console))
        except BadArgument:  # the current folder is gone
            usual = None
        place = "" if self.root == usual else f" --project-dir {shlex.quote(str(self.root))}"
        return f"pit {words}{place}"

    def config(self) -> WorkspaceConfig:
        """The workspace's configuration, with `--secrets` in place of what the file says, and
        `--identity`."""
        from msgspec.structs import replace

        from pit.config.settings import load_workspace_config

        config = load_workspace_config(self.root)
        if self.secrets is None and self.identity is None:
            return config
        if self.secrets is not None:
            config = replace(config, secrets_file=self.secrets, secrets_found=False)
        return replace(config, identity=self.identity)

    def workspace(self) -> Workspace:
        """Every project of the workspace, the broken ones as problems."""
        from pit.config.workspace import discover

        return discover(self.config())


def settings_of(given: Given, *, workspace: bool = True) -> Settings:
    """The settings that the options read so far amount to.

    The workspace must be a folder, except for commands that need none: for them the root is
    the folder of `--project-dir` or the current one.
    """
    root = workspace_root(given) if workspace else _absolute(given.project_dir or ".")
    if workspace and not root.is_dir():
        raise BadArgument(
            f"workspace folder {root} does not exist",
            "Name it with --project-dir or PIT_WORKSPACE, or make one with: pit new my_workspace",
        )
    return Settings(
        console=given.console,
        root=root,
        secrets=_absolute(given.secrets) if given.secrets else None,
        identity=_absolute(given.identity) if given.identity else None,
        verbose=given.verbose,
    )


def workspace_root(given: Given) -> Path:
    """The folder meant by `--project-dir`, else by PIT_WORKSPACE, else that around the current
    one."""
    named = given.project_dir or os.environ.get("PIT_WORKSPACE")
    return _absolute(named) if named else _around(_absolute("."))


def _around(folder: Path) -> Path:
    """The workspace that a folder is or lies in, as git finds its repository; else the folder.

    What is above is not taken if it is somebody else's, who could have us run his code, nor the
    home folder or what is above that, where everything lies.
    """
    last = (os.path.realpath(os.path.expanduser("~")), folder.anchor)
    for each in (folder, *folder.parents):
        ours = each == folder or (str(each) not in last and _is_own(each))
        if ours and _is_workspace(each):
            return each
        if str(each) in last:
            break
    return folder


def _is_own(folder: Path) -> bool:
    """Whether a folder is ours, that is of the user that we run as."""
    try:
        return folder.stat().st_uid == os.geteuid()
    except OSError:
        return False


def _is_workspace(folder: Path) -> bool:
    """Whether a folder has a configuration, or a project."""
    try:
        if os.path.lexists(folder / "pit_config.toml"):
            return True
        with os.scandir(folder / "projects") as found:
            return any(os.path.lexists(os.path.join(each.path, "pit.toml")) for each in found)
    except OSError:  # not there, or not ours to read
        return False


def _absolute(path: str) -> Path:
    from pathlib import Path  # `pit --help` does without it

    try:
        return Path(os.path.abspath(os.path.expanduser(path)))
    except FileNotFoundError as error:
        raise BadArgument(
            "the current folder does not exist any more", "Go to another: cd …"
        ) from error


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    given = ctx.find_object(Given)
    if given is None or not value:
        return
    if param.name == "no_color":
        given.console.without_colour()
    else:
        setattr(given, str(param.name), value)


def global_options() -> list[click.Option]:
    """The options that every command accepts, made anew for each."""
    shared: dict[str, Any] = {"expose_value": False, "callback": _remember}
    return [
        click.Option(
            ["--project-dir"],
            metavar="DIR",
            type=click.Path(),
            help="The workspace (default: $PIT_WORKSPACE, else that of the current folder).",
            **shared,
        ),
        click.Option(
            ["--secrets"],
            metavar="FILE",
            type=click.Path(),
            help="The secrets file (default: secrets_dir of pit_config.toml, else secrets.toml).",
            **shared,
        ),
        click.Option(
            ["--identity"],
            metavar="FILE",
            type=click.Path(),
            help="The private key that opens an encrypted secrets file.",
            **shared,
        ),
        click.Option(
            ["--verbose"], is_flag=True, help="Say more; a run shows its tasks' output.", **shared
        ),
        click.Option(["--no-color"], is_flag=True, help="Write no colours.", **shared),
    ]


class Command(click.Command):
    """A click command with the global options, shown apart in its help."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._global = global_options()
        self.params.extend(self._global)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options, then the global ones."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        own = [option for option in options if option not in self._global]
        for title, group in (("Options", own), ("Global options", self._global)):
            records = [record for option in group if (record := option.get_help_record(ctx))]
            with formatter.section(title):
                formatter.write_dl(records)


def command(
    name: str, *, workspace: bool = True, **attributes: Any
) -> Callable[[Callable[..., Any]], Command]:
    """Declare a command: its function gets the `Settings` first, then its own parameters."""

    def declare(function: Callable[..., Any]) -> Command:
        @click.pass_obj
        def invoke(given: Given, /, *args: Any, **kwargs: Any) -> Any:
            return function(settings_of(given, workspace=workspace), *args, **kwargs)

        wrapped = functools.update_wrapper(invoke, function)
        return click.command(name, cls=Command, **attributes)(wrapped)

    return declare


json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
"""`--json`, the same words on every listing."""
