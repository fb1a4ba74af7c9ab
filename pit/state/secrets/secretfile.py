"""The secrets file on disk: read whatever its form, checked, and changed without a way to lose it.

Plain or encrypted is told by the content. An encrypted file is only ever replaced by one that was
opened again with the key of whoever changes it, so nobody locks himself out. No error contains a
piece of the file: what other libraries say of it is dropped before ours is raised.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from pit.errors import (
    CannotDecrypt,
    CannotEncrypt,
    SecretsAbsent,
    SecretsInvalid,
    SecretsUnreadable,
    nearest,
)
from pit.fs import replace as replacing
from pit.model import Record
from pit.state.secrets import age, memory, recipients
from pit.state.secrets.identities import Identity, Private, Source
from pit.text import regex

GLOBAL, ACL = "global", "acl"
Secret = str | dict[str, str]

LARGEST = 16 << 20
_POSITION = regex.lazy(r"at line (\d+), column (\d+)")


class Content(Private, kw_only=False):
    """What a secrets file holds: `raw` as it lies there, `plain` as text of TOML.

    `identity` opened it; None for a plain file, or for a passphrase.
    """

    path: Path
    raw: bytes
    plain: bytes
    identity: Identity | None = None
    mode: int = 0o600

    @property
    def is_encrypted(self) -> bool:
        """Whether it is encrypted on disk."""
        return age.is_encrypted(self.raw)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is dangerous about the file or the key, though it can be used."""
        found = list(self.identity.warnings) if self.identity else []
        if not self.is_encrypted and stat.S_ISREG(self.mode) and self.mode & 0o077:
            found.append(
                f"{self.path} is open to other users (mode {stat.S_IMODE(self.mode):04o}); "
                f"close it with: chmod 600 {self.path}"
            )
        if self.is_encrypted and stat.S_ISREG(self.mode) and self.mode & 0o002:
            found.append(
                f"{self.path} can be changed by other users, who could put secrets of theirs into "
                f"it; close it with: chmod o-w {self.path}"
            )
        if not self.is_encrypted and self.path.suffix == ".age":
            found.append(f"{self.path} is not encrypted, whatever its name says")
        return tuple(found)


# ---------------------------------------------------------------------------------------- reading


def read(path: Path, source: Source) -> Content:
    """The content of a secrets file, decrypted if need be; SecretsError says why it cannot be.

    Nobody else can read this process's memory from then on.
    """
    memory.keep_to_itself()
    raw, mode = read_raw(path)
    if not age.is_encrypted(raw):
        return Content(path, raw, raw, mode=mode)
    opened = source.open(raw, str(path))
    return Content(path, raw, opened.content, opened.identity, mode)


def absent(path: Path) -> Content:
    """The content of a file that is yet to be made.

    SecretsAbsent where it was encrypted into another, whose secrets a new one would hide.
    """
    encrypted = path.with_name(f"{path.name}.age")
    if encrypted.exists():
        raise SecretsAbsent(
            f"the secrets file {path} does not exist, but {encrypted} does",
            f'Set secrets_dir = "{encrypted.name}" in pit_config.toml, or give --secrets',
        )
    return Content(path, b"", b"")


def read_raw(path: Path) -> tuple[bytes, int]:
    """The bytes of a secrets file and its mode."""
    trouble: OSError | None = None
    try:
        mode = os.stat(path).st_mode
        # Opening a FIFO could wait for ever, but for the shell's own `--secrets <(command)`.
        if not stat.S_ISREG(mode) and not (stat.S_ISFIFO(mode) and path.is_relative_to("/dev/fd")):
            kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise SecretsAbsent(f"the secrets file {path} is {kind}", _instead(path))
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        trouble = error
    if isinstance(trouble, FileNotFoundError | NotADirectoryError):
        absent(path)
        raise SecretsAbsent(f"the secrets file {path} does not exist", _instead(path))
    if trouble is not None:
        reason = (trouble.strerror or type(trouble).__name__).lower()
        raise SecretsUnreadable(
            f"the secrets file {path} cannot be read: {reason}", "Check its owner and permissions"
        )
    if len(content) > LARGEST:
        raise SecretsUnreadable(f"{path} is larger than 16 MB, too large for a secrets file")
    return content, mode


