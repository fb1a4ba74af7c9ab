"""The recipients file: comments kept, keys checked, the right one removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pit.errors import CannotEncrypt
from pit.state.secrets import age, identities, recipients
from tests.state.secrets import agetool

ALICE, BOB, CAROL = (identities.generate()[1] for _ in range(3))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with three recipients."""
    file = tmp_path / "age-recipients.txt"
    file.write_text(
        f"# The team\n\n# alice\n{ALICE}\n{BOB} # bob\n\n# carol\n# second line\n{CAROL}"
    )
    return file


def test_keys_and_their_comments(path: Path) -> None:
    found = [(each.key, each.comment) for each in recipients.read(path)]
    assert found == [(ALICE, "alice"), (BOB, "bob"), (CAROL, "second line")]
    assert recipients.keys(path.with_name("missing")) == ()


def test_adding_keeps_every_line(path: Path) -> None:
    _, dave = identities.generate()
    before = path.read_text()
    made = recipients.with_key(before, dave, "dave\nand more")
    assert made == f"{before}\n# dave and more\n{dave}\n"
    assert recipients.with_key(before, BOB) is None


@pytest.mark.parametrize("end", ["\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_what_a_review_shows_as_a_comment_is_one(path: Path, end: str) -> None:
    _, eve = identities.generate()
    path.write_text(f"# alice, of the team{end}{eve}\n{ALICE}\r\n", newline="")
    assert recipients.keys(path) == (ALICE,)
    made, _ = recipients.without_key(path, ALICE)
    assert eve not in recipients.keys_in(made, path)


def test_one_key_at_a_time() -> None:
    _, eve = identities.generate()
    ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJItIU8SECc9iWeQ5gnL7xwOGSyHi5yFXaERhXVMdVyd alice"
    for both in (f"{ssh}\n{eve}", f"{ssh}\r{eve}", f"{ALICE}\n{eve}"):
        with pytest.raises(CannotEncrypt, match=r"more than one|is not a public key"):
            age.parse_recipient(both)


def test_removing_by_key_or_name(path: Path) -> None:
    text, gone = recipients.without_key(path, CAROL)
    assert gone.key == CAROL
    assert text == f"# The team\n\n# alice\n{ALICE}\n{BOB} # bob\n\n"
    text, gone = recipients.without_key(path, "bob")
    assert gone.key == BOB
    assert "bob" not in text
    # A comment right above two keys may be about both.
    text, _ = recipients.without_key(path, "alice")
    assert text.startswith(f"# The team\n\n# alice\n{BOB}")


def test_one_who_is_not_there(path: Path) -> None:
    with pytest.raises(CannotEncrypt, match="no such recipient"):
        recipients.without_key(path, "mallory")


def test_a_name_that_two_have_is_not_enough(path: Path) -> None:
    path.write_text(f"{ALICE} # laptop\n{BOB} # laptop\n")
    with pytest.raises(CannotEncrypt, match='2 recipients are called "laptop"'):
        recipients.without_key(path, "laptop")


def test_lines_that_are_no_keys_are_named(path: Path) -> None:
    private, _ = identities.generate()
    for line, sentence in (
        ("age1notakey", r':1: "age1notakey" is not a public key'),
        (private, ":1: a private key is not a public key"),
        ("ssh-ed25519 AAAA", ":1: "),
        ("ssh-dss AAAAB3NzaC1kc3MAAACB me@host", ":1: "),
    ):
        path.write_text(line)
        with pytest.raises(CannotEncrypt, match=sentence) as caught:
            recipients.read(path)
        assert private[20:40] not in str(caught.value)


@agetool.needs_ssh
def test_an_ssh_key_is_the_same_whatever_its_comment(tmp_path: Path) -> None:
    public = agetool.ssh_keygen(tmp_path / "id")
    bare = " ".join(public.split()[:2])
    text = recipients.with_key("", public)
    assert text == f"{public}\n"
    assert recipients.with_key(text, f"{bare} other@host") is None


def test_swapping_a_key_in_its_place(path: Path) -> None:
    _, new = identities.generate()
    text = recipients.swapped(path.read_text(), ALICE, new)
    assert text.splitlines()[3] == new
    assert recipients.swapped("", ALICE, new) == f"{new}\n"
