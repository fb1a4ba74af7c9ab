"""The commands of `pit secrets`, each imported when it is called."""

from __future__ import annotations

import click

from pit.cli.main import Entry, Lazy
from pit.cli.options import Given, global_options

_ROOM = "pit.cli.secrets"

COMMANDS: dict[str, Entry] = {
    "keygen": Entry(f"{_ROOM}.keys:keygen", "Make a key of your own."),
    "encrypt": Entry(f"{_ROOM}.whole:encrypt", "Encrypt a plain secrets file."),
    "decrypt": Entry(f"{_ROOM}.whole:decrypt", "Show or write an encrypted file as plain text."),
    "edit": Entry(f"{_ROOM}.editing:edit", "Edit the file in your editor."),
    "set": Entry(f"{_ROOM}.entries:set_secret", "Set a secret, or some of its fields."),
    "get": Entry(f"{_ROOM}.entries:get", "Print a secret, as a DAG would get it."),
    "list": Entry(f"{_ROOM}.entries:list_secrets", "List names, never values."),
    "remove": Entry(f"{_ROOM}.entries:remove", "Remove a secret, or some of its fields."),
    "add-recipient": Entry(f"{_ROOM}.sharing:add_recipient", "Let somebody read the file."),
    "remove-recipient": Entry(
        f"{_ROOM}.sharing:remove_recipient", "Stop somebody from reading the file."
    ),
    "rotate": Entry(f"{_ROOM}.sharing:rotate", "Encrypt anew, also with a new key."),
    "audit": Entry(f"{_ROOM}.audit:audit", "Show who asked for what, and who changed it."),
}
"""Every command of the group, in the order of the help."""


class Group(Lazy):
    """`pit secrets` itself."""

    entries = COMMANDS
    words = "secrets "

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in their order."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands first, the options after them."""
        self.format_commands(ctx, formatter)
        records = [r for param in self.get_params(ctx) if (r := param.get_help_record(ctx))]
        with formatter.section("Options"):
            formatter.write_dl(records)


@click.pass_context
def _help_alone(ctx: click.Context) -> None:
    """Show the help where no command is named."""
    given = ctx.find_object(Given)
    if ctx.invoked_subcommand is None and given is not None:
        given.console.out(ctx.get_help())


secrets = Group(
    name="secrets",
    short_help="Keep secrets: encrypt, edit, set, audit.",
    help="Keep the secrets of a workspace: in one TOML file, plain or encrypted with age.\n\n"
    "SCOPE is the name of a DAG, or `global`. The file is the one that --secrets or secrets_dir "
    "of pit_config.toml names.",
    epilog="Help on one command: pit secrets COMMAND --help",
    params=[*global_options()],
    invoke_without_command=True,
    callback=_help_alone,
)
