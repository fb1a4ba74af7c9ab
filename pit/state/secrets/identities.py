"""The private keys that open an encrypted secrets file: which one is meant, and reading it.

In this order, and the first that is named is the only one: `--identity`, the variable PIT_AGE_KEY
(keys themselves), PIT_AGE_KEY_FILE, `age_identity` of pit_config.toml, the file of `pit secrets
keygen`. An identity file holds age keys, one a line beside `#` comments, or one OpenSSH key; it may
itself be encrypted with a passphrase, as `age -p` does.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pit.errors import CannotDecrypt
from pit.model import Record, WorkspaceConfig
from pit.state.secrets import age, memory

KEY = "PIT_AGE_KEY"
KEY_FILE = "PIT_AGE_KEY_FILE"
PASSPHRASE = "PIT_AGE_PASSPHRASE"
_FAMILY = "PIT_AGE_"

_LARGEST = 1 << 20
_SECRET_KEY = "AGE-SECRET-KEY-1"
_PLUGIN_KEY = "AGE-PLUGIN-"
_NEXT = "Make a key with: pit secrets keygen   (or name yours with --identity FILE)"

Ask = Callable[[str], str]
"""Asks a person for a passphrase that opens what is named."""


def default_file(variables: Mapping[str, str] | None = None) -> Path:
    """Where `pit secrets keygen` puts a key and where it is looked for last."""
    given = (os.environ if variables is None else variables).get("XDG_CONFIG_HOME", "")
    config = Path(given) if os.path.isabs(given) else Path(os.path.expanduser("~/.config"))
    return config / "pit" / "age-key.txt"


class Private(Record):
    """A record that holds secrets, and shows nothing of what it holds."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class Source(Private):
    """Where the identity of one command comes from; `ask` is there on a terminal alone."""

    given: Path | None = None
    configured: Path | None = None
    ask: Ask | None = None
    variables: Mapping[str, str] = msgspec.field(default_factory=lambda: os.environ)

    @classmethod
    def of(cls, config: WorkspaceConfig, ask: Ask | None = None) -> Source:
        """That of a workspace, with the command line's `--identity`."""
        return cls(given=config.identity, configured=config.age_identity, ask=ask)

    @property
    def file(self) -> Path | None:
        """The identity file that is meant; None where PIT_AGE_KEY holds the key itself."""
        if self.given is not None:
            return self.given
        if self.variables.get(KEY, "").strip():
            return None
        if self.variables.get(KEY_FILE):
            return Path(os.path.abspath(os.path.expanduser(self.variables[KEY_FILE])))
        return self.configured or default_file(self.variables)

    def passphrase(self, what: str) -> str:
        """The passphrase for `what`: PIT_AGE_PASSPHRASE, or a person's answer."""
        given = self.variables.get(PASSPHRASE)
        if given:
            return given
        if self.ask is None:
            raise CannotDecrypt(
                f"{what} is encrypted with a passphrase, and nobody is there to give it",
                f"Set {PASSPHRASE}, or encrypt for a key, which takes no time: pit secrets keygen",
            )
        return self.ask(what)

    def identity(self) -> Identity:
        """The keys that are meant; CannotDecrypt if there are none or they cannot be read."""
        memory.keep_to_itself()
        file = self.file
        if file is None:
            return parse(self.variables[KEY].encode("utf-8", "surrogateescape"), KEY)
        content, warnings = _read(file, self._named_by(file))
        what = f"the identity {file}"
        if age.is_encrypted(content):
            content = age.remembered(content) or age.decrypt_with_passphrase(
                content, self.passphrase(what), what
            )
        return parse(content, str(file), file=file, warnings=warnings)

    def asks(self, content: bytes) -> bool:
        """Whether somebody has to be asked for a passphrase before an age file opens."""
        if not age.is_encrypted(content) or self.variables.get(PASSPHRASE):
            return False
        if age.wants_passphrase(content):
            return age.remembered(content) is None
        file = self.file
        try:
            key = _read(file, "")[0] if file else b""
        except CannotDecrypt:
            return False  # who opens it says so
        return age.is_encrypted(key) and age.remembered(key) is None

    def open(self, content: bytes, what: str) -> Opened:
        """What an age file holds, by passphrase or by key as it wants it."""
        if age.wants_passphrase(content):
            plain = age.remembered(content)
            if plain is None:
                plain = age.decrypt_with_passphrase(content, self.passphrase(what), what)
            return Opened(plain)
        identity = self.identity()
        return Opened(age.decrypt(content, identity.keys, what), identity)

    def _named_by(self, file: Path) -> str:
        if file == self.given:
            return "--identity names it"
        if self.variables.get(KEY_FILE):
            return f"{KEY_FILE} names it"
        return "age_identity in pit_config.toml names it" if self.configured else ""


def private_files(config: WorkspaceConfig) -> tuple[Path, ...]:
    """Secrets and the keys to them, which are no part of a project: no run keeps a copy."""
    files = (config.secrets_file, config.age_identity, Source.of(config).file, default_file())
    return tuple(file for file in files if file is not None)


