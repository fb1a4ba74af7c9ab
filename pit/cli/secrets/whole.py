"""`pit secrets encrypt` and `decrypt`: the whole file from one form to the other."""

from __future__ import annotations

import os
from pathlib import Path

import click

from pit.cli.options import Settings, command
from pit.cli.secrets.context import Context, structured
from pit.cli.secrets.keys import exists, put
from pit.cli.terminal.console import count
from pit.config.settings import SECRETS_FILES
from pit.errors import CannotEncrypt, SecretsInvalid
from pit.fs import replace
from pit.model import WorkspaceConfig
from pit.state.secrets import age, recipients
from pit.state.secrets.secretfile import Content, Place, read_raw, sealed

_output = click.option(
    "-o", "--output", type=click.Path(), metavar="FILE", help="Write there; no file is overwritten."
)


def _path(output: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(output)))


@command("encrypt", short_help="Encrypt a plain secrets file.")
@_output
@click.option("--passphrase", is_flag=True, help="Encrypt with a passphrase instead of keys.")
@click.option("--armor", is_flag=True, help="Write text, which git can show the changes of.")
@click.option("--remove", "removes", is_flag=True, help="Remove the plain file afterwards.")
def encrypt(
    settings: Settings, output: str | None, passphrase: bool, armor: bool, removes: bool
) -> None:
    """Encrypt a plain secrets file for the recipients, into a file called FILE.age beside it.

    Without a recipients file, one with your own public key is made. The plain file stays, unless
    --remove is given. Nothing is written that you could not read again.
    """
    context = Context.of(settings)
    place = context.place()
    raw, _ = read_raw(place.path)
    if age.is_encrypted(raw):
        raise CannotEncrypt(
            f"{place.path} is encrypted already", "Encrypt it anew with: pit secrets rotate"
        )
    content = Content(place.path, raw, raw)
    structured(place.path, content.plain)  # nothing that could not be used gets encrypted
    target = _path(output) if output else place.path.with_name(f"{place.path.name}.age")
    if os.path.lexists(target):
        raise exists(target)
    made, who = _made(context, place, content, passphrase, armor)
    put(target, made)
    context.record([("encrypted", "", "")], target, who)
    settings.console.out(f"Encrypted for {who}: {target}")
    if removes:
        remove_plain(place.path, raw, target)
        settings.console.out(f"Removed the plain file {place.path}")
    _next_steps(settings, context, place.path, target, removes)


def remove_plain(plain: Path, raw: bytes, encrypted: Path) -> None:
    """Removes the plain file, and what it is a link to; refused if it has changed since it was
    encrypted, as when somebody else sets a secret meanwhile.
    """
    with replace.alone(plain) as real:
        if read_raw(real)[0] != raw:
            raise CannotEncrypt(
                f"{plain} was changed meanwhile and stays; {encrypted} lacks that change",
                f"Remove {encrypted}, then encrypt again",
            )
        os.unlink(real)
        if plain.is_symlink():
            os.unlink(plain)


def _made(
    context: Context, place: Place, content: Content, passphrase: bool, armor: bool
) -> tuple[bytes, str]:
    if passphrase:
        chosen = context.new_passphrase(str(place.path))
        made = age.encrypt_with_passphrase(content.plain, chosen, armoured=armor)
        return made, "a passphrase"
    identity = place.source.identity()
    for warning in identity.warnings:
        context.settings.console.warning(warning)
    keys = recipients.keys(place.recipients)
    if not keys and not identity.public:
        raise CannotEncrypt(
            f"there is nobody to encrypt for: no {place.recipients}",
            "Name yourself with: pit secrets add-recipient PUBLIC-KEY",
        )
    made = sealed(content.plain, keys or identity.public[:1], identity, armoured=armor)
    if not keys:
        with replace.alone(place.recipients):
            recipients.write(place.recipients, f"{identity.public[0]}\n")
        context.settings.console.note(f"Wrote your public key to {place.recipients}")
    return made, count(len(keys) or 1, "recipient")


def _next_steps(
    settings: Settings, context: Context, plain: Path, target: Path, removed: bool
) -> None:
    note = settings.console.note
    used = context.config.secrets_file == plain and not _is_found(context.config, target)
    if used:
        name = os.path.relpath(target, context.config.root)
        note(f'Next: set secrets_dir = "{name}" in pit_config.toml, or give --secrets {name}')
    if not removed:
        until = "" if used else ", and used until it is gone"
        note(f"The plain file {plain} is still there{until}; when all works: rm {plain}")


def _is_found(config: WorkspaceConfig, target: Path) -> bool:
    """Whether a file is found without its name once the plain one is gone."""
    return config.secrets_found and target in [config.root / name for name in SECRETS_FILES]


@command("decrypt", short_help="Show or write an encrypted file as plain text.")
@_output
def decrypt(settings: Settings, output: str | None) -> None:
    """Write an encrypted secrets file as plain text, to standard output or to a file."""
    context = Context.of(settings)
    place = context.place()
    raw, _ = read_raw(place.path)
    if not age.is_encrypted(raw):
        raise SecretsInvalid(
            f"{place.path} is not encrypted",
            "It can be read as it is; or encrypt it: pit secrets encrypt",
        )
    content = context.read(place)
    if output is None:
        context.record([("decrypted", "", "")], place.path)
        settings.console.raw(content.plain)
        return
    put(_path(output), content.plain)
    context.record([("decrypted", "", "")], place.path, str(_path(output)))
    settings.console.out(f"Plain text, readable by you alone: {_path(output)}")
