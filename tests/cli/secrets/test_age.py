"""`pit secrets keygen`, `encrypt`, `decrypt`, `rotate` and recipients: nobody is locked out."""

from __future__ import annotations

import os
import time
import tomllib
from pathlib import Path

import pytest

from pit.cli.secrets import whole
from pit.errors import CannotEncrypt
from pit.state.secrets import age, identities, recipients
from tests.builder import Pit
from tests.cli.dialogue import talk
from tests.cli.inside import Inside
from tests.cli.secrets.test_secrets import FILE, VALUE, piped
from tests.state.secrets import agetool
from tests.state.secrets.passphrases import PASSPHRASE, sealed
from tests.state.store.disks import fill, small_disk


class Team:
    """A workspace whose user has a home of his own, and the paths in it."""

    def __init__(self, pit: Inside, home: Path) -> None:
        self.pit, self.key = pit, home / ".config/pit/age-key.txt"
        self.plain, self.secret = pit.root / "secrets.toml", pit.root / "secrets.toml.age"
        self.recipients = pit.root / "age-recipients.txt"
        pit.env |= {"HOME": str(home)}
        pit.env.pop("XDG_CONFIG_HOME", None)

    def encrypted(self, *, others: int = 0) -> list[str]:
        """Make a key and an encrypted file by hand; returns the public keys."""
        private, public = identities.generate()
        self.key.parent.mkdir(parents=True)
        self.key.write_text(f"{private}\n")
        self.key.chmod(0o600)
        keys = [public, *(identities.generate()[1] for _ in range(others))]
        self.secret.write_bytes(age.encrypt(FILE.encode(), keys))
        self.recipients.write_text("".join(f"{key}\n" for key in keys))
        self.plain.unlink(missing_ok=True)
        self.pit.file("pit_config.toml", 'secrets_dir = "secrets.toml.age"\n')
        return keys

    def opened(self, key: Path | None = None) -> str:
        """The secrets, as a key opens them."""
        return self.opened_file(self.secret, key)

    def opened_file(self, path: Path, key: Path | None = None) -> str:
        """Any encrypted file, as a key opens it."""
        source = identities.Source(given=key or self.key, variables={})
        return source.open(path.read_bytes(), "the file").content.decode()


@pytest.fixture
def team(sales: Pit, tmp_path: Path) -> Team:
    """A workspace with a plain secrets file and a user without a key."""
    home = tmp_path / "home"
    home.mkdir()
    pit = Inside(sales.root)
    pit.file("pit_config.toml", 'secrets_dir = "secrets.toml"\n')
    pit.file("secrets.toml", FILE, 0o600)
    return Team(pit, home)


# --------------------------------------------------------------------------- the usual journey


@agetool.needs_age
def test_from_a_plain_file_to_a_team(team: Team, tmp_path: Path) -> None:
    pit = team.pit
    pit.run("secrets", "encrypt").fails(36, "there is no key", "pit secrets keygen")
    made = pit.run("secrets", "keygen").ok()
    public = made.out.removeprefix("Public key: ").strip()
    assert team.key.stat().st_mode & 0o777 == 0o600
    assert team.key.parent.stat().st_mode & 0o777 == 0o700
    assert "AGE-SECRET-KEY" not in made.out + made.err
    pit.run("secrets", "keygen").fails(38, "exists already")

    done = pit.run("secrets", "encrypt", "--remove").ok()
    assert f"Encrypted for 1 recipient: {team.secret}" in done.out
    assert 'secrets_dir = "secrets.toml.age"' in done.err
    assert not team.plain.exists()
    assert team.recipients.read_text() == f"{public}\n"
    assert agetool.decrypt(team.secret, team.key).decode() == FILE
    pit.file("pit_config.toml", 'secrets_dir = "secrets.toml.age"\n')

    piped(pit, "new", "set", "sales", "token").ok()
    alice = tmp_path / "alice.txt"
    agetool_public = agetool.keygen(alice)
    pit.run("secrets", "add-recipient", agetool_public, "--name", "alice").ok()
    assert agetool.decrypt(team.secret, alice).decode() == team.opened()
    got = pit.run("secrets", "get", "sales", "token", "--identity", str(alice)).ok()
    assert got.out == "new\n"
    listed = pit.run("secrets", "list", "--recipients").ok().out
    assert [line.split() for line in listed.splitlines()] == [[public], [agetool_public, "alice"]]

    done = pit.run("secrets", "remove-recipient", "alice").ok()
    assert "Change the secrets themselves" in done.err
    pit.run("secrets", "get", "sales", "token", "--identity", str(alice)).fails(36)
    assert team.recipients.read_text() == f"{public}\n"
    assert pit.run("secrets", "decrypt").ok().out == team.opened()
    whats = [c["what"] for c in pit.run("secrets", "audit", "--json").ok().json["changes"]]
    assert list(reversed(whats)) == [
        "key_made", "encrypted", "created", "recipient_added", "read", "recipient_removed",
        "decrypted",
    ]  # fmt: skip


