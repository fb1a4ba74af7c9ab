"""`pit secrets add-recipient`, `remove-recipient` and `rotate`: who can read the file.

The recipients file is changed first and the secrets file after it. Whatever stops a command in
between leaves a file that everybody could read before, and a list that the next change obeys.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from pit.cli.options import Settings, command
from pit.cli.secrets.context import Context
from pit.cli.secrets.keys import now
from pit.cli.terminal.console import count
from pit.errors import BadArgument, CannotDecrypt, CannotEncrypt, PitError
from pit.fs import replace
from pit.state.secrets import age, identities, recipients
from pit.state.secrets.identities import Identity
from pit.state.secrets.secretfile import Content, Place, opens, read_raw, sealed
from pit.text.control import printable

_LONGEST_KEY_FILE = 1 << 16


@command("add-recipient", short_help="Let somebody read the file.")
@click.argument("key", nargs=-1, required=True, metavar="PUBLIC-KEY")
@click.option("--name", default="", metavar="NAME", help="Whose key it is, kept as a comment.")
def add_recipient(settings: Settings, key: Sequence[str], name: str) -> None:
    """Let the owner of a public key read the secrets file, which is encrypted anew for all.

    PUBLIC-KEY is `age1…`, an SSH key `ssh-ed25519 …` or `ssh-rsa …`, or a file that holds one.
    """
    context = Context.of(settings)
    place = context.place()
    public = _key(key)
    with replace.alone(place.recipients):
        content = _encrypted(context, place)
        text = recipients.text(place.recipients)
        if not recipients.keys(place.recipients) and content and content.identity:
            # The first line is whoever can read the file today, or he would lock himself out.
            text = "".join(f"{own}\n" for own in place.keys(content, content.identity))
        listed = recipients.with_key(text, public, name)
        _apply(place, content, listed or text)
    if listed:
        context.record([("recipient_added", "", public)], place.recipients, name)
        settings.console.out(f"Added to {place.recipients}")
    else:
        settings.console.out(f"This key is already in {place.recipients}")
    _say_resealed(settings, place, content)


@command("remove-recipient", short_help="Stop somebody from reading the file.")
@click.argument("key", nargs=-1, required=True, metavar="PUBLIC-KEY|NAME")
def remove_recipient(settings: Settings, key: Sequence[str]) -> None:
    """Encrypt the secrets file anew without one recipient, given by key or by name.

    What somebody has been able to read stays known to them: change those secrets as well.
    """
    context = Context.of(settings)
    place = context.place()
    wanted = " ".join(key)
    with replace.alone(place.recipients):
        content = _encrypted(context, place)
        text, gone = recipients.without_key(place.recipients, wanted)
        _apply(place, content, text)
    context.record([("recipient_removed", "", gone.key)], place.recipients, gone.comment)
    settings.console.out(f"Removed from {place.recipients}: {printable(gone.comment or gone.key)}")
    _say_resealed(settings, place, content)
    settings.console.warning(
        "whoever had that key may have read every secret that was in the file until now",
        "Change the secrets themselves; older copies, as in git, open with the old key forever",
    )


def _key(words: Sequence[str]) -> str:
    """A public key as it was given, or the first one in the file that was named."""
    given = " ".join(words).strip()
    path = Path(given).expanduser()
    if not given.startswith(("age1", "ssh-")) and path.is_file():
        with open(path, "rb") as file:
            lines = file.read(_LONGEST_KEY_FILE).decode("utf-8", "replace").splitlines()
        given = next((x.strip() for x in lines if x.strip() and not x.startswith("#")), "")
    age.parse_recipient(given)
    return given


def _encrypted(context: Context, place: Place) -> Content | None:
    """The content of the secrets file, if there is one and it is encrypted for keys."""
    if not place.path.exists() or not age.is_encrypted(read_raw(place.path)[0]):
        return None
    content = context.read(place)
    if content.identity is None:
        raise CannotEncrypt(
            f"{place.path} is encrypted with a passphrase, and age allows no recipients beside one",
            "Encrypt it for keys: pit secrets decrypt -o plain.toml, then pit secrets encrypt",
        )
    return content


def _apply(place: Place, content: Content | None, listed: str) -> None:
    """Writes the recipients file, whose lock is held, and encrypts the secrets for those in it;
    or changes neither.
    """
    if content is None or content.identity is None:
        recipients.write(place.recipients, listed)
        return
    keys = recipients.keys_in(listed, place.recipients)
    sealed(content.plain, keys, content.identity)  # refused before anything is written
    before = recipients.text(place.recipients)
    recipients.write(place.recipients, listed)
    try:
        place.change(lambda plain: plain, anew=True)
    except PitError:
        if before:
            recipients.write(place.recipients, before)
        raise


def _say_resealed(settings: Settings, place: Place, content: Content | None) -> None:
    if content is not None:
        number = len(recipients.keys(place.recipients))
        settings.console.out(f"Encrypted {place.path} anew for {count(number, 'recipient')}")


# --------------------------------------------------------------------------------------- rotating


@command("rotate", short_help="Encrypt anew, also with a new key.")
@click.option(
    "--new-key", is_flag=True, help="Make yourself a new key in place of the present one."
)
def rotate(settings: Settings, new_key: bool) -> None:
    """Encrypt the secrets file anew for those in the recipients file; with --new-key, make
    yourself a new key first.

    The old key stays in the key file, below the new one, because other files may be encrypted for
    it. A file that a passphrase opens gets a new passphrase. Change the secrets too, if a key has
    fallen into wrong hands.
    """
    context = Context.of(settings)
    place = context.place()
    content = context.read(place)
    if not content.is_encrypted:
        raise CannotEncrypt(f"{place.path} is not encrypted", "Encrypt it: pit secrets encrypt")
    if content.identity is None:
        return _new_passphrase(settings, context, place, content, new_key)
    if new_key:
        place.keys(content, content.identity)  # refused where others would be forgotten
        _with_new_key(settings, context, place, content.identity)
    else:
        place.change(lambda plain: plain, anew=True)
        context.record([("rotated", "", "")], place.path)
    _say_resealed(settings, place, content)
    return None


def _new_passphrase(
    settings: Settings, context: Context, place: Place, content: Content, new_key: bool
) -> None:
    if new_key:
        raise BadArgument(f"{place.path} is encrypted with a passphrase, not for a key")
    chosen = context.new_passphrase(str(place.path), other=True)
    made = age.encrypt_with_passphrase(content.plain, chosen, armoured=age.is_armoured(content.raw))
    with replace.alone(place.path) as real:
        if read_raw(real)[0] != content.raw:
            raise CannotEncrypt(f"{place.path} was changed meanwhile", "Run the command again")
        replace.replace(real, made)
    context.record([("rotated", "", "")], place.path, "passphrase")
    settings.console.out(f"Encrypted {place.path} anew, with the new passphrase")


def _with_new_key(settings: Settings, context: Context, place: Place, old: Identity) -> None:
    """The new key joins the old one first, so that at every instant the key file opens the file."""
    file = _key_file(old)
    private, public = identities.generate()
    new = identities.parse(private.encode(), "the new key")
    with replace.alone(place.recipients):
        retiring = _retiring(place, old)
        listed = recipients.swapped(recipients.text(place.recipients), retiring, public)
        _put_first(context, file, private, public)
        _apply(place, place.read(), listed)
    proven = place.read()
    if not opens(proven.raw, proven.plain, new):
        raise CannotDecrypt(f"{place.path} does not open with the new key", "Use the old one")
    changes = [("key_made", "", public), ("rotated", "", retiring)]
    context.record(changes, place.path, str(file))
    settings.console.out(f"New key in {file}")
    settings.console.out(f"Public key: {public}")
    settings.console.note(
        "The old key stays below it, for other files that are encrypted for it; remove its line "
        "when there are none."
    )


def _key_file(identity: Identity) -> Path:
    if identity.file is None:
        raise CannotEncrypt(
            f"the key comes from the variable {identities.KEY}, which cannot be replaced here",
            "Make a key with pit secrets keygen, add it, and remove the old one",
        )
    if not identity.public or not identity.public[0].startswith("age1"):
        raise CannotEncrypt(
            f"{identity.file} is an SSH key, which Pit does not replace",
            "Make a key with pit secrets keygen, add it, and remove the old one",
        )
    return identity.file


def _retiring(place: Place, old: Identity) -> str:
    """The public key, of those that one has, which the file is encrypted for."""
    listed = recipients.keys(place.recipients)
    own = [key for key in old.public if any(recipients.same(key, each) for each in listed)]
    return own[0] if own else old.public[0]


def _put_first(context: Context, file: Path, private: str, public: str) -> None:
    head = identities.identity_text(private, public, now()).encode()
    with replace.alone(file) as real:
        raw = real.read_bytes()
        if not age.is_encrypted(raw):
            replace.replace(real, head + b"\n# replaced by the key above\n" + raw)
            return
        what = f"the identity {file}"
        passphrase = context.source.passphrase(what)
        plain = age.decrypt_with_passphrase(raw, passphrase, what)
        joined = head + b"\n# replaced by the key above\n" + plain
        sealed_again = age.encrypt_with_passphrase(
            joined, passphrase, armoured=age.is_armoured(raw)
        )
        replace.replace(real, sealed_again)
