"""`pit secrets keygen`: a key of one's own."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import click

from pit.cli.options import Settings, command
from pit.cli.secrets.context import Context
from pit.errors import SecretsNotWritten
from pit.fs import replace
from pit.fs.files import make_folder
from pit.state.secrets import age, identities


@command("keygen", short_help="Make a key of your own.")
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    metavar="FILE",
    help="Where to put it (default: age_identity of pit_config.toml, else "
    "~/.config/pit/age-key.txt).",
)
@click.option(
    "--passphrase", is_flag=True, help="Encrypt the key file with a passphrase, asked for each use."
)
def keygen(settings: Settings, output: str | None, passphrase: bool) -> None:
    """Make a key (an age identity) of your own, and show its public half.

    The key file opens what is encrypted for you: it stays with you, readable by you alone. The
    public half is what others encrypt for: pit secrets add-recipient.
    """
    context = Context.of(settings)
    path = Path(os.path.abspath(os.path.expanduser(output))) if output else _usual(context)
    private, public = identities.generate()
    text = identities.identity_text(private, public, now()).encode()
    if os.path.lexists(path):
        raise exists(path)
    if passphrase:
        chosen = context.new_passphrase(f"the key {path}")
        text = age.encrypt_with_passphrase(text, chosen, armoured=True)
    put(path, text)
    context.record([("key_made", "", public)], path)
    settings.console.note(f"Identity written to {path}")
    settings.console.out(f"Public key: {public}")


def _usual(context: Context) -> Path:
    return context.config.identity or context.config.age_identity or identities.default_file()


def now() -> str:
    """The time in the manner of age-keygen."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def exists(path: Path) -> SecretsNotWritten:
    """The error for a file that would be overwritten."""
    return SecretsNotWritten(
        f"{path} exists already", "Name another with --output; nothing is ever overwritten"
    )


def put(path: Path, content: bytes) -> None:
    """Makes a private file and its folder; refused where something is there."""
    trouble: OSError | None = None
    try:
        make_folder(path.parent)
        replace.create(path, content)
    except FileExistsError:
        raise exists(path) from None
    except OSError as error:
        trouble = error
    if trouble is not None:
        raise replace.not_written(path, trouble)