def test_a_run_uses_an_encrypted_file(team: Team) -> None:
    team.encrypted()
    pit = team.pit
    pit.project("sql").toml(
        '[dag.sql]\nconnection = "db"\n[[tasks]]\nname = "a"\nscript = "a.sql"\n'
    )
    pit.file("a.sql", "select 41 + 1 as answer")
    piped(pit, "duckdb:///:memory:", "set", "global", "db", "--only", "sql").ok()
    pit.run("run", "sql").ok()
    assert "42" in pit.log("a")
    # The explicit key comes before the environment's.
    pit.run("run", "sql", "--identity", str(team.key), PIT_AGE_KEY="nonsense").ok()
    pit.run("run", "sql", PIT_AGE_KEY="nonsense").fails(36, "PIT_AGE_KEY:1: this is not an age key")
    piped(pit, "v", "set", "global", "db", "--only", "other", "-").ok()
    pit.run("run", "sql").fails(1, 'secret "db" is not for DAG "sql"')


def test_the_keys_to_the_secrets_never_reach_a_task(team: Team) -> None:
    team.encrypted()
    pit = team.pit
    pit.project("env").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\n').file("a.sh", "env")
    variables = {
        "PIT_AGE_KEY": team.key.read_text().strip(),
        "PIT_AGE_KEY_FILE": str(team.key),
        "PIT_AGE_PASSPHRASE": PASSPHRASE,
    }
    pit.run("run", "env", **variables).ok()
    assert "PIT_AGE" not in pit.log("a")
    assert variables["PIT_AGE_KEY"] not in pit.log("a")


# ------------------------------------------------------------------------------------- encrypt


def test_encrypting_never_overwrites_and_keeps_the_plain_file(team: Team) -> None:
    team.pit.run("secrets", "keygen").ok()
    done = team.pit.run("secrets", "encrypt", "--armor").ok()
    assert f"The plain file {team.plain} is still there" in done.err
    assert age.is_armoured(team.secret.read_bytes())
    before = team.secret.read_bytes()
    team.pit.run("secrets", "encrypt").fails(38, "exists already")
    assert team.secret.read_bytes() == before
    team.pit.run("secrets", "encrypt", "--secrets", str(team.secret)).fails(37, "encrypted already")
    other = team.pit.root / "other.age"
    team.pit.run("secrets", "encrypt", "-o", str(other)).ok()
    assert age.is_encrypted(other.read_bytes())


def test_the_plain_file_goes_whole_and_only_if_all_of_it_was_encrypted(team: Team) -> None:
    team.pit.run("secrets", "keygen").ok()
    real = team.pit.root / "real.toml"
    team.plain.rename(real)
    team.plain.symlink_to(real)
    team.pit.run("secrets", "encrypt", "--remove").ok()
    assert not real.exists()
    assert not os.path.lexists(team.plain)
    team.plain.write_text(f"{FILE}# and more\n")
    with pytest.raises(CannotEncrypt, match="changed meanwhile and stays"):
        whole.remove_plain(team.plain, FILE.encode(), team.secret)
    assert team.plain.exists()


