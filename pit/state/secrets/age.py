"""The age format (age-encryption.org/v1) by way of pyrage: recognised by content, opened, sealed.

Whether a file is encrypted is told by its first bytes, binary or armoured, never by its name. The
errors of pyrage are put in our words and dropped, so that no text of a file or key hangs on them.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Sequence
from typing import Any

from pit.errors import CannotDecrypt, CannotEncrypt
from pit.text import regex

_MAGIC = b"age-encryption.org/"
_ARMOUR = b"-----BEGIN AGE ENCRYPTED FILE-----"
_STANZA = regex.lazy(rb"^-> (X25519|scrypt|ssh-rsa|ssh-ed25519|\S+)", re.MULTILINE)
_LONGEST_HEADER = 1 << 20


def is_encrypted(content: bytes) -> bool:
    """Whether some bytes are an age file, whole or not."""
    return content.startswith(_MAGIC) or is_armoured(content)


def is_armoured(content: bytes) -> bool:
    """Whether some bytes are an age file in text form."""
    return content[:1024].lstrip().startswith(_ARMOUR)


def recipients(content: bytes) -> tuple[str, ...]:
    """What an age file is encrypted for, by kind: X25519, ssh-ed25519, ssh-rsa, scrypt, ….

    The noise that age puts in, so that every program learns to expect it, is left out.
    """
    header = _binary(content)[:_LONGEST_HEADER].partition(b"\n---")[0]
    kinds = (kind.decode("ascii", "replace") for kind in _STANZA.findall(header))
    return tuple(kind for kind in kinds if not kind.endswith("-grease"))


def wants_passphrase(content: bytes) -> bool:
    """Whether an age file opens with a passphrase, and not with keys."""
    return is_encrypted(content) and recipients(content) == ("scrypt",)


def _binary(content: bytes) -> bytes:
    if not is_armoured(content):
        return content
    lines = content.strip().splitlines()[1:-1]
    try:
        return binascii.a2b_base64(b"".join(lines))
    except binascii.Error:
        return b""


def _tidy(content: bytes) -> bytes:
    """An armoured file as pyrage takes it: nothing before and after, one kind of line end."""
    if not is_armoured(content):
        return content
    return b"\n".join(line.rstrip() for line in content.strip().splitlines()) + b"\n"


# ------------------------------------------------------------------------------------ with keys


def decrypt(content: bytes, identities: Sequence[Any], what: str) -> bytes:
    """The content of an age file, by the first of some identities that opens it.

    CannotDecrypt calls the file `what`, and tells a wrong key from damage.
    """
    import pyrage

    reason = ""
    try:
        return bytes(pyrage.decrypt(_tidy(content), list(identities)))
    except pyrage.DecryptError as error:
        reason = str(error)
    if "No matching keys" in reason:
        raise CannotDecrypt(
            f"{what} is not encrypted for your key (it is for {_spoken(recipients(content))})",
            "Give the right one with --identity FILE, or ask somebody who can read the file: "
            "pit secrets add-recipient",
        )
    raise CannotDecrypt(f"{what} is damaged: it cannot be decrypted", "Restore it from a backup")


def _spoken(kinds: Sequence[str]) -> str:
    count = len(kinds)
    return f"{count} recipient{'' if count == 1 else 's'}: {', '.join(kinds)}"


def encrypt(content: bytes, keys: Sequence[str], *, armoured: bool = False) -> bytes:
    """An age file for some public keys (`age1…`, `ssh-ed25519 …`, `ssh-rsa …`)."""
    import pyrage

    found = [parse_recipient(key) for key in dict.fromkeys(keys)]
    if not found:
        raise CannotEncrypt("there is nobody to encrypt for", "See: pit secrets add-recipient")
    return bytes(pyrage.encrypt(content, found, armored=armoured))


def parse_recipient(key: str) -> Any:
    """A public key as pyrage has it; CannotEncrypt if it is none that Pit can encrypt for."""
    import pyrage

    if len(key.strip().splitlines()) > 1:
        raise CannotEncrypt("this is more than one line, and so more than one key", "One at a time")
    kind = pyrage.ssh if key.startswith("ssh-") else pyrage.x25519
    try:
        return kind.Recipient.from_str(key.strip())
    except pyrage.RecipientError:
        pass
    raise CannotEncrypt(
        f"{_shown(key)} is not a public key that Pit can encrypt for",
        "Public keys look like age1…, ssh-ed25519 … or ssh-rsa …; make one: pit secrets keygen",
    )


def _shown(key: str) -> str:
    """A public key in short; what may be a private one is not shown at all."""
    if key.upper().startswith("AGE-SECRET-KEY") or "PRIVATE" in key:
        return "a private key"
    text = "".join(char for char in key if char.isprintable())
    return f'"{text}"' if len(text) <= 40 else f'"{text[:28]}…"'


# ----------------------------------------------------------------------------- with a passphrase

# A passphrase costs seconds, by design; a command reads its secrets more than once.
_opened: dict[bytes, bytes] = {}


def remembered(content: bytes) -> bytes | None:
    """What this process has opened with a passphrase before."""
    return _opened.get(hashlib.sha256(content).digest())


def decrypt_with_passphrase(content: bytes, passphrase: str, what: str) -> bytes:
    """The content of an age file that a passphrase opens; takes seconds the first time."""
    import pyrage

    known = remembered(content)
    if known is not None:
        return known
    wrong = False
    try:
        opened = bytes(pyrage.passphrase.decrypt(_tidy(content), passphrase))
    except pyrage.DecryptError as error:
        wrong = str(error) == "Decryption failed"
        opened = None
    if opened is None:
        if wrong:
            raise CannotDecrypt(f"the passphrase does not open {what}")
        raise CannotDecrypt(f"{what} is damaged: it cannot be decrypted")
    _opened[hashlib.sha256(content).digest()] = opened
    return opened


def encrypt_with_passphrase(content: bytes, passphrase: str, *, armoured: bool = False) -> bytes:
    """An age file that a passphrase opens; takes seconds."""
    import pyrage

    sealed = bytes(pyrage.passphrase.encrypt(content, passphrase, armored=armoured))
    _opened[hashlib.sha256(sealed).digest()] = content
    return sealed
