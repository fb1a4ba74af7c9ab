"""What every command of `pit secrets` works with: the file, the key to it, and the audit."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pit.cli.options import Settings
from pit.config.settings import SECRETS_FILES
from pit.errors import PitError, SecretsUnreadable
from pit.model import WorkspaceConfig
from pit.state.secrets import recipients
from pit.state.secrets.identities import PASSPHRASE, Source
from pit.state.secrets.secretfile import ACL, Content, Place, Structure, parse, structure
from pit.state.store.tables.audit import SecretChange


@dataclass(frozen=True)
class Context:
    """One command's view of the workspace: its settings and its configuration."""

    settings: Settings
    config: WorkspaceConfig
    _answers: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, settings: Settings) -> Context:
        """That of the workspace which the command line means."""
        return cls(settings, settings.config())

    @property
    def path(self) -> Path:
        """The secrets file, there or not; SecretsUnreadable where none is named, nor a workspace
        in which it would have its usual name."""
        if self.config.secrets_file is not None:
            return self.config.secrets_file
        if not self._has_history():
            raise SecretsUnreadable(
                f"{self.config.root} is not a workspace, and no secrets file is named",
                "Go to the workspace, or give --secrets FILE",
            )
        return self.config.root / SECRETS_FILES[0]

    @property
    def source(self) -> Source:
        """Where the key comes from; a passphrase is asked for once, on a terminal."""
        ask = self.ask if self.settings.console.is_attended else None
        return Source.of(self.config, ask)

    def place(self, path: Path | None = None) -> Place:
        """The secrets file as something that can be changed."""
        path = path or self.path
        return Place(path, recipients.file_for(self.config, path), self.source)

    def ask(self, what: str) -> str:
        """The passphrase for something, remembered until the command ends."""
        if what not in self._answers:
            self._answers[what] = self.settings.console.hidden(f"Passphrase for {what}")
        return self._answers[what]

    def new_passphrase(self, what: str, *, other: bool = False) -> str:
        """A passphrase that is new: from PIT_AGE_PASSPHRASE, or typed twice.

        One that is to be `other` than the present one, which the variable has, is always typed.
        """
        from pit.cli.secrets.typed import twice

        given = "" if other else self.source.variables.get(PASSPHRASE)
        chosen = given or twice(self.settings.console, f"New passphrase for {what}")
        self._answers[what] = chosen
        return chosen

    def read(self, place: Place | None = None) -> Content:
        """The content of the secrets file; what is dangerous about it is said."""
        content = (place or self.place()).read()
        self.warn(content)
        return content

    def warn(self, content: Content) -> None:
        """Say what is dangerous about a secrets file."""
        from pit.views.validation.exposure import exposed

        listed = recipients.file_for(self.config, content.path)
        for message in (*content.warnings, *exposed(content, listed)):
            self.settings.console.warning(message)

    def record(self, changes: Iterable[tuple[str, str, str]], path: Path, note: str = "") -> None:
        """Put changes (what, scope, name) into the audit; a warning says where that fails."""
        from pit.state.store.store import Store

        at, who = time.time(), whoami()
        rows = [
            SecretChange(
                at=at, who=who, what=what, scope=scope, name=name, file=str(path), note=note
            )
            for what, scope, name in changes
        ]
        if not rows or not self._has_history():
            return
        try:
            with Store.open(self.config.metadata_db) as store:
                store.audit.add_changes(rows)
        except PitError as error:
            self.settings.console.warning(f"this is not in the audit: {error}", error.hint)

    def _has_history(self) -> bool:
        """Whether this is a workspace: a folder that is none gets no database for that."""
        names = ("pit_config.toml", "projects")
        found = any((self.config.root / name).exists() for name in names)
        return found or self.config.metadata_db.exists()


def whoami() -> str:
    """The user of the operating system, and for whom sudo was called."""
    import pwd

    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = str(number)
    behind = os.environ.get("SUDO_USER")
    return f"{name} (sudo by {behind})" if number == 0 and behind else name


def structured(path: Path, plain: bytes) -> Structure:
    """The entries of a secrets file's text."""
    return structure(path, parse(path, plain))


def differences(before: Structure, after: Structure) -> list[tuple[str, str, str]]:
    """What was changed between two states of a file: (what, scope, name)."""
    found = []
    scopes = dict.fromkeys([*before.scopes, *after.scopes])
    for scope in scopes:
        pair = before.scopes.get(scope, {}), after.scopes.get(scope, {})
        found += [(what, scope, name) for what, name in _compared(*pair)]
    return found + [(what, ACL, name) for what, name in _compared(before.acl, after.acl)]


def _compared(old: Mapping[str, object], new: Mapping[str, object]) -> list[tuple[str, str]]:
    found = []
    for name in dict.fromkeys([*old, *new]):
        if name not in new:
            found.append(("deleted", name))
        elif name not in old:
            found.append(("created", name))
        elif old[name] != new[name]:
            found.append(("updated", name))
    return found


def apply(
    context: Context, place: Place, edit: Callable[[bytes], bytes], note: str = ""
) -> Content:
    """Change the secrets file, say what is dangerous about it, and audit what became different."""
    before = b""

    def kept(plain: bytes) -> bytes:
        nonlocal before
        before = plain
        return edit(plain)

    content = place.change(kept)
    context.warn(content)
    pair = structured(place.path, before), structured(place.path, content.plain)
    context.record(differences(*pair), place.path, note)
    return content