def test_a_plain_file_that_was_encrypted_away_is_not_begun_anew(team: Team) -> None:
    team.encrypted()
    team.pit.file("pit_config.toml", 'secrets_dir = "secrets.toml"\n')
    for words in (("list",), ("get", "global", "k"), ("edit",), ("remove", "global", "k")):
        done = team.pit.run("secrets", *words, EDITOR="true")
        done.fails(30, 'Set secrets_dir = "secrets.toml.age" in pit_config.toml')
    team.pit.piped("v", "secrets", "set", "global", "k").fails(30, "does not exist, but")
    assert not team.plain.exists()


def test_encrypting_for_others_alone_is_refused(team: Team) -> None:
    team.pit.run("secrets", "keygen").ok()
    _, stranger = identities.generate()
    team.recipients.write_text(f"{stranger}\n")
    team.pit.run("secrets", "encrypt", "--remove").fails(
        37, "you could not read the file again", "pit secrets add-recipient age1"
    )
    assert team.plain.exists()
    assert not team.secret.exists()


def test_encrypting_what_is_no_secrets_file_is_refused(team: Team) -> None:
    team.pit.run("secrets", "keygen").ok()
    team.plain.write_text("[global]\nkey = 5\n")
    team.pit.run("secrets", "encrypt").fails(31, "must be a string")
    assert not team.secret.exists()


def test_decrypting_to_a_file(team: Team) -> None:
    team.encrypted()
    out = team.pit.root / "plain.toml"
    done = team.pit.run("secrets", "decrypt", "-o", str(out)).ok()
    assert out.read_text() == FILE
    assert out.stat().st_mode & 0o777 == 0o600
    assert VALUE not in done.out
    team.pit.run("secrets", "decrypt", "-o", str(out)).fails(38, "exists already")
    team.pit.run("secrets", "decrypt", "--secrets", str(out)).fails(31, "is not encrypted")


# ---------------------------------------------------------------------------------- recipients


def test_a_recipient_that_is_there_already_is_no_error(team: Team) -> None:
    (own,) = team.encrypted()
    before = team.secret.read_bytes()
    done = team.pit.run("secrets", "add-recipient", own).ok()
    assert "This key is already in" in done.out
    assert team.secret.read_bytes() != before  # for whom an earlier try did not get to the file
    assert team.recipients.read_text() == f"{own}\n"
    audit = team.pit.run("secrets", "audit", "--json").ok().json
    assert "recipient_added" not in [change["what"] for change in audit["changes"]]


def test_files_that_everybody_can_change_are_warned_about(team: Team) -> None:
    team.encrypted()
    for file in (team.recipients, team.secret):
        file.chmod(0o666)
        warning = team.pit.run("secrets", "list").ok().err
        assert f"{file} can be changed by" in warning
        assert f"chmod o-w {file}" in team.pit.run("validate").ok().out
        file.chmod(0o664)
        assert "can be changed by" not in team.pit.run("secrets", "list").ok().err


def test_the_first_recipient_joins_whoever_reads_the_file_already(team: Team) -> None:
    (own,) = team.encrypted()
    team.recipients.unlink()
    _, other = identities.generate()
    team.pit.run("secrets", "add-recipient", other).ok()
    assert team.recipients.read_text() == f"{own}\n{other}\n"
    assert team.opened() == FILE


@agetool.needs_ssh
def test_an_ssh_key_from_its_file(team: Team, tmp_path: Path) -> None:
    team.encrypted()
    public = agetool.ssh_keygen(tmp_path / "id")
    team.pit.run("secrets", "add-recipient", str(tmp_path / "id.pub"), "--name", "laptop").ok()
    assert team.opened(tmp_path / "id") == FILE
    team.pit.run("secrets", "remove-recipient", *public.split()[:2]).ok()
    assert "laptop" not in team.recipients.read_text()
    team.pit.run("secrets", "add-recipient", str(tmp_path / "id")).fails(37, "is not a public key")


