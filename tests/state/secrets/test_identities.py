"""Which key is meant, and reading it; no error shows one."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest

from pit.errors import CannotDecrypt
from pit.state.secrets import identities
from pit.state.secrets.identities import Source, default_file
from tests.state.secrets import agetool
from tests.state.secrets.passphrases import PASSPHRASE, sealed


def key_file(path: Path, *, mode: int = 0o600) -> tuple[str, str]:
    """A new key in a file; the private and the public one."""
    private, public = identities.generate()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(identities.identity_text(private, public, "today"))
    path.chmod(mode)
    return private, public


def test_the_order_in_which_a_key_is_looked_for(tmp_path: Path) -> None:
    home = tmp_path / "config/pit/age-key.txt"
    places = [tmp_path / name for name in ("given", "variable", "configured")]
    publics = [key_file(path)[1] for path in (*places, home)]
    raw, raw_public = identities.generate()
    given, variable, configured = places
    everything = {
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "PIT_AGE_KEY": raw,
        "PIT_AGE_KEY_FILE": str(variable),
    }
    steps = [
        (Source(given=given, configured=configured, variables=everything), publics[0]),
        (Source(configured=configured, variables=everything), raw_public),
        (
            Source(configured=configured, variables={**everything, "PIT_AGE_KEY": ""}),
            publics[1],
        ),
        (
            Source(
                configured=configured,
                variables={"XDG_CONFIG_HOME": everything["XDG_CONFIG_HOME"]},
            ),
            publics[2],
        ),
        (Source(variables={"XDG_CONFIG_HOME": everything["XDG_CONFIG_HOME"]}), publics[3]),
    ]
    assert [source.identity().public[0] for source, _ in steps] == [public for _, public in steps]


def test_the_first_that_is_named_is_the_only_one(tmp_path: Path) -> None:
    raw, _ = identities.generate()
    source = Source(given=tmp_path / "missing", variables={"PIT_AGE_KEY": raw})
    with pytest.raises(CannotDecrypt, match=r"missing cannot be read.*--identity names it"):
        source.identity()


def test_the_usual_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert default_file({}) == Path("/home/me/.config/pit/age-key.txt")
    assert default_file({"XDG_CONFIG_HOME": "/x"}) == Path("/x/pit/age-key.txt")
    assert default_file({"XDG_CONFIG_HOME": "relative"}) == default_file({})
    file = Source(variables={"PIT_AGE_KEY_FILE": "~/k"}).file
    assert file == Path("/home/me/k")


def test_without_any_key_the_next_step_is_told(tmp_path: Path) -> None:
    with pytest.raises(CannotDecrypt, match="there is no key to decrypt with") as caught:
        Source(variables={"XDG_CONFIG_HOME": str(tmp_path)}).identity()
    assert "pit secrets keygen" in caught.value.hint


def test_a_file_with_several_keys_comments_and_windows_line_ends(tmp_path: Path) -> None:
    pairs = [identities.generate() for _ in range(3)]
    file = tmp_path / "keys"
    lines = ["\ufeff# first", pairs[0][0], "", f"  {pairs[1][0]}  ", "# end", pairs[2][0]]
    file.write_text("\r\n".join(lines))
    file.chmod(0o600)
    assert Source(given=file, variables={}).identity().public == tuple(p for _, p in pairs)


def test_an_identity_file_that_a_passphrase_opens(tmp_path: Path) -> None:
    private, public = identities.generate()
    file = tmp_path / "key.age"
    file.write_bytes(sealed(f"# created\n{private}\n".encode()))
    file.chmod(0o600)
    source = Source(given=file, variables={"PIT_AGE_PASSPHRASE": PASSPHRASE})
    assert source.identity().public == (public,)
    other = tmp_path / "other.age"
    other.write_bytes(sealed(private.encode()))
    other.chmod(0o600)
    stranger = Source(given=other, variables={"PIT_AGE_PASSPHRASE": "wrong"})
    with pytest.raises(CannotDecrypt, match="the passphrase does not open the identity"):
        stranger.identity()


def test_keys_that_are_none_are_named_by_their_line_alone(tmp_path: Path) -> None:
    private, public = identities.generate()
    damaged = private[:-1] + ("Q" if private[-1] != "Q" else "P")
    file = tmp_path / "key"
    for content, sentence in (
        (f"# a\n{damaged}", f"{file}:2: this is not an age key"),
        (public, f"{file}:1: this is a public key"),
        ("AGE-PLUGIN-YUBIKEY-1QQQQQQ", "keys of age plugins are not supported"),
        ("# nothing\n", "holds no key"),
        ("\x00\xff", "this is not an age key"),
        ("x" * (2 << 20), "is too large for an identity file"),
    ):
        file.write_text(content)
        file.chmod(0o600)
        with pytest.raises(CannotDecrypt) as caught:
            Source(given=file, variables={}).identity()
        assert sentence in str(caught.value)
        everything = "".join(traceback.format_exception(caught.value)) + caught.value.hint
        assert private[20:50] not in everything


@agetool.needs_ssh
def test_ssh_keys_that_cannot_be_used(tmp_path: Path) -> None:
    for kind, passphrase, sentence in (
        ("ed25519", "open sesame", "is an SSH key with a passphrase"),
        ("ecdsa", "", "is not a private key that Pit can use"),
    ):
        key = tmp_path / kind
        agetool.ssh_keygen(key, kind, passphrase)
        with pytest.raises(CannotDecrypt, match=sentence):
            Source(given=key, variables={}).identity()


def test_a_key_that_others_can_read_is_warned_about(tmp_path: Path) -> None:
    file = tmp_path / "key"
    key_file(file, mode=0o640)
    (warning,) = Source(given=file, variables={}).identity().warnings
    assert "open to other users (mode 0640)" in warning
    file.chmod(0o600)
    assert Source(given=file, variables={}).identity().warnings == ()


def test_an_identity_may_not_be_a_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(CannotDecrypt, match="not a regular file"):
        Source(given=tmp_path / "fifo", variables={}).identity()


def test_nothing_shows_a_key(tmp_path: Path) -> None:
    private, _ = identities.generate()
    source = Source(variables={"PIT_AGE_KEY": private})
    shown = repr(source) + repr(source.identity()) + str(source.identity())
    assert "AGE-SECRET-KEY" not in shown