def _instead(path: Path) -> str:
    """What to name in the place of a secrets file that is not there."""
    near = _near(path)
    if near is not None:
        return f'Did you mean "{near}"? It is named by --secrets, or secrets_dir in pit_config.toml'
    if path.is_dir():
        return "Name a file with --secrets, or with secrets_dir in pit_config.toml"
    return (
        "Create it with: pit secrets set global NAME   (or name another: --secrets, secrets_dir in "
        "pit_config.toml)"
    )


def _near(path: Path) -> Path | None:
    """The file that was probably meant: one of a like name beside it, or of its name close by."""
    inside = [path / name for name in _USUAL] if path.is_dir() else []
    around = path.parent if path.parent.is_dir() else path.parent.parent
    close = [folder / path.name for folder in _folders(around)]
    close += [path.parent.parent / path.name]
    for each in (*inside, *close):
        if each.is_file():
            return each
    beside = {each.name: each for each in _listed(path.parent) if _may_be_meant(each, path)}
    near = nearest(path.name, beside)
    if near is None:
        near = next((name for name in _USUAL if name in beside), None)
    return beside[near] if near is not None else None


def _may_be_meant(each: Path, path: Path) -> bool:
    kinds = (".toml", ".age", path.suffix)
    return each.suffix in kinds and each.name not in _NO_SECRETS and each.is_file()


_NO_SECRETS = ("pit.toml", "pit_config.toml", "pyproject.toml")
_USUAL = ("secrets.toml", "secrets.toml.age")


def _folders(parent: Path) -> list[Path]:
    return [each for each in _listed(parent) if each.is_dir() and not each.name.startswith(".")]


def _listed(parent: Path) -> list[Path]:
    try:
        return sorted(parent.iterdir())
    except OSError:  # not there, or not ours to read
        return []