def test_the_last_one_who_can_read_is_not_removed(team: Team) -> None:
    own, _ = team.encrypted(others=1)
    before = team.secret.read_bytes(), team.recipients.read_text()
    team.pit.run("secrets", "remove-recipient", own).fails(37, "could not read the file again")
    team.pit.run("secrets", "remove-recipient", "age1nobody").fails(37, "no such recipient")
    assert (team.secret.read_bytes(), team.recipients.read_text()) == before


def test_a_full_disk_changes_neither_the_list_nor_the_file(team: Team) -> None:
    with small_disk(2) as folder:
        pit = Inside(folder)
        small = Team(pit, team.key.parent.parent.parent)
        small.encrypted()
        fill(folder)
        before = small.secret.read_bytes(), small.recipients.read_text()
        _, other = identities.generate()
        done = pit.run("secrets", "add-recipient", other)
        assert done.code == 25
        assert (small.secret.read_bytes(), small.recipients.read_text()) == before
        assert not [name for name in os.listdir(folder) if name.startswith(".pit-")]


# -------------------------------------------------------------------------------------- rotate


def test_rotating_encrypts_anew_for_the_same_people(team: Team) -> None:
    own, other = team.encrypted(others=1)
    before = team.secret.read_bytes()
    done = team.pit.run("secrets", "rotate").ok()
    assert "anew for 2 recipients" in done.out
    assert team.secret.read_bytes() != before
    assert team.opened() == FILE
    assert team.recipients.read_text() == f"{own}\n{other}\n"


def test_a_new_key_takes_the_place_of_the_old_one_which_stays_for_other_files(team: Team) -> None:
    own, other = team.encrypted(others=1)
    old = team.key.read_text()
    elsewhere = age.encrypt(b"other", [own])
    done = team.pit.run("secrets", "rotate", "--new-key").ok()
    new = done.out.splitlines()[1].removeprefix("Public key: ")
    assert team.recipients.read_text() == f"{new}\n{other}\n"
    assert team.key.read_text().endswith(old)
    assert team.key.stat().st_mode & 0o777 == 0o600
    assert team.opened() == FILE
    stale = team.pit.root / "stale.txt"
    stale.write_text(old)
    team.pit.run("secrets", "list", "--identity", str(stale)).fails(
        36, "not encrypted for your key"
    )
    source = identities.Source(given=team.key, variables={})
    assert source.open(elsewhere, "other").content == b"other"
    # And again: the key that is replaced is the one in use.
    team.pit.run("secrets", "rotate", "--new-key").ok()
    assert new not in team.recipients.read_text()
    assert team.opened() == FILE


def test_a_rotation_that_is_killed_leaves_a_file_that_opens(team: Team) -> None:
    team.encrypted(others=1)
    began = time.monotonic()
    team.pit.run("secrets", "rotate", "--new-key").ok()
    whole = time.monotonic() - began
    for part in range(4, 11):
        process = team.pit.start("secrets", "rotate", "--new-key")
        time.sleep(whole * part / 10)  # any instant will do
        process.kill()
        process.communicate()
        assert team.opened() == FILE
        assert len(team.recipients.read_text().split()) == 2
    team.pit.run("secrets", "rotate", "--new-key").ok()
    assert team.opened() == FILE
    assert not [name for name in os.listdir(team.key.parent) if name.endswith(".new")]


def test_recipients_that_are_added_at_once_are_all_there(team: Team) -> None:
    team.encrypted()
    others = [identities.generate() for _ in range(6)]
    adding = [team.pit.start("secrets", "add-recipient", public) for _, public in others]
    for process in adding:
        shown, _ = process.communicate()
        assert process.returncode == 0, shown
    assert set(recipients.keys(team.recipients)) > {public for _, public in others}
    for number, (private, _) in enumerate(others):
        key = team.pit.root / f"{number}.txt"
        key.write_text(private)
        assert team.opened(key) == FILE