class Identity(Private, kw_only=False):
    """Private keys that are ready for use; `public` are the public ones as far as they are known.

    Those of an OpenSSH key are, if its .pub file lies beside it.
    """

    keys: tuple[Any, ...]
    public: tuple[str, ...]
    file: Path | None = None
    warnings: tuple[str, ...] = ()


class Opened(Private, kw_only=False):
    """The text of an encrypted file, and the identity that opened it; None for a passphrase."""

    content: bytes
    identity: Identity | None = None


def _read(file: Path, named_by: str) -> tuple[bytes, tuple[str, ...]]:
    trouble: OSError | None = None
    try:
        info = os.stat(file)
        if not stat.S_ISREG(info.st_mode) and not file.is_relative_to("/dev/fd"):
            raise CannotDecrypt(f"the identity {file} is not a regular file")
        with open(file, "rb") as opened:
            content = opened.read(_LARGEST + 1)
    except OSError as error:
        trouble = error
    if trouble is not None:
        reason = (trouble.strerror or type(trouble).__name__).lower()
        if isinstance(trouble, FileNotFoundError) and not named_by:
            raise CannotDecrypt(f"there is no key to decrypt with: no {file}", _NEXT)
        why = f" ({named_by})" if named_by else ""
        raise CannotDecrypt(f"the identity {file} cannot be read: {reason}{why}", _NEXT)
    if len(content) > _LARGEST:
        raise CannotDecrypt(f"{file} is too large for an identity file")
    return content, _warnings(file, info.st_mode)


def _warnings(file: Path, mode: int) -> tuple[str, ...]:
    if not stat.S_ISREG(mode) or not mode & 0o077:
        return ()
    return (
        f"the identity {file} is open to other users (mode {stat.S_IMODE(mode):04o}); "
        f"close it with: chmod 600 {file}",
    )


def parse(
    content: bytes, what: str, *, file: Path | None = None, warnings: tuple[str, ...] = ()
) -> Identity:
    """The keys in the text of an identity file; errors name `what` and the line, never a key."""
    if b"PRIVATE KEY-----" in content:
        return _ssh(content, what, file, warnings)
    import pyrage

    keys, public = [], []
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        word = line.strip().lstrip("\ufeff")
        if not word or word.startswith("#"):
            continue
        key = _age_key(word, f"{what}:{number}", pyrage)
        keys.append(key)
        public.append(str(key.to_public()))
    if not keys:
        raise CannotDecrypt(f"{what} holds no key", _NEXT)
    return Identity(tuple(keys), tuple(public), file, warnings)


def _age_key(word: str, place: str, pyrage: Any) -> Any:
    if word.upper().startswith(_PLUGIN_KEY):
        raise CannotDecrypt(f"{place}: keys of age plugins are not supported")
    if word.startswith("age1"):
        raise CannotDecrypt(
            f"{place}: this is a public key; an identity is a private one",
            f"Those begin {_SECRET_KEY}",
        )
    try:
        return pyrage.x25519.Identity.from_str(word)
    except pyrage.IdentityError:
        pass
    raise CannotDecrypt(f"{place}: this is not an age key", f"Keys begin {_SECRET_KEY}")


def _ssh(content: bytes, what: str, file: Path | None, warnings: tuple[str, ...]) -> Identity:
    import pyrage

    reason = ""
    try:
        key = pyrage.ssh.Identity.from_buffer(content.strip().replace(b"\r\n", b"\n") + b"\n")
    except pyrage.IdentityError as error:
        reason = str(error)
    if not reason:
        return Identity((key,), _ssh_public(file), file, warnings)
    if "decrypted first" in reason:
        raise CannotDecrypt(
            f"{what} is an SSH key with a passphrase, which Pit cannot use",
            "Make a key for Pit alone with: pit secrets keygen",
        )
    raise CannotDecrypt(
        f"{what} is not a private key that Pit can use",
        "age takes ssh-ed25519 and ssh-rsa keys; make one of its own with: pit secrets keygen",
    )


def _ssh_public(file: Path | None) -> tuple[str, ...]:
    if file is None:
        return ()
    try:
        words = file.with_name(file.name + ".pub").read_text("utf-8").split()
    except (OSError, ValueError):
        return ()
    return (" ".join(words[:2]),) if len(words) >= 2 else ()


def has_key() -> bool:
    """Whether the variables of this process hold a key, or a passphrase that opens one."""
    return withheld(os.environ).keys() != os.environ.keys()


def withheld(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that other programs may see: no key to the secrets."""
    return {name: value for name, value in variables.items() if not name.startswith(_FAMILY)}


# ----------------------------------------------------------------------------------- a new key


def generate() -> tuple[str, str]:
    """A new key: the private one, and its public one."""
    import pyrage

    made = pyrage.x25519.Identity.generate()
    return str(made), str(made.to_public())


def identity_text(private: str, public: str, created: str) -> str:
    """An identity file as `age-keygen` writes it."""
    return f"# created: {created}\n# public key: {public}\n{private}\n"