def parse(path: Path, plain: bytes) -> dict[str, Any]:
    """The TOML of a secrets file; SecretsInvalid names line and column, and quotes nothing."""
    import tomli

    # Raised outside of the handlers: the parsers' own errors carry the text of the file.
    try:
        return tomli.loads(plain.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = plain.count(b"\n", 0, error.start) + 1
        sentence, hint = f"{path}:{line}: not UTF-8 text", ""
    except tomli.TOMLDecodeError as error:
        found = _POSITION.search(str(error))
        # Without a position it is the end of the file that came too early.
        place = f"{found[1]}:{found[2]}" if found else plain.rstrip().count(b"\n") + 1
        sentence = f"{path}:{place}: this is not valid TOML"
        hint = 'Secrets look like: [global], then lines such as api_key = "…"'
    except RecursionError:
        sentence, hint = f"{path}: this is not valid TOML: it is nested too deeply", ""
    raise SecretsInvalid(sentence, hint)


class Structure(Private, kw_only=False):
    """The entries of a secrets file by scope, and who may have which [global] entry."""

    scopes: dict[str, dict[str, Secret]]
    acl: dict[str, tuple[str, ...]]


def structure(path: Path, document: Mapping[str, Any]) -> Structure:
    """A parsed secrets file, checked; SecretsInvalid names what does not belong in one."""
    for scope, entries in document.items():
        if scope not in (GLOBAL, ACL) and scope.lower() in (GLOBAL, ACL):
            raise SecretsInvalid(
                f"{path}: [{scope}] would be the table of a DAG, and none can be called so",
                f"Write [{scope.lower()}], in small letters",
            )
        if not isinstance(entries, dict):
            raise SecretsInvalid(
                f'{path}: "{scope}" stands outside of any section',
                'Put it under ["<DAG name>"] or [global]',
            )
        if scope != ACL:
            for key, value in entries.items():
                _check_value(path, scope, key, value)
    scopes = {scope: dict(entries) for scope, entries in document.items() if scope != ACL}
    return Structure(scopes, _acl(path, document.get(ACL, {}), scopes.get(GLOBAL, {})))


def _acl(
    path: Path, listed: Mapping[str, Any], shared: Mapping[str, Secret]
) -> dict[str, tuple[str, ...]]:
    for key, dags in listed.items():
        where = f'{path}: "{key}" in [{ACL}]'
        if not isinstance(dags, list) or not all(isinstance(dag, str) for dag in dags):
            raise SecretsInvalid(
                f"{where} must be a list of DAG names",
                f'Write: {key} = ["first_dag", "second_dag"]',
            )
        if key not in shared:
            near = nearest(key, shared)
            hint = (
                f'Did you mean "{near}"?' if near else f"[{ACL}] is only for entries of [{GLOBAL}]"
            )
            raise SecretsInvalid(f"{where} is not the name of an entry in [{GLOBAL}]", hint)
    return {key: tuple(dags) for key, dags in listed.items()}


def _check_value(path: Path, scope: str, key: str, value: object) -> None:
    where = f'{path}: "{key}" in [{scope}]'
    if isinstance(value, str):
        return
    if not isinstance(value, dict):
        raise SecretsInvalid(
            f"{where} must be a string or a table of strings, not {_kind(value)}",
            "Write the value in quotes",
        )
    for name, content in value.items():
        if not isinstance(content, str):
            raise SecretsInvalid(
                f'{where}: field "{name}" must be a string, not {_kind(content)}',
                "Write the value in quotes",
            )


def _kind(value: object) -> str:
    names = {bool: "a boolean", int: "an integer", float: "a float", list: "an array"}
    return names.get(type(value), "a table" if isinstance(value, dict) else "a date or time")


# --------------------------------------------------------------------------------------- changing


class Place(Record, kw_only=False):
    """A secrets file that can be changed: the file, its recipients, and the key to open it."""

    path: Path
    recipients: Path
    source: Source

    def read(self) -> Content:
        """Its content."""
        return read(self.path, self.source)

    def change(
        self,
        edit: Callable[[bytes], bytes],
        *,
        expected: bytes | None = None,
        anew: bool = False,
    ) -> Content:
        """Replaces the file by what `edit` makes of its text, alone with it; an absent one is made.

        With `expected`, the bytes on disk must still be these, else FileExistsError is raised.
        Returns the new content. A text that is no secrets file is refused. One that stays the same
        is written `anew` only if asked for.
        """
        with replacing.alone(self.path) as real:
            old = self._present(real)
            if expected is not None and old.raw != expected:
                raise FileExistsError(str(self.path))
            made = edit(old.plain)
            structure(self.path, parse(self.path, made))
            if made == old.plain and old.raw and not anew:
                return old
            raw = made
            if old.is_encrypted or (not old.raw and self.path.suffix == ".age"):
                raw = self._resealed(old, made)
            replacing.replace(real, raw)
            return replace(old, raw=raw, plain=made)

    def _present(self, real: Path) -> Content:
        return self.read() if os.path.lexists(real) else absent(self.path)

    def _resealed(self, old: Content, plain: bytes) -> bytes:
        armoured = age.is_armoured(old.raw)
        if age.wants_passphrase(old.raw):
            passphrase = self.source.passphrase(str(self.path))
            return age.encrypt_with_passphrase(plain, passphrase, armoured=armoured)
        identity = old.identity or self.source.identity()
        return sealed(plain, self.keys(old, identity), identity, armoured=armoured)

    def keys(self, old: Content, identity: Identity) -> tuple[str, ...]:
        """The public keys to encrypt for: those of the recipients file, or one's own.

        CannotEncrypt without that file where others read the secrets too: they would be lost.
        """
        listed = recipients.keys(self.recipients)
        if listed:
            return listed
        others = len(age.recipients(old.raw)) if old.raw else 1
        if others > 1:
            raise CannotEncrypt(
                f"{self.path} is encrypted for {others} recipients, and {self.recipients} does not "
                "name them",
                "Put their public keys there, one a line, or name the file with "
                "secrets_recipients in pit_config.toml",
            )
        return identity.public[:1]


def sealed(
    plain: bytes, keys: Sequence[str], identity: Identity, *, armoured: bool = False
) -> bytes:
    """An encrypted file that was opened again with one's own key before it is handed out."""
    raw = age.encrypt(plain, keys, armoured=armoured)
    if not opens(raw, plain, identity):
        own = identity.public[0] if identity.public else "your public key"
        raise CannotEncrypt(
            "you are not among the recipients: you could not read the file again",
            f"Add yourself with: pit secrets add-recipient {own}",
        )
    return raw


def opens(raw: bytes, plain: bytes, identity: Identity) -> bool:
    """Whether an identity opens an encrypted file, and it holds what it should."""
    try:
        return age.decrypt(raw, identity.keys, "the new file") == plain
    except CannotDecrypt:
        return False