def test_keys_that_cannot_be_replaced_here(team: Team) -> None:
    team.encrypted()
    private = team.key.read_text().strip()
    team.pit.run("secrets", "rotate", "--new-key", PIT_AGE_KEY=private).fails(37, "PIT_AGE_KEY")
    team.pit.run("secrets", "rotate", "--secrets", "plain.toml").fails(30, "does not exist")
    before = team.key.read_text()
    team.secret.write_bytes(
        age.encrypt(FILE.encode(), [*team.recipients.read_text().split(), identities.generate()[1]])
    )
    team.recipients.unlink()
    team.pit.run("secrets", "rotate", "--new-key").fails(37, "is encrypted for 2 recipients")
    assert team.key.read_text() == before


# --------------------------------------------------------------------------------- passphrases


def test_a_passphrase_is_asked_for_at_a_terminal(team: Team) -> None:
    pit = team.pit
    team.secret.write_bytes(sealed(FILE.encode()))
    pit.file("pit_config.toml", 'secrets_dir = "secrets.toml.age"\n')
    pit.run("secrets", "list").fails(36, "nobody is there to give it", "PIT_AGE_PASSPHRASE")
    assert pit.run("secrets", "get", "sales", "ftp", PIT_AGE_PASSPHRASE=PASSPHRASE).ok().out == (
        f"{VALUE}\n"
    )
    question = f"Passphrase for {team.secret}: "
    code, shown = talk(pit, "secrets", "get", "sales", "ftp", says=[(question, f"{PASSPHRASE}\n")])
    assert (code, PASSPHRASE in shown, VALUE in shown) == (0, False, True)
    pit.project("sql").toml(
        '[dag.sql]\nconnection = "db"\n[[tasks]]\nname = "a"\nscript = "a.sql"\n'
    )
    pit.file("a.sql", "select 41 + 1 as answer")
    team.secret.write_bytes(sealed(b'[global]\ndb = "duckdb:///:memory:"\n'))
    answers = [(question, "wrong\n"), (question, f"{PASSPHRASE}\n")]
    code, shown = talk(pit, "run", "sql", says=answers)
    assert code == 0, shown
    assert "the passphrase does not open" in shown
    assert "42" in pit.log("a")
    # age itself knows no recipients beside a passphrase.
    pit.run(
        "secrets", "add-recipient", identities.generate()[1], PIT_AGE_PASSPHRASE=PASSPHRASE
    ).fails(37, "is encrypted with a passphrase")


@pytest.mark.slow
@agetool.needs_age
def test_a_life_with_a_passphrase(team: Team) -> None:
    pit = team.pit
    new = {"PIT_AGE_PASSPHRASE": "first"}
    pit.run("secrets", "encrypt", "--passphrase", "--remove", **new).ok()
    pit.file("pit_config.toml", 'secrets_dir = "secrets.toml.age"\n')
    pit.env |= new
    piped(pit, "v", "set", "sales", "token").ok()
    assert age.wants_passphrase(team.secret.read_bytes())
    assert tomllib.loads(pit.run("secrets", "decrypt").ok().out)["sales"]["token"] == "v"
    del pit.env["PIT_AGE_PASSPHRASE"]
    question = f"assphrase for {team.secret}: "
    code, shown = talk(
        pit,
        "secrets", "rotate",
        says=[(question, "first\n"), (question, "second\n"), ("Again: ", "second\n")],
    )  # fmt: skip
    assert code == 0, shown
    pit.run("secrets", "list", PIT_AGE_PASSPHRASE="first").fails(36)
    pit.run("secrets", "list", PIT_AGE_PASSPHRASE="second").ok()


@pytest.mark.slow
@agetool.needs_age
def test_a_key_file_with_a_passphrase(team: Team) -> None:
    pit = team.pit
    pit.env["PIT_AGE_PASSPHRASE"] = "open sesame"
    pit.run("secrets", "keygen", "--passphrase").ok()
    assert team.key.read_bytes().startswith(b"-----BEGIN AGE")
    pit.run("secrets", "encrypt").ok()
    pit.run("secrets", "rotate", "--new-key", "--secrets", str(team.secret)).ok()
    assert team.key.read_bytes().startswith(b"-----BEGIN AGE")
    pit.run("secrets", "list", "--secrets", str(team.secret)).ok()
