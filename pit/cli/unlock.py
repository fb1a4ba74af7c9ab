"""Asking for the passphrase of the secrets file before a command needs what is in it.

What a passphrase opens is remembered until the command ends: it takes seconds, and a run reads its
secrets in more than one place, where nobody can be asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pit.cli.terminal.console import Console

if TYPE_CHECKING:
    from pit.model import WorkspaceConfig

_TRIES = 3


def unlock(console: Console, config: WorkspaceConfig) -> None:
    """Ask for a passphrase if the secrets of the workspace want one and somebody is there.

    Other faults of the file are left to whoever reads it; CannotDecrypt after three wrong answers.
    """
    if config.secrets_file is None or not config.secrets_file.is_file():
        return
    from pit.errors import CannotDecrypt, SecretsError
    from pit.state.secrets import secretfile
    from pit.state.secrets.identities import Source

    try:
        raw, _ = secretfile.read_raw(config.secrets_file)
    except SecretsError:
        return
    source = Source.of(config, lambda what: console.hidden(f"Passphrase for {what}"))
    if not source.asks(raw) or not console.is_attended:
        return
    for left in reversed(range(_TRIES)):
        try:
            secretfile.read(config.secrets_file, source)
            return
        except CannotDecrypt as error:
            if not left:
                raise
            console.error(str(error))
